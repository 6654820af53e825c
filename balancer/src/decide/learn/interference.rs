//! Whether large requests slow down the small ones beside them (one interpreter lock, one disk).

use serde::{Deserialize, Serialize};

use crate::decide::learn::ratio::RatioOfMeans;

/// Samples of each kind before anything is said.
const LEAST: f64 = 500.0;
/// Samples of each kind that are remembered: many, since an instance that is slow for some seconds
/// keeps its large requests for longer, and would look like interference.
const MEMORY: f64 = 5000.0;
/// Large requests are kept on instances of their own from this much on, ...
const ON: f64 = 0.3;
/// ... until it is below this.
const OFF: f64 = 0.15;

/// Service time of small requests beside large ones against that of small ones among themselves.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interference {
    alone: RatioOfMeans,
    beside: RatioOfMeans,
    /// Large requests beside a small one that had any, on average.
    large: f64,
    separated: bool,
}

impl Default for Interference {
    fn default() -> Self {
        let ratio = RatioOfMeans::new(MEMORY);
        Self { alone: ratio, beside: ratio, large: 1.0, separated: false }
    }
}

impl Interference {
    /// What may be believed of what was read from a file: it stands until as much speaks against it
    /// as it takes to say anything. What is not possible counts as nothing seen.
    pub fn restored(self) -> Self {
        match (self.alone.restored(MEMORY, LEAST), self.beside.restored(MEMORY, LEAST)) {
            (Some(alone), Some(beside)) if (0.0..1e6).contains(&self.large) => Self { alone, beside, ..self },
            _ => Self::default(),
        }
    }

    /// A small request held its worker for `held`, `expected` of its class, with `large` large ones
    /// on the same instance when it was sent.
    pub fn add(&mut self, held: f64, expected: f64, large: u32) {
        if large == 0 {
            self.alone.add(held, expected);
        } else {
            self.beside.add(held, expected);
            self.large += (f64::from(large) - self.large) / MEMORY;
        }
        self.judge();
    }

    fn judge(&mut self) {
        let slowdown = self.measured();
        self.separated = slowdown > if self.separated { OFF } else { ON };
    }

    fn measured(&self) -> f64 {
        match (self.beside.value(LEAST), self.alone.value(LEAST)) {
            (Some(beside), Some(alone)) if alone > 0.0 => {
                ((beside / alone - 1.0) / self.large.max(0.5)).max(0.0)
            }
            _ => 0.0,
        }
    }

    /// Share by which each large request beside it prolongs a small one; 0 unless it is enough to
    /// act upon.
    pub fn value(&self) -> f64 {
        if self.separated { self.measured() } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn separation_begins_and_ends_with_hysteresis() {
        let mut interference = Interference::default();
        let mut feed = |beside: f64, n: usize| {
            for _ in 0..n {
                interference.add(10.0, 10.0, 0);
                interference.add(10.0 * beside, 10.0, 1);
            }
            interference.value()
        };
        assert_eq!(feed(2.0, 499), 0.0, "too few samples");
        assert!((feed(2.0, 2000) - 1.0).abs() < 0.05, "twice as long is +100 %");
        assert!(feed(1.2, 30_000) > 0.15, "still separated at +20 %");
        assert_eq!(feed(1.1, 30_000), 0.0);
        assert_eq!(feed(1.2, 30_000), 0.0, "+20 % is not enough to begin");
    }
}
