//! The requests of one lane that wait for a worker.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::demand::{Demand, Order};
use crate::decide::ids::InstanceId;

/// Those before a request with a deadline are counted one by one, up to this many.
const MOST_COUNTED: usize = 512;

/// One that waits. `W` is whatever the caller wakes it by.
pub(super) struct Waiting<W> {
    pub(super) waiter: W,
    pub(super) demand: Demand,
    /// Instances that failed this request already.
    pub(super) avoid: Vec<InstanceId>,
    pub(super) since: Instant,
    /// Position of the instance that it waits for.
    pub(super) home: Option<usize>,
}

impl<W> Waiting<W> {
    /// Any instance will do.
    pub(super) fn is_open(&self) -> bool {
        self.avoid.is_empty() && self.demand.only.is_none() && self.demand.sticky.is_none()
    }
}

/// A lane's queue, in the order in which it is served.
pub(super) struct LaneQueue<W> {
    waiting: BTreeMap<Order, Waiting<W>>,
    /// How many there are of each rank.
    ranks: BTreeMap<i16, usize>,
    /// Those that any free worker may serve.
    open: BTreeSet<Order>,
    /// Those that may use only some instances.
    restricted: BTreeSet<Order>,
}

impl<W> LaneQueue<W> {
    pub(super) fn new() -> Self {
        Self {
            waiting: BTreeMap::new(),
            ranks: BTreeMap::new(),
            open: BTreeSet::new(),
            restricted: BTreeSet::new(),
        }
    }

    /// `open`: it need not wait for its home.
    pub(super) fn insert(&mut self, order: Order, waiting: Waiting<W>, open: bool) {
        if !waiting.is_open() {
            self.restricted.insert(order);
        } else if open {
            self.open.insert(order);
        }
        self.waiting.insert(order, waiting);
        *self.ranks.entry(order.rank).or_default() += 1;
    }

    pub(super) fn remove(&mut self, order: Order) -> Option<Waiting<W>> {
        self.open.remove(&order);
        self.restricted.remove(&order);
        let waiting = self.waiting.remove(&order)?;
        if let Some(count) = self.ranks.get_mut(&order.rank) {
            *count -= 1;
            if *count == 0 {
                self.ranks.remove(&order.rank);
            }
        }
        Some(waiting)
    }

    pub(super) fn get(&self, order: Order) -> Option<&Waiting<W>> {
        self.waiting.get(&order)
    }

    /// Its home is gone, or has kept it waiting for too long: any instance will do.
    pub(super) fn release_from_home(&mut self, order: Order) {
        if let Some(waiting) = self.waiting.get_mut(&order) {
            waiting.home = None;
            self.open.insert(order);
        }
    }

    pub(super) fn first_open(&self) -> Option<Order> {
        self.open.first().copied()
    }

    pub(super) fn open_len(&self) -> usize {
        self.open.len()
    }

    pub(super) fn restricted(&self) -> impl Iterator<Item = Order> + '_ {
        self.restricted.iter().copied()
    }

    /// How many would be served before one of this rank that comes now. `due`: when it must have been sent, if it
    /// is not served in turn.
    pub(super) fn ahead_of(&self, rank: i16, due: Option<Instant>) -> usize {
        match due {
            None => self.ranks.range(..=rank).map(|(_, count)| count).sum(),
            Some(due) => {
                let last = Order { rank, due, number: u64::MAX };
                self.waiting.range(..=last).take(MOST_COUNTED).count()
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) fn oldest_wait(&self, now: Instant) -> Duration {
        // In order of service and not of age; they differ only by priorities and deadlines.
        self.waiting.values().next().map_or(Duration::ZERO, |w| now.saturating_duration_since(w.since))
    }
}
