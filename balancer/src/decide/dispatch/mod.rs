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
mod homes;
mod index;
mod place;
mod queue;
pub mod rules;
mod running;
mod table;
#[cfg(test)]
mod tests;
mod trust;
mod why;

use std::collections::{BTreeSet, HashSet, VecDeque};
use std::time::{Duration, Instant};

pub use crate::decide::ids::{ClassId, InstanceId, Lane};
pub use demand::{Arrival, Demand, Grant, Granted, Refusal, Released, RunId, Stage, Ticket};
pub use rules::{LaneRule, PickParams, Rules};
pub use table::Load;
pub use trust::Workers;
pub use why::{Course, Wait, Why};

use crate::decide::breaker::Breaker;
use crate::decide::learn::affinity::Worth;
use crate::decide::plan::homes::HomeMove;
use crate::decide::predict::RequestKey;
use choose::View;
use homes::Homes;
use index::Zone;
use queue::LaneQueue;
use running::{Run, Running};
use table::Table;

/// Slots and queues of one service. `W` is whatever the caller wakes a waiter by.
pub struct Dispatcher<W> {
    table: Table,
    homes: Homes,
    lanes: [LaneQueue<W>; Lane::MOST],
    running: Running,
    /// Requests that hold a worker, by lane.
    held: [usize; Lane::MOST],
    /// Small requests in the order in which they are looked at again.
    late: VecDeque<(Instant, RunId)>,
    late_after: Duration,
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
    /// Positions where a worker was freed since the last grant.
    freed: Vec<usize>,
    /// Positions of instances that requests wait for because they are at home there.
    awaited: BTreeSet<usize>,
    counts: Counts,
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
            running: Running::default(),
            held: [0; Lane::MOST],
            late: VecDeque::new(),
            late_after: Duration::from_millis(250),
            rules: Rules::none(now),
            dedicated: HashSet::new(),
            params,
            started: now,
            next_number: 0,
            queue_length,
            hold_until,
            down: Vec::new(),
            freed: Vec::new(),
            awaited: BTreeSet::new(),
            counts: Counts::default(),
            rng,
        }
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
        let instance = run.instance;
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

    /// The instance accepted a connection, or spoke for itself.
    pub fn reached(&mut self, id: InstanceId) {
        if let Some(position) = self.table.position(id) {
            self.table.change(position, |entry| entry.breaker.on_reached());
            self.down.retain(|down| *down != position);
            self.freed.push(position);
        }
    }

    /// The instance did not accept a connection.
    pub fn unreachable(&mut self, id: InstanceId, now: Instant) {
        if let Some(position) = self.table.position(id) {
            self.table.change(position, |entry| entry.breaker.on_unreachable(now));
            if !self.down.contains(&position) {
                self.down.push(position);
            }
            self.abandon_home(position);
        }
    }

    /// Adds an instance, or changes one. What it holds stays counted. A plain number of workers is the
    /// operator's word.
    pub fn set_instance(
        &mut self,
        id: InstanceId,
        workers: impl Into<Workers>,
        routable: bool,
        now: Instant,
    ) {
        let workers = workers.into();
        let known = self.table.position(id);
        let position = known.unwrap_or_else(|| {
            // Those that are there when the balancer starts have nobody to be used after.
            let since_start = now.saturating_duration_since(self.started);
            let fresh = since_start > self.params.slow_start && self.table.len() > 0;
            let slow_start = if fresh { self.params.slow_start } else { Duration::ZERO };
            self.table.add(id, workers, routable, now + slow_start)
        });
        self.table.change(position, |entry| {
            if routable && !entry.routable {
                entry.fresh_until = now + self.params.slow_start;
            }
            entry.claim(workers);
            entry.routable = routable;
        });
        self.zone(position, now);
        self.freed.push(position);
        if !routable {
            self.abandon_home(position);
        }
    }

    /// Forgets an instance. Requests that it still works on end uncounted.
    pub fn remove_instance(&mut self, id: InstanceId) {
        let Some(position) = self.table.position(id) else { return };
        self.abandon_home(position);
        self.table.remove(position);
        self.down.retain(|down| *down != position);
        self.freed.retain(|freed| *freed != position);
    }

    /// Workers of an instance that others hold.
    pub fn set_foreign(&mut self, id: InstanceId, workers: u32) {
        if let Some(position) = self.table.position(id) {
            self.table.change(position, |entry| entry.load.foreign = workers);
            self.freed.push(position);
        }
    }

    /// A request took `ratio` times as long on an instance as was expected.
    pub fn judge(&mut self, id: InstanceId, ratio: f64, now: Instant) {
        if let Some(position) = self.table.position(id) {
            self.table.change(position, |entry| {
                entry.speed.add(ratio, now);
                entry.trust.served(ratio);
                entry.slowness = entry.speed.slowness_at(now);
            });
        }
    }

    /// Ends a second of finding out how many workers instances have.
    pub fn tick(&mut self) {
        for position in self.table.positions() {
            self.table.change(position, |entry| {
                entry.trust.tick();
                entry.load.believed = entry.trust.believed();
            });
        }
    }

    /// Puts a new plan in force. `late_after`: how long a small request may hold a worker.
    pub fn follow(&mut self, rules: Rules, late_after: Duration, moves: &[HomeMove], now: Instant) {
        self.dedicated = rules.dedicated.iter().copied().collect();
        let paid = matches!(self.rules.homes, Worth::Pays { .. });
        if paid && !matches!(rules.homes, Worth::Pays { .. }) {
            // Whoever waits for a home would wait on beside free workers.
            std::mem::take(&mut self.awaited).into_iter().for_each(|position| self.abandon_home(position));
        }
        self.rules = rules;
        self.late_after = late_after;
        moves.iter().for_each(|change| self.homes.apply(change, &mut self.table));
        for position in self.table.positions() {
            self.table.change(position, |entry| entry.slowness = entry.speed.slowness_at(now));
            self.zone(position, now);
        }
    }

    fn zone(&mut self, position: usize, now: Instant) {
        let dedicated = &self.dedicated;
        self.table.change(position, |entry| {
            entry.zone = if dedicated.contains(&entry.id) {
                Zone::Dedicated
            } else if now < entry.fresh_until {
                Zone::Fresh
            } else {
                Zone::General
            };
        });
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

    pub fn occupancy(&self, id: InstanceId) -> Option<Occupancy> {
        let entry = self.table.by_id(id)?;
        Some(Occupancy {
            load: entry.load,
            limit: entry.load.limit(),
            routable: entry.routable,
            breaker: entry.breaker,
            slowness: entry.slowness,
            dedicated: entry.zone == Zone::Dedicated,
            homes: entry.homes,
        })
    }

    pub fn counts(&self) -> Counts {
        self.counts
    }

    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// A lane's rule, if the planner still runs.
    pub fn rule(&self, lane: Lane, now: Instant) -> LaneRule {
        self.rules.lane(lane, now)
    }

    pub fn queued(&self) -> usize {
        self.lanes.iter().map(LaneQueue::len).sum()
    }

    /// Requests of a lane that wait.
    pub fn waiting(&self, lane: Lane) -> usize {
        self.lanes[lane.index()].len()
    }

    /// Workers that a lane may use at most.
    pub fn workers_for(&self, lane: Lane) -> usize {
        let all = self.table.totals().workers as usize;
        if lane.is_large() { all.min(self.rules.lanes[lane.index()].high) } else { all }
    }

    /// When the next small request is looked at; `None` if none runs.
    pub fn next_late_at(&self) -> Option<Instant> {
        self.late.front().map(|(due, _)| *due)
    }

    pub fn backlog(&self, lane: Lane, now: Instant) -> Backlog {
        let queue = &self.lanes[lane.index()];
        Backlog {
            waiting: queue.len(),
            running: self.held[lane.index()],
            oldest_wait: queue.oldest_wait(now),
        }
    }

    /// Whether some instance would take a request now or once a worker is free.
    pub fn has_instance(&self, now: Instant) -> bool {
        let up = self.table.totals().workers > 0;
        up || self.table.iter().any(|(_, entry)| entry.is_up(now))
    }

    fn view(&self, now: Instant) -> View<'_> {
        View { table: &self.table, rules: &self.rules, params: &self.params, now }
    }

    /// Nobody waits for this instance as for a home any more.
    fn abandon_home(&mut self, position: usize) {
        let own = self.table.change(position, |entry| std::mem::take(&mut entry.own)).unwrap_or_default();
        own.into_iter().for_each(|order| self.lanes[0].release_from_home(order));
        self.awaited.remove(&position);
    }
}
