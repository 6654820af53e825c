//! Overload, lane by lane: who is told at once that waiting is of no use.
//!
//! Both rules are only for requests that no worker is free for:
//! - One that would wait for longer than its deadline is turned away now and not then. How long it would wait is
//!   what is before it in its lane, over the rate at which the lane is served.
//! - A lane whose queue never gets short (controlled delay, RFC 8289: the least wait of an interval stays above a
//!   target) nor shorter, as it does after a burst, has more to do than it can. What it lets in beyond the target is
//!   not served sooner or more often, it only waits: after each such interval requests may wait half as long, down to
//!   the target, and after each interval in which the queue was short twice as long again.
//!
//! RFC 8289 drops at the head of the queue, and others serve the newest first (Maurer, "Fail at Scale", 2015): both
//! keep the waits of those short that are served, but whoever is given up has waited until then. Who is turned away
//! at the door has lost nothing but a round trip, and as many are served. Large requests need no rule of their own
//! to go first: smaller lanes take the workers, so that it is the large ones' wait that exceeds its deadline.
//! At three times the capacity for a minute, pages only, deadline 30 s (`tests/simulation/tests/overload.rs`):
//!
//! | | p99 of what is served | who is turned away has waited | served |
//! |---|---|---|---|
//! | timeout alone | 30 s | 30 s | 380/s |
//! | the newest first | 29 s (half of it within 12 ms) | 30 s | the same |
//! | controlled delay at the head | 1.6 s | 1.5 s | 380/s |
//! | at the door | 1.7 s | not at all | 395/s |

#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use super::demand::{Demand, Order, Refusal};
use super::queue::LaneQueue;
use super::{Dispatcher, Lane};

/// The target, as a share of the deadline, ...
const TARGET: u32 = 20;
/// ... and the least of it, in worker-held times: a queue before busy workers is never shorter.
const TARGET_HELD: u32 = 4;
/// The interval, as a share of the deadline, and the least of it, in worker-held times.
const INTERVAL: u32 = 6;
const INTERVAL_HELD: u32 = 10;
const INTERVAL_LEAST: Duration = Duration::from_millis(100);
/// A queue that ends an interval with less than this share of what it began with is on its way to be short.
const SHRINKS: f64 = 0.9;
/// More halvings are not counted: the target is reached before.
const MOST_HALVINGS: u32 = 5;
/// Grants that the rate expected of the workers counts for, beside those that were seen.
const PRIOR: f64 = 4.0;
/// Memory of the rate at which a lane with a queue is served.
const MEMORY_SMALL: Duration = Duration::from_secs(5);
/// Of large ones, at least; to see that they starve it must be as long as they may wait.
const MEMORY_LARGE: Duration = Duration::from_secs(20);
const MEMORY_MOST: Duration = Duration::from_secs(60);
/// The most that a request's own time counts for, as a share of its lane's deadline.
const MARGIN: u32 = 10;
/// What a client is told at most and at least, in seconds.
const RETRY_AFTER: (f64, f64) = (1.0, 60.0);

/// Requests that were turned away, counted from the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shed {
    /// They would have waited for too long.
    pub too_late: u64,
    /// The queue was full.
    pub queue_full: u64,
}

/// One lane's admission.
#[derive(Clone, Debug)]
pub(super) struct Door {
    /// The longest that its requests may wait while all is well.
    pub(super) deadline: Duration,
    /// How often that is halved at present.
    halvings: u32,
    interval_began: Instant,
    /// As many waited then.
    began_with: usize,
    /// The shortest wait of this interval; zero if the queue was empty.
    least: Option<Duration>,
    drain: Drain,
    pub(super) shed: Shed,
}

impl Door {
    pub(super) fn new(lane: Lane, now: Instant) -> Self {
        let memory = if lane.is_large() { MEMORY_LARGE } else { MEMORY_SMALL };
        Self {
            deadline: Duration::MAX,
            halvings: 0,
            interval_began: now,
            began_with: 0,
            least: None,
            drain: Drain::new(memory),
            shed: Shed::default(),
        }
    }

    /// The longest that a request may wait now. `held`: what one of the lane holds a worker for.
    fn longest_wait(&self, held: Duration) -> Duration {
        let halved = self.deadline / (1 << self.halvings);
        halved.max(target(self.deadline, held))
    }

    /// A request came while a worker was free for it.
    pub(super) fn idle(&mut self) {
        self.least = Some(Duration::ZERO);
        self.drain.forget();
    }

    /// A request begins to wait.
    pub(super) fn queued(&mut self, now: Instant) {
        self.drain.backlog(now);
    }

