//! A central queue per kind, the cheapest first, nothing reserved: the best that keeps all workers busy.

use std::collections::VecDeque;
use std::time::Duration;

use fastrand::Rng;

use super::groups::Group;
use super::placement::Placement;
use crate::policy::{Dispatch, Hold, Job, JobId, OverCommit, Policy, Promise, Setup};
use crate::scenario::Kind;

pub(super) struct Priority {
    /// By class.
    lanes: Vec<usize>,
    queues: [VecDeque<JobId>; Kind::COUNT],
    instances: Group,
    workers: usize,
    placement: Placement,
    rng: Rng,
}

/// By class: its lane, as an oracle knows it.
pub(super) fn lanes(setup: &Setup) -> Vec<usize> {
    setup.classes.iter().map(|class| class.oracle.kind.lane()).collect()
}

/// What queues with one job per worker, small first, promise.
pub(super) const ONE_PER_WORKER: Promise = Promise::Slots {
    until: Hold::Ended,
    over: 0,
    over_for: OverCommit::Anyone,
    small_never_waits_beside_a_free_slot: true,
};

impl Priority {
    pub(super) fn new(setup: &Setup) -> Self {
        Self {
            lanes: lanes(setup),
            queues: Default::default(),
            instances: Group::new(0..setup.instances.len()),
            workers: setup.workers(),
            placement: Placement::default(),
            rng: Rng::with_seed(setup.seed),
        }
    }

    fn drain(&mut self, now: Duration, out: &mut Vec<Dispatch>) {
        while let Some(queue) = self.queues.iter_mut().find(|queue| !queue.is_empty())
            && let Some(instance) = self.instances.least(self.workers, &mut self.rng)
            && let Some(job) = queue.pop_front()
        {
            self.instances.add(instance);
            self.placement.send(now, job, instance, out);
        }
    }
}

impl Policy for Priority {
    fn arrive(&mut self, now: Duration, job: &Job, out: &mut Vec<Dispatch>) {
        self.queues[self.lanes[job.class]].push_back(job.id);
        self.drain(now, out);
    }

    fn ended(&mut self, now: Duration, job: JobId, out: &mut Vec<Dispatch>) {
        self.instances.remove(self.placement.instance(job));
        self.drain(now, out);
    }

    fn promise(&self) -> Promise {
        ONE_PER_WORKER
    }
}
