//! Worker slots and the queues in front of them: a state machine for one service.
//!
//! ```text
//!  arrive ──► a worker for it, and nobody to overtake ──► Slot      ┌─► first_byte ─► streaming ─┐
//!     │                                                    ▲        │                            ▼
//!     └─────► wait (a queue per lane) ── next_grant ───────┴── working ───────── end ─────────► gone
//! ```
//!
//! Invariants, held by construction and tested:
//! - an instance's `working` never exceeds the workers that it may use by more than the one short
//!   request that is sent ahead, unless their number was lowered meanwhile;
//! - the large requests in service never exceed what the plan allows, as far as it was known when
//!   they were sent that they are large;
//! - nobody overtakes a waiter of the same lane that could use the same slot;
//! - a small request waits only while no worker is free that would serve it sooner than waiting.
//!
//! One `&mut` state machine and not atomics per instance: exactness comes for free, queue and slots
//! change together, and the simulation drives the very same code. The caller's lock is held for the
//! time of one call, well under a microsecond.

mod arrive;
mod choose;
mod demand;
pub mod explain;
mod grant;
mod hanging;
mod homes;
mod index;
mod instances;
mod look;
mod outliers;
mod place;
mod queue;
pub mod rules;
mod running;
mod shares;
mod shed;
mod table;
#[cfg(test)]
mod tests;
mod trust;
mod versions;
#[cfg(test)]
mod versions_tests;
mod why;

use std::collections::{BTreeSet, HashSet, VecDeque};
use std::time::{Duration, Instant};

pub use crate::decide::ids::{ClassId, InstanceId, Lane};
pub use demand::{Arrival, Demand, Grant, Granted, Refusal, Released, RunId, Stage, Ticket};
pub use rules::{LaneRule, PickParams, Rules};
pub use shed::Shed;
pub use table::Load;
pub use trust::Workers;
pub use why::{Course, Wait, Why};

use crate::decide::breaker::Breaker;
use crate::decide::outlier::Ejection;
use crate::decide::predict::RequestKey;
use choose::View;
use hanging::Hanging;
use homes::Homes;
use queue::LaneQueue;
use running::{Run, Running};
use shares::Shares;
use shed::Door;
use table::Table;

/// Slots and queues of one service. `W` is whatever the caller wakes a waiter by.
pub struct Dispatcher<W> {
    table: Table,
    homes: Homes,
    lanes: [LaneQueue<W>; Lane::MOST],
    /// Who may wait in them.
    doors: [Door; Lane::MOST],
    running: Running,
    /// Requests that hold a worker, by lane.
    held: [usize; Lane::MOST],
    /// Small requests in the order in which they are looked at again.
    late: VecDeque<(Instant, RunId)>,
    late_after: Duration,
    hanging: Hanging,
    rules: Rules,
    /// The rules' dedicated instances, to be looked up.
    dedicated: HashSet<InstanceId>,
    params: PickParams,
    started: Instant,
    next_number: u64,
    queue_length: usize,
    /// Until then requests wait for a first instance instead of being turned away: a balancer that
    /// was just started has not heard from its agents yet.
    hold_until: Instant,
    /// Positions of instances that could not be reached.
    down: Vec<usize>,
    /// Positions of instances that are out because they fail, the first to go first.
    out: Vec<usize>,
    /// Positions where a worker was freed since the last grant.
    freed: Vec<usize>,
    /// Positions of instances that requests wait for because they are at home there.
    awaited: BTreeSet<usize>,
    counts: Counts,
    /// How requests are divided between versions of the application.
    versions: Shares,
    /// Not every version gets requests.
    versioned: bool,
    rng: fastrand::Rng,
}

/// The state of one instance, for showing and counting.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Occupancy {
    pub load: Load,
    /// Workers that requests are sent to: of those that its agent claims, the ones that are believed
    /// and that others do not hold.
    pub limit: u32,
    /// Takes new requests, as far as membership goes.
    pub routable: bool,
    pub breaker: Breaker,
    /// Its version of the application gets no requests.
    pub withheld: bool,
    /// Requests that were sent there, ever.
    pub sent: u64,
    /// It fails, and gets no requests for a while.
    pub ejection: Option<Ejection>,
    /// Worker-held time here over that elsewhere.
    pub slowness: f64,
    /// It is for large requests first.
    pub dedicated: bool,
    /// Classes that are at home here.
    pub homes: u32,
}

/// What was done, counted from the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests that left their home, as it had too much to do.
    pub spills: u64,
    /// Requests sent to an instance without a free worker, as so many waited.
    pub ahead: u64,
}

/// One lane's queue, for showing and planning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    pub waiting: usize,
    /// Requests that hold a worker.
    pub running: usize,
    /// Of them, what caps are about: without one that hangs.
    pub counted: usize,
    pub oldest_wait: Duration,
}

/// A small request that holds its worker for longer than small ones do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Late {
    pub run: RunId,
    pub key: RequestKey,
    pub age: Duration,
}

impl<W> Dispatcher<W> {
    /// `queue_length`: the most that wait at a time, in all lanes together.
    pub fn new(
        now: Instant,
        queue_length: usize,
        hold_until: Instant,
        params: PickParams,
        rng: fastrand::Rng,
    ) -> Self {
        Self {
            table: Table::new(),
            homes: Homes::default(),
            lanes: std::array::from_fn(|_| LaneQueue::new()),
            doors: std::array::from_fn(|lane| Door::new(Lane::new(lane), now)),
            running: Running::default(),
            held: [0; Lane::MOST],
            late: VecDeque::new(),
            late_after: Duration::from_millis(250),
            hanging: Hanging::default(),
            rules: Rules::none(now),
            dedicated: HashSet::new(),
            params,
            started: now,
            next_number: 0,
            queue_length,
            hold_until,
            down: Vec::new(),
            out: Vec::new(),
            freed: Vec::new(),
            awaited: BTreeSet::new(),
            counts: Counts::default(),
            versions: Shares::default(),
            versioned: false,
            rng,
        }
    }

