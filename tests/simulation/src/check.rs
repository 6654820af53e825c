//! Invariants of any policy, judged by its dispatches alone (I1, I2 and I8 of algorithms.md 3.10).

use std::collections::BTreeMap;
use std::time::Duration;

use crate::policy::{Hold, JobId, OverCommit, Policy, Promise, Setup, World};
use crate::scenario::Kind;

/// Follows every job from arrival to end and keeps books of its own.
#[derive(Debug)]
pub struct InvariantChecker {
    promise: Promise,
    workers: usize,
    /// By job index: what its class looks like, and where it was sent.
    jobs: Vec<Known>,
    queued: usize,
    small_queued: usize,
    held: Vec<usize>,
    connections: Vec<usize>,
    /// By instance: jobs of large classes that hold a slot, as the promise counts it.
    large: Vec<usize>,
    /// Instances with fewer jobs than workers, as the promise counts them.
    with_free_slot: usize,
    violations: Violations,
}

/// What a policy must not do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// Dispatches a job that is not queued, or to an instance that is not there.
    NotQueued,
    /// More jobs at an instance than promised.
    Overfull,
    /// A job waits at an instance behind a large one, or is large and waits there.
    BehindLarge,
    /// A small job waits though a slot is free.
    SmallWaits,
    /// The policy's own check failed.
    OwnBooks,
    /// A job was never served.
    NeverEnded,
}

/// How often each rule was broken, with the first example.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct Violations(BTreeMap<Rule, Broken>);

#[derive(Clone, Debug, serde::Serialize)]
pub struct Broken {
    pub count: u64,
    pub first: String,
}

impl Violations {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = (Rule, &Broken)> {
        self.0.iter().map(|(&rule, broken)| (rule, broken))
    }

    /// How often `rule` was broken.
    pub fn count(&self, rule: Rule) -> u64 {
        self.0.get(&rule).map_or(0, |broken| broken.count)
    }

    fn add(&mut self, rule: Rule, text: impl FnOnce() -> String) {
        self.0.entry(rule).or_insert_with(|| Broken { count: 0, first: text() }).count += 1;
    }
}

/// What the checker knows of a job.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    small: bool,
    long: bool,
    instance: usize,
}

impl InvariantChecker {
    pub fn new(setup: &Setup, promise: Promise) -> Self {
        let instances = setup.instances.len();
        Self {
            promise,
            workers: setup.workers(),
            jobs: Vec::new(),
            queued: 0,
            small_queued: 0,
            held: vec![0; instances],
            connections: vec![0; instances],
            large: vec![0; instances],
            with_free_slot: instances,
            violations: Violations::default(),
        }
    }

    /// `long`: it holds a worker for so long that it can block others.
    pub fn arrived(&mut self, job: JobId, kind: Kind, long: bool) {
        if self.jobs.len() <= job.index() {
            self.jobs.resize(job.index() + 1, Known::default());
        }
        self.jobs[job.index()] = Known { small: kind == Kind::Small, long, instance: 0 };
        self.queued += 1;
        self.small_queued += usize::from(kind == Kind::Small);
    }

    /// A dispatch of a job that is not queued, or to an instance that is not there.
    pub fn refuse(&mut self, now: Duration, job: JobId, instance: usize) {
        self.violations.add(Rule::NotQueued, || {
            format!("{now:?}: {job:?} is not queued, or there is no instance {instance}")
        });
    }

    pub fn dispatched(&mut self, now: Duration, job: JobId, instance: usize) {
        let Known { small, long, .. } = self.jobs[job.index()];
        self.judge(now, long, instance);
        self.jobs[job.index()].instance = instance;
        self.queued -= 1;
        self.small_queued -= usize::from(small);
        self.held[instance] += 1;
        self.connections[instance] += 1;
        if self.slots(instance) == self.workers {
            self.with_free_slot -= 1;
        }
        self.large[instance] += usize::from(long);
    }

    pub fn turned_away(&mut self, job: JobId) {
        self.queued -= 1;
        self.small_queued -= usize::from(self.jobs[job.index()].small);
    }

    pub fn released(&mut self, job: JobId) {
        self.held[self.jobs[job.index()].instance] -= 1;
        if self.until() == Hold::Released {
            self.freed(job);
        }
    }

    pub fn ended(&mut self, job: JobId) {
        self.connections[self.jobs[job.index()].instance] -= 1;
        if self.until() == Hold::Ended {
            self.freed(job);
        }
    }

    /// The run is over: nothing may be left, as every queued job is served in the end.
    pub fn finished(&mut self, live: usize) {
        if live > 0 {
            let queued = self.queued;
            self.violations.add(Rule::NeverEnded, || {
                format!("at the end {live} jobs have not ended, {queued} of them are queued")
            });
        }
    }

    /// What holds between any two events.
    pub fn after_event(&mut self, now: Duration, policy: &dyn Policy) {
        if let Promise::Slots { small_never_waits_beside_a_free_slot: true, .. } = self.promise
            && self.small_queued > 0
            && self.with_free_slot > 0
        {
            let (waiting, free) = (self.small_queued, self.with_free_slot);
            self.violations.add(Rule::SmallWaits, || {
                format!("{now:?}: {waiting} small jobs wait, {free} instances have room")
            });
        }
        let world = World { now, queued: self.queued, held: &self.held, connections: &self.connections };
        if let Err(text) = policy.check(&world) {
            self.violations.add(Rule::OwnBooks, || format!("{now:?}: {text}"));
        }
    }

    pub fn into_violations(self) -> Violations {
        self.violations
    }

    fn until(&self) -> Hold {
        match self.promise {
            Promise::Slots { until, .. } => until,
            Promise::Nothing => Hold::Ended,
        }
    }

    fn slots(&self, instance: usize) -> usize {
        match self.until() {
            Hold::Released => self.held[instance],
            Hold::Ended => self.connections[instance],
        }
    }

    fn freed(&mut self, job: JobId) {
        let Known { long, instance, .. } = self.jobs[job.index()];
        if self.slots(instance) + 1 == self.workers {
            self.with_free_slot += 1;
        }
        self.large[instance] -= usize::from(long);
    }

    fn judge(&mut self, now: Duration, long: bool, instance: usize) {
        let Promise::Slots { over, over_for, .. } = self.promise else { return };
        let (taken, large) = (self.slots(instance), self.large[instance]);
        if taken >= self.workers + over {
            self.violations.add(Rule::Overfull, || {
                format!("{now:?}: instance {instance} has {taken} jobs and gets another")
            });
        }
        let OverCommit::SmallBesideSmall { after } = over_for else { return };
        if taken >= self.workers && now >= after && (long || large > 0) {
            self.violations.add(Rule::BehindLarge, || {
                format!(
                    "{now:?}: a job (long: {long}) queues at instance {instance} behind {large} long ones"
                )
            });
        }
    }
}
