//! How often something arrives: two exponentially weighted means of counts per tick, and a jump when
//! they disagree.
//!
//! The slow one is steady enough to plan by, the fast one notices a change of the mix within
//! seconds. Constants: algorithms.md 3.5.

use serde::{Deserialize, Serialize};

/// Weight of a tick in the fast mean: a memory of about 4 ticks.
const FAST: f64 = 0.25;
/// Variance of the fast mean over that of one tick's count: FAST / (2 - FAST).
const FAST_VARIANCE: f64 = 0.143;
/// Ticks in a row that must disagree: one in a row is chance, three are a change.
const JUMP_AFTER: u32 = 3;
/// Samples that the slow mean has after a jump.
const SAMPLES_AFTER_JUMP: f64 = 6.0;
/// Below one arrival in three hours there is none.
const NOTHING: f64 = 1e-4;

/// Arrivals per tick.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Rate {
    counted: f64,
    fast: f64,
    slow: f64,
    ticks: f64,
    disagreed: u32,
}

impl Rate {
    /// A rate that is known from elsewhere.
    pub fn seeded(per_tick: f64) -> Self {
        Self { fast: per_tick, slow: per_tick, ticks: SAMPLES_AFTER_JUMP, ..Self::default() }
    }

    /// A rate that was read from a file: believed for a few ticks. What is not possible is no rate.
    pub fn restored(per_tick: f64) -> Self {
        if (NOTHING..1e9).contains(&per_tick) { Self::seeded(per_tick) } else { Self::default() }
    }

    /// `n` arrived since the last tick.
    pub fn count(&mut self, n: f64) {
        self.counted += n;
    }

    /// Ends a tick. The unit of time of [`Rate::value`] is the time between two calls.
    pub fn tick(&mut self) {
        let counted = std::mem::take(&mut self.counted).max(0.0);
        self.ticks += 1.0;
        let start = 1.0 / self.ticks;
        self.fast += start.max(FAST) * (counted - self.fast);
        // A rare class needs a longer memory than a frequent one for the same precision.
        let slow = start.max((self.slow / 50.0).clamp(0.004, 0.03));
        self.slow += slow * (counted - self.slow);
        self.jump_if_changed();
        if self.slow < NOTHING {
            self.slow = 0.0;
        }
    }

    fn jump_if_changed(&mut self) {
        // The variance of a Poisson count is its mean; a rate near 0 is given that of one arrival
        // in 20 ticks.
        let deviation = (self.slow.max(0.05) * FAST_VARIANCE).sqrt();
        let changed = (self.fast - self.slow).abs() > 3.0 * deviation + 0.1 * self.slow;
        self.disagreed = if changed && self.ticks > JUMP_AFTER.into() { self.disagreed + 1 } else { 0 };
        if self.disagreed >= JUMP_AFTER {
            self.slow = self.fast;
            self.ticks = SAMPLES_AFTER_JUMP;
            self.disagreed = 0;
        }
    }

    /// Arrivals per tick, to plan by.
    pub fn value(&self) -> f64 {
        self.slow
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(rate: &mut Rate, ticks: usize, count: f64) -> f64 {
        for _ in 0..ticks {
            rate.count(count);
            rate.tick();
        }
        rate.value()
    }

    #[test]
    fn a_change_of_the_mix_is_followed_within_seconds() {
        let mut rate = Rate::default();
        assert_eq!(after(&mut rate, 30, 10.0), 10.0);
        let followed = after(&mut rate, 6, 40.0);
        assert!(followed > 30.0, "{followed}");
        let gone = after(&mut rate, 12, 0.0);
        assert!(gone < 5.0, "{gone}");
    }

    #[test]
    fn chance_does_not_move_it() {
        let seed = 4;
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut rate = Rate::default();
        let mut seen = vec![];
        for tick in 0..2000 {
            // A sum of 50 coins is close to a Poisson count of mean 10.
            let count = (0..50).filter(|_| rng.f64() < 0.2).count();
            let value = after(&mut rate, 1, count as f64);
            if tick > 100 {
                seen.push(value);
            }
        }
        let (low, high) = seen.iter().fold((f64::MAX, 0.0_f64), |(l, h), v| (l.min(*v), h.max(*v)));
        assert!(low > 7.0 && high < 13.0, "seed {seed}: {low} to {high}");
    }
}
