//! Times in which this process did not run: stopped by a signal, suspended with its machine, starved.
//!
//! When it goes on, everything seems to have taken that long, and everybody to have been silent: neither is anybody's
//! fault, and nothing is to be learned of it.

use std::time::{Duration, Instant};

/// A process that runs gives a sign four times a second; one that did not for so long was not running. A control
/// thread that is merely busy is not that late.
const PAUSE: Duration = Duration::from_secs(1);

/// What is known of the last pause.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pauses {
    /// The last sign. `None`: nobody gives any, and nothing is a pause.
    sign: Option<Instant>,
    ended: Option<Instant>,
}

impl Pauses {
    /// The process runs. Returns how long it did not, if that was a pause.
    pub fn runs(&mut self, now: Instant) -> Option<Duration> {
        let silent = self.sign.replace(now).map(|sign| now.saturating_duration_since(sign));
        let pause = silent.filter(|silent| *silent >= PAUSE);
        if pause.is_some() {
            self.ended = Some(now);
        }
        pause
    }

    /// Whether there was a pause between `since` and `now`, one that was not noticed yet among them.
    pub fn since(&self, since: Instant, now: Instant) -> bool {
        let unnoticed = self.sign.is_some_and(|sign| now.saturating_duration_since(sign) >= PAUSE);
        unnoticed || self.ended.is_some_and(|ended| since < ended)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_under_way_in_a_pause_was_interrupted() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut pauses = Pauses::default();
        assert!(!pauses.since(at(0), at(60_000)), "nobody gives signs");
        for (ms, pause) in [(0, None), (999, None), (1_998, None), (8_000, Some(6_002)), (8_250, None)] {
            if ms == 8_000 {
                assert!(pauses.since(at(7_999), at(8_000)), "not noticed yet");
            }
            assert_eq!(pauses.runs(at(ms)), pause.map(Duration::from_millis), "{ms}");
        }
        for (since, interrupted) in [(2_000, true), (7_999, true), (8_000, false), (8_100, false)] {
            assert_eq!(pauses.since(at(since), at(8_300)), interrupted, "{since}");
        }
    }
}