    /// A request got its worker. `oldest`: the wait of the first that still waits; `None`: nobody does. Not the wait of
    /// the one that was granted, which may be short where homes and rules change the order.
    pub(super) fn granted(&mut self, oldest: Option<Duration>, now: Instant) {
        let wait = oldest.unwrap_or_default();
        self.least = Some(self.least.map_or(wait, |least| least.min(wait)));
        self.drain.granted(now, oldest.is_some());
    }

    /// Ends the interval if it is over. `oldest`: the wait of the first in the queue.
    fn look(&mut self, now: Instant, waiting: usize, oldest: Duration, held: Duration) {
        if waiting == 0 {
            self.least = Some(Duration::ZERO);
            self.drain.empty(now);
        }
        if now.saturating_duration_since(self.interval_began) < interval(self.deadline, held) {
            return;
        }
        let least = self.least.take().unwrap_or(oldest);
        let began_with = std::mem::replace(&mut self.began_with, waiting);
        let target = target(self.deadline, held);
        if least > target && waiting as f64 >= SHRINKS * began_with as f64 {
            self.halvings = (self.halvings + 1).min(MOST_HALVINGS);
        } else if least < target / 2 {
            self.halvings = self.halvings.saturating_sub(1);
        }
        self.interval_began = now;
    }
}

fn target(deadline: Duration, held: Duration) -> Duration {
    (deadline / TARGET).max(held.saturating_mul(TARGET_HELD)).min(deadline)
}

fn interval(deadline: Duration, held: Duration) -> Duration {
    (deadline / INTERVAL).max(held.saturating_mul(INTERVAL_HELD)).max(INTERVAL_LEAST)
}

/// The rate at which a lane is served while requests of it wait.
#[derive(Clone, Debug)]
struct Drain {
    memory: Duration,
    /// Decayed: grants, and the seconds that they took.
    grants: f64,
    seconds: f64,
    /// What is not in `seconds` yet: since then there is a queue.
    since: Option<Instant>,
    /// When the queue was last empty.
    emptied: Option<Instant>,
}

impl Drain {
    fn new(memory: Duration) -> Self {
        Self { memory, grants: 0.0, seconds: 0.0, since: None, emptied: None }
    }

    fn backlog(&mut self, now: Instant) {
        if self.since.is_some() {
            return;
        }
        self.since = Some(now);
        let idle = self.emptied.map(|emptied| now.saturating_duration_since(emptied));
        if idle.is_some_and(|idle| idle > self.memory) {
            // Another queue at another time: how that one went says nothing.
            self.forget();
        }
    }

    fn granted(&mut self, now: Instant, more_wait: bool) {
        self.pass(now);
        self.grants += 1.0;
        if more_wait {
            self.since = Some(now);
        } else {
            self.emptied = Some(now);
        }
    }

    fn empty(&mut self, now: Instant) {
        if self.since.is_some() {
            self.pass(now);
            self.emptied = Some(now);
        }
    }

    fn pass(&mut self, now: Instant) {
        let Some(since) = self.since.take() else { return };
        let passed = now.saturating_duration_since(since).as_secs_f64();
        let kept = (-passed / self.memory.as_secs_f64()).exp();
        self.grants *= kept;
        self.seconds = self.seconds * kept + passed;
    }

    /// Whether nobody was served in half of `longest`, though somebody waited all the time: smaller requests have taken
    /// every worker.
    fn starves(&self, longest: Duration, now: Instant) -> bool {
        self.grants < 0.5 && self.seen(now) >= longest.as_secs_f64() / 2.0
    }

    /// Seconds with a queue.
    fn seen(&self, now: Instant) -> f64 {
        let open = self.since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        self.seconds + open.as_secs_f64()
    }

    fn forget(&mut self) {
        (self.grants, self.seconds) = (0.0, 0.0);
    }

    /// Requests per second. `expected`: as many as the workers should serve, which counts as long as little was
    /// seen; `None`: nothing is known of that.
    fn rate(&self, expected: Option<f64>, now: Instant) -> f64 {
        let seen = self.seen(now);
        (PRIOR + self.grants) / (expected.map_or(0.0, |expected| PRIOR / expected) + seen)
    }
}

impl<W> Dispatcher<W> {
    /// The longest that requests may wait while all is well: small ones, and large ones.
    pub fn set_longest_waits(&mut self, small: Duration, large: Duration) {
        for (lane, door) in Lane::all().zip(&mut self.doors) {
            door.deadline = if lane.is_large() { large } else { small };
            door.drain.memory =
                if lane.is_large() { MEMORY_LARGE.max(large.min(MEMORY_MOST)) } else { MEMORY_SMALL };
        }
    }

