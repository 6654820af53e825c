//! Distributions of worker time and response sizes.

use fastrand::Rng;
use serde::{Deserialize, Serialize};

/// A distribution of positive numbers; the unit is that of the field which holds it.
///
/// In a workload file: `{"constant": 10}`, `{"exponential": {"mean": 10}}`,
/// `{"lognormal": {"mean": 10, "cv": 1}}`, `{"bounded_pareto": {"alpha": 1.1, "min": 1, "max": 5}}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Dist {
    /// Always this value; `0` is allowed.
    Constant(f64),
    Exponential {
        mean: f64,
    },
    /// `cv` is the standard deviation divided by the mean; web pages are near 1.
    Lognormal {
        mean: f64,
        cv: f64,
    },
    /// Heavy-tailed between `min` and `max`; the smaller `alpha`, the heavier the tail.
    BoundedPareto {
        alpha: f64,
        min: f64,
        max: f64,
    },
}

/// A number of a workload that makes no sense.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{field} = {value} is outside {range}")]
pub struct OutOfRange {
    pub field: &'static str,
    pub value: f64,
    pub range: &'static str,
}

impl Dist {
    /// Draws one value. Never negative and never NaN, whatever the parameters.
    pub fn sample(&self, rng: &mut Rng) -> f64 {
        let drawn = match *self {
            Dist::Constant(value) => value,
            Dist::Exponential { mean } => mean * unit_exponential(rng),
            Dist::Lognormal { mean, cv } => {
                let variance = (1.0 + cv * cv).ln();
                (mean.ln() - variance / 2.0 + variance.sqrt() * unit_normal(rng)).exp()
            }
            // Inverse of the distribution function 1 - (min/x)^alpha, scaled to end at `max`.
            Dist::BoundedPareto { alpha, min, max } => {
                let tail = 1.0 - (min / max).powf(alpha);
                min / (1.0 - rng.f64() * tail).powf(1.0 / alpha)
            }
        };
        drawn.max(0.0) // also turns NaN into 0
    }

    /// Expected value.
    pub fn mean(&self) -> f64 {
        match *self {
            Dist::Constant(value) => value,
            Dist::Exponential { mean } | Dist::Lognormal { mean, .. } => mean,
            Dist::BoundedPareto { alpha, min, max } => pareto_mean(alpha, min, max),
        }
    }

    /// Refuses parameters that no distribution can have.
    pub fn check(&self) -> Result<(), OutOfRange> {
        match *self {
            Dist::Constant(value) => not_negative("constant", value),
            Dist::Exponential { mean } => positive("mean", mean),
            Dist::Lognormal { mean, cv } => {
                positive("mean", mean)?;
                not_negative("cv", cv)
            }
            Dist::BoundedPareto { alpha, min, max } => {
                positive("alpha", alpha)?;
                positive("min", min)?;
                check("max", max, max.is_finite() && max > min, "min.. (above min)")
            }
        }
    }
}

pub(crate) fn not_negative(field: &'static str, value: f64) -> Result<(), OutOfRange> {
    check(field, value, value.is_finite() && value >= 0.0, "0..")
}

pub(crate) fn positive(field: &'static str, value: f64) -> Result<(), OutOfRange> {
    check(field, value, value.is_finite() && value > 0.0, "0.. (above 0)")
}

fn check(field: &'static str, value: f64, holds: bool, range: &'static str) -> Result<(), OutOfRange> {
    if holds { Ok(()) } else { Err(OutOfRange { field, value, range }) }
}

/// Exponential with mean 1: the gaps of a Poisson process with one event per unit of time.
pub(crate) fn unit_exponential(rng: &mut Rng) -> f64 {
    -(1.0 - rng.f64()).ln() // f64() is in [0, 1), so the logarithm is finite
}

/// Standard normal, by Box and Muller.
fn unit_normal(rng: &mut Rng) -> f64 {
    let radius = (2.0 * unit_exponential(rng)).sqrt();
    radius * (std::f64::consts::TAU * rng.f64()).cos()
}

fn pareto_mean(alpha: f64, min: f64, max: f64) -> f64 {
    let tail = 1.0 - (min / max).powf(alpha);
    if (alpha - 1.0).abs() < 1e-9 {
        return min * (max / min).ln() / tail;
    }
    let shape = alpha / (alpha - 1.0);
    min * shape * (1.0 - (min / max).powf(alpha - 1.0)) / tail
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEED: u64 = 7;
    const DRAWS: u32 = 200_000;

    fn cases() -> [(&'static str, Dist); 5] {
        [
            ("constant", Dist::Constant(10.0)),
            ("exponential", Dist::Exponential { mean: 10.0 }),
            ("lognormal", Dist::Lognormal { mean: 10.0, cv: 1.0 }),
            ("pareto", Dist::BoundedPareto { alpha: 1.1, min: 1.0, max: 5.0 }),
            ("pareto, alpha 1", Dist::BoundedPareto { alpha: 1.0, min: 1.0, max: 5.0 }),
        ]
    }

    #[test]
    fn sample_mean_is_the_stated_mean() {
        for (name, dist) in cases() {
            let mut rng = Rng::with_seed(SEED);
            let sum: f64 = (0..DRAWS).map(|_| dist.sample(&mut rng)).sum();
            let ratio = sum / f64::from(DRAWS) / dist.mean();
            // cv is at most 1, so the standard error is 1/sqrt(200,000) = 0.22 %; 1 % is 4.5 of it.
            assert!((0.99..1.01).contains(&ratio), "{name}: {ratio} of the mean (seed {SEED})");
        }
    }

    #[test]
    fn pareto_stays_within_its_bounds() {
        let dist = Dist::BoundedPareto { alpha: 1.1, min: 1.0, max: 5.0 };
        let mut rng = Rng::with_seed(SEED);
        for _ in 0..DRAWS {
            let x = dist.sample(&mut rng);
            assert!((1.0..=5.0 + 1e-9).contains(&x), "{x}");
        }
    }

    #[test]
    fn nonsense_is_refused_and_never_sampled_as_nan() {
        let bad = [
            Dist::Constant(-1.0),
            Dist::Constant(f64::NAN),
            Dist::Exponential { mean: 0.0 },
            Dist::Lognormal { mean: 10.0, cv: -1.0 },
            Dist::Lognormal { mean: -10.0, cv: 1.0 },
            Dist::BoundedPareto { alpha: 0.0, min: 1.0, max: 5.0 },
            Dist::BoundedPareto { alpha: 1.1, min: 5.0, max: 5.0 },
        ];
        let mut rng = Rng::with_seed(SEED);
        for dist in bad {
            assert!(dist.check().is_err(), "{dist:?}");
            assert!(dist.sample(&mut rng) >= 0.0, "{dist:?}");
        }
        for (name, dist) in cases() {
            assert_eq!(dist.check(), Ok(()), "{name}");
        }
    }
}
