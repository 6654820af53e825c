//! A mergeable quantile sketch: DDSketch with a dense store.
//!
//! Source: Masson, Rim, Lee, "DDSketch: a fast and fully-mergeable quantile sketch with
//! relative-error guarantees" (VLDB 2019). Kept here rather than taken from a crate because its
//! bins are the wire format of the report, which two versions of Sluice must agree on.

use serde::{Deserialize, Serialize};

/// Relative error of every quantile: `|estimate - true| <= 0.01 * true`.
pub const RELATIVE_ERROR: f64 = 0.01;

/// Ratio of neighbouring bin bounds: `(1 + a) / (1 - a)`.
const GAMMA: f64 = (1.0 + RELATIVE_ERROR) / (1.0 - RELATIVE_ERROR);

/// `ln(GAMMA)`; checked against `GAMMA` by a test, since `ln` is not const.
const LN_GAMMA: f64 = 0.020_000_666_706_669_435;

/// One more than the highest bin, which holds `u64::MAX`: ceil(64 ln 2 / ln GAMMA) + 1.
const BINS: usize = 2220;

/// Counts of whole values (microseconds, bytes) in bins of equal relative width.
///
/// Merging is exact: the sketch of two windows is the same as that of their union. Memory is
/// 8 bytes per bin between the smallest and the largest value, at most 18 KiB.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Wire", into = "Wire")]
pub struct Sketch {
    zeros: u64,
    sum: u64,
    min: u64,
    max: u64,
    count: u64,
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
        if n == 0 {
            return;
        }
        if value == 0 {
            self.zeros += n;
        } else {
            *self.bin_mut(bin_of(value)) += n;
        }
        self.min = if self.count == 0 { value } else { self.min.min(value) };
        self.max = self.max.max(value);
        self.count += n;
        self.sum = self.sum.saturating_add(value.saturating_mul(n));
    }

    /// Adds all that `other` holds.
    pub fn merge(&mut self, other: &Self) {
        if other.count == 0 {
            return;
        }
        for (offset, &n) in other.bins.iter().enumerate().filter(|(_, n)| **n > 0) {
            *self.bin_mut(other.first + offset) += n;
        }
        self.min = if self.count == 0 { other.min } else { self.min.min(other.min) };
        self.max = self.max.max(other.max);
        self.zeros += other.zeros;
        self.count += other.count;
        self.sum = self.sum.saturating_add(other.sum);
    }

    pub fn count(&self) -> u64 {
        self.count
    }

    /// Exact sum of the values, saturating.
    pub fn sum(&self) -> u64 {
        self.sum
    }

    /// Exact mean; `None` if nothing was recorded.
    pub fn mean(&self) -> Option<f64> {
        (self.count > 0).then(|| self.sum as f64 / self.count as f64)
    }

    /// Mean of the squares, within 3 %, as each value is known within [`RELATIVE_ERROR`]; `None` if nothing was recorded.
    pub fn mean_square(&self) -> Option<f64> {
        let square = |(offset, n): (usize, &u64)| *n as f64 * (midpoint(self.first + offset) as f64).powi(2);
        let sum: f64 = self.bins.iter().enumerate().filter(|(_, n)| **n > 0).map(square).sum();
        (self.count > 0).then(|| sum / self.count as f64)
    }

    /// Exact largest value; `None` if nothing was recorded.
    pub fn max(&self) -> Option<u64> {
        (self.count > 0).then_some(self.max)
    }

    /// The value below which a fraction `q` of the values lies (nearest rank), within
    /// [`RELATIVE_ERROR`]; `None` if nothing was recorded. `q` is clamped to `0..=1`.
    pub fn quantile(&self, q: f64) -> Option<u64> {
        if self.count == 0 {
            return None;
        }
        let rank = ((q.clamp(0.0, 1.0) * self.count as f64).ceil() as u64).max(1);
        let mut seen = self.zeros;
        if rank <= seen {
            return Some(0);
        }
        for (offset, n) in self.bins.iter().enumerate() {
            seen += n;
            if rank <= seen {
                return Some(midpoint(self.first + offset).clamp(self.min, self.max));
            }
        }
        Some(self.max)
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
fn bin_of(value: u64) -> usize {
    (((value as f64).ln() / LN_GAMMA).ceil() as usize).min(BINS - 1)
}

/// The value whose relative distance to both bounds of the bin is equal: `2 G^i / (G + 1)`.
fn midpoint(bin: usize) -> u64 {
    (2.0 * (bin as f64 * LN_GAMMA).exp() / (GAMMA + 1.0)).round() as u64
}

/// On the wire: only the bins that hold something, as `[bin, count]` pairs.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Wire {
    /// Values that are 0. Missing: none.
    #[serde(default, skip_serializing_if = "is_zero")]
    zeros: u64,
    /// Of all values.
    #[serde(default)]
    sum: u64,
    /// The smallest value.
    #[serde(default)]
    min: u64,
    /// The largest value.
    #[serde(default)]
    max: u64,
    /// Bin `n` has the values up to 1.0202^n that are above those of the bin before.
    #[serde(default)]
    bins: Vec<(u32, u64)>,
}

