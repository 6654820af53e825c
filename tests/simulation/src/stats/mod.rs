//! What a run shows.

mod adaptation;
mod histogram;

pub use adaptation::Adaptation;
pub use histogram::Histogram;

use adaptation::Series;

use crate::check::Violations;
use crate::scenario::{Kind, Scenario};
use crate::time::{Nanos, nanos, seconds};

/// One job that ended.
pub(crate) struct Finished {
    pub(crate) class: usize,
    pub(crate) arrived: Nanos,
    pub(crate) latency: Nanos,
    /// Its work and its client's time, without any waiting.
    pub(crate) demand: Nanos,
}

/// What the instances add up to.
pub(crate) struct Totals {
    /// Worker seconds used while requests came.
    pub(crate) used_s: f64,
    pub(crate) hits: u64,
    pub(crate) lookups: u64,
    pub(crate) waiting: usize,
    pub(crate) unfinished: usize,
}

/// Result of one run.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Outcome {
    pub classes: Vec<ClassOutcome>,
    /// Busy workers over all workers, while requests came.
    pub utilisation: f64,
    /// Cache hits over lookups; `None`: nothing was looked up.
    pub hit_ratio: Option<f64>,
    pub adaptation: Option<Adaptation>,
    /// Simulated events.
    pub events: u64,
    /// Jobs that had not ended when the last request came: more than a few times the workers is overload.
    pub waiting: usize,
    /// Jobs that never ended.
    pub unfinished: usize,
    pub violations: Violations,
}

/// Result of one class, of requests that arrived after the warm-up. Times in seconds, from arrival at the
/// balancer to the last byte.
#[derive(Clone, Debug, serde::Serialize)]
pub struct ClassOutcome {
    pub name: String,
    pub kind: Kind,
    pub count: u64,
    pub mean_s: f64,
    pub p50_s: f64,
    pub p99_s: f64,
    pub p999_s: f64,
    /// Latency over demand and round trip.
    pub mean_slowdown: f64,
    pub p99_slowdown: f64,
    pub turned_away: TurnedAway,
}

/// Requests that were not served: told so.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize)]
pub struct TurnedAway {
    pub count: u64,
    /// The longest that one had waited until then.
    pub longest_wait_s: f64,
    /// When the last one was turned away, since the start of the run.
    pub last_s: f64,
}

impl Outcome {
    /// The first class of that kind; `None`: the scenario has none.
    pub fn kind(&self, kind: Kind) -> Option<&ClassOutcome> {
        self.classes.iter().find(|class| class.kind == kind)
    }
}

/// Collects while a run goes on.
#[derive(Debug)]
pub(crate) struct Collector {
    warm_up: Nanos,
    round_trip: Nanos,
    latency: Vec<Histogram>,
    slowdown: Vec<Histogram>,
    turned_away: Vec<TurnedAway>,
    small: Vec<bool>,
    series: Option<Series>,
    pub(crate) events: u64,
}

impl Collector {
    pub(crate) fn new(scenario: &Scenario) -> Self {
        let classes = scenario.classes.len();
        Self {
            warm_up: nanos(scenario.duration_s * scenario.warm_up),
            round_trip: nanos(scenario.round_trip_s),
            latency: vec![Histogram::default(); classes],
            slowdown: vec![Histogram::default(); classes],
            turned_away: vec![TurnedAway::default(); classes],
            small: scenario.classes.iter().map(|class| class.kind == Kind::Small).collect(),
            series: scenario.shift_at_s.map(|at| Series::new(at, scenario.duration_s)),
            events: 0,
        }
    }

    pub(crate) fn add(&mut self, job: &Finished) {
        let latency = seconds(job.latency);
        if job.arrived >= self.warm_up {
            self.latency[job.class].add(latency);
            let least = (job.demand + self.round_trip).max(1);
            self.slowdown[job.class].add(job.latency as f64 / least as f64);
        }
        if let Some(series) = &mut self.series
            && self.small[job.class]
        {
            series.add(seconds(job.arrived), latency);
        }
    }

    pub(crate) fn turned_away(&mut self, class: usize, arrived: Nanos, now: Nanos) {
        if arrived < self.warm_up {
            return;
        }
        let away = &mut self.turned_away[class];
        away.count += 1;
        away.longest_wait_s = away.longest_wait_s.max(seconds(now - arrived));
        away.last_s = seconds(now);
    }

    pub(crate) fn outcome(self, scenario: &Scenario, totals: &Totals, violations: Violations) -> Outcome {
        let workers = (scenario.speeds.len() * scenario.workers) as f64;
        let figures = self.latency.iter().zip(&self.slowdown).zip(&self.turned_away);
        let classes = scenario.classes.iter().zip(figures);
        Outcome {
            classes: classes
                .map(|(class, ((latency, slowdown), turned_away))| ClassOutcome {
                    name: class.name.clone(),
                    kind: class.kind,
                    count: latency.count(),
                    mean_s: latency.mean(),
                    p50_s: latency.quantile(0.5),
                    p99_s: latency.quantile(0.99),
                    p999_s: latency.quantile(0.999),
                    mean_slowdown: slowdown.mean(),
                    p99_slowdown: slowdown.quantile(0.99),
                    turned_away: *turned_away,
                })
                .collect(),
            utilisation: totals.used_s / (scenario.duration_s * workers),
            hit_ratio: (totals.lookups > 0).then(|| totals.hits as f64 / totals.lookups as f64),
            adaptation: self.series.map(Series::adaptation),
            events: self.events,
            waiting: totals.waiting,
            unfinished: totals.unfinished,
            violations,
        }
    }
}
