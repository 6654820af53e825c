//! How much longer something takes than expected, as a ratio of means.
//!
//! A mean of ratios would do for one estimate, but it is biased by short samples and false alarms
//! starved large requests for minutes (algorithms.md 3.5).

use serde::{Deserialize, Serialize};

/// More than any time, size or count of them comes to.
const MOST: f64 = 1e18;

/// Exponentially weighted sums of what was measured and of what was expected.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct RatioOfMeans {
    floor: f64,
    samples: f64,
    measured: f64,
    expected: f64,
}

impl RatioOfMeans {
    /// `memory`: how many samples are remembered, at least 1.
    pub fn new(memory: f64) -> Self {
        Self { floor: 1.0 / memory.max(1.0), samples: 0.0, measured: 0.0, expected: 0.0 }
    }

    /// Both in the same unit; `expected` must be above 0, or the sample is ignored.
    pub fn add(&mut self, measured: f64, expected: f64) {
        if expected.is_nan() || expected <= 0.0 {
            return;
        }
        self.samples += 1.0;
        let weight = (1.0 / self.samples).max(self.floor);
        self.measured += weight * (measured - self.measured);
        self.expected += weight * (expected - self.expected);
    }

    /// What may be believed of a ratio that was read from a file: as at most `kept` samples, in a
    /// memory of `memory`. `None`: not possible.
    pub fn restored(self, memory: f64, kept: f64) -> Option<Self> {
        let possible = |x: f64| (0.0..=MOST).contains(&x);
        let all = possible(self.samples) && possible(self.measured) && possible(self.expected);
        all.then(|| Self { floor: 1.0 / memory.max(1.0), samples: self.samples.min(kept), ..self })
    }

    /// `None` before `least` samples.
    pub fn value(&self, least: f64) -> Option<f64> {
        (self.samples >= least && self.expected > 0.0).then(|| self.measured / self.expected)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_request_weighs_as_much_as_it_lasts() {
        let mut ratio = RatioOfMeans::new(100.0);
        ratio.add(30.0, 10.0);
        ratio.add(10.0, 10.0);
        ratio.add(20.0, 100.0);
        ratio.add(5.0, 0.0);
        assert_eq!(ratio.value(4.0), None, "what has no expectation is no sample");
        assert!((ratio.value(3.0).expect("three samples") - 0.5).abs() < 1e-9, "60 of 120");
    }
}