    /// Other bounds from now on. Whoever waits stays, even if there are more than may wait.
    pub fn set_bounds(&mut self, queue_length: usize, params: PickParams) {
        (self.queue_length, self.params) = (queue_length, params);
    }

    /// The head of its response came.
    pub fn head(&mut self, id: RunId, now: Instant) {
        if let Some(run) = self.running.get_mut(id) {
            run.head = Some(now);
        }
    }

    /// The worker is free, and its response is still being sent.
    pub fn first_byte(&mut self, id: RunId, now: Instant) -> Option<Released> {
        let run = self.running.get_mut(id).filter(|run| run.stage == Stage::Working)?;
        run.stage = Stage::Streaming;
        let run = *run;
        if let Some(position) = self.table.position(run.instance) {
            self.table.change(position, |entry| entry.load.streaming += 1);
        }
        Some(self.release(run, now))
    }

    /// A request is over. Returns what the worker's release says, if it held it until now.
    pub fn end(&mut self, id: RunId, now: Instant) -> Option<Released> {
        let run = self.running.remove(id)?;
        if run.stage == Stage::Working {
            return Some(self.release(run, now));
        }
        if let Some(position) = self.table.position(run.instance) {
            self.table.change(position, |e| e.load.streaming = e.load.streaming.saturating_sub(1));
        }
        None
    }

    fn release(&mut self, run: Run, now: Instant) -> Released {
        self.held[run.lane.index()] -= 1;
        let (mut slowness, mut next) = (1.0, None);
        if let Some(position) = self.table.position(run.instance) {
            self.table.change(position, |entry| {
                slowness = entry.slowness;
                next = entry.ahead.take();
                entry.load.working = entry.load.working.saturating_sub(1);
                entry.load.large = entry.load.large.saturating_sub(u32::from(run.lane.is_large()));
                entry.unsure = entry.unsure.saturating_sub(u32::from(!run.known_short));
            });
            self.freed.push(position);
        }
        if let Some(next) = next.and_then(|next| self.running.get_mut(next)) {
            // The worker takes up the request that was sent ahead: its time begins.
            next.sent = now;
            next.had_worker = true;
        }
        Released {
            instance: run.instance,
            key: run.key,
            lane: run.lane,
            held: now.saturating_duration_since(run.sent),
            sending: run.head.map(|head| now.saturating_duration_since(head)),
            had_worker: run.had_worker,
            large_beside: run.large_beside,
            at_home: run.at_home,
            slowness,
        }
    }

    /// A small request that is overdue, to be looked at; to be called until it returns `None`.
    pub fn next_late(&mut self, now: Instant) -> Option<Late> {
        while let Some((_, id)) = self.late.front().copied().filter(|(due, _)| *due <= now) {
            self.late.pop_front();
            let Some(run) = self.running.get_mut(id) else { continue };
            let age = now.saturating_duration_since(run.sent);
            if run.stage != Stage::Working || run.lane.is_large() {
                continue;
            }
            if age >= self.late_after {
                return Some(Late { run: id, key: run.key, age });
            }
            // It was sent ahead, and waited for its worker.
            self.late.push_back((run.sent + self.late_after, id));
        }
        None
    }

    /// A request turned out to be of another lane. Returns the one that it was counted in.
    pub fn reclassify(&mut self, id: RunId, lane: Lane) -> Option<Lane> {
        let run = self.running.get_mut(id).filter(|run| run.stage == Stage::Working && run.lane != lane)?;
        let from = std::mem::replace(&mut run.lane, lane);
        let (instance, sent) = (run.instance, run.sent);
        if lane.is_large() && !from.is_large() {
            self.hanging.watch(id, sent);
        }
        self.held[from.index()] -= 1;
        self.held[lane.index()] += 1;
        if let Some(position) = self.table.position(instance) {
            let large = (i32::from(lane.is_large())) - i32::from(from.is_large());
            self.table.change(position, |e| e.load.large = e.load.large.saturating_add_signed(large));
        }
        Some(from)
    }

    /// The lane that a request is counted in while it holds a worker.
    pub fn lane_of(&mut self, id: RunId) -> Option<Lane> {
        self.running.get_mut(id).filter(|run| run.stage == Stage::Working).map(|run| run.lane)
    }

    /// Forgets where a class is at home, as its id will be another's.
    pub fn forget_class(&mut self, class: ClassId) {
        self.homes.forget(class, &mut self.table);
    }

    /// Every class that has homes, with them.
    pub fn homes(&self) -> Vec<(ClassId, Vec<InstanceId>)> {
        self.homes.all().map(|(class, homes)| (class, homes.to_vec())).collect()
    }

    /// Replaces a class's homes, as they are known from elsewhere.
    pub fn set_homes(&mut self, class: ClassId, homes: &[InstanceId]) {
        self.homes.forget(class, &mut self.table);
        homes.iter().for_each(|home| self.homes.add(class, *home, &mut self.table));
    }

    /// Whether a class is so busy that it is at home everywhere.
    pub fn set_everywhere(&mut self, class: ClassId, everywhere: bool) {
        self.homes.set_everywhere(class, everywhere, &mut self.table);
    }

    pub fn homes_of(&self, class: ClassId) -> &[InstanceId] {
        self.homes.of(class)
    }

    fn view(&self, now: Instant) -> View<'_> {
        View { table: &self.table, rules: &self.rules, params: &self.params, now, cohort: 0 }
    }
}
