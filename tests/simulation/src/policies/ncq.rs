//! Sluice's own decisions: the code that the balancer runs, driven in virtual time.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use sluice_balancer::decide::dispatch::{
    Arrival, ClassId, Granted, InstanceId, Lane, RunId, Ticket, Workers,
};
use sluice_balancer::decide::foreign::Foreign;
use sluice_balancer::decide::predict::{ExtensionKey, RequestKey, UrlKey};
use sluice_balancer::decide::schedule::{Ask, Named, Outcome, Scheduler, Settings};
use sluice_proto::{ClassName, InstanceName};

use super::ncq_invariants::{after_dispatch, always};
use crate::policy::{
    Dispatch, Head, Hold, InstanceReport, Job, JobId, OverCommit, Policy, Promise, Setup, World,
};
use crate::scenario::Kind;

/// What the scheduler is told of a job's kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Label {
    /// Nothing: it learns.
    Learned,
    /// The truth, as the baselines are.
    Oracle,
}

/// Seconds after which classes are known.
const LEARNED_AFTER: Duration = Duration::from_secs(10);

pub(super) struct Ncq {
    scheduler: Scheduler<JobId>,
    label: Label,
    setup: Setup,
    /// Virtual time 0.
    start: Instant,
    classes: HashMap<String, ClassId>,
    named: Named,
    /// By job index.
    runs: Vec<Option<RunId>>,
    bytes: Vec<u64>,
    foreign: Vec<Foreign>,
    /// By instance, by its own count.
    held: Vec<usize>,
    instance_of: HashMap<RunId, usize>,
    /// By job index: the lane that it was put into when it came.
    lanes: Vec<Lane>,
    /// Those that wait, since when and for how long at most.
    waiting: HashMap<JobId, (Ticket, Duration, Duration)>,
    away: Vec<JobId>,
    settings: Settings,
    /// Freed workers were handed out since the last report.
    fresh: bool,
    /// What was wrong with a dispatch.
    broken: Option<String>,
}

impl Ncq {
    pub(super) fn new(setup: &Setup, settings: Settings, label: Label) -> Self {
        let start = Instant::now();
        let mut scheduler = Scheduler::new(start, settings, fastrand::Rng::with_seed(setup.seed));
        let mut named = Named::default();
        for (index, instance) in setup.instances.iter().enumerate() {
            let id = InstanceId(index as u64);
            let workers = u32::try_from(instance.workers).expect("few workers");
            scheduler.set_instance(id, Workers::reported(workers, None), true, start);
            let name: InstanceName = format!("i{index}").parse().expect("letters and digits");
            named.instances.push((id, name, None));
        }
        let instances = setup.instances.len();
        Self {
            scheduler,
            label,
            setup: setup.clone(),
            start,
            classes: HashMap::new(),
            named,
            runs: Vec::new(),
            bytes: Vec::new(),
            foreign: vec![Foreign::default(); instances],
            held: vec![0; instances],
            instance_of: HashMap::new(),
            lanes: Vec::new(),
            waiting: HashMap::new(),
            away: Vec::new(),
            settings,
            fresh: true,
            broken: None,
        }
    }

    fn at(&self, now: Duration) -> Instant {
        self.start + now
    }

    fn class(&mut self, job: &Job) -> ClassId {
        let name = self.setup.class_name(job);
        if let Some(id) = self.classes.get(&name) {
            return *id;
        }
        let id = ClassId(u32::try_from(self.classes.len() + 1).expect("few classes"));
        self.named.classes.push((id, ClassName::parse(&name).unwrap_or_else(ClassName::other)));
        self.classes.insert(name, id);
        id
    }

    fn ask(&mut self, job: &Job) -> Ask {
        let key = RequestKey { class: self.class(job), url: UrlKey(job.url), extension: ExtensionKey::Bare };
        let lane = match (self.label, self.setup.classes[job.class].oracle.kind) {
            (Label::Learned, _) => None,
            (Label::Oracle, Kind::Small) => Some(Lane::SMALL),
            (Label::Oracle, _) => Some(Lane::LARGE),
        };
        Ask { lane, ..Ask::new(key) }
    }

    fn sent(&mut self, now: Duration, job: JobId, granted: Granted, out: &mut Vec<Dispatch>) {
        if self.runs.len() <= job.index() {
            self.runs.resize(job.index() + 1, None);
            self.bytes.resize(job.index() + 1, 0);
        }
        let instance = usize::try_from(granted.instance.0).expect("an index");
        self.runs[job.index()] = Some(granted.run);
        self.held[instance] += 1;
        self.instance_of.insert(granted.run, instance);
        out.push(Dispatch { job, instance });
        let lane = self.lanes[job.index()];
        if let Err(why) = after_dispatch(&self.scheduler, self.at(now), lane, granted.instance) {
            self.broken.get_or_insert(why);
        }
    }

