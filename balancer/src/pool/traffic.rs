//! What a service's clients got, small and large requests apart: counted by data threads without a lock,
//! taken by the control plane every few seconds.

use std::array;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::pool::classes::{Observation, Sent};

/// Bins per doubling: their bounds are 9 % apart, so that a quantile is off by 4.5 % at most.
const PER_OCTAVE: f64 = 8.0;
/// Lower bound of the first bin, in microseconds; what is shorter is in it too.
const FIRST_US: f64 = 50.0;
/// Up to 50 µs · 2^(200/8), which is 28 minutes; what is longer is in the last.
const BINS: usize = 200;

/// One service's counts.
#[derive(Debug, Default)]
pub struct Traffic {
    small: Side,
    large: Side,
    failed: AtomicU64,
}

#[derive(Debug, Default)]
struct Side {
    latency: Bins,
    wait: Bins,
}

/// What there was since it was taken last.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Taken {
    pub small: TakenSide,
    pub large: TakenSide,
    /// Requests that the instance, or Sluice, failed.
    pub failed: u64,
}

/// Requests of one side that got a worker. `None`: there was none.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct TakenSide {
    /// Whole responses.
    pub requests: u64,
    /// From arrival to the last byte that the instance sent.
    pub p50_ms: Option<f64>,
    pub p99_ms: Option<f64>,
    /// From arrival to having a worker.
    pub wait_p99_ms: Option<f64>,
}

impl Traffic {
    /// Counts a request that ended, on the side that it was thought to belong to when it came.
    pub fn ended(&self, what: &Observation) {
        if what.error {
            self.failed.fetch_add(1, Relaxed);
        }
        let Some(Sent { lane, queued, .. }) = what.sent else { return };
        let side = if lane.is_large() { &self.large } else { &self.small };
        side.wait.add(queued);
        what.latency.into_iter().for_each(|latency| side.latency.add(latency));
    }

    /// Everything since the last call.
    pub fn take(&self) -> Taken {
        Taken { small: self.small.take(), large: self.large.take(), failed: self.failed.swap(0, Relaxed) }
    }
}

impl Side {
    fn take(&self) -> TakenSide {
        let (latency, wait) = (self.latency.take(), self.wait.take());
        TakenSide {
            requests: latency.iter().map(|n| u64::from(*n)).sum(),
            p50_ms: quantile(&latency, 0.5),
            p99_ms: quantile(&latency, 0.99),
            wait_p99_ms: quantile(&wait, 0.99),
        }
    }
}

/// Counts in bins of equal relative width.
#[derive(Debug)]
struct Bins([AtomicU32; BINS]);

impl Default for Bins {
    fn default() -> Self {
        Self(array::from_fn(|_| AtomicU32::new(0)))
    }
}

impl Bins {
    fn add(&self, time: Duration) {
        let octaves = (time.as_secs_f64() * 1e6 / FIRST_US).max(1.0).log2();
        // From 0 up: the maximum above keeps the logarithm from being negative.
        let bin = (octaves * PER_OCTAVE) as usize;
        self.0[bin.min(BINS - 1)].fetch_add(1, Relaxed);
    }

    fn take(&self) -> [u32; BINS] {
        array::from_fn(|bin| self.0[bin].swap(0, Relaxed))
    }
}

/// In milliseconds; `None` if nothing was counted. `q`: 0 to 1.
fn quantile(counts: &[u32; BINS], q: f64) -> Option<f64> {
    let all: u64 = counts.iter().map(|n| u64::from(*n)).sum();
    let rank = (all as f64 * q).ceil().max(1.0) as u64;
    let mut below = 0;
    let bin = counts.iter().position(|n| {
        below += u64::from(*n);
        below >= rank
    })?;
    // The middle of the bin, in the measure in which they are equally wide.
    Some(FIRST_US / 1e3 * 2_f64.powf((bin as f64 + 0.5) / PER_OCTAVE))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::ids::{InstanceId, Lane};

    fn ended(lane: Lane, ms: u64) -> Observation {
        let time = Duration::from_millis(ms);
        Observation {
            error: false,
            held: time,
            ttfb: Some(time),
            response_bytes: Some(1),
            latency: Some(time),
            sent: Some(Sent { instance: InstanceId(1), lane, queued: time / 2 }),
        }
    }

    #[test]
    fn quantiles_are_within_5_percent_small_and_large_apart() {
        let traffic = Traffic::default();
        (1..=1000).for_each(|ms| traffic.ended(&ended(Lane::SMALL, ms)));
        traffic.ended(&ended(Lane::LARGE, 30_000));
        let taken = traffic.take();
        let near = |value: Option<f64>, wanted: f64| {
            let value = value.expect("something was counted");
            assert!((value / wanted - 1.0).abs() < 0.05, "{value} is not {wanted}");
        };
        near(taken.small.p50_ms, 500.0);
        near(taken.small.p99_ms, 990.0);
        near(taken.small.wait_p99_ms, 495.0);
        near(taken.large.p50_ms, 30_000.0);
        assert_eq!((taken.small.requests, taken.large.requests), (1000, 1));
    }

    #[test]
    fn what_was_taken_is_gone_and_what_was_not_answered_has_no_latency() {
        let traffic = Traffic::default();
        let failed = Observation { error: true, latency: None, sent: None, ..ended(Lane::SMALL, 5) };
        traffic.ended(&failed);
        assert_eq!(traffic.take(), Taken { failed: 1, ..Taken::default() });
        assert_eq!(traffic.take(), Taken::default());
        for ms in [0, u64::from(u32::MAX)] {
            traffic.ended(&ended(Lane::SMALL, ms));
        }
        assert_eq!(traffic.take().small.requests, 2, "the extremes have bins");
    }
}
