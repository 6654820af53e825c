//! What was measured lately: two windows, the current and the one before.

use std::time::{Duration, Instant};

use sluice_proto::ClassSums;

/// Length of one window. Two of them are shown: long enough for a quantile of a rare class, short
/// enough to follow a change of the mix.
pub const WINDOW: Duration = Duration::from_secs(30);

/// The last one to two windows of a class.
#[derive(Clone, Debug)]
pub struct Recent {
    began: Instant,
    current: ClassSums,
    /// `None` before the first window is full.
    previous: Option<ClassSums>,
}

impl Recent {
    pub fn new(now: Instant) -> Self {
        Self { began: now, current: ClassSums::default(), previous: None }
    }

    /// The sums to add to, after moving on to the window of `now`.
    pub fn at(&mut self, now: Instant) -> &mut ClassSums {
        let windows = now.saturating_duration_since(self.began).as_nanos() / WINDOW.as_nanos();
        match windows {
            0 => {}
            1 => {
                self.previous = Some(std::mem::take(&mut self.current));
                self.began += WINDOW;
            }
            _ => *self = Self::new(now),
        }
        &mut self.current
    }

    /// Everything of the last one to two windows, and the time it covers. Changes nothing.
    pub fn value_at(&self, now: Instant) -> (ClassSums, Duration) {
        let age = now.saturating_duration_since(self.began);
        if age >= 2 * WINDOW {
            return (ClassSums::default(), 2 * WINDOW);
        }
        if age >= WINDOW {
            return (self.current.clone(), age);
        }
        match &self.previous {
            None => (self.current.clone(), age),
            Some(previous) => {
                let mut both = previous.clone();
                both.merge(&self.current);
                (both, age + WINDOW)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_windows_are_remembered() {
        let start = Instant::now();
        let at = |s| start + Duration::from_secs(s);
        let mut recent = Recent::new(start);
        recent.at(at(1)).requests += 1;
        assert_eq!(recent.value_at(at(2)).1.as_secs(), 2, "no more time than has passed");
        recent.at(at(31)).requests += 10;
        for (now, requests, covered) in [(31, 11, 31), (59, 11, 59), (60, 10, 30), (89, 10, 59), (90, 0, 60)]
        {
            let (sums, span) = recent.value_at(at(now));
            assert_eq!((sums.requests, span.as_secs()), (requests, covered), "at {now} s");
        }
        recent.at(at(500)).requests += 100;
        assert_eq!(recent.value_at(at(500)).0.requests, 100, "nothing old comes back");
    }
}
