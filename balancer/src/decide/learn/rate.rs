//! How often something arrives: two exponentially weighted means of counts per tick, and a jump when
//! they disagree.
//!
//! The slow one is steady enough to plan by, the fast one notices a change of the mix within
//! seconds. A third one never jumps: what it says has room for bursts and pauses. Constants: algorithms.md 3.5.

use serde::{Deserialize, Serialize};

/// Weight of a tick in the fast mean: a memory of about 4 ticks.
const FAST: f64 = 0.25;
/// Variance of the fast mean over that of one tick's count: FAST / (2 - FAST).
const FAST_VARIANCE: f64 = 0.143;
/// Ticks in a row that must disagree: one in a row is chance, three are a change.
const JUMP_AFTER: u32 = 3;
/// Samples that the slow mean has after a jump.
const SAMPLES_AFTER_JUMP: f64 = 6.0;
/// Weight of a tick in the lasting mean: a memory of a minute, in which several bursts find room.
const LASTING: f64 = 1.0 / 60.0;
/// Ticks without anything that the lasting mean begins with: what comes first may be a burst.
const DOUBTED: f64 = 20.0;
/// Arrivals in a tick after which what was nothing has begun, and is measured anew: the pause says nothing of it.
const BEGINS: f64 = 5.0;
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
    lasting: f64,
    /// Ticks that the lasting mean is of.
    lasted: f64,
}

impl Rate {
    /// A rate that is known from elsewhere: lately, and over the last minute.
    pub fn seeded(per_tick: f64, lasting: f64) -> Self {
        Self {
            fast: per_tick,
            slow: per_tick,
            lasting,
            lasted: SAMPLES_AFTER_JUMP,
            ticks: SAMPLES_AFTER_JUMP,
            ..Self::default()
        }
    }

    /// A rate that was read from a file: believed for a few ticks. What is not possible is no rate.
    pub fn restored(per_tick: f64) -> Self {
        if (NOTHING..1e9).contains(&per_tick) { Self::seeded(per_tick, per_tick) } else { Self::default() }
    }

    /// `n` arrived since the last tick.
    pub fn count(&mut self, n: f64) {
        self.counted += n;
    }

    /// Ends a tick. The unit of time of [`Rate::value`] is the time between two calls.
    pub fn tick(&mut self) {
        let counted = std::mem::take(&mut self.counted).max(0.0);
        if self.slow < NOTHING && counted >= BEGINS {
            *self = Self { lasting: self.lasting, lasted: self.lasted, ..Self::default() };
        }
        self.ticks += 1.0;
        let start = 1.0 / self.ticks;
        self.fast += start.max(FAST) * (counted - self.fast);
        let slow = start.max(slow_weight(self.slow));
        self.slow += slow * (counted - self.slow);
        self.last(counted);
        self.jump_if_changed();
        if self.slow < NOTHING {
            self.slow = 0.0;
        }
    }

    fn last(&mut self, counted: f64) {
        self.lasted += 1.0;
        let start = 1.0 / (self.lasted + DOUBTED);
        self.lasting += start.max(slow_weight(self.slow).min(LASTING)) * (counted - self.lasting);
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

    /// Arrivals per tick over the last minute, or minutes of what is rare, bursts and pauses together. From nothing
    /// it grows slowly: what has not been there for long may not last.
    pub fn lasting(&self) -> f64 {
        self.lasting
    }
}

/// Weight of a tick in a slow mean: a rare class needs a longer memory than a frequent one for the same precision.
fn slow_weight(per_tick: f64) -> f64 {
    (per_tick / 50.0).clamp(0.004, 0.03)
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

    /// 4 per second for 2 s in 8: 1 on the whole.
    #[test]
    fn bursts_are_no_lasting_rate() {
        let mut rate = Rate::default();
        after(&mut rate, 2, 4.0);
        assert!(rate.value() == 4.0 && rate.lasting() < 0.5, "the first: {rate:?}");
        after(&mut rate, 6, 0.0);
        for burst in 0..50 {
            after(&mut rate, 2, 4.0);
            let lasting = rate.lasting();
            assert!(lasting < 1.2 && (burst < 10 || lasting > 0.8), "burst {burst}: {rate:?}");
            after(&mut rate, 6, 0.0);
        }
        after(&mut rate, 200, 4.0);
        assert!(rate.lasting() > 3.8, "{rate:?}");
    }

    #[test]
    fn what_begins_after_a_pause_is_known_at_once() {
        let mut rate = Rate::default();
        after(&mut rate, 1000, 0.0);
        assert_eq!(after(&mut rate, 1, 150.0), 150.0);
        let mut rare = Rate::default();
        after(&mut rare, 1000, 0.0);
        assert!(after(&mut rare, 1, 1.0) < 0.1, "one is no beginning");
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
