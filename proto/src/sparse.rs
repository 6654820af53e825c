//! A sketch as it is reported: only the bins that hold something.

mod wire;

pub(crate) use wire::Compact;

use crate::Sketch;
use crate::sketch::{BINS, Exact, bin_of};

/// A [`Sketch`] that nothing more is added to. Of a window with a few requests that is a few numbers, while the bins
/// between them would be hundreds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SparseSketch {
    exact: Exact,
    /// Number and count of the bins that hold something, in rising order.
    bins: Vec<(u16, u64)>,
}

/// Why a sketch on the wire was refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SketchError {
    #[error("bin {0} is outside 0..{BINS}")]
    Bin(u64),
    #[error("counts overflow")]
    Overflow,
    #[error("min {min} and max {max} do not fit the bins")]
    Bounds { min: u64, max: u64 },
    #[error("sum {sum} does not fit {count} values between {min} and {max}")]
    Sum { sum: u64, count: u64, min: u64, max: u64 },
    #[error(
        "a sketch as text is `zeros sum min max`, then `step count` for each bin: whole numbers, one space apart"
    )]
    Text,
}

impl SparseSketch {
    /// Checked: the figures must be possible with these bins, or a liar could claim any mean. `exact.count` is set here.
    fn new(mut exact: Exact, bins: Vec<(u16, u64)>) -> Result<Self, SketchError> {
        exact.count = bins
            .iter()
            .try_fold(exact.zeros, |count, (_, n)| count.checked_add(*n))
            .ok_or(SketchError::Overflow)?;
        let sketch = Self { exact, bins };
        sketch.check()?;
        Ok(sketch)
    }

    fn check(&self) -> Result<(), SketchError> {
        let Exact { zeros, sum, min, max, count } = self.exact;
        let fits = |value: u64, bin: Option<&(u16, u64)>| match bin {
            None => value == 0,
            Some((bin, _)) => value > 0 && bin_of(value) == usize::from(*bin),
        };
        let lowest = if zeros > 0 { None } else { self.bins.first() };
        if !fits(min, lowest) || !fits(max, self.bins.last()) {
            return Err(SketchError::Bounds { min, max });
        }
        let least = u128::from(min) * u128::from(count);
        let most = u128::from(max) * u128::from(count);
        if (u128::from(sum) < least && sum != u64::MAX) || u128::from(sum) > most {
            return Err(SketchError::Sum { sum, count, min, max });
        }
        Ok(())
    }

    pub fn count(&self) -> u64 {
        self.exact.count
    }

    /// Exact sum of the values, saturating.
    pub fn sum(&self) -> u64 {
        self.exact.sum
    }

    /// See [`Sketch::mean`].
    pub fn mean(&self) -> Option<f64> {
        self.exact.mean()
    }

    /// See [`Sketch::mean_square`].
    pub fn mean_square(&self) -> Option<f64> {
        self.exact.mean_square(self.filled())
    }

    /// Exact largest value; `None` if nothing was recorded.
    pub fn max(&self) -> Option<u64> {
        self.exact.max()
    }

    /// See [`Sketch::quantile`].
    pub fn quantile(&self, q: f64) -> Option<u64> {
        self.exact.quantile(q, self.filled())
    }

    pub(crate) fn exact(&self) -> &Exact {
        &self.exact
    }

    pub(crate) fn filled(&self) -> impl Iterator<Item = (usize, u64)> {
        self.bins.iter().map(|(bin, n)| (usize::from(*bin), *n))
    }
}

impl From<&Sketch> for SparseSketch {
    fn from(sketch: &Sketch) -> Self {
        // Bins are fewer than `BINS`, so that their numbers fit.
        Self { exact: *sketch.exact(), bins: sketch.filled().map(|(bin, n)| (bin as u16, n)).collect() }
    }
}

impl From<Sketch> for SparseSketch {
    fn from(sketch: Sketch) -> Self {
        Self::from(&sketch)
    }
}
