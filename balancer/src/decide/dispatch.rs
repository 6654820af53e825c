//! Worker slots and the one queue in front of them: a state machine for one service.
//!
//! ```text
//!  arrive ──► slot free and nobody waiting ──► Slot          ┌─► first_byte ─► streaming ─┐
//!     │                                          ▲           │                            ▼
//!     └─────► wait (FIFO) ── next_grant ─────────┴── working ┴──────────── end ─────────► gone
//! ```
//!
//! Invariants, held by construction and tested below:
//! - an instance's `working` never exceeds its `workers`, unless `workers` was lowered meanwhile;
//! - nobody overtakes a waiter that could use the same slot;
//! - a waiter waits only while no slot that it may use is free.
//!
//! One `&mut` state machine and not atomics per instance: exactness comes for free, the queue and
//! the slots change together, and a simulation drives the very same code. The caller's lock is held
//! for the time of one call, well under a microsecond.

use std::collections::{BTreeMap, HashMap};
use std::time::Instant;

use crate::decide::breaker::Breaker;
use crate::decide::pick::{self, Load};

/// An instance, for the lifetime of the program; never used again for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstanceId(pub u64);

/// A place in the queue. Smaller waits longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(u64);

/// What became of an arriving request.
#[derive(Debug, PartialEq, Eq)]
pub enum Arrival {
    /// The slot is taken; send it there.
    Slot(InstanceId),
    /// It waits; see [`Dispatcher::next_grant`].
    Waiting(Ticket),
    /// It must be turned away.
    Refused(Refusal),
}

/// Why a request is turned away at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No instance that it may use is up.
    NoInstance,
    /// The queue is full.
    QueueFull,
}

/// A slot for one that waited.
#[derive(Debug, PartialEq, Eq)]
pub struct Grant<W> {
    pub waiter: W,
    pub instance: InstanceId,
}

/// Where a request is that holds something of an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// It holds a worker.
    Working,
    /// Its worker is free; its response is still being sent.
    Streaming,
}

/// The state of one instance, for showing and counting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Occupancy {
    pub load: Load,
    /// Takes new requests, as far as membership goes.
    pub routable: bool,
    pub breaker: Breaker,
}

#[derive(Clone, Debug)]
struct Entry {
    id: InstanceId,
    load: Load,
    routable: bool,
    breaker: Breaker,
}

impl Entry {
    fn is_up(&self, now: Instant) -> bool {
        self.routable && self.breaker.admits(now)
    }
}

struct Waiting<W> {
    waiter: W,
    /// Instances that failed this request already.
    avoid: Vec<InstanceId>,
}

/// Slots and queue of one service. `W` is whatever the caller wakes a waiter by.
pub struct Dispatcher<W> {
    entries: Vec<Entry>,
    /// Position in `entries`.
    index: HashMap<InstanceId, usize>,
    queue: BTreeMap<Ticket, Waiting<W>>,
    next_ticket: u64,
    queue_length: usize,
    /// Until then requests wait for a first instance instead of being turned away: a balancer that
    /// was just started has not heard from its agents yet.
    hold_until: Instant,
    rng: fastrand::Rng,
}

impl<W> Dispatcher<W> {
    /// `queue_length`: the most that wait at a time.
    pub fn new(queue_length: usize, hold_until: Instant, rng: fastrand::Rng) -> Self {
        let (entries, index, queue) = (Vec::new(), HashMap::new(), BTreeMap::new());
        Self { entries, index, queue, next_ticket: 0, queue_length, hold_until, rng }
    }

    /// A request asks for a slot, on any instance but those in `avoid`. `waiter` is called only if
    /// it has to wait.
    pub fn arrive(&mut self, now: Instant, avoid: &[InstanceId], waiter: impl FnOnce() -> W) -> Arrival {
        // A free slot while somebody waits is one that the waiter may not use: then the newcomer
        // overtakes nobody. `next_grant` leaves no other kind of free slot.
        if let Some(instance) = self.take_slot(now, avoid) {
            return Arrival::Slot(instance);
        }
        if !self.may_wait(now, avoid) {
            return Arrival::Refused(Refusal::NoInstance);
        }
        if self.queue.len() >= self.queue_length {
            return Arrival::Refused(Refusal::QueueFull);
        }
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        self.queue.insert(ticket, Waiting { waiter: waiter(), avoid: avoid.to_vec() });
        Arrival::Waiting(ticket)
    }

