//! Any instance.

use std::time::Duration;

use fastrand::Rng;

use crate::policy::{Dispatch, Job, JobId, Policy, Setup};

pub(super) struct Random {
    instances: usize,
    rng: Rng,
}

impl Random {
    pub(super) fn new(setup: &Setup) -> Self {
        Self { instances: setup.instances.len(), rng: Rng::with_seed(setup.seed) }
    }
}

impl Policy for Random {
    fn arrive(&mut self, _now: Duration, job: &Job, out: &mut Vec<Dispatch>) {
        out.push(Dispatch { job: job.id, instance: self.rng.usize(..self.instances) });
    }

    fn ended(&mut self, _now: Duration, _job: JobId, _out: &mut Vec<Dispatch>) {}
}
