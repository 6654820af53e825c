//! What the agent exports about requests, checks and reports.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
};

use prometheus::{
    GaugeVec, Histogram, HistogramVec, IntCounter, IntCounterVec, Opts, Registry,
    core::{Collector, Desc},
    proto::MetricFamily,
};
use sluice_process::metrics::{LATENCY_BUCKETS, SIZE_BUCKETS, counters, histogram, histograms};
use sluice_proto::ClassName;
use sluice_relay::{End, Failure};

use crate::{health::CheckOutcome, measure::Observation, report::SendOutcome};

/// Classes with series of their own; the rest are `other`. Each costs 26 series, and names come from outside.
const MOST_CLASSES: usize = 100;

/// What became of a request, as a metric label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Answered whole, with a status below 500.
    Ok,
    /// Answered whole, with a status of 500 or above.
    Error,
    /// The instance broke its response off, or stopped sending.
    CutShort,
    /// The balancer, or the client behind it, went away.
    ClientGone,
    /// The instance did not answer, or not with HTTP.
    NoAnswer,
    /// The instance saw nothing of it.
    Refused,
}

impl Outcome {
    pub const ALL: [Self; 6] =
        [Self::Ok, Self::Error, Self::CutShort, Self::ClientGone, Self::NoAnswer, Self::Refused];

    /// Of a request of which only the status is known. 499 is nginx's for a client that went away.
    pub fn of_status(status: u16) -> Self {
        match status {
            499 => Self::ClientGone,
            500.. => Self::Error,
            _ => Self::Ok,
        }
    }

    /// Of a response whose head came.
    pub fn of_response(status: http::StatusCode, end: End) -> Self {
        match end {
            End::Complete if status.is_server_error() => Self::Error,
            End::Complete => Self::Ok,
            End::CutShort | End::Stalled => Self::CutShort,
            End::ClientGone => Self::ClientGone,
        }
    }

    pub fn label(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Error => "error",
            Self::CutShort => "cut_short",
            Self::ClientGone => "client_gone",
            Self::NoAnswer => "no_answer",
            Self::Refused => "refused",
        }
    }

    /// Whether the report counts it as an error: the instance's fault, not the client's.
    pub fn is_error(self) -> bool {
        match self {
            Self::Error | Self::CutShort | Self::NoAnswer => true,
            Self::Ok | Self::ClientGone | Self::Refused => false,
        }
    }
}

/// Handles into the registry; cheap to clone.
#[derive(Clone)]
pub struct AgentMetrics {
    requests: IntCounterVec,
    held: HistogramVec,
    pub ttfb: Histogram,
    pub queued: Histogram,
    pub response_bytes: Histogram,
    failures: IntCounterVec,
    checks: IntCounterVec,
    reports: IntCounterVec,
    classes: Arc<Mutex<HashSet<ClassName>>>,
}

/// One class's handles, resolved once.
#[derive(Clone)]
pub struct ClassMetrics {
    requests: [IntCounter; Outcome::ALL.len()],
    pub held: Histogram,
}

impl AgentMetrics {
    /// Registers everything.
    ///
    /// # Panics
    /// If called twice for one registry.
    pub fn register(registry: &Registry) -> Self {
        let this = Self {
            requests: counters(
                registry,
                "sluice_agent_requests_total",
                "Requests by class and by what became of them. Not ok: sluice_agent_failures_total has the reasons.",
                &["class", "outcome"],
            ),
            held: histograms(
                registry,
                "sluice_agent_held_seconds",
                "Time that a request held a worker of the instance. Rising: the application is slower, or does more per request.",
                &["class"],
                LATENCY_BUCKETS,
            ),
            ttfb: histogram(
                registry,
                "sluice_agent_first_byte_seconds",
                "Time from a request's start at the instance to the head of its response. Rising: the application is slower.",
                LATENCY_BUCKETS,
            ),
            queued: histogram(
                registry,
                "sluice_agent_queue_seconds",
                "Time that a request waited here for a worker. Growing: more workers are configured at the balancer than here, or several balancers share the instance.",
                LATENCY_BUCKETS,
            ),
            response_bytes: histogram(
                registry,
                "sluice_agent_response_bytes",
                "Body bytes of a response. Mostly above 64 KiB: blobs that a cache or X-Sendfile could serve.",
                SIZE_BUCKETS,
            ),
            failures: counters(
                registry,
                "sluice_agent_failures_total",
                "Requests that the agent answered in the instance's stead, by reason. Growing: see whether the instance runs and its log.",
                &["reason"],
            ),
            checks: counters(
                registry,
                "sluice_agent_health_checks_total",
                "Health checks of the instance by outcome. Failing: try --health-path at the instance by hand.",
                &["outcome"],
            ),
            reports: counters(
                registry,
                "sluice_agent_reports_total",
                "Reports sent, by balancer and by what became of them. Anything but accepted: see the agent's log.",
                &["balancer", "outcome"],
            ),
            classes: Arc::default(),
        };
        Failure::ALL.iter().for_each(|failure| drop(this.failures.with_label_values(&[failure.label()])));
        CheckOutcome::LABELS.iter().for_each(|label| drop(this.checks.with_label_values(&[*label])));
        this
    }