    /// A waiter gives up. `None`: it has been granted a slot already.
    pub fn leave(&mut self, ticket: Ticket) -> Option<W> {
        self.queue.remove(&ticket).map(|waiting| waiting.waiter)
    }

    /// Hands a free slot to the longest waiter that may use one. To be called after whatever may
    /// have freed a slot, until it returns `None`.
    pub fn next_grant(&mut self, now: Instant) -> Option<Grant<W>> {
        if self.queue.is_empty() || !self.entries.iter().any(|e| e.is_up(now) && e.load.has_slot()) {
            return None;
        }
        let mut found = None;
        for (ticket, waiting) in &self.queue {
            if let Some(position) = pick_among(&self.entries, now, &waiting.avoid, &mut self.rng) {
                found = Some((*ticket, position));
                break;
            }
        }
        let (ticket, position) = found?;
        let instance = self.occupy(position, now);
        self.queue.remove(&ticket).map(|waiting| Grant { waiter: waiting.waiter, instance })
    }

    /// A response's first byte came and its worker is free.
    pub fn first_byte(&mut self, id: InstanceId) {
        if let Some(load) = self.load_mut(id) {
            load.working = load.working.saturating_sub(1);
            load.streaming += 1;
        }
    }

    /// A request is over.
    pub fn end(&mut self, id: InstanceId, stage: Stage) {
        if let Some(load) = self.load_mut(id) {
            let held = match stage {
                Stage::Working => &mut load.working,
                Stage::Streaming => &mut load.streaming,
            };
            *held = held.saturating_sub(1);
        }
    }

    /// The instance accepted a connection, or spoke for itself.
    pub fn reached(&mut self, id: InstanceId) {
        if let Some(&position) = self.index.get(&id) {
            self.entries[position].breaker.on_reached();
        }
    }

    /// The instance did not accept a connection.
    pub fn unreachable(&mut self, id: InstanceId, now: Instant) {
        if let Some(&position) = self.index.get(&id) {
            self.entries[position].breaker.on_unreachable(now);
        }
    }

    /// Adds an instance, or changes one. What it holds stays counted.
    pub fn set_instance(&mut self, id: InstanceId, workers: u32, routable: bool) {
        let workers = workers.max(1);
        if let Some(&position) = self.index.get(&id) {
            let entry = &mut self.entries[position];
            entry.load.workers = workers;
            entry.routable = routable;
            return;
        }
        self.index.insert(id, self.entries.len());
        let load = Load { workers, working: 0, streaming: 0 };
        self.entries.push(Entry { id, load, routable, breaker: Breaker::default() });
    }

    /// Forgets an instance. Requests that it still works on end uncounted.
    pub fn remove_instance(&mut self, id: InstanceId) {
        let Some(position) = self.index.remove(&id) else { return };
        self.entries.swap_remove(position);
        if let Some(moved) = self.entries.get(position) {
            self.index.insert(moved.id, position);
        }
    }

    pub fn occupancy(&self, id: InstanceId) -> Option<Occupancy> {
        let entry = &self.entries[*self.index.get(&id)?];
        Some(Occupancy { load: entry.load, routable: entry.routable, breaker: entry.breaker })
    }

    pub fn queued(&self) -> usize {
        self.queue.len()
    }

    /// Whether some instance would take a request now or once a worker is free.
    pub fn has_instance(&self, now: Instant) -> bool {
        self.entries.iter().any(|entry| entry.is_up(now))
    }

    /// Where a request would go now, without sending it. `None`: it would wait or be refused.
    pub fn preview(&self, now: Instant, rng: &mut fastrand::Rng) -> Option<InstanceId> {
        pick_among(&self.entries, now, &[], rng).map(|position| self.entries[position].id)
    }

    fn may_wait(&self, now: Instant, avoid: &[InstanceId]) -> bool {
        let usable = |entry: &Entry| entry.is_up(now) && !avoid.contains(&entry.id);
        self.entries.iter().any(usable) || (self.entries.is_empty() && now < self.hold_until)
    }

    fn take_slot(&mut self, now: Instant, avoid: &[InstanceId]) -> Option<InstanceId> {
        let position = pick_among(&self.entries, now, avoid, &mut self.rng)?;
        Some(self.occupy(position, now))
    }

