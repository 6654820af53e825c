//! A mergeable quantile sketch: DDSketch with a dense store.
//!
//! Source: Masson, Rim, Lee, "DDSketch: a fast and fully-mergeable quantile sketch with
//! relative-error guarantees" (VLDB 2019). Kept here rather than taken from a crate because its
//! bins are the wire format of the report, which two versions of Sluice must agree on.
//!
//! This is the form to add to; on the wire and in reports it is a [`SparseSketch`].

use crate::SparseSketch;

/// Relative error of every quantile: `|estimate - true| <= 0.01 * true`.
pub const RELATIVE_ERROR: f64 = 0.01;

/// Ratio of neighbouring bin bounds: `(1 + a) / (1 - a)`.
const GAMMA: f64 = (1.0 + RELATIVE_ERROR) / (1.0 - RELATIVE_ERROR);

/// `ln(GAMMA)`; checked against `GAMMA` by a test, since `ln` is not const.
const LN_GAMMA: f64 = 0.020_000_666_706_669_435;

/// One more than the highest bin, which holds `u64::MAX`: ceil(64 ln 2 / ln GAMMA) + 1.
pub(crate) const BINS: usize = 2220;

/// What is known of values exactly, beside their bins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Exact {
    /// Values that are 0, which no bin holds.
    pub(crate) zeros: u64,
    /// Of all values, saturating.
    pub(crate) sum: u64,
    pub(crate) min: u64,
    pub(crate) max: u64,
    /// Of all values, the zeros included.
    pub(crate) count: u64,
}

impl Exact {
    fn add_n(&mut self, value: u64, n: u64) {
        let sum = value.saturating_mul(n);
        let zeros = if value == 0 { n } else { 0 };
        self.merge(&Self { zeros, sum, min: value, max: value, count: n });
    }

    fn merge(&mut self, other: &Self) {
        if other.count == 0 {
            return;
        }
        self.min = if self.count == 0 { other.min } else { self.min.min(other.min) };
        self.max = self.max.max(other.max);
        self.zeros += other.zeros;
        self.count += other.count;
        self.sum = self.sum.saturating_add(other.sum);
    }

    pub(crate) fn mean(&self) -> Option<f64> {
        (self.count > 0).then(|| self.sum as f64 / self.count as f64)
    }

    pub(crate) fn max(&self) -> Option<u64> {
        (self.count > 0).then_some(self.max)
    }

    /// See [`Sketch::mean_square`]. `bins`: number and count of those that hold something.
    pub(crate) fn mean_square(&self, bins: impl Iterator<Item = (usize, u64)>) -> Option<f64> {
        let sum: f64 = bins.map(|(bin, n)| n as f64 * (midpoint(bin) as f64).powi(2)).sum();
        (self.count > 0).then(|| sum / self.count as f64)
    }

    /// See [`Sketch::quantile`]. `bins`: number and count of those that hold something, in rising order.
    pub(crate) fn quantile(&self, q: f64, bins: impl Iterator<Item = (usize, u64)>) -> Option<u64> {
        if self.count == 0 {
            return None;
        }
        let rank = ((q.clamp(0.0, 1.0) * self.count as f64).ceil() as u64).max(1);
        let mut seen = self.zeros;
        if rank <= seen {
            return Some(0);
        }
        for (bin, n) in bins {
            seen += n;
            if rank <= seen {
                return Some(midpoint(bin).clamp(self.min, self.max));
            }
        }
        Some(self.max)
    }
}

/// Counts of whole values (microseconds, bytes) in bins of equal relative width.
///
/// Merging is exact: the sketch of two windows is the same as that of their union. Memory is
/// 8 bytes per bin between the smallest and the largest value, at most 18 KiB.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sketch {
    exact: Exact,
    /// Bin number of `bins[0]`.
    first: usize,
    bins: Vec<u64>,
}

impl Sketch {
    pub fn new() -> Self {
        Self::default()
    }

    /// Records one value.
    pub fn add(&mut self, value: u64) {
        self.add_n(value, 1);
    }

    /// Records the same value `n` times.
    pub fn add_n(&mut self, value: u64, n: u64) {
        if value > 0 && n > 0 {
            *self.bin_mut(bin_of(value)) += n;
        }
        self.exact.add_n(value, n);
    }

    /// Adds all that `other` holds.
    pub fn merge(&mut self, other: &Self) {
        other.filled().for_each(|(bin, n)| *self.bin_mut(bin) += n);
        self.exact.merge(&other.exact);
    }

    /// Adds all that `other` holds.
    pub fn merge_sparse(&mut self, other: &SparseSketch) {
        other.filled().for_each(|(bin, n)| *self.bin_mut(bin) += n);
        self.exact.merge(other.exact());
    }

    pub fn count(&self) -> u64 {
        self.exact.count
    }

    /// Exact sum of the values, saturating.
    pub fn sum(&self) -> u64 {
        self.exact.sum
    }

