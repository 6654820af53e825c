//! How long workers were held, all in all: exact also for requests that are shorter than the time between two looks.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// Adds up worker time. Each change is one lock for a few instructions, twice per request.
#[derive(Debug)]
pub struct BusyTime(Mutex<Sum>);

#[derive(Debug)]
struct Sum {
    held: u32,
    since: Instant,
    total: Duration,
}

impl BusyTime {
    pub fn new(now: Instant) -> Self {
        Self(Mutex::new(Sum { held: 0, since: now, total: Duration::ZERO }))
    }

    /// One more worker is held.
    pub fn taken(&self, now: Instant) {
        let mut sum = self.at(now);
        sum.held += 1;
    }

    /// One less.
    pub fn given_back(&self, now: Instant) {
        let mut sum = self.at(now);
        sum.held = sum.held.saturating_sub(1);
    }

    /// Of all workers since the start, those that are held now included.
    pub fn total(&self, now: Instant) -> Duration {
        self.at(now).total
    }

    /// The sum up to `now`. Threads may come with clocks read in another order: time does not run backwards here.
    fn at(&self, now: Instant) -> MutexGuard<'_, Sum> {
        // Each field is whole whenever the lock is free.
        let mut sum = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let passed = now.saturating_duration_since(sum.since);
        let held = sum.held;
        sum.total += passed * held;
        sum.since += passed;
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn worker_time_adds_up() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let busy = BusyTime::new(start);
        busy.taken(at(100));
        busy.taken(at(150));
        assert_eq!(busy.total(at(200)), Duration::from_millis(150));
        busy.given_back(at(300));
        busy.given_back(at(250)); // read earlier, come later
        assert_eq!(busy.total(at(900)), Duration::from_millis(350));
    }
}
