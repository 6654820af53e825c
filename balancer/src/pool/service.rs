//! One service's slots and queue, shared by all data threads.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use sluice_proto::ServiceName;
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::decide::breaker::Breaker;
use crate::decide::dispatch::{
    Arrival, ClassId, Granted, InstanceId, Lane, Occupancy, Refusal, RunId, Ticket, Workers,
};
use crate::decide::hash::IdMap;
use crate::decide::learn::reported::ReportedClass;
use crate::decide::plan::ServicePlan;
use crate::decide::predict::UrlSeed;
use crate::decide::retry::RetryBudget;
use crate::decide::schedule::figures::Figures;
use crate::decide::schedule::{
    Ask, Explanation, Judgement, Knowledge, Named, Outcome, Planned, Scheduler, SchedulerState,
};
use crate::decide::sticky::Preference;
use crate::decide::treatment::{LanePin, ServiceRules, Treatment};
use crate::decide::versions::{Assignment, VersionPolicy};
use crate::pool::versions::VersionControl;
use crate::pool::{ClassTable, Instance, ServiceLimits, Slot, now};
use sluice_relay::{Failure, RetryAfter};

/// A service while it runs.
pub struct Service {
    pub name: ServiceName,
    pub classes: ClassTable,
    /// Replaced when the configuration is read again. Read only by requests that wait.
    limits: ArcSwap<ServiceLimits>,
    url_seed: UrlSeed,
    /// The control plane's alone.
    pub(super) versions: Mutex<VersionControl>,
    live: Mutex<Live>,
}

/// Behind the one lock of the data path: held for a decision, never across an await.
struct Live {
    scheduler: Scheduler<oneshot::Sender<Slot>>,
    instances: IdMap<InstanceId, Arc<Instance>>,
    retries: RetryBudget,
}

impl Service {
    /// `known`: what an earlier process knew of it.
    pub fn new(
        name: ServiceName,
        limits: ServiceLimits,
        classes: ClassTable,
        known: Option<SchedulerState>,
        rng: fastrand::Rng,
    ) -> Arc<Self> {
        let start = now();
        let scheduler = match known {
            None => Scheduler::new(start, limits.settings(), rng),
            Some(state) => {
                let class = |name: &str| classes.place(name, start);
                Scheduler::restored(start, limits.settings(), rng, state, class)
            }
        };
        let url_seed = scheduler.url_seed();
        let live = Live { scheduler, instances: IdMap::default(), retries: RetryBudget::new(start) };
        let limits = ArcSwap::from_pointee(limits);
        let versions = Mutex::default();
        Arc::new(Self { name, classes, limits, url_seed, versions, live: Mutex::new(live) })
    }

    /// Other bounds and other rules, from the next request on. What was learned stays, and so does what waits.
    /// Versions are decided by the policy from [`Service::decide_versions`] on.
    pub fn reconfigure(&self, limits: ServiceLimits, rules: &Arc<ServiceRules>, policy: &VersionPolicy) {
        self.set_version_policy(policy);
        self.classes.set_rules(rules.clone(), now());
        self.limits.store(Arc::new(limits));
        self.live().scheduler.set_settings(limits.settings());
    }

    /// What URLs of this service are hashed with.
    pub fn url_seed(&self) -> UrlSeed {
        self.url_seed
    }

    /// Waits for a slot on any instance but those in `avoid`. Returns it with what was thought of
    /// the request.
    ///
    /// Dropping the future gives up the place in the queue, or the slot.
    ///
    /// # Errors
    /// [`Failure::NoInstance`], [`Failure::QueueFull`], [`Failure::Overload`] or [`Failure::QueueTimeout`].
    pub async fn acquire(
        self: &Arc<Self>,
        ask: &Ask,
        avoid: &[InstanceId],
    ) -> Result<(Slot, Judgement), Failure> {
        let (entry, judgement) = self.arrive(ask, avoid);
        let (ticket, granted) = match entry {
            Entry::Slot(slot) => return Ok((slot, judgement)),
            Entry::Waiting(ticket, granted) => (ticket, granted),
            Entry::Refused(failure) => return Err(failure),
        };
        let _place = Place { service: self, ticket };
        // The queue has grown: that may be reason enough to use a slow worker.
        self.hand_out();
        let slot = self.granted(granted, self.longest_wait(ask, judgement.lane)).await?;
        Ok((slot, judgement))
    }

