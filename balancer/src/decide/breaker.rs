//! When an instance that does not accept connections is tried again.
//!
//! By a connection that the balancer makes for that alone: no request has to find out. Should nobody have made one in
//! time, requests do.

use std::time::{Duration, Instant};

/// First pause after a failed connect. A restarting server listens again within seconds, and one
/// failed try costs its request only a detour.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// Longest pause: an instance that is back gets traffic again within this time.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// Who should have tried by then is stuck, or has gone.
const OVERDUE: Duration = Duration::from_secs(1);

/// Keeps requests away from an instance that can not be reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Breaker {
    /// Reachable, as far as is known.
    #[default]
    Closed,
    /// To be tried at `until`.
    Open { until: Instant, pause: Duration },
    /// Somebody is finding out; requests wait for the word.
    Trying { since: Instant, pause: Duration },
}

impl Breaker {
    /// Whether a request may be sent now.
    pub fn admits(&self, now: Instant) -> bool {
        match *self {
            Self::Closed => true,
            Self::Open { until, .. } => now >= until + OVERDUE,
            // A trial that was cancelled says nothing; another may follow.
            Self::Trying { since, .. } => now >= since + LONGEST_PAUSE,
        }
    }

    /// Whether a connection ought to be tried.
    pub fn is_due(&self, now: Instant) -> bool {
        matches!(*self, Self::Open { until, .. } if now >= until)
    }

    /// Somebody tries: a request, or a connection of its own.
    pub fn on_send(&mut self, now: Instant) {
        match *self {
            Self::Closed => {}
            Self::Open { pause, .. } | Self::Trying { pause, .. } => {
                *self = Self::Trying { since: now, pause }
            }
        }
    }

    /// A connection was made, or the instance was heard of.
    pub fn on_reached(&mut self) {
        *self = Self::Closed;
    }

    /// A connection could not be made.
    pub fn on_unreachable(&mut self, now: Instant) {
        let pause = match *self {
            Self::Closed => FIRST_PAUSE,
            // Others that were sent before it opened fail as well; they are not new evidence.
            Self::Open { .. } => return,
            Self::Trying { pause, .. } => (pause * 2).min(LONGEST_PAUSE),
        };
        *self = Self::Open { until: now + pause, pause };
    }

    /// Whether the instance is taken for reachable.
    pub fn is_closed(&self) -> bool {
        matches!(self, Self::Closed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_end_with_success() {
        let start = Instant::now();
        let mut breaker = Breaker::default();
        let mut now = start;
        let mut pauses = vec![];
        for _ in 0..6 {
            assert!(breaker.admits(now));
            breaker.on_send(now);
            breaker.on_unreachable(now);
            let Breaker::Open { until, pause } = breaker else { panic!("{breaker:?}") };
            pauses.push(pause.as_millis());
            assert!(!breaker.is_due(until - Duration::from_nanos(1)));
            assert!(breaker.is_due(until) && !breaker.admits(until), "no request has to find out");
            now = until + OVERDUE;
        }
        assert_eq!(pauses, [250, 500, 1000, 2000, 2000, 2000]);
        breaker.on_send(now);
        breaker.on_reached();
        assert!(breaker.is_closed());
    }

    #[test]
    fn one_trial_at_a_time_and_a_lost_one_does_not_block_for_ever() {
        let now = Instant::now();
        let mut breaker = Breaker::Open { until: now, pause: FIRST_PAUSE };
        breaker.on_send(now);
        assert!(!breaker.admits(now + FIRST_PAUSE));
        assert!(breaker.admits(now + LONGEST_PAUSE));
    }

    #[test]
    fn failures_of_the_same_moment_count_once() {
        let now = Instant::now();
        let mut breaker = Breaker::default();
        breaker.on_unreachable(now);
        breaker.on_unreachable(now + Duration::from_millis(200));
        assert_eq!(breaker, Breaker::Open { until: now + FIRST_PAUSE, pause: FIRST_PAUSE });
    }
}
