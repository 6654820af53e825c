//! A request comes: a slot at once, a place in the queue, or neither.

use std::time::{Duration, Instant};

use super::choose::may_use;
use super::demand::{Arrival, Demand, Granted, Order, Refusal, Stage, Ticket};
use super::homes::penalty;
use super::queue::{LaneQueue, Waiting};
use super::running::Run;
use super::table::Entry;
use super::{Dispatcher, InstanceId};
use crate::decide::learn::affinity::Worth;

/// A request that names no deadline is served as if it had this one, so that one that does can be
/// put in its place among the others.
const NO_DEADLINE: Duration = Duration::from_secs(30);

/// Where a small request with a home goes.
enum Placement {
    Take(usize),
    WaitFor(usize),
    /// Any instance will do.
    Anywhere,
}

impl<W> Dispatcher<W> {
    /// A request asks for a slot, on any instance but those in `avoid`. `waiter` is called only if
    /// it has to wait; then call [`Dispatcher::next_grant`], as the queue has grown.
    pub fn arrive(
        &mut self,
        now: Instant,
        demand: Demand,
        avoid: &[InstanceId],
        waiter: impl FnOnce() -> W,
    ) -> Arrival {
        let placement = self.placement(&demand, avoid);
        let found = match placement {
            Placement::Take(position) => Some(position),
            Placement::WaitFor(_) => None,
            Placement::Anywhere => {
                let mut rng = self.rng.fork();
                self.find_now(&demand, avoid, now, &mut rng)
            }
        };
        if let Some(position) = found {
            return Arrival::Slot(self.occupy(position, &demand, now));
        }
        if !self.may_wait(now, &demand, avoid) {
            return Arrival::Refused(Refusal::NoInstance);
        }
        if self.queued() >= self.queue_length || (demand.lane.is_large() && self.large_fill_half()) {
            return Arrival::Refused(Refusal::QueueFull);
        }
        Arrival::Waiting(self.enqueue(now, demand, avoid, placement, waiter()))
    }

    /// Large requests wait longer and so would fill the queue: half of it is for small ones.
    fn large_fill_half(&self) -> bool {
        let large: usize = self.lanes[1..].iter().map(LaneQueue::len).sum();
        large >= self.queue_length.div_ceil(2)
    }

    /// A waiter gives up. `None`: it has been granted a slot already.
    pub fn leave(&mut self, ticket: Ticket) -> Option<W> {
        self.take_waiting(ticket.lane.index(), ticket.order).map(|waiting| waiting.waiter)
    }

    pub(super) fn take_waiting(&mut self, lane: usize, order: Order) -> Option<Waiting<W>> {
        let waiting = self.lanes[lane].remove(order)?;
        if let Some(home) = waiting.home {
            let left = self.table.change(home, |entry| {
                entry.own.remove(&order);
                entry.own.len()
            });
            if left == Some(0) {
                self.awaited.remove(&home);
            }
        }
        Some(waiting)
    }

    fn enqueue(
        &mut self,
        now: Instant,
        demand: Demand,
        avoid: &[InstanceId],
        placement: Placement,
        waiter: W,
    ) -> Ticket {
        let number = self.next_number;
        self.next_number += 1;
        let due = demand.due.unwrap_or(now + NO_DEADLINE);
        let order = Order { rank: -i16::from(demand.priority), due, number };
        let lane = demand.lane;
        let open = !matches!(placement, Placement::WaitFor(_));
        let home = match placement {
            Placement::WaitFor(position) => Some(position),
            Placement::Anywhere if !lane.is_large() => self.preferred_home(&demand),
            _ => None,
        };
        if let Some(position) = home {
            self.table.change(position, |entry| entry.own.insert(order));
            self.awaited.insert(position);
            self.freed.push(position);
        }
        let waiting = Waiting { waiter, demand, avoid: avoid.to_vec(), since: now, home };
        self.lanes[lane.index()].insert(order, waiting, open);
        Ticket { lane, order }
    }

    /// The home whose freed worker should serve a waiter that any instance may serve.
    fn preferred_home(&self, demand: &Demand) -> Option<usize> {
        let unmeasured = self.rules.homes == Worth::Unknown;
        let restricted = demand.only.is_some() || demand.sticky.is_some();
        let home = self.homes.of(demand.class()).first().filter(|_| unmeasured && !restricted)?;
        self.table.position(*home)
    }

    /// Where a small request goes if its class is at home somewhere.
    fn placement(&mut self, demand: &Demand, avoid: &[InstanceId]) -> Placement {
        if demand.lane.is_large() || demand.only.is_some() || demand.sticky.is_some() || !avoid.is_empty() {
            return Placement::Anywhere;
        }
        self.homes.assign(demand.class(), &mut self.table);
        let Some(penalty) = penalty(self.rules.homes) else { return Placement::Anywhere };
        self.homes.arrived();
        if let Some(position) = self.idle_home(demand) {
            return Placement::Take(position);
        }
        self.wait_or_spill(demand, penalty)
    }

