//! What a run came to: a table for people, JSON for programs.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::outcome::{Failure, Outcome};
use super::workload::Workload;

/// Longest latency told apart, in microseconds: an hour.
const MAX_US: u64 = 3_600_000_000;

/// One run, summed up.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    pub workload: String,
    pub target: SocketAddr,
    pub seed: u64,
    /// From the first arrival possible to the last answer, in seconds.
    pub elapsed_s: f64,
    /// How late the generator itself was to start requests, 99th percentile in milliseconds. It is
    /// part of every latency. Near 1 is the timer; far above, the machine was too busy to measure.
    pub lag_p99_ms: f64,
    pub classes: Vec<ClassSummary>,
    /// Each request that was sent, in the order of their ends; empty unless asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub requests: Vec<RequestRecord>,
}

/// One request of a run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct RequestRecord {
    /// Index into the classes.
    pub class: usize,
    /// Scheduled arrival, in milliseconds into the run.
    pub at_ms: f64,
    /// From there to the last byte or to the failure, in milliseconds.
    pub total_ms: f64,
    pub failed: Option<Failure>,
}

/// One class of a run.
#[derive(Clone, Debug, Serialize)]
pub struct ClassSummary {
    pub name: String,
    /// Requests sent: `ok` and all of `failed`.
    pub sent: u64,
    /// Arrivals that found the limit of requests in flight reached.
    pub not_sent: u64,
    /// Complete responses with status below 400.
    pub ok: u64,
    /// Everything else, by reason.
    pub failed: BTreeMap<Failure, u64>,
    /// Body bytes received, of failed requests too.
    pub bytes: u64,
    /// To the response head, of `ok` requests. `None`: there were none.
    pub ttfb: Option<Latencies>,
    /// To the last byte, of `ok` requests.
    pub total: Option<Latencies>,
}

/// Latencies from the scheduled arrival, in milliseconds, within 0.1 %.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Latencies {
    pub mean_ms: f64,
    pub p50_ms: f64,
    pub p90_ms: f64,
    pub p99_ms: f64,
    pub p999_ms: f64,
    pub max_ms: f64,
}

impl Summary {
    /// Every request got a complete response with status below 500, and none was left unsent.
    pub fn all_answered(&self) -> bool {
        self.classes
            .iter()
            .all(|class| class.not_sent == 0 && class.failed.keys().all(|failure| failure.is_clients()))
    }

    /// The class of that name.
    pub fn class(&self, name: &str) -> Option<&ClassSummary> {
        self.classes.iter().find(|class| class.name == name)
    }
}

impl ClassSummary {
    /// Requests sent that do not count as `ok`.
    pub fn failures(&self) -> u64 {
        self.failed.values().sum()
    }
}

/// Collects outcomes while the run is on.
pub(super) struct Tally {
    lag: Histogram<u64>,
    classes: Vec<ClassTally>,
    /// `None`: they are not kept.
    requests: Option<Vec<RequestRecord>>,
}

struct ClassTally {
    not_sent: u64,
    failed: BTreeMap<Failure, u64>,
    bytes: u64,
    ttfb: Histogram<u64>,
    total: Histogram<u64>,
}

impl Tally {
    pub(super) fn new(workload: &Workload, keep_requests: bool) -> Self {
        let classes = workload.classes.iter().map(|_| ClassTally::new()).collect();
        Self { lag: histogram(), classes, requests: keep_requests.then(Vec::new) }
    }

    pub(super) fn lag(&mut self, late: Duration) {
        add(&mut self.lag, late);
    }

    pub(super) fn not_sent(&mut self, class: usize) {
        self.classes[class].not_sent += 1;
    }

    pub(super) fn record(&mut self, outcome: Outcome) {
        if let Some(requests) = &mut self.requests {
            requests.push(RequestRecord::of(&outcome));
        }
        let class = &mut self.classes[outcome.class];
        class.bytes += outcome.bytes;
        match outcome.result {
            Ok(()) => {
                add(&mut class.total, outcome.total);
                add(&mut class.ttfb, outcome.ttfb.unwrap_or(outcome.total));
            }
            Err(failure) => *class.failed.entry(failure).or_default() += 1,
        }
    }

    pub(super) fn summary(self, target: SocketAddr, workload: &Workload, elapsed: Duration) -> Summary {
        let classes = workload.classes.iter().zip(self.classes);
        Summary {
            workload: workload.name.clone(),
            target,
            seed: workload.seed,
            elapsed_s: elapsed.as_secs_f64(),
            lag_p99_ms: self.lag.value_at_quantile(0.99) as f64 / 1e3,
            classes: classes.map(|(load, tally)| tally.summary(&load.name)).collect(),
            requests: self.requests.unwrap_or_default(),
        }
    }
}

impl RequestRecord {
    fn of(outcome: &Outcome) -> Self {
        let millis = |time: Duration| time.as_micros() as f64 / 1e3;
        Self {
            class: outcome.class,
            at_ms: millis(outcome.at),
            total_ms: millis(outcome.total),
            failed: outcome.result.err(),
        }
    }
}

impl ClassTally {
    fn new() -> Self {
        let (ttfb, total) = (histogram(), histogram());
        Self { not_sent: 0, failed: BTreeMap::new(), bytes: 0, ttfb, total }
    }

    fn summary(self, name: &str) -> ClassSummary {
        let ok = self.total.len();
        ClassSummary {
            name: name.to_owned(),
            sent: ok + self.failed.values().sum::<u64>(),
            not_sent: self.not_sent,
            ok,
            failed: self.failed,
            bytes: self.bytes,
            ttfb: Latencies::of(&self.ttfb),
            total: Latencies::of(&self.total),
        }
    }
}

