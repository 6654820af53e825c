//! One queue, first come first served: an instance gets a job when it has fewer than its limit (HAProxy with
//! maxconn = workers, or one more).

use std::collections::VecDeque;
use std::time::Duration;

use fastrand::Rng;

use super::groups::Group;
use super::placement::Placement;
use crate::policy::{Dispatch, Hold, Job, JobId, OverCommit, Policy, Promise, Setup};

/// A queue with the instances that serve it.
pub(super) struct Backend {
    queue: VecDeque<JobId>,
    instances: Group,
    limit: usize,
}

impl Backend {
    pub(super) fn new(instances: Group, limit: usize) -> Self {
        Self { queue: VecDeque::new(), instances, limit }
    }

    pub(super) fn push(&mut self, job: JobId) {
        self.queue.push_back(job);
    }

    /// Forgets a job that `instance` had, if it is one of this backend's.
    pub(super) fn ended(&mut self, instance: usize) {
        if self.instances.contains(instance) {
            self.instances.remove(instance);
        }
    }

    pub(super) fn drain(&mut self, rng: &mut Rng, mut send: impl FnMut(JobId, usize)) {
        while let Some(&job) = self.queue.front()
            && let Some(instance) = self.instances.least(self.limit, rng)
        {
            self.queue.pop_front();
            self.instances.add(instance);
            send(job, instance);
        }
    }
}

pub(super) struct Central {
    backend: Backend,
    over: usize,
    placement: Placement,
    rng: Rng,
}

impl Central {
    pub(super) fn new(setup: &Setup, over: usize) -> Self {
        Self {
            backend: Backend::new(Group::new(0..setup.instances.len()), setup.workers() + over),
            over,
            placement: Placement::default(),
            rng: Rng::with_seed(setup.seed),
        }
    }

    fn drain(&mut self, now: Duration, out: &mut Vec<Dispatch>) {
        let Self { backend, placement, rng, .. } = self;
        backend.drain(rng, |job, instance| placement.send(now, job, instance, out));
    }
}

impl Policy for Central {
    fn arrive(&mut self, now: Duration, job: &Job, out: &mut Vec<Dispatch>) {
        self.backend.push(job.id);
        self.drain(now, out);
    }

    fn ended(&mut self, now: Duration, job: JobId, out: &mut Vec<Dispatch>) {
        self.backend.ended(self.placement.instance(job));
        self.drain(now, out);
    }

    fn promise(&self) -> Promise {
        Promise::Slots {
            until: Hold::Ended,
            over: self.over,
            over_for: OverCommit::Anyone,
            small_never_waits_beside_a_free_slot: true,
        }
    }
}
