//! The instance with the fewest connections, at once: the instance queues (nginx least_conn, Envoy).

use std::time::Duration;

use fastrand::Rng;

use super::groups::Group;
use super::placement::Placement;
use crate::policy::{Dispatch, Job, JobId, Policy, Setup};

pub(super) struct LeastConnections {
    instances: Group,
    placement: Placement,
    rng: Rng,
}

impl LeastConnections {
    pub(super) fn new(setup: &Setup) -> Self {
        Self {
            instances: Group::new(0..setup.instances.len()),
            placement: Placement::default(),
            rng: Rng::with_seed(setup.seed),
        }
    }
}

impl Policy for LeastConnections {
    fn arrive(&mut self, now: Duration, job: &Job, out: &mut Vec<Dispatch>) {
        let Some(instance) = self.instances.least(usize::MAX, &mut self.rng) else { return };
        self.instances.add(instance);
        self.placement.send(now, job.id, instance, out);
    }

    fn ended(&mut self, _now: Duration, job: JobId, _out: &mut Vec<Dispatch>) {
        self.instances.remove(self.placement.instance(job));
    }
}
