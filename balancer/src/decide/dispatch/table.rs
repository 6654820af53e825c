//! The instances: what each holds, and the index by which they are picked.

use std::collections::BTreeSet;
use std::time::Instant;

use serde::Serialize;

use super::demand::{Order, RunId};
use super::index::{Index, Place, Shelf, Zone};
use super::trust::{Trust, Workers};
use crate::decide::breaker::Breaker;
use crate::decide::hash::IdMap;
use crate::decide::ids::InstanceId;
use crate::decide::learn::speed::Speed;
use crate::decide::outlier::Outlier;

/// How busy one instance is, as far as this balancer knows by its own counting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Load {
    /// Workers of the instance, at least 1, by its agent's word or the operator's, ...
    pub workers: u32,
    /// ... and how many of them are believed.
    pub believed: u32,
    /// Workers held by requests of this balancer.
    pub working: u32,
    /// Of these, by large ones.
    pub large: u32,
    /// Responses still being sent whose worker is free: they cost bandwidth, not workers.
    pub streaming: u32,
    /// Workers that others hold, by the agent's word.
    pub foreign: u32,
    /// Workers that this balancer may count on, by the agent's word; `None`: as many as others do not hold.
    pub granted: Option<u32>,
}

impl Load {
    /// Workers that this balancer may use.
    pub fn limit(&self) -> u32 {
        let granted = self.granted.map_or(self.believed, |granted| granted.min(self.believed));
        // What other balancers hold of their own shares is not taken from this one's.
        let theirs = self.granted.map_or(0, |granted| self.workers.saturating_sub(granted));
        granted.saturating_sub(self.foreign.saturating_sub(theirs)).max(1)
    }

    /// Whether a worker is free.
    pub fn has_slot(&self) -> bool {
        self.working < self.limit()
    }
}

/// One instance.
pub(super) struct Entry {
    pub(super) id: InstanceId,
    pub(super) load: Load,
    pub(super) routable: bool,
    pub(super) breaker: Breaker,
    pub(super) outlier: Outlier,
    pub(super) zone: Zone,
    pub(super) speed: Speed,
    pub(super) trust: Trust,
    /// Factor by which it is slow at present; 1 otherwise.
    pub(super) slowness: f64,
    /// Requests working here of which it is not known that they are short.
    pub(super) unsure: u32,
    /// The request that was sent ahead, until a worker is freed for it.
    pub(super) ahead: Option<RunId>,
    /// Until when it counts as fresh.
    pub(super) fresh_until: Instant,
    /// Waiters of lane 0 that are at home here.
    pub(super) own: BTreeSet<Order>,
    /// Classes that are at home here.
    pub(super) homes: u32,
    /// Its version of the application gets no requests.
    pub(super) withheld: bool,
    /// Which of the versions that get requests it is of, if they are divided.
    pub(super) cohort: usize,
    /// Requests that were sent there.
    pub(super) sent: u64,
    /// Within the index of a cohort.
    place: Option<(usize, Place)>,
}

impl Entry {
    pub(super) fn claim(&mut self, workers: Workers) {
        self.trust.claim(workers);
        (self.load.workers, self.load.believed) = (workers.claimed(), self.trust.believed());
    }

    /// Whether a request may be sent there, if need be.
    pub(super) fn is_up(&self, now: Instant) -> bool {
        self.routable && self.breaker.admits(now)
    }

    /// Whether connections to it are made, as far as is known.
    pub(super) fn is_reachable(&self) -> bool {
        self.routable && self.breaker.is_closed()
    }

    /// Whether requests are sent there as a matter of course.
    pub(super) fn is_open(&self) -> bool {
        self.is_reachable() && !self.withheld && self.outlier.ejection().is_none()
    }