    async fn granted(
        &self,
        mut granted: oneshot::Receiver<Slot>,
        longest: Duration,
    ) -> Result<Slot, Failure> {
        if self.awaits_first_instance() {
            match timeout(self.limits.load().startup_hold, &mut granted).await {
                Ok(granted) => return granted.map_err(|_| Failure::QueueTimeout),
                Err(_) if self.awaits_first_instance() => return Err(Failure::NoInstance),
                Err(_) => {}
            }
        }
        // The sender lives in the queue until it is used or the place is given up.
        let granted = timeout(longest, granted).await;
        granted.ok().and_then(Result::ok).ok_or(Failure::QueueTimeout)
    }

    fn longest_wait(&self, ask: &Ask, lane: Lane) -> Duration {
        let limits = self.limits.load();
        let most = if lane.is_large() { limits.large_queue_timeout } else { limits.queue_timeout };
        ask.deadline.map_or(most, |deadline| deadline.min(most))
    }

    /// Just started, and no instance has been heard of.
    fn awaits_first_instance(&self) -> bool {
        self.live().instances.is_empty()
    }

    fn arrive(self: &Arc<Self>, ask: &Ask, avoid: &[InstanceId]) -> (Entry, Judgement) {
        let mut granted = None;
        let mut live = self.live();
        if avoid.is_empty() {
            live.retries.on_request();
        }
        let (arrival, judgement) = live.scheduler.arrive(now(), ask, avoid, || {
            let (sender, receiver) = oneshot::channel();
            granted = Some(receiver);
            sender
        });
        let entry = match (arrival, granted) {
            (Arrival::Slot(granted), _) => match self.slot(&live, granted) {
                Some(slot) => Entry::Slot(slot),
                None => unreachable!(
                    "an instance is in both tables or in none: see set_instance and remove_instance"
                ),
            },
            (Arrival::Waiting(ticket), Some(granted)) => Entry::Waiting(ticket, granted),
            (Arrival::Waiting(_), None) => unreachable!("the dispatcher makes a waiter for whoever waits"),
            (Arrival::Refused(refusal), _) => Entry::Refused(live.failure(refusal, judgement.lane)),
        };
        (entry, judgement)
    }

    fn slot(self: &Arc<Self>, live: &Live, granted: Granted) -> Option<Slot> {
        let instance = live.instances.get(&granted.instance)?.clone();
        Some(Slot::new(self.clone(), instance, granted))
    }

    /// The head of a response came; its body is `bytes` long, and `holds_worker` while it is sent.
    pub(super) fn head(&self, run: RunId, bytes: u64, holds_worker: bool) {
        self.live().scheduler.head(run, bytes, holds_worker, now());
    }

    pub(super) fn first_byte(self: &Arc<Self>, run: RunId, bytes: Option<u64>) {
        self.live().scheduler.first_byte(run, bytes, now());
        self.hand_out();
    }

    pub(super) fn end(self: &Arc<Self>, run: RunId, outcome: Outcome) {
        self.live().scheduler.end(run, outcome, now());
        self.hand_out();
    }

    /// Gives free slots to whoever waits. A waiter that left meanwhile drops its slot, which comes
    /// back here from [`Slot::drop`]; it has left the queue by then, so this ends.
    pub fn hand_out(self: &Arc<Self>) {
        loop {
            let (mut live, now) = (self.live(), now());
            live.scheduler.runs(now);
            let Some(grant) = live.scheduler.next_grant(now) else { return };
            let Some(slot) = self.slot(&live, grant.granted) else { return };
            // Not under the lock: a slot that nobody takes is dropped here and takes it again.
            drop(live);
            drop(grant.waiter.send(slot));
        }
    }

