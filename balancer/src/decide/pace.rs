//! How much of its thread's time something may take that could be asked for without end.

use std::time::{Duration, Instant};

/// An account of time: what is spent comes back at a tenth of the rate at which time passes.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Below zero after something that took longer than there was.
    left_s: f64,
    at: Instant,
}

/// Share of the time that may be spent in the long run.
const SHARE: f64 = 0.1;

/// What can be saved up, in seconds: whoever takes a millisecond may do so for hundreds of times at once.
const MOST_S: f64 = 0.5;

impl Pace {
    pub fn new(now: Instant) -> Self {
        Self { left_s: MOST_S, at: now }
    }

    /// Whether it may be done now. Changes nothing.
    pub fn allows(&self, now: Instant) -> bool {
        self.left_at(now) > 0.0
    }

    /// It was done, and that took so long until `now`.
    pub fn spent(&mut self, took: Duration, now: Instant) {
        *self = Self { left_s: self.left_at(now) - took.as_secs_f64(), at: now };
    }

    fn left_at(&self, now: Instant) -> f64 {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        (self.left_s + passed * SHARE).min(MOST_S)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_short_may_be_done_each_time_and_what_is_long_a_tenth_of_the_time() {
        let start = Instant::now();
        // Asked for each millisecond of 10 s: 0.5 s are there, and 1 s comes. The last time may take more than is left.
        for (took_ms, times) in [(1, 1500), (50, 30), (400, 4), (5_000, 1)] {
            let (mut pace, mut done) = (Pace::new(start), 0);
            for now in (0..10_000).map(|ms| start + Duration::from_millis(ms)) {
                if pace.allows(now) {
                    pace.spent(Duration::from_millis(took_ms), now);
                    done += 1;
                }
            }
            assert!((times - 1..=times + 1).contains(&done), "{took_ms} ms: {done} times");
        }
    }

    #[test]
    fn no_more_is_saved_up_than_half_a_second() {
        let start = Instant::now();
        let later = start + Duration::from_secs(86_400);
        let mut pace = Pace::new(start);
        pace.spent(Duration::from_millis(499), later);
        assert!(pace.allows(later));
        pace.spent(Duration::from_millis(2), later);
        assert!(!pace.allows(later), "1 ms too much");
        assert!(pace.allows(later + Duration::from_millis(11)));
    }
}
