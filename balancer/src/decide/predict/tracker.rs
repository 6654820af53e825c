//! One class's evidence: a mean of long memory that starts afresh when the class has changed.

use super::moments::Moments;

/// Observations that count for a class.
const MEMORY: f32 = 64.0;
/// A shorter run is chance: of a class of which a fifth is large, one in 16,000 is as long.
const SHORTEST_RUN: f32 = 6.0;
/// An observation this near to the mean (a factor of 1.4) is on neither side of it and ends a run.
const NEAR: f32 = std::f32::consts::LN_2 / 2.0;
/// Standard errors that a run's mean must be off. Five, as each observation is a test.
const ERRORS_OFF: f32 = 5.0;
/// Before it a class has nothing to depart from; its mean is still quick enough.
const LEAST_EVIDENCE: f32 = 8.0;

/// An observation, or the correction of one.
#[derive(Clone, Copy, Debug)]
pub(super) enum Sample {
    New(f32),
    /// `old` was counted while the request ran; `new` is what it came to.
    Revised {
        old: f32,
        new: f32,
    },
}

/// With a memory of 64 alone a class that becomes ten times slower would look 3x slower after 20
/// requests; with a shorter memory a mixed class would swing with each large request. So the memory
/// is long, and consecutive observations on one side of the mean are watched apart: when their mean
/// is off by more than chance allows, they are all the evidence there is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Tracker {
    pub(super) level: Moments,
    run: Moments,
    /// The level when the run began: the run must not widen what it is measured against.
    before: Moments,
}

impl Tracker {
    pub(super) fn of(level: Moments) -> Self {
        Self { level, ..Self::default() }
    }

    pub(super) fn apply(&mut self, sample: Sample) {
        match sample {
            Sample::New(x) => self.add(x),
            Sample::Revised { old, new } => self.revise(old, new),
        }
    }

    fn add(&mut self, x: f32) {
        if self.before.n < LEAST_EVIDENCE || !self.is_of_the_run(x) {
            self.before = self.level;
            self.run = Moments::default();
        }
        self.run.add(x, MEMORY);
        self.level.add(x, MEMORY);
        if self.has_changed() {
            *self = Self::of(self.run);
        }
    }

    fn revise(&mut self, old: f32, new: f32) {
        self.level.revise(old, new);
        // What is not in the run (another came between) must not be taken out of it.
        if self.is_of_the_run(old) {
            self.run.revise(old, new);
        }
    }

    fn is_of_the_run(&self, x: f32) -> bool {
        let side = |x: f32| (x - self.before.mean > NEAR, x - self.before.mean < -NEAR);
        self.run.n > 0.0 && side(x) == side(self.run.mean) && side(x) != (false, false)
    }

    fn has_changed(&self) -> bool {
        let off = (self.run.mean - self.before.mean).abs();
        let chance = || ERRORS_OFF * (self.before.spread() / self.run.n).sqrt();
        self.run.n >= SHORTEST_RUN
            && self.before.n >= LEAST_EVIDENCE
            && off > std::f32::consts::LN_2
            && off > chance()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mean_ms(tracker: &Tracker) -> f32 {
        tracker.level.mean.exp() * 1000.0
    }

    #[test]
    fn a_class_that_changes_tenfold_is_followed_within_20_observations() {
        // History, spread of the logarithm.
        for (history, sigma) in [(8, 0.0), (25, 0.3), (64, 0.5), (500, 0.5), (500, 0.8)] {
            for (before, after) in [(0.01f32, 0.1f32), (0.1, 0.01)] {
                let (mut rng, seed) = (fastrand::Rng::with_seed(7), 7);
                let mut noise = move || sigma * (rng.f32() + rng.f32() + rng.f32() - 1.5) * 2.0;
                let mut tracker = Tracker::default();
                (0..history).for_each(|_| tracker.apply(Sample::New(before.ln() + noise())));
                (0..20).for_each(|_| tracker.apply(Sample::New(after.ln() + noise())));
                let ratio = mean_ms(&tracker) / (after * 1000.0);
                assert!((0.6..1.7).contains(&ratio), "{history} of ±{sigma}: {ratio}, seed {seed}");
            }
        }
    }

    #[test]
    fn a_mixed_class_does_not_flip_at_each_cluster_of_large_ones() {
        // The geometric mean is 13 ms and 29 ms; the memory lets it vary.
        for (share, most_ms) in [(0.05, 40.0), (0.2, 150.0)] {
            let seed = 11;
            let mut rng = fastrand::Rng::with_seed(seed);
            let mut tracker = Tracker::default();
            let mut above = 0;
            for _ in 0..20_000 {
                let seconds = if rng.f64() < share { 2f32 } else { 0.01 };
                tracker.apply(Sample::New(seconds.ln()));
                above += u32::from(mean_ms(&tracker) > most_ms);
            }
            assert!(above <= 100, "{share}: above {most_ms} ms {above} times of 20,000, seed {seed}");
        }
    }

    #[test]
    fn one_slow_run_leaves_a_known_class_quick() {
        let mut tracker = Tracker::default();
        (0..64).for_each(|_| tracker.apply(Sample::New(0.01f32.ln())));
        tracker.apply(Sample::New(2f32.ln()));
        assert!(mean_ms(&tracker) < 11.0, "{} ms", mean_ms(&tracker));
    }
}
