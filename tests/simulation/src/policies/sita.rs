//! Size interval task assignment: some instances for small jobs, the others for the rest, in proportion to the
//! load of each (SITA-E, Harchol-Balter, Crovella and Murta 1999), set up once for the traffic at the start.
//!
//! Kinder than the original: each side has a central queue. With stealing, small jobs may use a free worker of
//! the other side.

use std::collections::VecDeque;
use std::time::Duration;

use fastrand::Rng;

use super::groups::Group;
use super::placement::Placement;
use super::priority::lanes;
use crate::policy::{Dispatch, Hold, Job, JobId, OverCommit, Policy, Promise, Setup};
use crate::scenario::Kind;

pub(super) struct Sita {
    lanes: Vec<usize>,
    queues: [VecDeque<JobId>; Kind::COUNT],
    small: Group,
    large: Group,
    steal: bool,
    workers: usize,
    placement: Placement,
    rng: Rng,
}

impl Sita {
    pub(super) fn new(setup: &Setup, steal: bool) -> Self {
        let count = setup.instances.len();
        let border = small_instances(setup);
        Self {
            lanes: lanes(setup),
            queues: Default::default(),
            small: Group::new(0..border),
            large: Group::new(border..count),
            steal,
            workers: setup.workers(),
            placement: Placement::default(),
            rng: Rng::with_seed(setup.seed),
        }
    }

    /// Where a job of `lane` may go now.
    fn instance_for(&mut self, lane: usize) -> Option<usize> {
        let (own, other) = if lane == 0 { (&self.small, &self.large) } else { (&self.large, &self.small) };
        let may_steal = (lane == 0 && self.steal) || own.is_empty();
        let stolen = |rng: &mut Rng| if may_steal { other.least(self.workers, rng) } else { None };
        own.least(self.workers, &mut self.rng).or_else(|| stolen(&mut self.rng))
    }

    fn drain(&mut self, now: Duration, out: &mut Vec<Dispatch>) {
        for lane in 0..Kind::COUNT {
            while let Some(&job) = self.queues[lane].front()
                && let Some(instance) = self.instance_for(lane)
            {
                self.queues[lane].pop_front();
                self.group_of(instance).add(instance);
                self.placement.send(now, job, instance, out);
            }
        }
    }

    fn group_of(&mut self, instance: usize) -> &mut Group {
        if self.small.contains(instance) { &mut self.small } else { &mut self.large }
    }
}

/// Instances for small jobs, in proportion to their share of the work; each side has at least one if it has
/// classes.
fn small_instances(setup: &Setup) -> usize {
    let count = setup.instances.len();
    let offered = |small: bool| -> f64 {
        let of = setup.classes.iter().filter(|c| (c.oracle.kind == Kind::Small) == small);
        of.map(|c| c.oracle.offered).sum()
    };
    let all_of = |small: bool| setup.classes.iter().all(|c| (c.oracle.kind == Kind::Small) == small);
    if all_of(true) {
        return count;
    }
    if all_of(false) {
        return 0;
    }
    let share = offered(true) / (offered(true) + offered(false));
    ((share * count as f64).round() as usize).clamp(1, count.max(2) - 1)
}

impl Policy for Sita {
    fn arrive(&mut self, now: Duration, job: &Job, out: &mut Vec<Dispatch>) {
        self.queues[self.lanes[job.class]].push_back(job.id);
        self.drain(now, out);
    }

    fn ended(&mut self, now: Duration, job: JobId, out: &mut Vec<Dispatch>) {
        let instance = self.placement.instance(job);
        self.group_of(instance).remove(instance);
        self.drain(now, out);
    }

    fn promise(&self) -> Promise {
        Promise::Slots {
            until: Hold::Ended,
            over: 0,
            over_for: OverCommit::Anyone,
            small_never_waits_beside_a_free_slot: self.steal,
        }
    }
}
