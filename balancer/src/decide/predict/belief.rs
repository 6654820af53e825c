//! What is believed of a quantity at one level, and how a level borrows from the one above it.

use super::moments::Moments;
use super::{Estimate, Source};

/// A quantity that departs by more than this factor (4) from a prediction is news.
pub(super) const NEWS: f32 = 2.0 * std::f32::consts::LN_2;

/// Class, extension or URL: μ and σ² of the logarithm, the evidence behind it and where it is from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Belief {
    pub(super) mu: f32,
    pub(super) var: f32,
    pub(super) samples: f32,
    pub(super) from: Source,
}

/// How many observations the parent level counts as. See [`Belief::narrowed`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Shrinkage {
    /// For evidence above the parent's belief.
    pub(super) up: f32,
    /// For evidence below it.
    pub(super) down: f32,
    /// From this many observations on the parent counts for nothing.
    pub(super) sure: f32,
}

impl Shrinkage {
    /// A class against what its extension says.
    ///
    /// Upward half an observation, against the 3 of algorithms.md 1.7: with κ = 3 a class first seen
    /// at 1.5 s under a prior of 10 ms is predicted at 10 ms · 150^(1/4) = 35 ms, quick, and the next
    /// ones block a worker each; with κ = 0.5 it is 0.3 s. Downward κ = 3 stays: to wait too long
    /// behind large requests costs the request itself a little, a blocked worker costs everybody.
    /// At 8 observations a class is taken at its word.
    pub(super) const CLASS: Self = Self { up: 0.5, down: 3.0, sure: 8.0 };

    /// A URL against its class: κ = σ²(within the URL) / σ²(between the URLs of the class), the
    /// weight that minimises the mean squared error (empirical Bayes; Morris 1983). Where URLs of a
    /// class differ, one visit tells nearly all; where they do not, one visit is mostly chance.
    pub(super) fn url(class: &Belief) -> Self {
        const WITHIN: f32 = 0.25;
        let kappa = (WITHIN / class.var.max(0.01)).clamp(0.05, 3.0);
        Self { up: kappa.min(Self::CLASS.up), down: kappa, sure: 4.0 }
    }
}

impl Belief {
    /// This belief, corrected by a lower level's own evidence:
    /// μ̂ = (n·x̄ + κ·μ) / (n + κ), with κ fading to 0 at `sure` observations.
    ///
    /// Source: algorithms.md 1.7, shrinkage in the log domain.
    pub(super) fn narrowed(self, own: &Moments, by: Shrinkage, from: Source) -> Self {
        if own.n <= 0.0 {
            return self;
        }
        let kappa = if own.mean > self.mu { by.up } else { by.down };
        let kappa = kappa * (1.0 - own.n / by.sure).max(0.0);
        let mu = (own.n * own.mean + kappa * self.mu) / (own.n + kappa);
        Self { mu, var: own.spread(), samples: own.n, from }
    }

    /// Logarithm of the expected value, μ + σ²/2 (mean of a log-normal distribution).
    ///
    /// The second term is at most ln 10: where it would be more the costs have two humps rather than
    /// one long tail, and for those the formula says up to 30 times too much (half at 10 ms, half at
    /// 2 s: 4.7 s instead of 1 s).
    pub(super) fn log_mean(&self) -> f32 {
        self.mu + (self.var / 2.0).min(std::f32::consts::LN_10)
    }

    /// Whether a value is what this belief leads one to expect, within a factor of 4.
    pub(super) fn explains(&self, x: f32) -> bool {
        (x - self.log_mean()).abs() <= NEWS
    }

    /// Whether the requests under this belief differ among themselves by more than a factor of 4.
    pub(super) fn is_mixed(&self) -> bool {
        self.var > NEWS * NEWS
    }

    pub(super) fn estimate(&self) -> Estimate {
        Estimate { mean: f64::from(self.log_mean().exp()), samples: f64::from(self.samples), from: self.from }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: Belief = Belief { mu: -4.605, var: 0.0, samples: 0.0, from: Source::Prior };

    fn seen(n: u32, seconds: f32) -> Moments {
        Moments { n: n as f32, mean: seconds.ln(), var: 0.0 }
    }

    /// The cases κ was chosen by: a parent at 10 ms, an observed class, the range of its prediction.
    #[test]
    fn few_observations_move_a_class_up_at_once_and_down_with_care() {
        for (n, seconds, least, most) in [
            (1, 1.5, 0.15, 0.6),     // one large run: large at once (8 x the bulk is 80 ms)
            (1, 0.05, 0.03, 0.05),   // one run of 5x: nearly believed
            (1, 0.001, 0.005, 0.01), // one quick run: no hurry to believe it
            (4, 0.001, 0.001, 0.003),
            (4, 1.5, 1.0, 1.6),
            (8, 1.5, 1.5, 1.53), // eight: at its word, up to the doubt about the spread
            (8, 0.001, 0.001, 0.00102),
        ] {
            let class = PARENT.narrowed(&seen(n, seconds), Shrinkage::CLASS, Source::Class);
            let mean = class.estimate().mean;
            assert!((least..=most).contains(&mean), "{n} x {seconds} s: {mean} s");
        }
    }

    #[test]
    fn one_visit_tells_more_in_a_class_whose_urls_differ() {
        for (class_var, seconds, least, most) in [
            (0.05, 2.0, 0.15, 1.0),     // uniform class, one slow run: large nevertheless
            (0.05, 0.001, 0.004, 0.01), // uniform class, one quick run: mostly chance
            (4.0, 2.0, 1.5, 2.3),       // mixed class: believed, both ways
            (4.0, 0.001, 0.001, 0.0013),
        ] {
            let class = Belief { var: class_var, samples: 64.0, from: Source::Class, ..PARENT };
            let url = class.narrowed(&seen(1, seconds), Shrinkage::url(&class), Source::Url);
            let mean = url.estimate().mean;
            assert!((least..=most).contains(&mean), "class variance {class_var}, {seconds} s: {mean} s");
        }
    }
}
