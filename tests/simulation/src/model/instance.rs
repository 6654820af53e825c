//! One instance: a few workers, a queue of its own, a cache.

use std::collections::VecDeque;

use super::cache::Lru;
use super::jobs::Record;
use super::report::ClassWindow;
use crate::policy::JobId;
use crate::scenario::{Kind, Scenario, Sites};
use crate::time::{Nanos, seconds};

#[derive(Debug)]
pub(crate) struct Instance {
    workers: usize,
    pub(crate) busy: usize,
    pub(crate) waiting: VecDeque<JobId>,
    pub(crate) speed: f64,
    nominal_speed: f64,
    interference: f64,
    /// Large jobs in service.
    large: usize,
    cache: Option<Lru>,
    /// Worker time used, up to `settled`.
    used: Nanos,
    settled: Nanos,
    /// What its agent counted since the last report, by class as labelled.
    pub(crate) window: Vec<ClassWindow>,
    pub(crate) lookups: u64,
    pub(crate) hits: u64,
}

impl Instance {
    pub(crate) fn new(scenario: &Scenario, speed: f64) -> Self {
        Self {
            workers: scenario.workers,
            busy: 0,
            waiting: VecDeque::new(),
            speed,
            nominal_speed: speed,
            interference: scenario.interference,
            large: 0,
            cache: (scenario.cache > 0).then(|| Lru::new(scenario.cache)),
            used: 0,
            settled: 0,
            window: vec![ClassWindow::default(); scenario.classes.len()],
            lookups: 0,
            hits: 0,
        }
    }

    pub(crate) fn has_free_worker(&self) -> bool {
        self.busy < self.workers
    }

    /// Takes a worker for `job` at `now`; how long it is held. What happens later beside it, or to the
    /// instance's speed, does not change it.
    pub(crate) fn start(&mut self, now: Nanos, job: &Record, kind: Kind, sites: Option<&Sites>) -> Nanos {
        self.settle(now);
        self.busy += 1;
        let slowdown = if kind == Kind::Small { 1.0 + self.interference * self.large as f64 } else { 1.0 };
        if occupies(job, kind) {
            self.large += 1;
        }
        let (factor, extra) = self.look_up(job.site, sites.filter(|sites| sites.cached));
        ((job.work as f64 * factor + extra * 1e9) * slowdown / self.speed) as Nanos
    }

    /// Gives the worker back.
    pub(crate) fn finish(&mut self, now: Nanos, job: &Record, kind: Kind) {
        self.settle(now);
        self.busy -= 1;
        if occupies(job, kind) {
            self.large -= 1;
        }
        self.window[job.label].add(seconds(now - job.started));
    }

    /// An antagonist comes or goes.
    pub(crate) fn toggle(&mut self, slow: f64) {
        self.speed =
            if self.speed == self.nominal_speed { self.nominal_speed * slow } else { self.nominal_speed };
    }

    pub(crate) fn is_slowed(&self) -> bool {
        self.speed != self.nominal_speed
    }

    /// Worker seconds used until `now`.
    pub(crate) fn used_s(&mut self, now: Nanos) -> f64 {
        self.settle(now);
        seconds(self.used)
    }

    /// Factor and extra seconds of work for an object that may be missing.
    fn look_up(&mut self, site: Option<u32>, sites: Option<&Sites>) -> (f64, f64) {
        let (Some(cache), Some(site), Some(sites)) = (&mut self.cache, site, sites) else {
            return (1.0, 0.0);
        };
        self.lookups += 1;
        if cache.touch(site) {
            self.hits += 1;
            return (1.0, 0.0);
        }
        (sites.miss_factor, sites.miss_extra_s)
    }

    fn settle(&mut self, now: Nanos) {
        self.used += (now - self.settled) * self.busy as u64;
        self.settled = now;
    }
}

/// Whether small jobs feel it: it is not small, and works until its response is over.
fn occupies(job: &Record, kind: Kind) -> bool {
    kind != Kind::Small && job.stream == 0
}
