//! How much of the instance is taken, smoothed. The state machine has no clock.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// After so long 63 % of a change are in the figure. Within the 3 s in which a peer should have moved its traffic, of
/// which its own polls take one or two; and long enough for a worker that is busy half of the time to look like that.
const SMOOTHED_OVER: Duration = Duration::from_secs(1);

/// A response whose worker is free takes bandwidth, and a little of a server's main loop. It tells two idle instances
/// apart, and ten of them are as much as a worker.
const STREAMING: f64 = 0.1;

/// One look at the instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// At least 1.
    pub workers: u32,
    /// Workers that are held, also by responses that are being sent.
    pub busy: u32,
    /// Requests that wait for one.
    pub queued: u32,
    /// Responses being sent whose worker is free.
    pub streaming: u32,
}

impl Sample {
    /// Work per worker: 0 idle, 1 all busy, above 1 if requests wait.
    fn utilization(self) -> f64 {
        let work = f64::from(self.busy) + f64::from(self.queued) + STREAMING * f64::from(self.streaming);
        work / f64::from(self.workers.max(1))
    }
}

/// The smoothed figure: written by one task, read by whoever tells it.
#[derive(Debug, Default)]
pub struct Load(Mutex<Option<Smoothed>>);

#[derive(Clone, Copy, Debug)]
struct Smoothed {
    value: f64,
    at: Instant,
    last: Sample,
}

impl Load {
    /// Takes in a sample; `None`: it could not be had, and what is known no longer holds.
    pub fn add(&self, sample: Option<Sample>, now: Instant) {
        let mut known = self.locked();
        *known = sample.map(|sample| match *known {
            None => Smoothed { value: sample.utilization(), at: now, last: sample },
            Some(before) => before.then(sample, now),
        });
    }

    /// Work per worker, smoothed: 0 idle, 1 all busy, above 1 if requests wait. `None`: not known.
    pub fn utilization(&self) -> Option<f64> {
        self.locked().map(|known| known.value)
    }

    /// The last sample as it was.
    pub fn last(&self) -> Option<Sample> {
        self.locked().map(|known| known.last)
    }

    fn locked(&self) -> MutexGuard<'_, Option<Smoothed>> {
        // One value, whole whenever the lock is free.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Smoothed {
    /// Exponentially: what was known weighs `exp(-t / SMOOTHED_OVER)` after a time `t`.
    fn then(self, sample: Sample, now: Instant) -> Self {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        let kept = (-passed / SMOOTHED_OVER.as_secs_f64()).exp();
        let value = kept * self.value + (1.0 - kept) * sample.utilization();
        Self { value, at: now, last: sample }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(busy: u32, queued: u32, streaming: u32) -> Option<Sample> {
        Some(Sample { workers: 2, busy, queued, streaming })
    }

    /// What ten samples a second come to.
    fn after(load: &Load, from: Instant, tenths: u32, taken: Option<Sample>) -> f64 {
        for tenth in 1..=tenths {
            load.add(taken, from + tenth * Duration::from_millis(100));
        }
        load.utilization().expect("sampled")
    }

    #[test]
    fn a_change_shows_within_two_seconds_and_a_moment_does_not() {
        let start = Instant::now();
        let load = Load::default();
        assert_eq!(load.utilization(), None, "nothing is known yet");
        load.add(sample(0, 0, 0), start);
        assert!(after(&load, start, 1, sample(2, 0, 0)) < 0.1, "a moment");
        let busy = after(&load, start, 20, sample(2, 0, 0));
        assert!((0.85..1.0).contains(&busy), "{busy}");
        let free = after(&load, start + Duration::from_secs(2), 20, sample(0, 0, 0));
        assert!((0.0..0.15).contains(&free), "{free}");
        load.add(None, start + Duration::from_secs(5));
        assert_eq!(load.utilization(), None, "what can not be had is not known");
    }

    #[test]
    fn what_waits_and_what_is_sent_count_too() {
        for (taken, utilization) in [
            (sample(0, 0, 0), 0.0),
            (sample(1, 0, 0), 0.5),
            (sample(2, 0, 0), 1.0),
            (sample(2, 3, 0), 2.5),
            (sample(0, 0, 4), 0.2),
        ] {
            let load = Load::default();
            load.add(taken, Instant::now());
            let got = load.utilization().expect("sampled");
            assert!((got - utilization).abs() < 1e-9, "{taken:?}: {got}");
        }
    }
}
