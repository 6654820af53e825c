//! Who asks when, for what, at what cost: a function of the seed alone.

use fastrand::Rng;
use sluice_emulation::dist::Dist;

use super::jobs::{Record, Stage};
use crate::policy::JobId;
use crate::scenario::{ClassSpec, Kind, Scenario, SiteLaw, Sites};
use crate::time::{Nanos, nanos, seconds};

/// One class's requests. Each has a generator of its own, so that no class changes another's.
#[derive(Debug)]
pub(crate) struct Source {
    class: usize,
    spec: ClassSpec,
    /// Fraction that looks like class 0.
    unknown: f64,
    /// Cumulated probability of each site, of a Zipf law.
    cumulated: Vec<f64>,
    rng: Rng,
}

/// What one arrival is, before it has an id.
pub(crate) struct Draft {
    record: Record,
    pub(crate) url: u64,
}

impl Draft {
    pub(crate) fn with_id(self, id: JobId) -> Record {
        Record { id, ..self.record }
    }

    pub(crate) fn label(&self) -> usize {
        self.record.label
    }

    pub(crate) fn site(&self) -> Option<u32> {
        self.record.site
    }
}

impl Source {
    pub(crate) fn new(scenario: &Scenario, class: usize, rng: Rng) -> Self {
        let spec = scenario.classes[class].clone();
        let unknown = if spec.kind == Kind::Small { 0.0 } else { scenario.unknown };
        let cumulated = spec.sites.as_ref().map(cumulate).unwrap_or_default();
        Self { class, spec, unknown, cumulated, rng }
    }

    /// Time until the next candidate: arrivals at the highest rate, of which [`Source::accept`] takes some.
    pub(crate) fn gap(&mut self) -> Nanos {
        nanos(exponential(&mut self.rng) / self.spec.rate.peak())
    }

    /// Whether the candidate at `now` is a request: thinning, after Lewis and Shedler.
    pub(crate) fn accept(&mut self, now: Nanos, high: bool) -> bool {
        let rate = self.spec.rate.at(seconds(now), high);
        let peak = self.spec.rate.peak();
        rate == peak || self.rng.f64() * peak < rate
    }

    pub(crate) fn draw(&mut self, now: Nanos) -> Draft {
        let rng = &mut self.rng;
        let work = nanos(self.spec.held_s.sample(rng));
        let bytes = self.spec.bytes.sample(rng) as u64;
        let stream = self.spec.client_rate.map_or(0, |rate| nanos(bytes as f64 / rate));
        let site = self.spec.sites.as_ref().map(|sites| site(sites, &self.cumulated, rng));
        let hidden = self.unknown > 0.0 && rng.f64() < self.unknown;
        let number = rng.u64(..if hidden { u64::MAX } else { self.spec.urls });
        let label = if hidden { 0 } else { self.class };
        let url = mix(number ^ mix(u64::from(site.unwrap_or(0)) << 32 | label as u64));
        let record = Record {
            id: JobId { generation: 0, index: 0 },
            class: self.class,
            label,
            site,
            bytes,
            work,
            stream,
            arrived: now,
            started: 0,
            stage: Stage::Queued,
        };
        Draft { record, url }
    }
}

/// A generator for one purpose of a run.
pub(crate) fn stream(seed: u64, purpose: u64) -> Rng {
    Rng::with_seed(mix(seed ^ mix(purpose)))
}

/// Exponential with mean 1.
pub(crate) fn exponential(rng: &mut Rng) -> f64 {
    Dist::Exponential { mean: 1.0 }.sample(rng)
}

/// The finalizer of SplitMix64 (Steele, Lea and Flood 2014): neighbours become unrelated.
pub(crate) fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

fn site(sites: &Sites, cumulated: &[f64], rng: &mut Rng) -> u32 {
    let count = sites.count as u32;
    match sites.law {
        SiteLaw::Uniform => rng.u32(..count),
        SiteLaw::Nested => {
            let level = rng.u32(..4);
            rng.u32(..(count >> level).max(1))
        }
        SiteLaw::Zipf(_) => {
            let at = rng.f64();
            (cumulated.partition_point(|&p| p < at) as u32).min(count - 1)
        }
    }
}

fn cumulate(sites: &Sites) -> Vec<f64> {
    let SiteLaw::Zipf(exponent) = sites.law else { return Vec::new() };
    let weights = (0..sites.count).map(|k| (k as f64 + 1.0).powf(-exponent));
    let total: f64 = weights.clone().sum();
    weights
        .scan(0.0, |sum, weight| {
            *sum += weight / total;
            Some(*sum)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEED: u64 = 11;

    fn mean_gap(name: &str, class: usize) -> f64 {
        let scenario = Scenario::named(name, 0.7, 1.0).expect("a known scenario");
        let mut source = Source::new(&scenario, class, stream(SEED, 0));
        let gaps: u64 = (0..100_000).map(|_| source.gap()).sum();
        seconds(gaps) / 1e5
    }

    #[test]
    fn a_class_arrives_at_the_rate_that_its_load_asks_for() {
        // d at 0.70: 16 workers, 10 ms each, so 1120 requests per second.
        let ratio = mean_gap("d", 0) * 1120.0;
        assert!((0.98..1.02).contains(&ratio), "{ratio} (seed {SEED})");
    }

    #[test]
    fn nested_sites_favour_the_first_eighth() {
        let scenario = Scenario::named("aff", 0.7, 1.0).expect("a known scenario");
        let mut source = Source::new(&scenario, 0, stream(SEED, 0));
        let first = (0..100_000).filter(|_| source.draw(0).site().is_some_and(|s| s < 25)).count();
        // An eighth of level 0, a quarter of level 1, half of level 2, all of level 3: 15/32.
        let share = first as f64 / 1e5;
        assert!((share - 15.0 / 32.0).abs() < 0.01, "{share} (seed {SEED})");
    }

    #[test]
    fn unknown_requests_look_like_the_first_class() {
        let scenario = Scenario::named("mis", 0.7, 1.0).expect("a known scenario");
        let mut source = Source::new(&scenario, 1, stream(SEED, 0));
        let hidden = (0..100_000).filter(|_| source.draw(0).label() == 0).count();
        assert!((19_000..21_000).contains(&hidden), "{hidden} (seed {SEED})");
    }
}