    fn occupy(&mut self, position: usize, now: Instant) -> InstanceId {
        let entry = &mut self.entries[position];
        entry.load.working += 1;
        entry.breaker.on_send(now);
        entry.id
    }

    fn load_mut(&mut self, id: InstanceId) -> Option<&mut Load> {
        self.index.get(&id).map(|position| &mut self.entries[*position].load)
    }
}

fn pick_among(
    entries: &[Entry],
    now: Instant,
    avoid: &[InstanceId],
    rng: &mut fastrand::Rng,
) -> Option<usize> {
    let usable = |entry: &Entry| entry.is_up(now) && !avoid.contains(&entry.id);
    let candidates = entries.iter().enumerate().filter(|(_, entry)| usable(entry));
    pick::least_loaded(candidates.map(|(position, entry)| (position, entry.load)), rng)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const A: InstanceId = InstanceId(1);
    const B: InstanceId = InstanceId(2);

    fn dispatcher(now: Instant, queue_length: usize, instances: &[(InstanceId, u32)]) -> Dispatcher<u32> {
        let mut dispatcher = Dispatcher::new(queue_length, now, fastrand::Rng::with_seed(5));
        instances.iter().for_each(|(id, workers)| dispatcher.set_instance(*id, *workers, true));
        dispatcher
    }

    fn working(dispatcher: &Dispatcher<u32>, id: InstanceId) -> u32 {
        dispatcher.occupancy(id).expect("known").load.working
    }

    #[test]
    fn a_freed_slot_goes_to_the_longest_waiter() {
        let now = Instant::now();
        let mut d = dispatcher(now, 2, &[(A, 1)]);
        assert_eq!(d.arrive(now, &[], || 0), Arrival::Slot(A));
        assert!(matches!(d.arrive(now, &[], || 1), Arrival::Waiting(_)));
        let Arrival::Waiting(second) = d.arrive(now, &[], || 2) else { panic!("must wait") };
        assert_eq!(d.arrive(now, &[], || 3), Arrival::Refused(Refusal::QueueFull));
        assert_eq!(d.next_grant(now), None);
        d.end(A, Stage::Working);
        assert_eq!(d.next_grant(now), Some(Grant { waiter: 1, instance: A }));
        assert_eq!(d.next_grant(now), None, "one slot, one grant");
        assert_eq!(d.leave(second), Some(2));
        d.end(A, Stage::Working);
        assert_eq!(d.next_grant(now), None, "the other one left");
        assert_eq!(working(&d, A), 0);
    }

    #[test]
    fn the_first_byte_frees_the_worker_and_not_the_stream() {
        let now = Instant::now();
        let mut d = dispatcher(now, 1, &[(A, 1)]);
        assert_eq!(d.arrive(now, &[], || 0), Arrival::Slot(A));
        d.first_byte(A);
        assert_eq!(d.occupancy(A).expect("known").load, Load { workers: 1, working: 0, streaming: 1 });
        assert_eq!(d.arrive(now, &[], || 1), Arrival::Slot(A));
        d.end(A, Stage::Streaming);
        assert_eq!(d.occupancy(A).expect("known").load, Load { workers: 1, working: 1, streaming: 0 });
    }

    #[test]
    fn who_avoids_an_instance_does_not_block_those_who_do_not() {
        let now = Instant::now();
        let mut d = dispatcher(now, 9, &[(A, 1), (B, 1)]);
        assert!(matches!(d.arrive(now, &[B], || 0), Arrival::Slot(A)));
        assert!(matches!(d.arrive(now, &[], || 1), Arrival::Slot(B)));
        assert!(matches!(d.arrive(now, &[A], || 2), Arrival::Waiting(_)));
        assert!(matches!(d.arrive(now, &[], || 3), Arrival::Waiting(_)));
        d.end(A, Stage::Working);
        assert_eq!(d.next_grant(now), Some(Grant { waiter: 3, instance: A }));
        d.end(B, Stage::Working);
        assert_eq!(d.next_grant(now), Some(Grant { waiter: 2, instance: B }));
        assert_eq!(d.arrive(now, &[A, B], || 4), Arrival::Refused(Refusal::NoInstance));
    }

    #[test]
    fn nobody_up_is_refused_but_a_fresh_balancer_waits_for_its_agents() {
        let now = Instant::now();
        let hold = Duration::from_secs(3);
        let mut d: Dispatcher<u32> = Dispatcher::new(9, now + hold, fastrand::Rng::with_seed(5));
        assert!(matches!(d.arrive(now, &[], || 0), Arrival::Waiting(_)));
        assert_eq!(d.arrive(now + hold, &[], || 1), Arrival::Refused(Refusal::NoInstance));
        d.set_instance(A, 1, true);
        assert_eq!(d.next_grant(now), Some(Grant { waiter: 0, instance: A }));
        d.set_instance(A, 1, false);
        assert_eq!(d.arrive(now, &[], || 2), Arrival::Refused(Refusal::NoInstance), "draining");
        d.set_instance(A, 1, true);
        d.end(A, Stage::Working);
        d.unreachable(A, now);
        assert_eq!(d.arrive(now, &[], || 3), Arrival::Refused(Refusal::NoInstance), "unreachable");
        d.reached(A);
        assert_eq!(d.arrive(now, &[], || 4), Arrival::Slot(A));
    }

    #[test]
    fn late_words_about_a_removed_instance_change_nothing() {
        let now = Instant::now();
        let mut d = dispatcher(now, 9, &[(A, 1), (B, 1)]);
        assert!(matches!(d.arrive(now, &[B], || 0), Arrival::Slot(A)));
        d.remove_instance(A);
        d.first_byte(A);
        d.end(A, Stage::Working);
        d.unreachable(A, now);
        assert_eq!(d.occupancy(A), None);
        assert_eq!(d.arrive(now, &[], || 1), Arrival::Slot(B));
    }

    /// Random arrivals, first bytes, ends, cancellations and membership changes: slots stay exact,
    /// and nobody waits beside a slot that it may use.
    #[test]
    fn slots_are_exact_whatever_happens() {
        for seed in 0..200 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let now = Instant::now();
            let ids: Vec<_> = (0..4).map(InstanceId).collect();
            let mut d: Dispatcher<u32> = Dispatcher::new(20, now, rng.fork());
            ids.iter().for_each(|id| d.set_instance(*id, 1 + (id.0 as u32 % 3), true));
            let mut held: Vec<(InstanceId, Stage)> = vec![];
            let mut waiting: Vec<(Ticket, u32)> = vec![];
            for step in 0..2000_u32 {
                match rng.u32(..10) {
                    0..4 => match d.arrive(now, &[], || step) {
                        Arrival::Slot(id) => held.push((id, Stage::Working)),
                        Arrival::Waiting(ticket) => waiting.push((ticket, step)),
                        Arrival::Refused(_) => {}
                    },
                    4..6 if !held.is_empty() => {
                        let i = rng.usize(..held.len());
                        if held[i].1 == Stage::Working {
                            d.first_byte(held[i].0);
                            held[i].1 = Stage::Streaming;
                        }
                    }
                    6..8 if !held.is_empty() => {
                        let (id, stage) = held.swap_remove(rng.usize(..held.len()));
                        d.end(id, stage);
                    }
                    8 if !waiting.is_empty() => {
                        let (ticket, waiter) = waiting.remove(rng.usize(..waiting.len()));
                        assert_eq!(d.leave(ticket), Some(waiter), "seed {seed}");
                    }
                    _ => d.set_instance(ids[rng.usize(..4)], rng.u32(1..4), rng.u32(..10) > 0),
                }
                while let Some(grant) = d.next_grant(now) {
                    let first = waiting.remove(0);
                    assert_eq!(grant.waiter, first.1, "seed {seed}: first come, first served");
                    held.push((grant.instance, Stage::Working));
                }
                for id in &ids {
                    let load = d.occupancy(*id).expect("never removed").load;
                    let count = |stage| held.iter().filter(|h| **h == (*id, stage)).count() as u32;
                    assert_eq!(
                        (load.working, load.streaming),
                        (count(Stage::Working), count(Stage::Streaming))
                    );
                }
                let free = ids.iter().any(|id| {
                    let o = d.occupancy(*id).expect("never removed");
                    o.routable && o.load.has_slot()
                });
                assert!(waiting.is_empty() || !free, "seed {seed}: a waiter beside a free slot");
                assert_eq!(d.queued(), waiting.len(), "seed {seed}");
            }
        }
    }
}
