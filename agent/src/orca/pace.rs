//! Requests and errors per second, from the windows that reports are made of.

use std::time::Duration;

use crate::languages::{STEADY_OVER, mixed};

/// Rates per second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Pace {
    pub(super) requests: f64,
    pub(super) errors: f64,
}

impl Pace {
    /// What is known after another window. A long one weighs more than one that was cut short.
    pub(super) fn after(known: Option<Self>, window: Duration, requests: u64, errors: u64) -> Option<Self> {
        let seconds = window.as_secs_f64();
        if seconds <= 0.0 {
            return known;
        }
        let new = Self { requests: requests as f64 / seconds, errors: errors as f64 / seconds };
        Some(known.map_or(new, |known| Self {
            requests: mixed(known.requests, new.requests, window, STEADY_OVER),
            errors: mixed(known.errors, new.errors, window, STEADY_OVER),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_follow_and_short_windows_weigh_little() {
        let second = Duration::from_secs(1);
        let first = Pace::after(None, 2 * second, 20, 2).expect("a window");
        assert_eq!(first, Pace { requests: 10.0, errors: 1.0 });
        let glimpse = Pace::after(Some(first), Duration::from_millis(1), 1, 0).expect("known");
        assert!((10.0..10.5).contains(&glimpse.requests), "{glimpse:?}");
        let mut later = Some(first);
        for _ in 0..15 {
            later = Pace::after(later, second, 100, 0);
        }
        let later = later.expect("known");
        assert!(later.requests > 94.0 && later.errors < 0.06, "{later:?}");
        assert_eq!(Pace::after(Some(first), Duration::ZERO, 5, 0), Some(first));
        assert_eq!(Pace::after(None, Duration::ZERO, 5, 0), None);
    }
}
