//! What the control plane knows, and how it reaches the pool.

use std::collections::{BTreeMap, HashMap};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use arc_swap::ArcSwap;
use prometheus::Registry;
use sluice_process::Readiness;
use sluice_process::reload::Reloads;
use sluice_proto::{InstanceName, ServiceName};
use tokio::sync::{Notify, watch};

use crate::config::InstanceSpec;
use crate::control::admission::Admission;
use crate::control::decisions::DecisionLog;
use crate::control::events::{Event, Events};
use crate::control::history::History;
use crate::control::live::Live;
use crate::control::planning::{Plan, unix_ms};
use crate::control::pool_metrics::ControlMetrics;
use crate::control::sources::{Book, SourceMetrics};
use crate::control::versions::{self, VersionMetrics, VersionsView};
use crate::decide::dispatch::{InstanceId, Workers};
use crate::decide::membership::{Key, Member, Membership, Routing, Word};
use crate::decide::notices::Notices;
use crate::decide::pace::Pace;
use crate::decide::schedule::Named;
use crate::pool::{Directory, Instance, Service, now};

/// Shared by the admin endpoints and the ticker.
pub struct ControlState {
    directory: ArcSwap<Directory>,
    pub events: Events,
    pub metrics: ControlMetrics,
    pub decisions: DecisionLog,
    pub(super) admission: Admission,
    /// What became of reading the configuration again.
    pub reloads: Reloads,
    pub(super) versions: VersionMetrics,
    /// Whoever watches the dashboard.
    pub(super) live: Live,
    /// By service: its last hour.
    pub(super) histories: Mutex<HashMap<ServiceName, History>>,
    /// The operator said something that is to outlive a restart.
    pub(super) save_soon: Notify,
    /// A successor has taken over: agents report to it, and it keeps what is learned.
    succeeded: AtomicBool,
    readiness: Arc<Readiness>,
    membership: Mutex<Membership>,
    book: Mutex<Book>,
    /// The configuration has sources that it had not, or the other way round.
    pub(super) other_sources: Notify,
    pub(super) source_metrics: SourceMetrics,
    plan: ArcSwap<Plan>,
    /// A plan was published, changed or not: each second, and when an instance comes, goes or changes.
    pub(crate) published: watch::Sender<()>,
    /// Of plans between the seconds.
    pace: Mutex<Pace>,
    /// There is something new to plan with, and it was not the time.
    plan_is_due: AtomicBool,
    /// By service: what was told of.
    notices: Mutex<HashMap<ServiceName, Notices>>,
}

impl ControlState {
    /// Starts with the instances of the configuration. `words`: the operator's, to an earlier process. `report_rate`:
    /// reports per second that one address may send.
    pub fn new(
        directory: Arc<Directory>,
        instances: &[InstanceSpec],
        words: Vec<(Key, Word)>,
        registry: &Registry,
        readiness: Arc<Readiness>,
        report_rate: NonZeroU32,
        decisions: impl FnOnce(&ControlMetrics) -> DecisionLog,
    ) -> Arc<Self> {
        let metrics = ControlMetrics::register(registry);
        let decisions = decisions(&metrics);
        let reloads = Reloads::register(registry);
        let state = Arc::new(Self {
            directory: ArcSwap::new(directory),
            events: Events::default(),
            metrics,
            decisions,
            admission: Admission::new(report_rate, now()),
            reloads,
            versions: VersionMetrics::register(registry),
            live: Live::default(),
            histories: Mutex::default(),
            save_soon: Notify::new(),
            succeeded: AtomicBool::new(false),
            readiness,
            membership: Mutex::default(),
            book: Mutex::default(),
            other_sources: Notify::new(),
            source_metrics: SourceMetrics::register(registry),
            plan: ArcSwap::default(),
            published: watch::Sender::new(()),
            pace: Mutex::new(Pace::new(now())),
            plan_is_due: AtomicBool::new(false),
            notices: Mutex::default(),
        });
        words.into_iter().for_each(|(key, word)| state.membership().remember(key, word));
        state.book().configure(instances);
        // That the first ones are there is no news.
        drop(state.reconcile());
        state.replan();
        state
    }

    /// The operator's word on an instance; `None` if there is none of that name.
    pub fn operate(&self, key: &Key, word: Word) -> Option<Routing> {
        let mut membership = self.membership();
        let member = membership.operate(key, word)?;
        self.apply(key, member);
        let routing = member.routing();
        drop(membership);
        self.events.publish(Event::new(
            "operator",
            key,
            format!("the operator says {word:?}").to_lowercase(),
        ));
        self.replan();
        self.save_soon();
        Some(routing)
    }

    /// Lets go of an instance's name, so that an agent elsewhere can have it at once. Whether there was an agent.
    pub fn unbind(&self, key: &Key) -> bool {
        let had_one = self.membership().unbind(key);
        if had_one {
            self.events.publish(Event::new("operator", key, "the operator frees the name".to_owned()));
        }
        had_one
    }

