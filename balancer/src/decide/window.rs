//! What was measured lately: two windows, the current and the one before.

use std::time::{Duration, Instant};

use sluice_proto::{ClassSums, Sketch};

/// What can be summed over windows.
pub trait Sums: Clone + Default {
    /// Adds all that `other` holds.
    fn merge(&mut self, other: &Self);
}

impl Sums for ClassSums {
    fn merge(&mut self, other: &Self) {
        self.merge(other);
    }
}

impl Sums for Sketch {
    fn merge(&mut self, other: &Self) {
        self.merge(other);
    }
}

/// The last one to two windows.
#[derive(Clone, Debug)]
pub struct Recent<T> {
    window: Duration,
    began: Instant,
    current: T,
    /// `None` before the first window is full.
    previous: Option<T>,
}

impl<T: Sums> Recent<T> {
    /// `window` is the length of one, above zero.
    pub fn new(window: Duration, now: Instant) -> Self {
        Self { window, began: now, current: T::default(), previous: None }
    }

    /// The sums to add to, after moving on to the window of `now`.
    pub fn at(&mut self, now: Instant) -> &mut T {
        let age = now.saturating_duration_since(self.began);
        if age >= 2 * self.window {
            *self = Self::new(self.window, now);
        } else if age >= self.window {
            self.previous = Some(std::mem::take(&mut self.current));
            self.began += self.window;
        }
        &mut self.current
    }

    /// Everything of the last one to two windows, and the time it covers. Changes nothing.
    pub fn value_at(&self, now: Instant) -> (T, Duration) {
        let age = now.saturating_duration_since(self.began);
        if age >= 2 * self.window {
            return (T::default(), 2 * self.window);
        }
        if age >= self.window {
            return (self.current.clone(), age);
        }
        match &self.previous {
            None => (self.current.clone(), age),
            Some(previous) => {
                let mut both = previous.clone();
                both.merge(&self.current);
                (both, age + self.window)
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
        let mut recent = Recent::<ClassSums>::new(Duration::from_secs(30), start);
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
