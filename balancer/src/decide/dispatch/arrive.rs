//! A request comes: a slot at once, a place in the queue, or neither.

use std::time::{Duration, Instant};

use super::choose::may_use;
use super::demand::{Arrival, Demand, Granted, Order, Refusal, Stage, Ticket};
use super::place::Placement;
use super::queue::Waiting;
use super::running::Run;
use super::why::{Course, Wait, Why};
use super::{ClassId, Dispatcher, InstanceId};
use crate::decide::learn::affinity::Worth;
use crate::decide::plan::dedicate::Mode;

/// A request that names no deadline is served as if it had this one, so that one that does can be
/// put in its place among the others.
const NO_DEADLINE: Duration = Duration::from_secs(30);

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
        let mut rng = self.rng.fork();
        let homes = self.homes.of(demand.class());
        if let Ok(position) = self.find(placement, &demand, avoid, homes, now, &mut rng) {
            if self.lanes[demand.lane.index()].is_empty() {
                self.doors[demand.lane.index()].idle();
            }
            return Arrival::Slot(self.occupy(position, &demand, !avoid.is_empty(), now));
        }
        if let Some(refusal) = self.refusal(now, &demand, avoid) {
            self.count_refusal(demand.lane, refusal);
            return Arrival::Refused(refusal);
        }
        Arrival::Waiting(self.enqueue(now, demand, avoid, placement, waiter()))
    }

    /// What would become of a request that came now for the first time. Changes nothing: the same
    /// decisions, on the same chance, as [`Dispatcher::arrive`].
    pub fn course(&self, demand: &Demand, now: Instant) -> Course {
        let homes = self.homes_to_be(demand);
        let placement = self.place(demand, &[], &homes, self.homes.may_spill_next());
        let mut rng = self.rng.clone().fork();
        let waits = match self.find(placement, demand, &[], &homes, now, &mut rng) {
            Ok(position) => return self.sent(position, demand, &homes),
            Err(waits) => waits,
        };
        if let Some(why) = self.refusal(now, demand, &[]) {
            return Course::Refused { why };
        }
        let at = match placement {
            Placement::WaitFor(position) => self.table.get(position).map(|entry| entry.id),
            _ if waits == Wait::Session => demand.sticky,
            _ => None,
        };
        Course::Waits { why: waits, at }
    }

    fn sent(&self, position: usize, demand: &Demand, homes: &[InstanceId]) -> Course {
        let entry = self.table.get(position).expect("a pick returns known positions");
        let why = Why::of(entry, demand, demand.only.is_some(), homes.contains(&entry.id));
        Course::Sent { instance: entry.id, why }
    }

    /// A slot for a request that was placed so, or why there is none.
    fn find(
        &self,
        placement: Placement,
        demand: &Demand,
        avoid: &[InstanceId],
        homes: &[InstanceId],
        now: Instant,
        rng: &mut fastrand::Rng,
    ) -> Result<usize, Wait> {
        match placement {
            Placement::Take(position) => Ok(position),
            Placement::WaitFor(_) => Err(Wait::Home),
            Placement::Spill | Placement::Anywhere => self.find_now(demand, avoid, homes, now, rng),
        }
    }

    /// Why a request for which there is no slot may not wait for one either.
    fn refusal(&self, now: Instant, demand: &Demand, avoid: &[InstanceId]) -> Option<Refusal> {
        if !self.may_wait(now, demand, avoid) {
            return Some(Refusal::NoInstance);
        }
        self.overload(demand, now)
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
        let order = Order { rank: Order::rank_of(demand.priority), due, number };
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
        self.doors[lane.index()].queued(now);
        Ticket { lane, order }
    }

    /// The home whose freed worker should serve a waiter that any instance may serve.
    fn preferred_home(&self, demand: &Demand) -> Option<usize> {
        let unmeasured = self.rules.homes == Worth::Unknown;
        let restricted = demand.only.is_some() || demand.sticky.is_some() || self.versions.is_split();
        let home = self.homes.of(demand.class()).first().filter(|_| unmeasured && !restricted)?;
        self.table.position(*home)
    }

    /// A slot that the request may have now, without overtaking anybody; or why it has to wait.
    fn find_now(
        &self,
        demand: &Demand,
        avoid: &[InstanceId],
        homes: &[InstanceId],
        now: Instant,
        rng: &mut fastrand::Rng,
    ) -> Result<usize, Wait> {
        if let Some(position) = self.session(demand, avoid, now) {
            let free = self.table.get(position).filter(|e| e.load.has_slot());
            return free.map(|_| position).ok_or(Wait::Session);
        }
        let lane = demand.lane.index();
        let view = self.view(now);
        // Smaller lanes first; `next_grant` leaves no slot free that their waiters could use.
        if lane > 0 && !view.lane_has_room(&self.counted(), demand.lane, false) {
            return Err(Wait::Cap);
        }
        if demand.only.is_some() || !avoid.is_empty() {
            return view.among(demand, avoid, rng).ok_or(Wait::Allowed);
        }
        if let Some(trial) = view.trial(&self.down) {
            return Ok(trial);
        }
        if self.lanes[..=lane].iter().any(|queue| queue.first_open().is_some()) {
            return Err(Wait::Queue);
        }
        let picked = self.pick_by_share(demand.lane, homes, 1, Duration::ZERO, now, rng);
        picked.ok_or_else(|| self.waits_for_workers(demand))
    }

    /// Why no worker will do.
    fn waits_for_workers(&self, demand: &Demand) -> Wait {
        if self.table.len() == 0 {
            Wait::First
        } else if self.table.totals().free == 0 {
            Wait::Busy
        } else if self.versions.is_split() {
            Wait::Version
        } else if demand.lane.is_large() && self.rules.mode != Mode::Pack {
            Wait::Kept
        } else {
            Wait::Slower
        }
    }

    /// The pick of a small request, at its home if that is as good a choice.
    pub(super) fn small_near_home(
        &self,
        cohort: usize,
        homes: &[InstanceId],
        waiting: usize,
        now: Instant,
        rng: &mut fastrand::Rng,
    ) -> Option<usize> {
        let picked = self.view(now).of(cohort).small(waiting, rng)?;
        let own = |position: &usize| self.table.get(*position).is_some_and(|entry| entry.cohort == cohort);
        let mut homes = homes.iter().filter_map(|id| self.table.position(*id)).filter(own);
        let unmeasured = self.rules.homes == Worth::Unknown;
        let as_good =
            |home: &usize| self.table.equal(*home, picked) || (unmeasured && self.table.is_free_alone(*home));
        Some(homes.find(as_good).unwrap_or(picked))
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

    /// Where a class was sent because its homes were busy with their own is a further home while there
    /// is room: the next time its caches are warm. The planner takes it back. Not if a large request
    /// was in the way: that will be gone.
    fn settle_there(&mut self, class: ClassId, instance: InstanceId) {
        let pays = matches!(self.rules.homes, Worth::Pays { .. });
        let beside_large = |id: &InstanceId| self.table.by_id(*id).is_some_and(|e| e.load.large > 0);
        let in_the_way = self.homes.of(class).iter().any(beside_large);
        if pays && !in_the_way && self.has_plenty() {
            self.homes.add(class, instance, &mut self.table);
        }
    }

    /// `avoids`: some instances failed the request before.
    pub(super) fn occupy(&mut self, position: usize, demand: &Demand, avoids: bool, now: Instant) -> Granted {
        let lane = demand.lane;
        let homes = self.homes.of(demand.class());
        let seen = self.table.change(position, |entry| {
            let restricted = avoids || demand.only.is_some();
            let why = Why::of(entry, demand, restricted, homes.contains(&entry.id));
            let before =
                (entry.id, entry.load.has_slot(), entry.load.large, entry.slowness, why, entry.cohort);
            entry.load.working += 1;
            if !entry.load.has_slot()
                && entry.load.granted.is_none_or(|granted| granted >= entry.load.believed)
            {
                entry.trust.full();
            }
            entry.load.large += u32::from(lane.is_large());
            entry.unsure += u32::from(!demand.known_short);
            entry.breaker.on_send(now);
            entry.sent += 1;
            before
        });
        let (instance, had_worker, large_beside, slowness, why, cohort) =
            seen.expect("a pick returns known positions");
        self.versions.served(cohort, |cohort| self.table.open(cohort) > 0);
        self.held[lane.index()] += 1;
        self.counts.ahead += u64::from(!had_worker);
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
        if !had_worker {
            self.table.change(position, |entry| entry.ahead = Some(run));
        }
        if at_home == Some(false) {
            self.settle_there(demand.class(), instance);
        }
        if lane.is_large() {
            self.hanging.watch(run, now);
        } else {
            self.late.push_back((now + self.late_after.mul_f64(slowness), run));
        }
        Granted { run, instance, why }
    }
}
