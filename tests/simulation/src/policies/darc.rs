//! DARC (Demoulin et al., SOSP 2021): worker slots reserved for each kind in proportion to its measured demand;
//! cheaper kinds may use the slots of dearer ones, never the other way round.
//!
//! Reservations are counts of slots and not particular ones, recomputed each second; or, as an oracle's
//! reference, fixed once.

use std::collections::VecDeque;
use std::time::Duration;

use fastrand::Rng;

use super::groups::Group;
use super::placement::Placement;
use super::priority::{ONE_PER_WORKER, lanes};
use crate::policy::{Dispatch, Job, JobId, Policy, Promise, Setup};
use crate::scenario::Kind;

/// Weight of the last second in a rate.
const RATE_WEIGHT: f64 = 0.15;

pub(super) struct Darc {
    /// By class.
    lane_of: Vec<usize>,
    /// By job index.
    job_lanes: Vec<usize>,
    lanes: [Lane; Kind::COUNT],
    instances: Group,
    workers: usize,
    slots: usize,
    /// Reservations follow the demand.
    measured: bool,
    round_trip_s: f64,
    placement: Placement,
    rng: Rng,
}

#[derive(Default)]
struct Lane {
    queue: VecDeque<JobId>,
    running: usize,
    /// Slots that this lane and all dearer ones may hold together.
    cap: usize,
    arrived: u64,
    per_s: Option<f64>,
    finished: f64,
    mean_s: f64,
}

impl Lane {
    fn demand(&self) -> f64 {
        self.per_s.unwrap_or(0.0) * self.mean_s
    }

    fn end_second(&mut self) {
        let arrived = std::mem::take(&mut self.arrived) as f64;
        let per_s = self.per_s.filter(|&rate| rate > 1e-4);
        self.per_s = Some(per_s.map_or(arrived, |rate| rate + RATE_WEIGHT * (arrived - rate)));
    }

    /// A running mean, of the last 500 or, for the rarer lanes, 50.
    fn observe(&mut self, held_s: f64, window: f64) {
        self.finished += 1.0;
        self.mean_s += (held_s - self.mean_s) / self.finished.min(window);
    }
}

impl Darc {
    pub(super) fn new(setup: &Setup) -> Self {
        let slots = setup.slots();
        Self {
            lane_of: lanes(setup),
            job_lanes: Vec::new(),
            lanes: std::array::from_fn(|_| Lane { cap: slots, ..Lane::default() }),
            instances: Group::new(0..setup.instances.len()),
            workers: setup.workers(),
            slots,
            measured: true,
            round_trip_s: setup.round_trip.as_secs_f64(),
            placement: Placement::default(),
            rng: Rng::with_seed(setup.seed),
        }
    }

    /// Dearer kinds may hold `cap` slots together, whatever comes.
    pub(super) fn fixed(setup: &Setup, cap: usize) -> Self {
        let mut policy = Self::new(setup);
        policy.measured = false;
        policy.lanes.iter_mut().for_each(|lane| lane.cap = cap.max(1));
        policy
    }

    fn drain(&mut self, now: Duration, out: &mut Vec<Dispatch>) {
        while let Some(lane) = self.next_lane()
            && let Some(instance) = self.instances.least(self.workers, &mut self.rng)
            && let Some(job) = self.lanes[lane].queue.pop_front()
        {
            self.lanes[lane].running += 1;
            self.instances.add(instance);
            self.placement.send(now, job, instance, out);
        }
    }

    /// The cheapest with a waiter and room under its cap.
    fn next_lane(&self) -> Option<usize> {
        let running_from = |lane: usize| -> usize { self.lanes[lane..].iter().map(|l| l.running).sum() };
        (0..Kind::COUNT).find(|&lane| {
            !self.lanes[lane].queue.is_empty() && (lane == 0 || running_from(lane) < self.lanes[lane].cap)
        })
    }

    fn reserve(&mut self) {
        let total: f64 = self.lanes.iter().map(Lane::demand).sum();
        if total <= 0.0 {
            return;
        }
        let mut reserved = 0;
        for lane in &mut self.lanes {
            lane.cap = self.slots.saturating_sub(reserved).max(1);
            if lane.demand() > 0.0 {
                let share = lane.demand() / total * self.slots as f64;
                reserved += (share.round() as usize).max(1);
            }
        }
    }
}

impl Policy for Darc {
    fn arrive(&mut self, now: Duration, job: &Job, out: &mut Vec<Dispatch>) {
        let lane = self.lane_of[job.class];
        if self.job_lanes.len() <= job.id.index() {
            self.job_lanes.resize(job.id.index() + 1, 0);
        }
        self.job_lanes[job.id.index()] = lane;
        self.lanes[lane].arrived += 1;
        self.lanes[lane].queue.push_back(job.id);
        self.drain(now, out);
    }

    fn ended(&mut self, now: Duration, job: JobId, out: &mut Vec<Dispatch>) {
        let index = self.job_lanes[job.index()];
        let held_s = (now - self.placement.sent_at(job)).as_secs_f64() - self.round_trip_s;
        let lane = &mut self.lanes[index];
        lane.running -= 1;
        lane.observe(held_s.max(1e-5), if index == 0 { 500.0 } else { 50.0 });
        self.instances.remove(self.placement.instance(job));
        self.drain(now, out);
    }

    fn timer(&mut self, now: Duration, out: &mut Vec<Dispatch>) {
        if self.measured && now.subsec_nanos() == 0 {
            self.lanes.iter_mut().for_each(Lane::end_second);
            self.reserve();
            self.drain(now, out);
        }
    }

    fn promise(&self) -> Promise {
        ONE_PER_WORKER
    }
}
