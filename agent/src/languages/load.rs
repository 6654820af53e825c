//! How much of the instance is taken, smoothed. The state machine has no clock.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// After so long 63 % of a change are in the figure. Within the 3 s in which a peer should have moved its traffic, of
/// which its own polls take one or two; and long enough for a worker that is busy half of the time to look like that.
const SMOOTHED_OVER: Duration = Duration::from_secs(1);

/// The same for peers that divide by the figure, and for the rates that they divide: what is left of an instance that
/// serves a few pages a second is otherwise noise.
pub(crate) const STEADY_OVER: Duration = Duration::from_secs(2);

/// A response whose worker is free takes bandwidth, and a little of a server's main loop. It tells two idle instances
/// apart, and ten of them are as much as a worker.
const STREAMING: f64 = 0.1;

/// One look at the instance.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// At least 1.
    pub workers: u32,
    /// Workers that are held, also by responses that are being sent, on average since the last sample.
    pub busy: f64,
    /// Requests that wait for one.
    pub queued: u32,
    /// Responses being sent whose worker is free.
    pub streaming: u32,
}

impl Sample {
    /// Work per worker: 0 idle, 1 all busy, above 1 if requests wait.
    fn utilization(self) -> f64 {
        let work = self.busy + f64::from(self.queued) + STREAMING * f64::from(self.streaming);
        work / f64::from(self.workers.max(1))
    }
}

/// The smoothed figure: written by one task, read by whoever tells it.
#[derive(Debug, Default)]
pub struct Load(Mutex<Option<Smoothed>>);

#[derive(Clone, Copy, Debug)]
struct Smoothed {
    value: f64,
    steady: f64,
    at: Instant,
}

impl Load {
    /// Takes in a sample; `None`: it could not be had, and what is known no longer holds.
    pub fn add(&self, sample: Option<Sample>, now: Instant) {
        let mut known = self.locked();
        *known = sample.map(Sample::utilization).map(|value| match *known {
            None => Smoothed { value, steady: value, at: now },
            Some(before) => before.then(value, now),
        });
    }

    /// Work per worker, smoothed: 0 idle, 1 all busy, above 1 if requests wait. `None`: not known.
    pub fn utilization(&self) -> Option<f64> {
        self.locked().map(|known| known.value)
    }

    /// The same over 2 s.
    pub fn steady_utilization(&self) -> Option<f64> {
        self.locked().map(|known| known.steady)
    }

    fn locked(&self) -> MutexGuard<'_, Option<Smoothed>> {
        // One value, whole whenever the lock is free.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Smoothed {
    fn then(self, new: f64, now: Instant) -> Self {
        let passed = now.saturating_duration_since(self.at);
        let value = mixed(self.value, new, passed, SMOOTHED_OVER);
        Self { value, steady: mixed(self.steady, new, passed, STEADY_OVER), at: now }
    }
}

/// Exponential smoothing: what was known weighs `exp(-passed / over)`.
pub(crate) fn mixed(known: f64, new: f64, passed: Duration, over: Duration) -> f64 {
    let kept = (-passed.as_secs_f64() / over.as_secs_f64()).exp();
    kept * known + (1.0 - kept) * new
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(busy: u32, queued: u32, streaming: u32) -> Option<Sample> {
        Some(Sample { workers: 2, busy: f64::from(busy), queued, streaming })
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