    /// The longest that a request of a lane may wait now: less than usual while the lane has more to do than it can.
    pub fn longest_wait(&self, lane: Lane) -> Duration {
        self.doors[lane.index()].longest_wait(self.lane_held(lane))
    }

    /// How long a request of a lane that comes now will wait. Zero while nobody waits.
    pub fn expected_wait(&self, lane: Lane, now: Instant) -> Duration {
        self.wait_behind(lane, self.lanes[lane.index()].len(), now)
    }

    /// Requests of a lane that were turned away.
    pub fn shed(&self, lane: Lane) -> Shed {
        self.doors[lane.index()].shed
    }

    /// Seconds after which a client that was turned away may come again: once what waits now is served, and later
    /// the longer there is too much to do; up to twice that, so that not all come together.
    pub fn retry_after(&mut self, lane: Lane, now: Instant) -> u8 {
        let wait = self.expected_wait(lane, now).as_secs_f64().max(RETRY_AFTER.0);
        let longer = f64::from(1 + self.doors[lane.index()].halvings);
        let seconds = wait * longer * (1.0 + self.rng.f64());
        seconds.clamp(RETRY_AFTER.0, RETRY_AFTER.1).round() as u8
    }

    /// Why a request for which no worker is free should not wait for one.
    pub(super) fn overload(&self, demand: &Demand, now: Instant) -> Option<Refusal> {
        if self.is_full(demand) {
            return Some(Refusal::QueueFull);
        }
        let own = demand.due.map_or(Duration::MAX, |due| due.saturating_duration_since(now));
        let longest = self.longest_wait(demand.lane);
        let ahead = self.lanes[demand.lane.index()].ahead_of(Order::rank_of(demand.priority), demand.due);
        let wait = self.wait_behind(demand.lane, ahead, now);
        // A lane's deadline is that of the answer, unless the work alone takes much of it; a rule's that of the sending.
        let margin = self.lane_held(demand.lane).min(longest / MARGIN);
        let late = wait > own || wait.saturating_add(margin) > longest;
        let starves = || self.doors[demand.lane.index()].drain.starves(longest.min(own), now);
        let refused = if ahead > 0 { late } else { starves() };
        refused.then_some(Refusal::TooLate)
    }

    /// Requests that the operator puts before others find room when there is none for the others. Large requests
    /// wait longer and so would fill the queue: half of it is for small ones.
    fn is_full(&self, demand: &Demand) -> bool {
        let extra = if demand.priority > 0 { self.queue_length.div_ceil(4) } else { 0 };
        let large: usize = self.lanes[1..].iter().map(LaneQueue::len).sum();
        self.queued() >= self.queue_length.saturating_add(extra)
            || (demand.lane.is_large() && large >= self.queue_length.div_ceil(2).saturating_add(extra))
    }

    pub(super) fn count_refusal(&mut self, lane: Lane, refusal: Refusal) {
        let shed = &mut self.doors[lane.index()].shed;
        match refusal {
            Refusal::TooLate => shed.too_late += 1,
            Refusal::QueueFull => shed.queue_full += 1,
            Refusal::NoInstance => {}
        }
    }

    /// Looks at every lane's queue: is it ever short?
    pub(super) fn look_at_queues(&mut self, now: Instant) {
        for lane in Lane::all() {
            let (queue, held) = (&self.lanes[lane.index()], self.lane_held(lane));
            let (waiting, oldest) = (queue.len(), queue.oldest_wait(now));
            self.doors[lane.index()].look(now, waiting, oldest, held);
        }
    }

    fn wait_behind(&self, lane: Lane, ahead: usize, now: Instant) -> Duration {
        if ahead == 0 {
            return Duration::ZERO;
        }
        let held = self.rules.held[lane.index()].filter(|held| !held.is_zero());
        let expected = held.map(|held| self.workers_left(lane) as f64 / held.as_secs_f64());
        let rate = self.doors[lane.index()].drain.rate(expected, now);
        Duration::try_from_secs_f64(ahead as f64 / rate).unwrap_or(Duration::MAX)
    }

    /// Workers that serve a lane: those that it may use, without those that larger ones hold.
    fn workers_left(&self, lane: Lane) -> usize {
        let larger: usize = self.held[lane.index() + 1..].iter().sum();
        self.workers_for(lane).saturating_sub(larger).max(1)
    }

    fn lane_held(&self, lane: Lane) -> Duration {
        self.rules.held[lane.index()].unwrap_or_default()
    }
}
