//! One instance after another.

use std::time::Duration;

use crate::policy::{Dispatch, Job, JobId, Policy, Setup};

pub(super) struct RoundRobin {
    instances: usize,
    next: usize,
}

impl RoundRobin {
    pub(super) fn new(setup: &Setup) -> Self {
        Self { instances: setup.instances.len(), next: 0 }
    }
}

impl Policy for RoundRobin {
    fn arrive(&mut self, _now: Duration, job: &Job, out: &mut Vec<Dispatch>) {
        out.push(Dispatch { job: job.id, instance: self.next });
        self.next = (self.next + 1) % self.instances;
    }

    fn ended(&mut self, _now: Duration, _job: JobId, _out: &mut Vec<Dispatch>) {}
}
