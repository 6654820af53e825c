//! Whether a client is fast enough: a pure account of the patience with it.
//!
//! Patience is used up by waiting for the client, and by nothing else: not while the instance is waited for, nor while
//! bytes of the client's are at hand. It comes back with bytes, each worth the time that it takes at the least rate, up
//! to what there was at first:
//!
//! ```text
//!  spent := min(patience, max(0, spent + waited - bytes / rate))        too slow: spent = patience
//! ```
//!
//! So whoever keeps to the rate may pause for as long as the patience lasts, as a phone in a tunnel does, and whoever
//! sends a byte now and then is gone soon after it. An average since the beginning would let one who was fast at first
//! be slow for hours.

use std::time::Duration;

/// What is asked of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Required {
    /// Bytes per second; 0: any byte is enough.
    pub(crate) rate: u64,
    /// How long it may do nothing.
    pub(crate) patience: Duration,
}

impl Required {
    /// What is asked of one of `n` that share a connection: what the connection brings is for all of them.
    pub(crate) fn of_one_in(self, n: usize) -> Self {
        let rate = if self.rate == 0 { 0 } else { (self.rate / n.max(1) as u64).max(1) };
        Self { rate, ..self }
    }

    /// The time that so many bytes take at the least rate.
    fn worth(self, bytes: u64) -> Duration {
        match (bytes, self.rate) {
            (0, _) => Duration::ZERO,
            (_, 0) => Duration::MAX,
            (bytes, rate) => Duration::from_micros(bytes.saturating_mul(1_000_000) / rate),
        }
    }
}

/// How a client does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pace {
    spent: Duration,
}

impl Pace {
    /// For those who keep it as a number: whole microseconds of patience that are used up.
    pub(crate) fn from_micros(spent: u64) -> Self {
        Self { spent: Duration::from_micros(spent) }
    }

    pub(crate) fn as_micros(self) -> u64 {
        u64::try_from(self.spent.as_micros()).unwrap_or(u64::MAX)
    }

    /// After it was waited for, and brought or took `bytes`.
    #[must_use]
    pub(crate) fn after(self, waited: Duration, bytes: usize, required: Required) -> Self {
        let spent = (self.spent + waited).saturating_sub(required.worth(bytes as u64));
        Self { spent: spent.min(required.patience) }
    }

    /// For how long it may still be waited for.
    pub(crate) fn left(self, required: Required) -> Duration {
        required.patience.saturating_sub(self.spent)
    }

    /// Whether most of the patience went before the present wait: then it is slow, and has not just stopped.
    pub(crate) fn is_slow(self, required: Required) -> bool {
        self.spent > required.patience / 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUIRED: Required = Required { rate: 240, patience: Duration::from_secs(30) };

    /// When a client that brings `bytes` every `every` is cut off, within `most`.
    fn ends(bytes: usize, every: Duration, required: Required, most: Duration) -> Option<Duration> {
        let (mut pace, mut now) = (Pace::default(), Duration::ZERO);
        while now < most {
            let left = pace.left(required);
            if left < every {
                return Some(now + left);
            }
            now += every;
            pace = pace.after(every, bytes, required);
        }
        None
    }

    #[test]
    fn who_is_slower_than_asked_is_found_out() {
        let (second, hour) = (Duration::from_secs(1), Duration::from_secs(3600));
        let any = Required { rate: 0, ..REQUIRED };
        for (case, bytes, every, required, expected) in [
            ("nothing", 0, hour, REQUIRED, Some(30_000)),
            ("nothing, any rate will do", 0, hour, any, Some(30_000)),
            // Each of 30 bytes is worth 4.1666 ms.
            ("a byte each second", 1, second, REQUIRED, Some(30_124)),
            // Each second costs 0.5 s, and the 59th finds 1 s left, the 60th half of one.
            ("half the rate", 120, second, REQUIRED, Some(59_500)),
            ("just below", 239, second, REQUIRED, None),
            ("the rate", 240, second, REQUIRED, None),
            ("the rate, in lumps", 240 * 29, 29 * second, REQUIRED, None),
            ("lumps that are too far apart", 1_000_000, 31 * second, REQUIRED, Some(30_000)),
            ("any rate will do", 1, 29 * second, any, None),
        ] {
            let found = ends(bytes, every, required, hour);
            assert_eq!(found.map(|at| at.as_millis()), expected, "{case}");
        }
    }

    #[test]
    fn what_was_fast_once_is_no_credit_for_hours() {
        let fast = Pace::default().after(Duration::ZERO, 1_000_000_000, REQUIRED);
        assert_eq!(fast.left(REQUIRED), REQUIRED.patience);
    }

    #[test]
    fn streams_share_what_their_connection_brings() {
        assert_eq!(REQUIRED.of_one_in(1), REQUIRED);
        assert_eq!(REQUIRED.of_one_in(0), REQUIRED);
        assert_eq!(REQUIRED.of_one_in(10).rate, 24);
        assert_eq!(REQUIRED.of_one_in(1000).rate, 1, "0 would ask for nothing");
        assert_eq!(Required { rate: 0, ..REQUIRED }.of_one_in(10).rate, 0);
    }

    #[test]
    fn one_that_stopped_is_not_called_slow() {
        let pace = Pace::default().after(Duration::from_secs(15), 0, REQUIRED);
        assert!(!pace.is_slow(REQUIRED));
        assert!(pace.after(Duration::from_millis(1), 0, REQUIRED).is_slow(REQUIRED));
        assert_eq!(Pace::from_micros(pace.as_micros()), pace);
    }

    /// Whatever a client does, it has between nothing and all of the patience left, and more bytes never leave less.
    #[test]
    fn bytes_never_hurt() {
        let seed = fastrand::u64(..);
        println!("seed {seed}");
        let mut rng = fastrand::Rng::with_seed(seed);
        for _ in 0..10_000 {
            let required =
                Required { rate: rng.u64(0..10_000), patience: Duration::from_millis(rng.u64(1..100_000)) };
            let pace = Pace::default().after(Duration::from_millis(rng.u64(0..200_000)), 0, required);
            let (waited, bytes) = (Duration::from_millis(rng.u64(0..100_000)), rng.usize(0..1_000_000));
            let less = pace.after(waited, bytes, required).left(required);
            let more = pace.after(waited, bytes + rng.usize(0..10_000), required).left(required);
            assert!(less <= more && more <= required.patience, "{required:?} {pace:?}");
        }
    }
}