    /// Those who have waited for as long as they may.
    fn give_up(&mut self, now: Duration) {
        let over = |(job, (ticket, since, longest)): (&JobId, &(Ticket, Duration, Duration))| {
            (now.saturating_sub(*since) > *longest).then_some((*job, *ticket))
        };
        let mut late: Vec<_> = self.waiting.iter().filter_map(over).collect();
        late.sort_unstable_by_key(|(job, _)| *job);
        for (job, ticket) in late {
            self.waiting.remove(&job);
            self.scheduler.leave(ticket);
            self.away.push(job);
        }
    }

    fn hand_out(&mut self, now: Duration, out: &mut Vec<Dispatch>) {
        while let Some(grant) = self.scheduler.next_grant(self.at(now)) {
            self.waiting.remove(&grant.waiter);
            self.sent(now, grant.waiter, grant.granted, out);
        }
        self.fresh = true;
    }
}

impl Policy for Ncq {
    fn arrive(&mut self, now: Duration, job: &Job, out: &mut Vec<Dispatch>) {
        let ask = self.ask(job);
        let (arrival, judgement) = self.scheduler.arrive(self.at(now), &ask, &[], || job.id);
        if self.lanes.len() <= job.id.index() {
            self.lanes.resize(job.id.index() + 1, Lane::SMALL);
        }
        self.lanes[job.id.index()] = judgement.lane;
        match arrival {
            Arrival::Slot(granted) => self.sent(now, job.id, granted, out),
            Arrival::Waiting(ticket) => {
                let Settings { small_wait, large_wait, .. } = self.settings;
                let longest = if judgement.lane.is_large() { large_wait } else { small_wait };
                self.waiting.insert(job.id, (ticket, now, longest));
                self.hand_out(now, out);
            }
            Arrival::Refused(_) => self.away.push(job.id),
        }
    }

    fn head(&mut self, _now: Duration, job: JobId, head: Head) {
        self.bytes[job.index()] = head.bytes;
    }

    fn released(&mut self, now: Duration, job: JobId, out: &mut Vec<Dispatch>) {
        let Some(run) = self.runs[job.index()] else { return };
        let at = self.at(now);
        self.scheduler.first_byte(run, Some(self.bytes[job.index()]), at);
        if let Some(instance) = self.instance_of.remove(&run) {
            self.held[instance] -= 1;
        }
        self.hand_out(now, out);
    }

    fn ended(&mut self, now: Duration, job: JobId, out: &mut Vec<Dispatch>) {
        let Some(run) = self.runs[job.index()].take() else { return };
        let bytes = Some(self.bytes[job.index()]);
        let at = self.at(now);
        self.scheduler.end(run, Outcome { answered: true, failed: false, bytes, held_to_the_end: false }, at);
        self.hand_out(now, out);
    }

    fn timer(&mut self, now: Duration, out: &mut Vec<Dispatch>) {
        if now.subsec_nanos() == 0 {
            let at_ms = u64::try_from(now.as_millis()).expect("a short simulation");
            self.scheduler.tick(self.at(now), at_ms, self.named.clone());
        }
        self.give_up(now);
        self.hand_out(now, out);
    }

    fn turned_away(&mut self, away: &mut Vec<JobId>) {
        away.append(&mut self.away);
    }

    fn report(&mut self, now: Duration, reports: &[InstanceReport]) {
        let at = self.at(now);
        for report in reports {
            let id = InstanceId(report.instance as u64);
            let own = self.scheduler.occupancy(id).map_or(0, |occupancy| occupancy.load.working);
            let busy = u32::try_from(report.busy).unwrap_or(u32::MAX);
            let others = self.foreign[report.instance].report(busy, own);
            let workers = u32::try_from(report.workers).unwrap_or(u32::MAX);
            self.scheduler.set_instance(id, Workers::reported(workers, None), true, at);
            self.scheduler.set_foreign(id, others);
        }
        self.fresh = false;
    }

    fn promise(&self) -> Promise {
        Promise::Slots {
            until: Hold::Released,
            over: 1,
            over_for: OverCommit::SmallBesideSmall { after: LEARNED_AFTER },
            // A slow worker, or one that is not the class's home, may be worth waiting beside.
            small_never_waits_beside_a_free_slot: false,
        }
    }

    fn check(&self, world: &World<'_>) -> Result<(), String> {
        let queued = self.scheduler.queued();
        if queued != world.queued {
            return Err(format!("{queued} are queued by its own count, {} in truth", world.queued));
        }
        if self.held != world.held {
            return Err(format!("{:?} are held by its own count, {:?} in truth", self.held, world.held));
        }
        if let Some(why) = &self.broken {
            return Err(why.clone());
        }
        always(&self.scheduler, self.at(world.now), self.held.len(), self.fresh)
    }
}