    /// Exact mean; `None` if nothing was recorded.
    pub fn mean(&self) -> Option<f64> {
        self.exact.mean()
    }

    /// Mean of the squares, within 3 %, as each value is known within [`RELATIVE_ERROR`]; `None` if nothing was recorded.
    pub fn mean_square(&self) -> Option<f64> {
        self.exact.mean_square(self.filled())
    }

    /// Exact largest value; `None` if nothing was recorded.
    pub fn max(&self) -> Option<u64> {
        self.exact.max()
    }

    /// The value below which a fraction `q` of the values lies (nearest rank), within
    /// [`RELATIVE_ERROR`]; `None` if nothing was recorded. `q` is clamped to `0..=1`.
    pub fn quantile(&self, q: f64) -> Option<u64> {
        self.exact.quantile(q, self.filled())
    }

    pub(crate) fn exact(&self) -> &Exact {
        &self.exact
    }

    /// Number and count of the bins that hold something, in rising order.
    pub(crate) fn filled(&self) -> impl Iterator<Item = (usize, u64)> {
        let numbered = self.bins.iter().enumerate().filter(|(_, n)| **n > 0);
        numbered.map(|(offset, n)| (self.first + offset, *n))
    }

    fn bin_mut(&mut self, bin: usize) -> &mut u64 {
        if self.bins.is_empty() {
            self.first = bin;
        } else if bin < self.first {
            let missing = self.first - bin;
            self.bins.splice(0..0, std::iter::repeat_n(0, missing));
            self.first = bin;
        }
        let offset = bin - self.first;
        if offset >= self.bins.len() {
            self.bins.resize(offset + 1, 0);
        }
        &mut self.bins[offset]
    }
}

/// The bin of a value above zero: `ceil(ln value / ln GAMMA)`, so bin `i` holds `(G^(i-1), G^i]`.
pub(crate) fn bin_of(value: u64) -> usize {
    (((value as f64).ln() / LN_GAMMA).ceil() as usize).min(BINS - 1)
}

/// The value whose relative distance to both bounds of the bin is equal: `2 G^i / (G + 1)`.
fn midpoint(bin: usize) -> u64 {
    (2.0 * (bin as f64 * LN_GAMMA).exp() / (GAMMA + 1.0)).round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sketch_of(values: &[u64]) -> Sketch {
        let mut sketch = Sketch::new();
        values.iter().for_each(|v| sketch.add(*v));
        sketch
    }

    /// A small deterministic generator: proto has no dependency on one.
    fn draws(seed: u64, n: usize) -> Vec<u64> {
        let mut x = seed;
        (0..n)
            .map(|_| {
                x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                // Spread over ten orders of magnitude.
                (x >> 30) >> ((x >> 5) % 34)
            })
            .collect()
    }

    #[test]
    fn the_constant_is_the_logarithm_of_gamma() {
        assert!((LN_GAMMA - GAMMA.ln()).abs() < 1e-15);
        assert_eq!(bin_of(1), 0);
        assert!(bin_of(u64::MAX) < BINS);
    }

    #[test]
    fn quantiles_are_within_the_promised_error() {
        for seed in 1..20 {
            let mut values = draws(seed, 5000);
            let sketch = sketch_of(&values);
            values.sort_unstable();
            for q in [0.0, 0.01, 0.25, 0.5, 0.9, 0.99, 0.999, 1.0] {
                let rank = ((q * values.len() as f64).ceil() as usize).max(1);
                let truth = values[rank - 1] as f64;
                let got = sketch.quantile(q).expect("not empty") as f64;
                // Half a unit more: values are whole numbers.
                assert!(
                    (got - truth).abs() <= truth * RELATIVE_ERROR + 0.5,
                    "seed {seed} q {q}: {got} {truth}"
                );
            }
        }
    }

    #[test]
    fn merging_equals_recording_everything_in_one() {
        for seed in 1..20 {
            let values = draws(seed, 1000);
            let (left, right) = values.split_at(seed as usize * 50);
            let mut merged = sketch_of(left);
            merged.merge(&sketch_of(right));
            assert_eq!(merged.quantile(0.5), sketch_of(&values).quantile(0.5), "seed {seed}");
            assert_eq!(SparseSketch::from(&merged), SparseSketch::from(&sketch_of(&values)), "seed {seed}");
            let mut sparse = sketch_of(left);
            sparse.merge_sparse(&SparseSketch::from(&sketch_of(right)));
            assert_eq!(sparse, merged, "seed {seed}");
        }
    }

    #[test]
    fn the_mean_of_squares_is_close() {
        let mut sketch = Sketch::new();
        assert_eq!(sketch.mean_square(), None);
        [(0, 2), (10, 1), (3_000_000, 1)].into_iter().for_each(|(value, n)| sketch.add_n(value, n));
        let exact = (100.0 + 9e12) / 4.0;
        let square = sketch.mean_square().expect("values");
        assert!((square - exact).abs() <= 0.03 * exact, "{square}");
    }
}
