//! Peak EWMA (Finagle, Linkerd, tower): the lower cost of two random instances, where cost is a latency
//! estimate that jumps to each peak and decays, times the connections that there would be.

use std::time::Duration;

use fastrand::Rng;

use super::p2c::pair;
use super::placement::Placement;
use crate::policy::{Dispatch, Job, JobId, Policy, Setup};

/// Decay of the estimate, in seconds: tower's default.
const DECAY_S: f64 = 10.0;

/// Estimate before the first answer, in seconds: tower's default.
const INITIAL_S: f64 = 1.0;

pub(super) struct PeakEwma {
    instances: Vec<Estimate>,
    placement: Placement,
    rng: Rng,
}

#[derive(Clone, Copy)]
struct Estimate {
    connections: usize,
    latency_s: f64,
    updated: Option<Duration>,
}

impl Estimate {
    const NEW: Self = Self { connections: 0, latency_s: INITIAL_S, updated: None };

    /// Weight that is left of the past.
    fn memory(&self, now: Duration) -> f64 {
        self.updated.map_or(1.0, |at| (-(now - at).as_secs_f64() / DECAY_S).exp())
    }

    fn cost(&self, now: Duration) -> f64 {
        self.latency_s * self.memory(now) * (self.connections + 1) as f64
    }

    fn add(&mut self, now: Duration, latency_s: f64) {
        let memory = if self.updated.is_none() { 0.0 } else { self.memory(now) };
        let mean = self.latency_s * memory + latency_s * (1.0 - memory);
        self.latency_s = if latency_s > self.latency_s { latency_s } else { mean };
        self.updated = Some(now);
    }
}

impl PeakEwma {
    pub(super) fn new(setup: &Setup) -> Self {
        Self {
            instances: vec![Estimate::NEW; setup.instances.len()],
            placement: Placement::default(),
            rng: Rng::with_seed(setup.seed),
        }
    }
}

impl Policy for PeakEwma {
    fn arrive(&mut self, now: Duration, job: &Job, out: &mut Vec<Dispatch>) {
        let (a, b) = pair(self.instances.len(), &mut self.rng);
        let instance = if self.instances[b].cost(now) < self.instances[a].cost(now) { b } else { a };
        self.instances[instance].connections += 1;
        self.placement.send(now, job.id, instance, out);
    }

    fn ended(&mut self, now: Duration, job: JobId, _out: &mut Vec<Dispatch>) {
        let latency = now - self.placement.sent_at(job);
        let instance = &mut self.instances[self.placement.instance(job)];
        instance.connections -= 1;
        instance.add(now, latency.as_secs_f64());
    }
}
