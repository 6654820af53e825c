//! Which instance a request goes to: the pick.
//!
//! Constant time whatever the number of instances, unless the request may use only some of them.
//! Source: algorithms.md 3.4.

use std::time::Instant;

use super::demand::Demand;
use super::index::{LARGE, Zone};
use super::rules::{PickParams, Rules};
use super::table::{Entry, Table, Totals};
use crate::decide::ids::{InstanceId, Lane};
use crate::decide::plan::dedicate::Mode;

/// From this slow-down on a worker is used reluctantly.
const RELUCTANT: f64 = 1.5;

/// What an instance that fails costs one that may use only some: it is asked if no other is left.
const OUT: f64 = 1000.0;

/// What a pick looks at.
pub(super) struct View<'a> {
    pub(super) table: &'a Table,
    pub(super) rules: &'a Rules,
    pub(super) params: &'a PickParams,
    pub(super) now: Instant,
    /// Of which instances, as far as versions divide them.
    pub(super) cohort: usize,
}

/// A worker that would do, and how much longer than usual it would take.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    position: usize,
    slowdown: f64,
}

impl View<'_> {
    pub(super) fn of(self, cohort: usize) -> Self {
        Self { cohort, ..self }
    }

    /// The instance for a small request, `None` to wait. `waiting`: requests of its lane that wait,
    /// itself included.
    pub(super) fn small(&self, waiting: usize, rng: &mut fastrand::Rng) -> Option<usize> {
        let free = self.free_for_small(rng);
        match free {
            Some(candidate) if candidate.slowdown <= RELUCTANT => Some(candidate.position),
            Some(candidate) if self.is_worth_it(candidate, waiting) => Some(candidate.position),
            _ => self.ahead(waiting, rng),
        }
    }

    /// The most eagerly picked instance with a free worker. Those without large requests first:
    /// beside one, a small request gets the next worker that the large one frees much later.
    fn free_for_small(&self, rng: &mut fastrand::Rng) -> Option<Candidate> {
        let index = self.table.index(self.cohort);
        for large in 0..LARGE {
            for zone in [Zone::General, Zone::Dedicated, Zone::Fresh] {
                if let Some(list) = index.least_busy(zone, large) {
                    let position = self.draw(list, rng);
                    return Some(Candidate { position, slowdown: self.slowdown(position) });
                }
            }
        }
        self.least_slow(rng)
    }

    fn slowdown(&self, position: usize) -> f64 {
        self.table.get(position).map_or(1.0, |e| e.slowness * self.rules.beside(e.load.large))
    }

    /// The better of a few of the slow ones.
    fn least_slow(&self, rng: &mut fastrand::Rng) -> Option<Candidate> {
        let slow = self.table.index(self.cohort).slow();
        let draws = slow.len().min(4);
        let drawn = (0..draws).map(|i| if slow.len() <= 4 { slow[i] } else { slow[rng.usize(..slow.len())] });
        let candidates = drawn.map(|position| Candidate { position, slowdown: self.slowdown(position) });
        candidates.min_by(|a, b| a.slowdown.total_cmp(&b.slowdown))
    }

    /// Whether waiting for a fast worker would take longer than the slow one.
    fn is_worth_it(&self, candidate: Candidate, waiting: usize) -> bool {
        let (fast, held) = self.fast();
        let per_worker = waiting as f64 / f64::from(fast.max(1));
        held == 0 || per_worker >= self.params.reluctance * (candidate.slowdown - 1.0)
    }

    /// Fast workers for small requests, and how many of them are held.
    fn fast(&self) -> (u32, u32) {
        let totals: Totals = self.table.totals();
        if self.rules.interference > 0.0 {
            (totals.alone, totals.alone_held)
        } else {
            (totals.fast, totals.fast_held)
        }
    }

    /// One more than an instance has workers: it finds the worker free when it gets there.
    fn ahead(&self, waiting: usize, rng: &mut fastrand::Rng) -> Option<usize> {
        let spare = self.table.index(self.cohort).spare();
        let (fast, _) = self.fast();
        (self.params.sends_ahead(waiting, fast) && !spare.is_empty()).then(|| self.draw(spare, rng))
    }

    /// Two at random, the one with fewer open streams.
    fn draw(&self, list: &[usize], rng: &mut fastrand::Rng) -> usize {
        let (a, b) = (list[rng.usize(..list.len())], list[rng.usize(..list.len())]);
        let streams = |position| self.table.get(position).map_or(0, |e: &Entry| e.load.streaming);
        if streams(b) < streams(a) { b } else { a }
    }

    /// The instance for a large request, `None` to wait.
    pub(super) fn large(&self, waiting: usize, rng: &mut fastrand::Rng) -> Option<usize> {
        let free = match self.rules.mode {
            Mode::Spread => self.spread(rng),
            Mode::Separate => self.packed(&[Zone::Dedicated], rng).or_else(|| self.without_dedicated(rng)),
            Mode::Pack => {
                let dedicated = self.packed(&[Zone::Dedicated], rng);
                dedicated.or_else(|| self.packed(&[Zone::General, Zone::Fresh], rng))
            }
        };
        let slow = || self.least_slow(rng).filter(|c| self.is_worth_it(*c, waiting)).map(|c| c.position);
        free.or_else(slow)
    }

    /// The most large requests first: they have spoiled it for small ones already.
    fn packed(&self, zones: &[Zone], rng: &mut fastrand::Rng) -> Option<usize> {
        let counts = (0..LARGE).rev().flat_map(|large| zones.iter().map(move |zone| (*zone, large)));
        let mut lists =
            counts.filter_map(|(zone, large)| self.table.index(self.cohort).least_busy(zone, large));
        lists.next().map(|list| self.draw(list, rng))
    }

    /// The fewest large requests first, and always a worker left for the others.
    fn spread(&self, rng: &mut fastrand::Rng) -> Option<usize> {
        let leaves_one = |position: &usize| {
            self.table.get(*position).is_some_and(|e| e.load.large + 1 < e.load.limit().max(2))
        };
        let counts = (0..LARGE).flat_map(|large| Zone::ALL.map(|zone| (zone, large)));
        let mut lists =
            counts.filter_map(|(zone, large)| self.table.index(self.cohort).least_busy(zone, large));
        lists.find_map(|list| Some(self.draw(list, rng)).filter(leaves_one))
    }

    /// While none is dedicated yet, large requests go anywhere (I1: no lane without an instance).
    fn without_dedicated(&self, rng: &mut fastrand::Rng) -> Option<usize> {
        if self.rules.dedicated.is_empty() { self.packed(&[Zone::General, Zone::Fresh], rng) } else { None }
    }

    /// The instance for a request that may use only some: a scan, in the same order of preference.
    pub(super) fn among(
        &self,
        demand: &Demand,
        avoid: &[InstanceId],
        rng: &mut fastrand::Rng,
    ) -> Option<usize> {
        let allowed = |(_, entry): &(usize, &Entry)| may_use(entry, demand, avoid, self.now);
        // Another version than those that get requests only serves whom nobody else can.
        let served = self.table.iter().filter(allowed).any(|(_, entry)| !entry.withheld);
        let free = self.table.iter().filter(allowed).filter(|(_, entry)| entry.load.has_slot());
        let free = free.filter(|(_, entry)| !(served && entry.withheld));
        let cost = |entry: &Entry| {
            let share = f64::from(entry.load.working) / f64::from(entry.load.limit());
            let zone = f64::from(u8::from((entry.zone == Zone::Dedicated) != demand.lane.is_large()));
            let out = if entry.outlier.ejection().is_some() { OUT } else { 0.0 };
            out + 10.0 * entry.slowness * self.rules.beside(entry.load.large) + zone + share
        };
        let best = free.map(|(position, entry)| (position, cost(entry) + 0.01 * rng.f64()));
        best.min_by(|a, b| a.1.total_cmp(&b.1)).map(|(position, _)| position)
    }

    /// An instance whose breaker lets one request through to find out whether it is back.
    pub(super) fn trial(&self, down: &[usize]) -> Option<usize> {
        let due = |position: &&usize| {
            self.table.get(**position).is_some_and(|e| e.is_up(self.now) && !e.withheld && e.load.has_slot())
        };
        down.iter().find(due).copied()
    }

    pub(super) fn lane_has_room(&self, running: &[usize; Lane::MOST], lane: Lane, waited: bool) -> bool {
        (1..=lane.index()).all(|k| {
            let held: usize = running[k..].iter().sum();
            let rule = self.rules.lane(Lane::new(k), self.now);
            held < if waited { rule.high } else { rule.cap }
        })
    }
}

/// Whether an instance may serve a request at all.
pub(super) fn may_use(entry: &Entry, demand: &Demand, avoid: &[InstanceId], now: Instant) -> bool {
    entry.is_up(now)
        && !avoid.contains(&entry.id)
        && demand.only.as_ref().is_none_or(|only| only.contains(&entry.id))
}