/// Most sketches have no zeros, and a report has many sketches.
fn is_zero(n: &u64) -> bool {
    *n == 0
}

impl From<Sketch> for Wire {
    fn from(sketch: Sketch) -> Self {
        let filled = sketch.bins.iter().enumerate().filter(|(_, n)| **n > 0);
        Self {
            zeros: sketch.zeros,
            sum: sketch.sum,
            min: sketch.min,
            max: sketch.max,
            bins: filled.map(|(offset, n)| ((sketch.first + offset) as u32, *n)).collect(),
        }
    }
}

/// Why a sketch on the wire was refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SketchError {
    #[error("bin {0} is outside 0..{BINS}")]
    Bin(u32),
    #[error("counts overflow")]
    Overflow,
    #[error("min {min} and max {max} do not fit the bins")]
    Bounds { min: u64, max: u64 },
    #[error("sum {sum} does not fit {count} values between {min} and {max}")]
    Sum { sum: u64, count: u64, min: u64, max: u64 },
}

impl TryFrom<Wire> for Sketch {
    type Error = SketchError;

    fn try_from(wire: Wire) -> Result<Self, SketchError> {
        let mut sketch = Self { zeros: wire.zeros, count: wire.zeros, ..Self::default() };
        let numbers = || wire.bins.iter().map(|(bin, _)| *bin);
        if let Some((first, last)) = numbers().min().zip(numbers().max()) {
            if last as usize >= BINS {
                return Err(SketchError::Bin(last));
            }
            sketch.first = first as usize;
            sketch.bins = vec![0; (last - first) as usize + 1];
        }
        for &(bin, n) in &wire.bins {
            let cell = &mut sketch.bins[bin as usize - sketch.first];
            *cell = cell.checked_add(n).ok_or(SketchError::Overflow)?;
            sketch.count = sketch.count.checked_add(n).ok_or(SketchError::Overflow)?;
        }
        (sketch.sum, sketch.min, sketch.max) = (wire.sum, wire.min, wire.max);
        sketch.check()?;
        Ok(sketch)
    }
}

impl Sketch {
    /// The exact figures must be possible with these bins, or a liar could claim any mean.
    fn check(&self) -> Result<(), SketchError> {
        let Self { sum, count, min, max, .. } = *self;
        let lowest = if self.zeros > 0 { None } else { self.bins.iter().position(|n| *n > 0) };
        let highest = self.bins.iter().rposition(|n| *n > 0);
        let fits = |value: u64, offset: Option<usize>| match offset {
            None => value == 0,
            Some(offset) => value > 0 && bin_of(value) == self.first + offset,
        };
        if !fits(min, lowest) || !fits(max, highest) {
            return Err(SketchError::Bounds { min, max });
        }
        let least = u128::from(min) * u128::from(count);
        let most = u128::from(max) * u128::from(count);
        if (u128::from(sum) < least && sum != u64::MAX) || u128::from(sum) > most {
            return Err(SketchError::Sum { sum, count, min, max });
        }
        Ok(())
    }
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
            let wire = |s: &Sketch| serde_json::to_string(s).expect("a sketch is plain data");
            assert_eq!(wire(&merged), wire(&sketch_of(&values)), "seed {seed}");
        }
    }

    #[test]
    fn the_wire_form_keeps_everything() {
        for values in [vec![], vec![0], vec![0, 0, 7], draws(3, 500), vec![u64::MAX, 1]] {
            let sketch = sketch_of(&values);
            let text = serde_json::to_string(&sketch).expect("a sketch is plain data");
            assert_eq!(serde_json::from_str::<Sketch>(&text).expect(&text), sketch);
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

    #[test]
    fn impossible_sketches_are_refused() {
        for (case, text) in [
            ("bin out of range", r#"{"bins":[[9999,1]],"min":1,"max":1,"sum":1}"#),
            ("overflow", r#"{"zeros":18446744073709551615,"bins":[[0,1]],"min":0,"max":1,"sum":1}"#),
            ("max above its bin", r#"{"bins":[[0,1]],"min":1,"max":1000,"sum":1}"#),
            ("min of nothing", r#"{"min":5,"max":5}"#),
            ("sum below count * min", r#"{"bins":[[0,10]],"min":1,"max":1,"sum":3}"#),
            ("sum above count * max", r#"{"bins":[[0,1]],"min":1,"max":1,"sum":3}"#),
            ("negative", r#"{"zeros":-1}"#),
            ("not a number", r#"{"zeros":NaN}"#),
        ] {
            assert!(serde_json::from_str::<Sketch>(text).is_err(), "{case}");
        }
    }
}