    /// The operator's words on a service's instances, the absent ones included.
    pub(super) fn words(&self, service: &ServiceName) -> BTreeMap<InstanceName, Word> {
        let membership = self.membership();
        let own = membership.words().filter(|(key, _)| key.0 == *service);
        own.map(|(key, word)| (key.1.clone(), word)).collect()
    }

    /// Names of a service's instances.
    pub(super) fn instance_names(&self, service: &ServiceName) -> HashMap<InstanceId, InstanceName> {
        let membership = self.membership();
        let own = membership.iter().filter(|(key, _)| key.0 == *service);
        own.map(|(key, member)| (member.id, key.1.clone())).collect()
    }

    /// Requests that wait, hold a worker or are being answered.
    pub fn under_way(&self) -> u64 {
        let directory = self.directory();
        let queued: usize = directory.iter().map(|service| service.queued()).sum();
        let members = self.members();
        let loads = members.iter().filter_map(|(key, member)| {
            directory.get(&key.0)?.occupancy(member.id).map(|occupancy| occupancy.load)
        });
        queued as u64 + loads.map(|load| u64::from(load.working) + u64::from(load.streaming)).sum::<u64>()
    }

    /// This process did not run for so long.
    pub fn paused(&self, pause: Duration) {
        tracing::warn!(
            seconds = pause.as_secs_f64(),
            "this process did not run for a while; nothing is learned of that time"
        );
        self.membership().forgive(pause, now());
    }

    /// Another process has taken over. This one's decisions are of no more interest, and nobody reports to it any more.
    pub fn succeed(&self) {
        self.succeeded.store(true, Relaxed);
        self.decisions.close();
    }

    pub fn is_succeeded(&self) -> bool {
        self.succeeded.load(Relaxed)
    }

    /// Saves what was learned as soon as possible.
    pub fn save_soon(&self) {
        self.save_soon.notify_one();
    }

    /// Forgets instances whose lease has ended. Not once reports go elsewhere: silence says nothing then.
    pub fn expire(&self) {
        if self.is_succeeded() {
            return;
        }
        let directory = self.directory();
        let last_success = |key: &Key, id: InstanceId| {
            directory.get(&key.0).and_then(|service| service.instance(id)).and_then(|i| i.last_success())
        };
        let gone = self.membership().expire(now(), last_success);
        for (key, member) in gone {
            if let Some(service) = directory.get(&key.0) {
                service.remove_instance(member.id);
            }
            let text = "forgotten: no report and no answer for 10 intervals";
            self.events.publish(Event::new("instance-gone", &key, text));
        }
    }

    /// Ends a second: what was learned in it is planned with.
    pub fn tick(&self) {
        self.plan_is_due.store(false, Relaxed);
        self.forget_what_is_old();
        self.decide_versions();
        self.count_versions();
        for (service, named) in self.named_by_service() {
            self.decisions.record(&service.name, service.tick(unix_ms(), named));
        }
        self.publish();
        self.tell();
    }

    /// Makes new plans because an instance came or changed: at once, unless that takes too much of the time, as when
    /// thousands come together. Who gets requests does not wait for it.
    pub(super) fn replan_soon(&self) {
        let began = now();
        if self.pace().allows(began) {
            self.replan();
            let ended = now();
            self.pace().spent(ended.saturating_duration_since(began), ended);
        } else {
            self.plan_is_due.store(true, Relaxed);
        }
    }

    /// Makes the plans that were put off, if it is time.
    pub fn catch_up(&self) {
        if self.plan_is_due.load(Relaxed) {
            self.replan_soon();
        }
    }

    /// Makes new plans at once, because an instance came, went or changed.
    pub fn replan(&self) {
        self.plan_is_due.store(false, Relaxed);
        self.decide_versions();
        for (service, named) in self.named_by_service() {
            self.decisions.record(&service.name, service.replan(unix_ms(), named));
        }
        self.publish();
    }

    /// Shows the services' plans, and tells what they changed.
    fn publish(&self) {
        let directory = self.directory();
        let mut plans: Vec<_> = directory.iter().map(|s| (s.name.clone(), s.plan(), s.figures())).collect();
        plans.sort_by(|a, b| a.0.cmp(&b.0));
        let (previous, mut next) = (self.plan.load(), Plan::of(plans));
        for service in directory.iter() {
            let (policy, assignment) = service.versions();
            next.set_versions(&service.name, VersionsView::new(&policy, &assignment));
        }
        self.update_readiness();
        if next.version != previous.version {
            self.metrics.plan_changes.inc();
            for change in next.changes(&previous) {
                self.events.publish(match change.instance {
                    Some(instance) => Event::new("plan", &(change.service, instance), change.text),
                    None => Event::of_service("plan", &change.service, change.text),
                });
            }
        }
        self.plan.store(Arc::new(next));
        self.published.send_replace(());
    }