    fn shelf(&self) -> Option<Shelf> {
        if !self.is_open() {
            return None;
        }
        let Load { working, large, .. } = self.load;
        let workers = self.load.limit();
        if working < workers {
            let free = Shelf::Free { zone: self.zone, large, working, workers };
            return Some(if self.slowness > 1.0 { Shelf::Slow } else { free });
        }
        let spare = working == workers && large == 0 && self.unsure == 0 && self.slowness <= 1.0;
        spare.then_some(Shelf::Spare)
    }
}

/// Sums over the instances that are up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    pub(super) workers: u32,
    /// Workers that nobody holds.
    pub(super) free: u32,
    /// Of those that are not slow: workers, and how many of them are held; ...
    pub(super) fast: u32,
    pub(super) fast_held: u32,
    /// ... the same without instances that serve a large request.
    pub(super) alone: u32,
    pub(super) alone_held: u32,
}

impl Totals {
    fn of(entry: &Entry) -> Self {
        if !entry.is_open() {
            return Self::default();
        }
        let workers = entry.load.limit();
        let held = entry.load.working.min(workers);
        let fast = entry.slowness <= 1.0;
        let alone = fast && entry.load.large == 0;
        let only = |condition: bool, value: u32| if condition { value } else { 0 };
        Self {
            workers,
            free: workers - held,
            fast: only(fast, workers),
            fast_held: only(fast, held),
            alone: only(alone, workers),
            alone_held: only(alone, held),
        }
    }

    fn combine(self, other: Self, with: impl Fn(u32, u32) -> u32) -> Self {
        Self {
            workers: with(self.workers, other.workers),
            free: with(self.free, other.free),
            fast: with(self.fast, other.fast),
            fast_held: with(self.fast_held, other.fast_held),
            alone: with(self.alone, other.alone),
            alone_held: with(self.alone_held, other.alone_held),
        }
    }
}

/// All instances of a service. Positions are stable while an instance is known.
pub(super) struct Table {
    entries: Vec<Option<Entry>>,
    by_id: IdMap<InstanceId, usize>,
    vacant: Vec<usize>,
    /// One per cohort.
    indexes: Vec<Index>,
    /// Instances of each cohort that requests are sent to.
    open: Vec<usize>,
    totals: Totals,
}

impl Table {
    pub(super) fn new() -> Self {
        let (entries, by_id, vacant) = (Vec::new(), IdMap::default(), Vec::new());
        Self { entries, by_id, vacant, indexes: vec![Index::new()], open: vec![0], totals: Totals::default() }
    }

    pub(super) fn add(
        &mut self,
        id: InstanceId,
        workers: Workers,
        routable: bool,
        fresh_until: Instant,
    ) -> usize {
        let trust = Trust::new(workers);
        let (claimed, believed) = (workers.claimed(), trust.believed());
        let entry = Entry {
            id,
            load: Load { workers: claimed, believed, ..Load::default() },
            routable,
            breaker: Breaker::default(),
            outlier: Outlier::default(),
            zone: Zone::Fresh,
            speed: Speed::default(),
            trust,
            slowness: 1.0,
            unsure: 0,
            ahead: None,
            fresh_until,
            own: BTreeSet::new(),
            homes: 0,
            withheld: false,
            cohort: 0,
            sent: 0,
            place: None,
        };
        let position = self.vacant.pop().unwrap_or_else(|| {
            self.entries.push(None);
            self.entries.len() - 1
        });
        self.totals = self.totals.combine(Totals::of(&entry), |a, b| a + b);
        self.open[entry.cohort] += usize::from(entry.is_open());
        self.entries[position] = Some(entry);
        self.by_id.insert(id, position);
        self.shelve(position);
        position
    }

    pub(super) fn remove(&mut self, position: usize) -> Option<Entry> {
        self.unshelve(position);
        let entry = self.entries[position].take()?;
        self.totals = self.totals.combine(Totals::of(&entry), |a, b| a - b);
        self.open[entry.cohort] -= usize::from(entry.is_open());
        self.by_id.remove(&entry.id);
        self.vacant.push(position);
        Some(entry)
    }

