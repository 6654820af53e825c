//! Mean and variance of logarithms, with a memory of limited length.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Twenty times less than a quick page: below it, a held time is noise of the measurement.
const LEAST_SECONDS: f32 = 10e-6;
/// Longer than any request is allowed to take.
const MOST_SECONDS: f32 = 7.0 * 86_400.0;
/// A body smaller than a response head costs what its head costs.
const LEAST_BYTES: u64 = 64;
const MOST_BYTES: u64 = 1 << 50;

/// Log-normal evidence of one quantity: seconds or bytes, as natural logarithms.
///
/// Logarithms, because costs differ by factors: one run of 2 s among thousands of 10 ms must not
/// set the mean, and an error of 2x matters alike at 10 ms and at 10 s.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Moments {
    /// Observations that count, `0.0..=memory`.
    pub(super) n: f32,
    pub(super) mean: f32,
    /// Of the population (divided by n), never negative.
    pub(super) var: f32,
}

impl Moments {
    /// Counts `x`; each observation has the weight 1/n, and at least 1/`memory`.
    ///
    /// Source: the exponentially weighted mean and variance of algorithms.md 1.6.
    pub(super) fn add(&mut self, x: f32, memory: f32) {
        self.n = (self.n + 1.0).min(memory);
        let weight = 1.0 / self.n;
        let off = x - self.mean;
        self.mean += weight * off;
        self.var = (1.0 - weight) * (self.var + weight * off * off);
    }

    /// Replaces an observation made lately by what it turned out to be.
    ///
    /// Exact while n is below the memory (removal and addition in one step of Welford's method);
    /// later it gives the observation the weight of a fresh one.
    pub(super) fn revise(&mut self, old: f32, new: f32) {
        if self.n < 1.0 {
            return;
        }
        let before = self.mean;
        self.mean += (new - old) / self.n;
        self.var = (self.var + (new - old) * (new - self.mean + old - before) / self.n).max(0.0);
    }

    /// The variance, drawn towards a common one as if by one observation: two equal values do not
    /// prove that there is no spread.
    pub(super) fn spread(&self) -> f32 {
        const COMMON: f32 = 0.25;
        (self.n * self.var + COMMON) / (self.n + 1.0)
    }

    /// What may be believed of evidence read from a file; `None`: not even a number.
    pub(super) fn checked(self, most: f32) -> Option<Self> {
        let finite = self.n.is_finite() && self.mean.is_finite() && self.var.is_finite();
        (finite && self.n >= 0.0 && (0.0..=400.0).contains(&self.var) && self.mean.abs() <= 40.0)
            .then_some(Self { n: self.n.min(most), ..self })
    }
}

pub(super) fn log_seconds(held: Duration) -> f32 {
    held.as_secs_f32().clamp(LEAST_SECONDS, MOST_SECONDS).ln()
}

pub(super) fn log_bytes(bytes: u64) -> f32 {
    (bytes.clamp(LEAST_BYTES, MOST_BYTES) as f32).ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mean_and_variance_are_exact_up_to_the_memory_and_follow_after_it() {
        let mut moments = Moments::default();
        for x in [1.0, 2.0, 3.0, 4.0] {
            moments.add(x, 4.0);
        }
        // Mean 2.5, deviations ±1.5 and ±0.5: variance (2 * 2.25 + 2 * 0.25) / 4.
        assert_eq!(moments, Moments { n: 4.0, mean: 2.5, var: 1.25 });
        (0..40).for_each(|_| moments.add(9.0, 4.0));
        assert!(moments.n == 4.0 && (moments.mean - 9.0).abs() < 0.001, "{moments:?}");
    }

    #[test]
    fn a_revised_observation_counts_once() {
        let (mut revised, mut direct) = (Moments::default(), Moments::default());
        for (first, last) in [(1.0, 1.0), (2.0, 5.0), (0.5, 0.5)] {
            revised.add(first, 64.0);
            direct.add(last, 64.0);
        }
        revised.revise(2.0, 5.0);
        assert!((revised.mean - direct.mean).abs() < 1e-5, "{revised:?} {direct:?}");
        assert!((revised.var - direct.var).abs() < 1e-5, "{revised:?} {direct:?}");
    }

    #[test]
    fn extremes_stay_inside_the_range() {
        for held in [Duration::ZERO, Duration::MAX] {
            assert!(log_seconds(held).abs() < 15.0);
        }
        for bytes in [0, u64::MAX] {
            assert!((4.0..40.0).contains(&log_bytes(bytes)));
        }
    }
}
