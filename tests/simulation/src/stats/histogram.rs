//! Quantiles of positive numbers, each within 1 %.

use std::f64::consts::LN_2;

/// Smallest value told apart from smaller ones: a microsecond, when values are seconds.
const SMALLEST: f64 = 1e-6;

/// Each bucket ends 1 % above its start, so its middle is within 0.5 % of all in it.
const GROWTH: f64 = 1.01;

/// Up to 23,000 s: longer than any latency worth telling apart.
const BUCKETS: usize = 2400;

#[derive(Clone, Debug)]
pub struct Histogram {
    buckets: Vec<u64>,
    count: u64,
    sum: f64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { buckets: vec![0; BUCKETS], count: 0, sum: 0.0 }
    }
}

impl Histogram {
    /// Values outside of the range count in the first or last bucket, and exactly in the mean.
    pub fn add(&mut self, value: f64) {
        let bucket = ((value / SMALLEST).log2() * (LN_2 / GROWTH.ln())).max(0.0) as usize;
        self.buckets[bucket.min(BUCKETS - 1)] += 1;
        self.count += 1;
        self.sum += value;
    }

    pub fn count(&self) -> u64 {
        self.count
    }

    /// 0 if there are no values.
    pub fn mean(&self) -> f64 {
        if self.count == 0 { 0.0 } else { self.sum / self.count as f64 }
    }

    /// The value that a fraction `q` of all lie below; 0 if there are no values.
    pub fn quantile(&self, q: f64) -> f64 {
        let rank = (q * self.count as f64) as u64;
        let mut below = 0;
        for (bucket, &count) in self.buckets.iter().enumerate() {
            below += count;
            if below > rank {
                return SMALLEST * GROWTH.powf(bucket as f64 + 0.5);
            }
        }
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_within_one_percent() {
        let mut histogram = Histogram::default();
        for ms in 1..=10_000 {
            histogram.add(f64::from(ms) / 1e3);
        }
        for (q, expected) in [(0.5, 5.0), (0.99, 9.9), (0.999, 9.99)] {
            let ratio = histogram.quantile(q) / expected;
            assert!((0.99..1.01).contains(&ratio), "{q}: {ratio}");
        }
        assert!((histogram.mean() - 5.0005).abs() < 1e-9);
    }

    #[test]
    fn nothing_has_no_quantile_and_absurd_values_do_no_harm() {
        let mut histogram = Histogram::default();
        assert_eq!((histogram.quantile(0.99), histogram.mean()), (0.0, 0.0));
        histogram.add(0.0);
        histogram.add(1e12);
        assert_eq!(histogram.count(), 2);
    }
}