    pub(super) fn position(&self, id: InstanceId) -> Option<usize> {
        self.by_id.get(&id).copied()
    }

    pub(super) fn get(&self, position: usize) -> Option<&Entry> {
        self.entries.get(position)?.as_ref()
    }

    pub(super) fn by_id(&self, id: InstanceId) -> Option<&Entry> {
        self.get(self.position(id)?)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, &Entry)> {
        self.entries.iter().enumerate().filter_map(|(position, entry)| Some((position, entry.as_ref()?)))
    }

    pub(super) fn positions(&self) -> Vec<usize> {
        self.iter().map(|(position, _)| position).collect()
    }

    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(super) fn totals(&self) -> Totals {
        self.totals
    }

    /// Of a cohort that there is.
    pub(super) fn index(&self, cohort: usize) -> &Index {
        &self.indexes[cohort]
    }

    /// Instances of the cohort that requests are sent to.
    pub(super) fn open(&self, cohort: usize) -> usize {
        self.open.get(cohort).copied().unwrap_or(0)
    }

    /// Makes room for so many cohorts, at least one. Everybody is of the first.
    pub(super) fn divide(&mut self, cohorts: usize) {
        let all = self.positions();
        all.iter().for_each(|position| self.unshelve(*position));
        self.indexes = (0..cohorts).map(|_| Index::new()).collect();
        self.open = vec![0; cohorts];
        for position in all {
            if let Some(entry) = self.entries[position].as_mut() {
                entry.cohort = 0;
                self.open[0] += usize::from(entry.is_open());
            }
            self.shelve(position);
        }
    }

    /// Changes an instance, and everything that follows from it.
    pub(super) fn change<T>(&mut self, position: usize, change: impl FnOnce(&mut Entry) -> T) -> Option<T> {
        let entry = self.entries.get_mut(position)?.as_mut()?;
        let (before, shelf) = (Totals::of(entry), entry.shelf());
        let (cohort, was_open) = (entry.cohort, entry.is_open());
        let result = change(entry);
        let (after, moves) = (Totals::of(entry), entry.shelf() != shelf || entry.cohort != cohort);
        self.open[cohort] -= usize::from(was_open);
        self.open[entry.cohort] += usize::from(entry.is_open());
        self.totals = self.totals.combine(before, |a, b| a - b).combine(after, |a, b| a + b);
        if moves {
            self.unshelve(position);
            self.shelve(position);
        }
        Some(result)
    }

    /// Whether both would be picked equally eagerly.
    pub(super) fn equal(&self, a: usize, b: usize) -> bool {
        let place = |position| self.get(position).and_then(|entry| entry.place);
        place(a).zip(place(b)).is_some_and(|((of_a, a), (of_b, b))| of_a == of_b && Index::equal(a, b))
    }

    /// Whether one more short request may be sent there ahead.
    pub(super) fn is_spare(&self, position: usize) -> bool {
        self.get(position).is_some_and(|entry| entry.shelf() == Some(Shelf::Spare))
    }

    /// Whether a worker is free there, at ordinary speed and beside no large request.
    pub(super) fn is_free_alone(&self, position: usize) -> bool {
        let shelf = self.get(position).and_then(Entry::shelf);
        matches!(shelf, Some(Shelf::Free { large: 0, .. }))
    }

    fn shelve(&mut self, position: usize) {
        if let Some(entry) = self.entries[position].as_mut() {
            let index = &mut self.indexes[entry.cohort];
            entry.place = entry.shelf().map(|shelf| (entry.cohort, index.insert(position, shelf)));
        }
    }

    fn unshelve(&mut self, position: usize) {
        let place = self.entries[position].as_mut().and_then(|entry| entry.place.take());
        if let Some((cohort, place)) = place
            && let Some((moved, to)) = self.indexes[cohort].remove(place)
            && let Some(entry) = self.entries[moved].as_mut()
        {
            entry.place = Some((cohort, to));
        }
    }
}