    /// Ends a second of the scheduler's, with a new plan. Returns it with what it was made from.
    pub fn tick(self: &Arc<Self>, at_ms: u64, named: Named) -> Planned {
        let planned = self.live().scheduler.tick(now(), at_ms, named);
        self.hand_out();
        planned
    }

    /// Makes a new plan between the seconds, as an instance came or went.
    pub fn replan(self: &Arc<Self>, at_ms: u64, named: Named) -> Planned {
        let planned = self.live().scheduler.replan(now(), at_ms, named);
        self.hand_out();
        planned
    }

    /// The plan in force.
    pub fn plan(&self) -> ServicePlan {
        self.live().scheduler.plan().clone()
    }

    /// Lanes, homes and counts.
    pub fn figures(&self) -> Figures {
        let now = now();
        self.look(|scheduler| scheduler.figures(now))
    }

    /// A copy of all that was learned, to be saved.
    pub fn knowledge(&self) -> Knowledge {
        self.live().scheduler.knowledge()
    }

    /// Forgets what was learned of a class whose id will be another's.
    pub fn forget_class(&self, class: ClassId) {
        self.live().scheduler.forget_class(class);
    }

    /// Workers of an instance that others hold, and those that this balancer may count on, by its agent's word.
    pub fn set_shares(self: &Arc<Self>, id: InstanceId, foreign: u32, granted: Option<u32>) {
        let mut live = self.live();
        live.scheduler.set_foreign(id, foreign);
        live.scheduler.set_granted(id, granted);
        drop(live);
        self.hand_out();
    }

    /// Whether what agents report may be planned with: see [`Service::reported`].
    pub fn plans_from_reports(&self) -> bool {
        self.limits.load().plan_from_reports
    }

    /// Whether they are planned with, as the requests are sent by somebody else.
    pub fn is_bypassed(&self) -> bool {
        self.plans_from_reports() && self.live().scheduler.is_bypassed()
    }

    /// What an agent measured of classes in one window, whoever sent the requests.
    pub fn reported(&self, id: InstanceId, told: &[ReportedClass]) {
        self.live().scheduler.reported(id, told, now());
    }

    /// Workers of an instance that requests hold, and would hold if they could.
    pub fn demand(&self, id: InstanceId) -> Option<(u32, u32)> {
        let live = self.live();
        let load = live.scheduler.occupancy(id)?.load;
        let wanted = if live.scheduler.queued() > 0 { load.workers } else { load.working + 1 };
        Some((load.working, wanted.min(load.workers)))
    }

    /// Adds an instance or changes its settings.
    pub fn set_instance(
        self: &Arc<Self>,
        instance: Arc<Instance>,
        workers: impl Into<Workers>,
        routable: bool,
    ) {
        let mut live = self.live();
        live.scheduler.set_instance(instance.id, workers, routable, now());
        live.instances.insert(instance.id, instance);
        drop(live);
        self.hand_out();
    }

    pub fn remove_instance(&self, id: InstanceId) {
        let mut live = self.live();
        live.scheduler.remove_instance(id);
        live.instances.remove(&id);
    }

    pub fn instance(&self, id: InstanceId) -> Option<Arc<Instance>> {
        self.live().instances.get(&id).cloned()
    }

    /// A connection to the instance was made. Takes the lock only if one had failed before.
    pub fn reached(self: &Arc<Self>, instance: &Instance) {
        if instance.is_suspect() {
            instance.set_suspect(false);
            self.live().scheduler.reached(instance.id);
            self.hand_out();
        }
    }

    /// Instances to which a connection ought to be tried, to find out whether they can be reached again.
    pub fn due(&self) -> Vec<Arc<Instance>> {
        let mut live = self.live();
        let due = live.scheduler.due(now());
        due.into_iter().filter_map(|id| live.instances.get(&id).cloned()).collect()
    }

