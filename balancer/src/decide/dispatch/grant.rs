//! Freed workers go to those that wait.

use std::time::Instant;

use super::demand::{Grant, Order};
use super::homes::{penalty, window};
use super::{Dispatcher, Lane};
use crate::decide::learn::affinity::Worth;

/// Restricted waiters that one call looks at, and homes that are looked at for spills.
const LOOK_AT: usize = 64;
const SPILLS_LOOKED_AT: usize = 8;

impl<W> Dispatcher<W> {
    /// Hands a free slot to the waiter that is to have it. To be called after whatever may have
    /// freed a slot or changed what is known, until it returns `None`.
    pub fn next_grant(&mut self, now: Instant) -> Option<Grant<W>> {
        self.look_at_queues(now);
        self.look_at_hanging(now);
        if self.lanes.iter().all(|lane| lane.is_empty()) {
            self.freed.clear();
            return None;
        }
        let mut rng = self.rng.fork();
        let found = self.starving(now, &mut rng);
        let found = found.or_else(|| self.at_home());
        let found = found.or_else(|| self.small(now, &mut rng));
        let found = found.or_else(|| self.large(now, &mut rng));
        let (lane, order, position) = found?;
        let waiting = self.take_waiting(lane, order)?;
        let granted = self.occupy(position, &waiting.demand, !waiting.avoid.is_empty(), now);
        let queue = &self.lanes[lane];
        let oldest = (!queue.is_empty()).then(|| queue.oldest_wait(now));
        self.doors[lane].granted(oldest, now);
        Some(Grant { waiter: waiting.waiter, granted })
    }

    /// A large request that has waited for so long that it is served before small ones: so many of
    /// them that half of what the cap allows is theirs even when small ones could use every worker.
    fn starving(&self, now: Instant, rng: &mut fastrand::Rng) -> Option<(usize, Order, usize)> {
        Lane::all().skip(1).filter(|lane| !self.lanes[lane.index()].is_empty()).find_map(|lane| {
            let rule = self.rules.lane(lane, now);
            let held: usize = self.counted()[lane.index()..].iter().sum();
            let starves = self.lanes[lane.index()].oldest_wait(now) > rule.starving;
            if starves && held < (rule.cap / 2).max(1) { self.first_of(lane, now, rng) } else { None }
        })
    }

    /// A waiter for an instance where a worker was freed and where its class is at home, unless
    /// another has waited for much longer.
    fn at_home(&mut self) -> Option<(usize, Order, usize)> {
        let window = window(self.rules.homes, self.rules.small_held);
        while let Some(position) = self.freed.last().copied() {
            if let Some(order) = self.own_waiter(position, window) {
                return Some((0, order, position));
            }
            self.freed.pop();
        }
        None
    }

    fn own_waiter(&self, position: usize, window: std::time::Duration) -> Option<Order> {
        let entry = self.table.get(position).filter(|e| e.is_open())?;
        let pays = matches!(self.rules.homes, Worth::Pays { .. });
        // Home is preferred where that costs nothing: not if it is slow, unless waiting for it pays.
        if !pays && entry.slowness > 1.0 {
            return None;
        }
        let backlog = self.params.sends_ahead(self.lanes[0].len(), self.table.totals().fast);
        let ahead = backlog && self.table.is_spare(position);
        let order = *entry.own.first().filter(|_| entry.load.has_slot() || ahead)?;
        let since = self.lanes[0].get(order)?.since;
        let oldest = self.lanes[0].first_open().and_then(|open| self.lanes[0].get(open));
        oldest.is_none_or(|oldest| since <= oldest.since + window).then_some(order)
    }

    fn small(&mut self, now: Instant, rng: &mut fastrand::Rng) -> Option<(usize, Order, usize)> {
        if self.lanes[0].is_empty() {
            return None;
        }
        self.spill_overdue(now);
        self.first_of(Lane::SMALL, now, rng)
    }