impl Latencies {
    fn of(us: &Histogram<u64>) -> Option<Self> {
        let at = |quantile| us.value_at_quantile(quantile) as f64 / 1e3;
        (!us.is_empty()).then(|| Self {
            mean_ms: us.mean() / 1e3,
            p50_ms: at(0.5),
            p90_ms: at(0.9),
            p99_ms: at(0.99),
            p999_ms: at(0.999),
            max_ms: us.max() as f64 / 1e3,
        })
    }
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, MAX_US, 3).expect("1 < 2 * MAX_US, and 3 digits are allowed")
}

fn add(us: &mut Histogram<u64>, time: Duration) {
    us.saturating_record(u64::try_from(time.as_micros()).unwrap_or(MAX_US).clamp(1, MAX_US));
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} to {}, seed {}, {:.1} s; generator late by {:.1} ms (p99)",
            self.workload, self.target, self.seed, self.elapsed_s, self.lag_p99_ms
        )?;
        writeln!(
            f,
            "{:<14}{:>8}{:>8}{:>8} |{:>9}{:>9} |{:>9}{:>9}{:>9}{:>9}{:>9} | failed by reason",
            "class", "sent", "ok", "failed", "ttfb p50", "p99", "p50", "p90", "p99", "p99.9", "max"
        )?;
        self.classes.iter().try_for_each(|class| class.row(f))
    }
}

impl ClassSummary {
    fn row(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, sent, ok, .. } = self;
        write!(f, "{name:<14}{sent:>8}{ok:>8}{:>8} |", self.failures())?;
        let ttfb = self.ttfb.map(|t| [t.p50_ms, t.p99_ms]);
        cells(f, ttfb)?;
        f.write_str(" |")?;
        cells(f, self.total.map(|t| [t.p50_ms, t.p90_ms, t.p99_ms, t.p999_ms, t.max_ms]))?;
        f.write_str(" |")?;
        for (failure, count) in &self.failed {
            write!(f, " {failure}: {count}")?;
        }
        if self.not_sent > 0 {
            write!(f, " not sent: {}", self.not_sent)?;
        }
        writeln!(f)
    }
}

/// Milliseconds in columns of 9, or dashes.
fn cells<const N: usize>(f: &mut fmt::Formatter<'_>, ms: Option<[f64; N]>) -> fmt::Result {
    match ms {
        Some(ms) => ms.iter().try_for_each(|ms| write!(f, "{ms:>9.1}")),
        None => (0..N).try_for_each(|_| write!(f, "{:>9}", "-")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::ClassLoad;

    fn summary(results: &[Result<(), Failure>], not_sent: u64) -> Summary {
        let duration = Duration::from_secs(1);
        let classes = vec![ClassLoad::new("page", 1.0)];
        let workload = Workload { name: "test".into(), seed: 1, duration, classes };
        let mut tally = Tally::new(&workload, true);
        for (ms, result) in (1..).zip(results) {
            let total = Duration::from_millis(ms);
            let ttfb = Some(total / 2);
            tally.record(Outcome { class: 0, at: total, ttfb, total, bytes: 10, result: *result });
        }
        (0..not_sent).for_each(|_| tally.not_sent(0));
        tally.summary(SocketAddr::from(([127, 0, 0, 1], 80)), &workload, duration)
    }

    #[test]
    fn all_answered_allows_the_clients_faults_only() {
        let cases = [
            (Ok(()), 0, true),
            (Err(Failure::Status(404)), 0, true),
            (Err(Failure::Status(499)), 0, true),
            (Err(Failure::Status(500)), 0, false),
            (Err(Failure::Connect), 0, false),
            (Err(Failure::Reset), 0, false),
            (Err(Failure::CutShort), 0, false),
            (Err(Failure::BadResponse), 0, false),
            (Err(Failure::Timeout), 0, false),
            (Ok(()), 1, false),
        ];
        for (result, not_sent, expected) in cases {
            let all = summary(&[Ok(()), result], not_sent).all_answered();
            assert_eq!(all, expected, "{result:?}, {not_sent} not sent");
        }
    }

    #[test]
    fn quantiles_are_of_answered_requests_and_failures_are_by_reason() {
        let mut results = vec![Ok(()); 1000]; // 1 to 1000 ms
        results.extend([Err(Failure::Status(503)), Err(Failure::Status(503)), Err(Failure::Timeout)]);
        let summary = summary(&results, 2);
        let class = summary.class("page").expect("the only class");
        assert_eq!((class.sent, class.ok, class.failures(), class.not_sent), (1003, 1000, 3, 2));
        let total = class.total.expect("1000 answers");
        let cases = [(total.p50_ms, 500.0), (total.p99_ms, 990.0), (total.max_ms, 1000.0)];
        for (got, exact) in cases {
            assert!((got / exact - 1.0).abs() < 0.002, "{got} for {exact}");
        }
        let json = serde_json::to_value(&summary).expect("plain data");
        assert_eq!(json["classes"][0]["failed"], serde_json::json!({"503": 2, "timeout": 1}));
        let kept = |i: usize| json["requests"][i].clone();
        let whole = serde_json::json!({"class": 0, "at_ms": 2.0, "total_ms": 2.0, "failed": null});
        assert_eq!((kept(1), &kept(1002)["failed"]), (whole, &serde_json::json!("timeout")));
        let table = summary.to_string();
        assert!(table.contains("503: 2 timeout: 1 not sent: 2"), "{table}");
    }
}