    /// The class's own handles while there is room, else those of `other`.
    pub fn class(&self, name: &ClassName) -> ClassMetrics {
        let mut classes = self.classes.lock().unwrap_or_else(PoisonError::into_inner);
        let own = classes.contains(name) || (classes.len() < MOST_CLASSES && classes.insert(name.clone()));
        let label = if own { name.as_str() } else { ClassName::OTHER };
        ClassMetrics {
            requests: Outcome::ALL.map(|outcome| self.requests.with_label_values(&[label, outcome.label()])),
            held: self.held.with_label_values(&[label]),
        }
    }

    /// Counts a request that somebody else tells of.
    pub fn observed(&self, class: &ClassMetrics, outcome: Outcome, told: &Observation<'_>) {
        class.ended(outcome);
        told.held.into_iter().for_each(|held| class.held.observe(held.as_secs_f64()));
        told.ttfb.into_iter().for_each(|ttfb| self.ttfb.observe(ttfb.as_secs_f64()));
        told.bytes.into_iter().for_each(|bytes| self.response_bytes.observe(bytes as f64));
    }

    pub fn failed(&self, failure: Failure) {
        self.failures.with_label_values(&[failure.label()]).inc();
    }

    pub fn checked(&self, outcome: &CheckOutcome) {
        self.checks.with_label_values(&[outcome.label()]).inc();
    }

    /// A balancer's counters, one per outcome, in the order of [`SendOutcome::ALL`].
    pub fn reports_to(&self, balancer: &str) -> [IntCounter; SendOutcome::ALL.len()] {
        SendOutcome::ALL.map(|outcome| self.reports.with_label_values(&[balancer, outcome.label()]))
    }

    /// One that is gone for good.
    pub fn forget_balancer(&self, balancer: &str) {
        for outcome in SendOutcome::ALL {
            // Fails only if there was none.
            let _removed = self.reports.remove_label_values(&[balancer, outcome.label()]);
        }
    }
}

impl ClassMetrics {
    pub fn ended(&self, outcome: Outcome) {
        self.ended_n(outcome, 1);
    }

    /// Counts requests that are told of in sum.
    pub fn told(&self, requests: u64, errors: u64) {
        self.ended_n(Outcome::Error, errors);
        self.ended_n(Outcome::Ok, requests.saturating_sub(errors));
    }

    fn ended_n(&self, outcome: Outcome, n: u64) {
        self.requests[outcome as usize].inc_by(n);
    }
}

/// Gauges whose values are kept elsewhere and read when somebody asks, so that there is one truth.
pub struct ReadAtScrape<F> {
    gauges: GaugeVec,
    read: F,
}

impl<F: Fn(&GaugeVec) + Send + Sync + 'static> ReadAtScrape<F> {
    /// Registers the gauges `name`; `read` sets them.
    ///
    /// # Panics
    /// If the name is taken: registering takes place once, at start.
    pub fn register(registry: &Registry, name: &str, help: &str, labels: &[&str], read: F) {
        let gauges = GaugeVec::new(Opts::new(name, help), labels).expect("a valid name, labels and a help");
        let registered = registry.register(Box::new(Self { gauges, read }));
        registered.expect("each name is registered once, at start");
    }
}

impl<F: Fn(&GaugeVec) + Send + Sync> Collector for ReadAtScrape<F> {
    fn desc(&self) -> Vec<&Desc> {
        self.gauges.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        (self.read)(&self.gauges);
        self.gauges.collect()
    }
}

#[cfg(test)]
mod tests {
    use prometheus::TextEncoder;

    use super::*;

    fn text(registry: &Registry) -> String {
        TextEncoder::new().encode_to_string(&registry.gather()).expect("metrics are valid")
    }

    #[test]
    fn labels_of_classes_are_bounded() {
        let registry = Registry::new();
        let metrics = AgentMetrics::register(&registry);
        for i in 0..MOST_CLASSES + 50 {
            let name = ClassName::parse(&format!("GET /{i}")).expect("a valid name");
            metrics.class(&name).ended(Outcome::Ok);
            metrics.class(&name).ended(Outcome::NoAnswer);
        }
        let text = text(&registry);
        assert!(text.contains(r#"sluice_agent_requests_total{class="GET /99",outcome="ok"} 1"#), "{text}");
        assert!(
            text.contains(r#"sluice_agent_requests_total{class="other",outcome="no_answer"} 50"#),
            "{text}"
        );
        assert!(!text.contains("GET /100"), "{text}");
    }

    #[test]
    fn outcomes_are_in_the_order_of_their_counters() {
        for (index, outcome) in Outcome::ALL.into_iter().enumerate() {
            assert_eq!(outcome as usize, index);
        }
    }
}
