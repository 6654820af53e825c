//! The one with fewer connections of two distinct instances drawn at random.

use std::time::Duration;

use fastrand::Rng;

use super::placement::Placement;
use crate::policy::{Dispatch, Job, JobId, Policy, Setup};

pub(super) struct TwoChoices {
    connections: Vec<usize>,
    placement: Placement,
    rng: Rng,
}

impl TwoChoices {
    pub(super) fn new(setup: &Setup) -> Self {
        Self {
            connections: vec![0; setup.instances.len()],
            placement: Placement::default(),
            rng: Rng::with_seed(setup.seed),
        }
    }
}

/// Two distinct numbers below `count`; the same one twice if there is only one.
pub(super) fn pair(count: usize, rng: &mut Rng) -> (usize, usize) {
    let first = rng.usize(..count);
    let step = if count > 1 { rng.usize(1..count) } else { 0 };
    (first, (first + step) % count)
}

impl Policy for TwoChoices {
    fn arrive(&mut self, now: Duration, job: &Job, out: &mut Vec<Dispatch>) {
        let (a, b) = pair(self.connections.len(), &mut self.rng);
        let instance = if self.connections[b] < self.connections[a] { b } else { a };
        self.connections[instance] += 1;
        self.placement.send(now, job.id, instance, out);
    }

    fn ended(&mut self, _now: Duration, job: JobId, _out: &mut Vec<Dispatch>) {
        self.connections[self.placement.instance(job)] -= 1;
    }
}
