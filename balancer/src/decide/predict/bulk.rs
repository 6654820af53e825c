//! The common level of many requests of all kinds, which the large ones among them hardly move.

use super::Source;
use super::belief::Belief;
use super::moments::Moments;

/// Observations that count: long, as it speaks for what has never been seen.
const MEMORY: f32 = 256.0;

/// A robust mean: no observation counts as further away than `reach` (Huber 1964, M-estimator).
///
/// The prior and the extensions must stay optimistic while a few per cent of requests are large,
/// and yet learn that an application takes 200 ms for all it does, or that archives are large.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Bulk {
    pub(super) moments: Moments,
    /// Observations that the starting value counts as.
    assumed: f32,
    /// As a difference of logarithms.
    reach: f32,
}

impl Bulk {
    /// What is believed of everything: a factor of 4, and a start worth 8 observations.
    pub(super) fn prior(mean: f32) -> Self {
        Self { moments: Moments { n: 8.0, mean, var: 0.0 }, assumed: 8.0, reach: 4f32.ln() }
    }

    /// An extension, which begins where the prior is. Quicker than the prior (a factor of 16, a start
    /// worth 3), as most of its requests are alike: ten archives of 2 s make an archive large.
    pub(super) fn extension(prior: &Self) -> Self {
        let moments = Moments { n: 3.0, mean: prior.moments.mean, var: 0.0 };
        Self { moments, assumed: 3.0, reach: 16f32.ln() }
    }

    pub(super) fn add(&mut self, x: f32) {
        let off = (x - self.moments.mean).clamp(-self.reach, self.reach);
        self.moments.add(self.moments.mean + off, MEMORY);
    }

    pub(super) fn belief(&self, from: Source) -> Belief {
        let Moments { n, mean, var } = self.moments;
        Belief { mu: mean, var, samples: n - self.assumed, from }
    }

    /// Takes the evidence of an earlier run, as at most `most` observations.
    pub(super) fn restored(self, saved: Moments, most: f32) -> Self {
        match saved.checked(most) {
            Some(moments) => Self { moments: Moments { n: moments.n.max(self.assumed), ..moments }, ..self },
            None => self,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mean_after(bulk: Bulk, seconds: impl Iterator<Item = f32>) -> f64 {
        let mut bulk = bulk;
        seconds.for_each(|s| bulk.add(s.ln()));
        bulk.belief(Source::Prior).estimate().mean
    }

    #[test]
    fn the_bulk_is_what_most_requests_are() {
        let prior = Bulk::prior(0.01f32.ln());
        let mixed = |every: usize| (0..2000).map(move |i| if i % every == 0 { 2.0 } else { 0.01 });
        for (name, mean, least, most) in [
            ("one large at the start", mean_after(prior, [2.0].into_iter()), 0.01, 0.02),
            ("5 % of 2 s", mean_after(prior, mixed(20)), 0.01, 0.016),
            ("10 % of 2 s", mean_after(prior, mixed(10)), 0.01, 0.02),
            ("all take 200 ms", mean_after(prior, [0.2].into_iter().cycle().take(100)), 0.15, 0.3),
            ("ten archives", mean_after(Bulk::extension(&prior), [2.0; 10].into_iter()), 0.2, 4.0),
            ("one page of 1.5 s", mean_after(Bulk::extension(&prior), [1.5].into_iter()), 0.01, 0.05),
        ] {
            assert!((least..=most).contains(&mean), "{name}: {mean} s");
        }
    }
}