    /// Tells what was learned and is worth a line.
    fn tell(&self) {
        let mut notices = self.notices.lock().expect("no code panics while holding it");
        for service in self.directory().iter() {
            let learned = self.learned(service);
            for notice in notices.entry(service.name.clone()).or_default().look(learned) {
                self.events.publish(match notice.instance {
                    Some(name) => Event::new(notice.kind, &(service.name.clone(), name), notice.text),
                    None => Event::of_service(notice.kind, &service.name, notice.text),
                });
            }
        }
    }

    /// Learns of classes from what was seen, and keeps their tables small.
    pub fn tend_classes(&self) {
        for service in self.directory().iter() {
            let tended = service.classes.tend(now());
            if tended.learned {
                let places = service.classes.templates().len();
                tracing::info!(service = %service.name, places, "learned where names are one class");
            }
            tended.freed.iter().for_each(|freed| service.forget_class(freed.id));
            self.metrics.classes_retired.inc_by(tended.freed.len() as u64);
        }
    }

    pub fn plan(&self) -> Arc<Plan> {
        self.plan.load_full()
    }

    /// All instances as they are now, by service and name.
    pub fn members(&self) -> Vec<(Key, Arc<Member>)> {
        let mut all: Vec<_> = self.membership().iter().map(|(k, m)| (k.clone(), m.clone())).collect();
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all
    }

    /// A service's instances as they are now, in no order.
    pub(super) fn members_of(&self, service: &ServiceName) -> Vec<(InstanceName, Arc<Member>)> {
        let membership = self.membership();
        let own = membership.iter().filter(|(key, _)| key.0 == *service);
        own.map(|(key, member)| (key.1.clone(), member.clone())).collect()
    }

    /// The instances of a name, in whatever service.
    pub fn named(&self, name: &InstanceName) -> Vec<Key> {
        self.membership().iter().map(|(key, _)| key).filter(|key| key.1 == *name).cloned().collect()
    }

    /// What the services' planners are told of names.
    fn named_by_service(&self) -> Vec<(Arc<Service>, Named)> {
        let named = |service: &Arc<Service>| {
            let withheld = service.look(|scheduler| scheduler.withheld());
            let instance = |(name, member): (InstanceName, Arc<Member>)| {
                let excluded = match member.routing() {
                    Routing::Routed => withheld.contains(&member.id).then(|| versions::withheld(&member)),
                    Routing::Excluded(reason) => Some(reason),
                };
                (member.id, name, excluded)
            };
            let own = self.members_of(&service.name).into_iter();
            Named { instances: own.map(instance).collect(), classes: service.classes.ids() }
        };
        self.directory().iter().map(|service| (service.clone(), named(service))).collect()
    }

    fn pace(&self) -> MutexGuard<'_, Pace> {
        self.pace.lock().expect("no code panics while holding it")
    }

    /// Brings the pool to what membership says.
    pub(super) fn apply(&self, key: &Key, member: &Member) {
        let directory = self.directory();
        let Some(service) = directory.get(&key.0) else { return };
        let known = service.instance(member.id).filter(|instance| instance.target == member.target);
        let instance = known.unwrap_or_else(|| {
            let (name, target) = (key.1.clone(), member.target.clone());
            Arc::new(Instance::new(member.id, name, target, member.release.point, now()))
        });
        instance.set_release_point(member.release.point);
        instance.set_releases(member.releases(now()));
        instance.set_behind_agent(member.is_behind_agent());
        instance.set_answers_probes(member.answers_probes());
        let workers = Workers::reported(member.workers, member.wanted.as_ref().map(|wanted| wanted.workers));
        service.set_instance(instance, workers, member.routing() == Routing::Routed);
    }

    fn update_readiness(&self) {
        let now = now();
        if self.directory().iter().any(|service| service.has_instance(now)) {
            self.readiness.clear("instances");
        } else {
            self.readiness
                .block("instances", "no instance is up: start agents with --balancer, or give --instance");
        }
    }

    pub fn directory(&self) -> Arc<Directory> {
        self.directory.load_full()
    }

    pub(super) fn set_directory(&self, directory: Arc<Directory>) {
        self.directory.store(directory);
    }

    pub(super) fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().expect("no code panics while holding it")
    }

    pub(super) fn membership(&self) -> MutexGuard<'_, Membership> {
        self.membership.lock().expect("no code panics while holding it")
    }
}

/// What there is to tell of it.
pub(super) fn says(routing: &Routing) -> String {
    match routing {
        Routing::Routed => "gets requests".to_owned(),
        Routing::Excluded(reason) => format!("gets no requests: {reason}"),
    }
}