    fn large(&self, now: Instant, rng: &mut fastrand::Rng) -> Option<(usize, Order, usize)> {
        let lanes = Lane::all().skip(1).filter(|lane| !self.lanes[lane.index()].is_empty());
        lanes.into_iter().find_map(|lane| self.first_of(lane, now, rng))
    }

    /// The first waiter of a lane for which there is a worker, and that worker's instance.
    fn first_of(&self, lane: Lane, now: Instant, rng: &mut fastrand::Rng) -> Option<(usize, Order, usize)> {
        let queue = &self.lanes[lane.index()];
        let open = queue.first_open();
        // Whoever may use only some instances must not hold up the others, nor be held up by them.
        let before = |order: &Order| open.is_none_or(|open| *order < open);
        let restricted = queue.restricted().take(LOOK_AT);
        let early = restricted.take_while(before).find_map(|order| self.worker_for(lane, order, now, rng));
        let found = early.or_else(|| self.worker_for(lane, open?, now, rng)).or_else(|| {
            let late = queue.restricted().take(LOOK_AT).filter(|order| !before(order));
            late.into_iter().find_map(|order| self.worker_for(lane, order, now, rng))
        });
        found.map(|(order, position)| (lane.index(), order, position))
    }

    fn worker_for(
        &self,
        lane: Lane,
        order: Order,
        now: Instant,
        rng: &mut fastrand::Rng,
    ) -> Option<(Order, usize)> {
        let queue = &self.lanes[lane.index()];
        let waiting = queue.get(order)?;
        let view = self.view(now);
        if lane.is_large() {
            let waited = now.saturating_duration_since(waiting.since) >= self.rules.lane(lane, now).patience;
            if !view.lane_has_room(&self.counted(), lane, waited) {
                return None;
            }
        }
        let demand = &waiting.demand;
        let position = if let Some(session) = self.session(demand, &waiting.avoid, now) {
            self.table.get(session).filter(|entry| entry.load.has_slot()).map(|_| session)
        } else if demand.only.is_some() || !waiting.avoid.is_empty() {
            view.among(demand, &waiting.avoid, rng)
        } else if let Some(trial) = view.trial(&self.down) {
            Some(trial)
        } else {
            let ahead = if lane.is_large() { queue.len() } else { queue.open_len().max(1) };
            let waited = now.saturating_duration_since(waiting.since);
            self.pick_by_share(lane, self.homes.of(demand.class()), ahead, waited, now, rng)
        };
        position.map(|position| (order, position))
    }

    /// Lets a waiter go elsewhere whose home has kept it for too long while others idle. One at a
    /// time, and none while another is on its way: more than there are idle workers would only lose
    /// their homes.
    fn spill_overdue(&mut self, now: Instant) {
        let Some(penalty) = penalty(self.rules.homes) else { return };
        if self.table.totals().free == 0 || self.awaited.is_empty() || self.lanes[0].first_open().is_some() {
            return;
        }
        let overdue = |order: &Order| {
            let since = self.lanes[0].get(*order).map(|waiting| waiting.since);
            since.is_some_and(|since| now.saturating_duration_since(since) > penalty.mul_f64(1.5))
        };
        // Another part of the homes each time: nobody is forgotten.
        let start = self.rng.usize(..=self.awaited.last().copied().unwrap_or(0));
        let later = self.awaited.range(start..).chain(self.awaited.range(..start));
        let found = later.take(SPILLS_LOOKED_AT).find_map(|position| {
            let entry = self.table.get(*position)?;
            let order = entry.own.first().copied().filter(overdue)?;
            Some((*position, order, entry.load.large >= entry.load.limit()))
        });
        let Some((position, order, blocked)) = found else { return };
        if self.homes.spill(blocked || self.has_plenty()) {
            self.leave_home(position, order);
            self.counts.spills += 1;
        }
    }

    fn leave_home(&mut self, position: usize, order: Order) {
        let left = self.table.change(position, |entry| {
            entry.own.remove(&order);
            entry.own.len()
        });
        if left == Some(0) {
            self.awaited.remove(&position);
        }
        self.lanes[0].release_from_home(order);
    }
}