    /// A connection to the instance could not be made.
    pub fn unreachable(&self, instance: &Instance) {
        instance.set_suspect(true);
        self.live().scheduler.unreachable(instance.id, now());
    }

    /// Puts a rule's treatment, and the instance that the request's session prefers, into what it asks
    /// for. Takes the lock only for rules about instances.
    pub fn treat(&self, ask: &mut Ask, treatment: &Treatment, session: Option<Preference>) {
        ask.lane = treatment.lane.map(LanePin::lane);
        (ask.priority, ask.deadline) = (treatment.priority, treatment.deadline);
        let names = treatment.instances.as_deref();
        if names.is_none() && session.is_none() {
            return;
        }
        let live = self.live();
        let allowed: Vec<_> = live
            .instances
            .values()
            .filter(|instance| names.is_none_or(|names| names.contains(&instance.name)))
            .collect();
        ask.only = names.map(|_| allowed.iter().map(|instance| instance.id).collect());
        // Only among those that are up: else a session's requests would spread while its home is down.
        let up = allowed.iter().filter(|instance| live.is_up(instance.id));
        let up = up.map(|instance| (&instance.name, live.scheduler.session_weight(instance.id)));
        let home = session.and_then(|session| session.among(up));
        let home = home.and_then(|home| allowed.iter().find(|instance| instance.name == *home));
        ask.sticky = home.map(|instance| instance.id);
    }

    /// Whether one more attempt is within the retry budget; takes it out.
    pub fn take_retry(&self) -> bool {
        self.live().retries.take(now())
    }

    pub fn occupancy(&self, id: InstanceId) -> Option<Occupancy> {
        self.live().scheduler.occupancy(id)
    }

    pub fn queued(&self) -> usize {
        self.live().scheduler.queued()
    }

    pub fn has_instance(&self, now: Instant) -> bool {
        self.live().scheduler.has_instance(now)
    }

    /// What would become of a request now, and why.
    pub fn explain(&self, ask: &Ask) -> Explanation {
        let now = now();
        self.look(|scheduler| scheduler.explain(ask, now))
    }

    /// Reads what the scheduler knows, under its lock: to be short.
    pub fn look<T>(&self, look: impl FnOnce(&Scheduler<oneshot::Sender<Slot>>) -> T) -> T {
        look(&self.live().scheduler)
    }

    pub(super) fn set_versions(self: &Arc<Self>, assignment: &Assignment) {
        self.live().scheduler.set_versions(assignment);
        self.hand_out();
    }

    fn live(&self) -> MutexGuard<'_, Live> {
        self.live.lock().expect("no code panics while holding it")
    }
}

impl Live {
    fn failure(&mut self, refusal: Refusal, lane: Lane) -> Failure {
        let mut retry = || RetryAfter(self.scheduler.retry_after(lane, now()));
        match refusal {
            Refusal::NoInstance => Failure::NoInstance,
            Refusal::QueueFull => Failure::QueueFull(retry()),
            Refusal::TooLate => Failure::Overload(retry()),
        }
    }

    fn is_up(&self, id: InstanceId) -> bool {
        let up = |occupancy: Occupancy| {
            occupancy.routable && !occupancy.withheld && occupancy.breaker == Breaker::Closed
        };
        self.scheduler.occupancy(id).is_some_and(up)
    }
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service").field("name", &self.name).finish_non_exhaustive()
    }
}

enum Entry {
    Slot(Slot),
    Waiting(Ticket, oneshot::Receiver<Slot>),
    Refused(Failure),
}

/// A place in the queue, given up on drop.
struct Place<'a> {
    service: &'a Arc<Service>,
    ticket: Ticket,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        // Not in the queue any more: then its slot is in the channel, and is dropped with it.
        let _granted_meanwhile = self.service.live().scheduler.leave(self.ticket);
    }
}

#[cfg(test)]
mod tests;