    /// A home that can serve it at once: the least busy of them.
    fn idle_home(&self, demand: &Demand) -> Option<usize> {
        let idle = |entry: &&Entry| {
            entry.routable && entry.breaker.is_closed() && entry.load.has_slot() && entry.own.is_empty()
        };
        let cost = |entry: &Entry| {
            f64::from(entry.load.working) + 3.0 * f64::from(entry.load.large) + 10.0 * (entry.slowness - 1.0)
        };
        let homes = self.homes.of(demand.class()).iter().filter_map(|id| self.table.position(*id));
        let entries = homes.filter_map(|position| Some((position, self.table.get(position)?)));
        let best = entries.filter(|(_, entry)| idle(entry)).min_by(|a, b| cost(a.1).total_cmp(&cost(b.1)));
        best.map(|(position, _)| position)
    }

    fn wait_or_spill(&mut self, demand: &Demand, penalty: Duration) -> Placement {
        let homes = self.homes.of(demand.class()).iter().filter_map(|id| self.table.position(*id));
        let waits = homes.filter_map(|position| Some((position, self.home_wait(position)?)));
        let Some((position, wait)) = waits.min_by_key(|(_, wait)| *wait) else { return Placement::Anywhere };
        let totals = self.table.totals();
        let plenty = totals.free * 5 > totals.workers;
        let hot = wait > penalty * 3 && plenty;
        let stays = wait < penalty || totals.free == 0 || !(hot || self.homes.may_spill());
        if stays {
            return Placement::WaitFor(position);
        }
        self.homes.spill(true);
        Placement::Anywhere
    }

    /// How long a request would wait for this instance; `None` if it is no use.
    fn home_wait(&self, position: usize) -> Option<Duration> {
        let Worth::Pays { home, .. } = self.rules.homes else { return None };
        let entry = self.table.get(position).filter(|e| e.routable && e.breaker.is_closed())?;
        let workers = entry.load.limit().saturating_sub(entry.load.large);
        let ahead = entry.own.len() as f64 + 1.0;
        (workers > 0).then(|| home.mul_f64(ahead * entry.slowness / f64::from(workers)))
    }

    /// A slot that the request may have now, without overtaking anybody.
    pub(super) fn find_now(
        &self,
        demand: &Demand,
        avoid: &[InstanceId],
        now: Instant,
        rng: &mut fastrand::Rng,
    ) -> Option<usize> {
        if let Some(position) = self.session(demand, avoid, now) {
            return self.table.get(position).filter(|e| e.load.has_slot()).map(|_| position);
        }
        let lane = demand.lane.index();
        let view = self.view(now);
        // Smaller lanes first; `next_grant` leaves no slot free that their waiters could use.
        if lane > 0 && !view.lane_has_room(&self.held, demand.lane, false) {
            return None;
        }
        if demand.only.is_some() || !avoid.is_empty() {
            return view.among(demand, avoid, rng);
        }
        if let Some(trial) = view.trial(&self.down) {
            return Some(trial);
        }
        if self.lanes[..=lane].iter().any(|queue| queue.first_open().is_some()) {
            return None;
        }
        if lane > 0 { view.large(1, rng) } else { self.small_near_home(demand, 1, now, rng) }
    }

    /// The pick of a small request, at its home if that is as good a choice.
    pub(super) fn small_near_home(
        &self,
        demand: &Demand,
        waiting: usize,
        now: Instant,
        rng: &mut fastrand::Rng,
    ) -> Option<usize> {
        let picked = self.view(now).small(waiting, rng)?;
        let mut homes = self.homes.of(demand.class()).iter().filter_map(|id| self.table.position(*id));
        let equal = homes.find(|home| self.table.equal(*home, picked));
        Some(equal.unwrap_or(picked))
    }

    /// The instance that has the request's session, if it is up.
    pub(super) fn session(&self, demand: &Demand, avoid: &[InstanceId], now: Instant) -> Option<usize> {
        let position = self.table.position(demand.sticky?)?;
        self.table.get(position).filter(|entry| may_use(entry, demand, avoid, now)).map(|_| position)
    }

    pub(super) fn may_wait(&self, now: Instant, demand: &Demand, avoid: &[InstanceId]) -> bool {
        if self.table.len() == 0 {
            return now < self.hold_until;
        }
        let anywhere = demand.only.is_none() && avoid.is_empty();
        (anywhere && self.table.totals().workers > 0)
            || self.table.iter().any(|(_, entry)| may_use(entry, demand, avoid, now))
    }

    pub(super) fn occupy(&mut self, position: usize, demand: &Demand, now: Instant) -> Granted {
        let lane = demand.lane;
        let seen = self.table.change(position, |entry| {
            let before = (entry.id, entry.load.has_slot(), entry.load.large, entry.slowness);
            entry.load.working += 1;
            if !entry.load.has_slot() {
                entry.trust.full();
            }
            entry.load.large += u32::from(lane.is_large());
            entry.unsure += u32::from(!demand.known_short);
            entry.breaker.on_send(now);
            before
        });
        let (instance, had_worker, large_beside, slowness) = seen.expect("a pick returns known positions");
        self.held[lane.index()] += 1;
        let at_home = self.homes.is_home(demand.class(), instance).filter(|_| !lane.is_large());
        let run = self.running.insert(Run {
            instance,
            key: demand.key,
            lane,
            sent: now,
            head: None,
            stage: Stage::Working,
            known_short: demand.known_short,
            had_worker,
            large_beside,
            at_home,
        });
        if !lane.is_large() {
            self.late.push_back((now + self.late_after.mul_f64(slowness), run));
        }
        Granted { run, instance }
    }
}
