//! First and second moment of a time, as exponentially weighted means over the samples.

use serde::{Deserialize, Serialize};

/// More than any time, its square or a count of them comes to.
const MOST: f64 = 1e15;

/// Mean and spread of a positive quantity, in the unit of its samples.
///
/// The weight of a sample is `max(1/n, floor)`: a plain mean of the first `1/floor` samples, then a
/// memory of about that many.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Moments {
    floor: f64,
    samples: f64,
    mean: f64,
    square: f64,
}

/// Several samples in figures.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Batch {
    /// Above zero.
    pub samples: f64,
    pub mean: f64,
    /// Mean of the squares.
    pub square: f64,
}

impl Batch {
    /// The same samples, each `factor` times as large.
    pub fn scaled(self, factor: f64) -> Self {
        Self { mean: self.mean * factor, square: self.square * factor * factor, ..self }
    }
}

impl Moments {
    /// `memory`: how many samples are remembered, at least 1.
    pub fn new(memory: f64) -> Self {
        Self { floor: 1.0 / memory.max(1.0), samples: 0.0, mean: 0.0, square: 0.0 }
    }

    /// As if `samples` of this mean and mean square had been added.
    pub fn seeded(memory: f64, samples: f64, mean: f64, square: f64) -> Self {
        Self { samples, mean, square, ..Self::new(memory) }
    }

    pub fn add(&mut self, value: f64) {
        self.samples += 1.0;
        let weight = (1.0 / self.samples).max(self.floor);
        self.mean += weight * (value - self.mean);
        self.square += weight * (value * value - self.square);
    }

    /// Adds several samples at once: with the weight that they would have one by one.
    pub fn add_all(&mut self, batch: Batch) {
        self.samples += batch.samples;
        let remembered = 1.0 - (1.0 - self.floor).powf(batch.samples);
        let weight = (batch.samples / self.samples).max(remembered);
        self.mean += weight * (batch.mean - self.mean);
        self.square += weight * (batch.square - self.square);
    }

    /// What may be believed of moments that were read from a file: as at most `kept` samples, in a
    /// memory of `memory`. `None`: not possible.
    pub fn restored(self, memory: f64, kept: f64) -> Option<Self> {
        let possible = |x: f64| (0.0..=MOST).contains(&x);
        let all = possible(self.samples) && possible(self.mean) && possible(self.square);
        all.then(|| Self::seeded(memory, self.samples.min(kept), self.mean, self.square))
    }

    /// `None` before the first sample.
    pub fn mean(&self) -> Option<f64> {
        (self.samples > 0.0).then_some(self.mean)
    }

    /// Mean of the squares.
    pub fn square(&self) -> f64 {
        self.square
    }

    /// Samples since the start, remembered or not.
    pub fn samples(&self) -> f64 {
        self.samples
    }

    /// Squared coefficient of variation, `E[S²]/E[S]² - 1`; 1, that of an exponential, before two
    /// samples.
    pub fn scv(&self) -> f64 {
        if self.samples < 2.0 || self.mean <= 0.0 {
            return 1.0;
        }
        (self.square / (self.mean * self.mean) - 1.0).max(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_samples_are_averaged_and_later_ones_replace_them() {
        let mut moments = Moments::new(4.0);
        assert_eq!(moments.mean(), None);
        [1.0, 3.0].into_iter().for_each(|x| moments.add(x));
        assert_eq!(moments.mean(), Some(2.0));
        assert!((moments.scv() - 0.25).abs() < 1e-12, "E[S²] = 5, E[S]² = 4");
        (0..40).for_each(|_| moments.add(10.0));
        assert!((moments.mean().expect("samples") - 10.0).abs() < 0.01);
        assert!(moments.scv() < 0.01);
    }

    #[test]
    fn samples_together_count_as_one_by_one() {
        let (mut together, mut single) = (Moments::new(50.0), Moments::new(50.0));
        for (n, value) in [(10, 1.0), (3, 2.0), (200, 3.0), (20, 1.0)] {
            (0..n).for_each(|_| single.add(value));
            together.add_all(Batch { samples: f64::from(n), mean: value, square: value * value });
            let means = (together.mean().expect("samples"), single.mean().expect("samples"));
            assert!((means.0 - means.1).abs() < 0.03 * means.1, "{means:?}");
            assert!((together.square() - single.square()).abs() < 0.05 * single.square());
        }
    }
}
