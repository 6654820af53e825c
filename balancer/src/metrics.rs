//! What the balancer counts. Every handle is resolved before the request that uses it.

mod decisions;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::{Duration, SystemTime};

use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec, Registry};
use sluice_process::metrics::{LATENCY_BUCKETS, counters, histograms};
use sluice_process::openmetrics::{ExemplarSlot, Exemplars};
use sluice_proto::ClassName;
use sluice_relay::{End, Failure};

pub use decisions::DecisionMetrics;

/// What became of a request: the `outcome` label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The instance answered, and the answer reached its end. By hundreds of the status.
    Answered(u16),
    /// The instance answered, and the answer did not reach its end.
    Broken(End),
    /// The relay answered in the instance's stead, or nobody did.
    Failed(Failure),
}

impl Outcome {
    /// The value of the label.
    pub fn label(self) -> &'static str {
        match self {
            Self::Answered(0..200) => "1xx",
            Self::Answered(200..300) => "2xx",
            Self::Answered(300..400) => "3xx",
            Self::Answered(400..500) => "4xx",
            Self::Answered(_) => "5xx",
            Self::Broken(End::CutShort) => "cut_short",
            Self::Broken(End::Stalled) => "stalled",
            Self::Broken(End::ClientGone | End::Complete) => "client_gone",
            Self::Failed(failure) => failure.label(),
        }
    }

    fn index(self) -> usize {
        match self {
            Self::Answered(status) => usize::from((status / 100).clamp(1, 5)) - 1,
            Self::Broken(End::CutShort) => 5,
            Self::Broken(End::Stalled) => 6,
            Self::Broken(End::ClientGone | End::Complete) => 7,
            Self::Failed(failure) => {
                let same = |other: &Failure| other.label() == failure.label();
                8 + Failure::ALL.iter().position(same).unwrap_or(0)
            }
        }
    }

    /// Whether the instance, or Sluice, failed the client.
    pub fn is_error(self) -> bool {
        match self {
            Self::Answered(status) => status >= 500,
            Self::Broken(end) => end != End::ClientGone,
            Self::Failed(failure) => !failure.is_clients(),
        }
    }
}

/// Requests by service, class and outcome.
#[derive(Clone, Debug)]
pub struct RequestMetrics {
    service: Arc<str>,
    labels: Arc<Mutex<Labels>>,
    decisions: Arc<DecisionMetrics>,
    requests: IntCounterVec,
    queue: HistogramVec,
    ttfb: HistogramVec,
    duration: HistogramVec,
    response_bytes: IntCounterVec,
    request_bytes: IntCounterVec,
    retries: IntCounterVec,
    exemplars: Exemplars,
}

/// Which classes have a label of their own; the rest is `other`. Of all services together.
#[derive(Debug)]
struct Labels {
    /// How many further classes get one.
    left: usize,
    /// By service and class: how many [`Label`]s there are.
    holders: HashMap<[Arc<str>; 2], usize>,
}

/// A class' hold on its label. With the last one its series go, and another class gets the label.
#[derive(Debug)]
struct Label {
    metrics: RequestMetrics,
    names: [Arc<str>; 2],
}

/// The handles of one class.
#[derive(Debug)]
pub struct ClassMetrics {
    /// `None`: it is counted as `other`.
    label: Mutex<Option<Label>>,
    /// Of its service.
    pub decisions: Arc<DecisionMetrics>,
    requests: IntCounterVec,
    labels: [Arc<str>; 2],
    outcomes: [OnceLock<IntCounter>; 8 + Failure::ALL.len()],
    queue: Histogram,
    ttfb: Histogram,
    duration: Histogram,
    response_bytes: IntCounter,
    request_bytes: IntCounter,
    /// Of `duration`.
    exemplars: ExemplarSlot,
}

const BY_CLASS: &[&str] = &["service", "class"];
const DURATION: &str = "sluice_request_duration_seconds";

impl RequestMetrics {
    /// Registers everything. `max_classes`: how many classes get a label of their own, since each
    /// costs some 60 time series.
    pub fn register(registry: &Registry, exemplars: &Exemplars, max_classes: usize) -> Self {
        Self {
            service: "".into(),
            exemplars: exemplars.clone(),
            labels: Arc::new(Mutex::new(Labels { left: max_classes, holders: HashMap::new() })),
            decisions: Arc::new(DecisionMetrics::register(registry)),
            requests: counters(
                registry,
                "sluice_requests_total",
                "Requests by outcome: 2xx to 5xx as the instance answered, otherwise what went wrong. README, 'What a client sees when something fails', has each.",
                &["service", "class", "outcome"],
            ),
            queue: histograms(
                registry,
                "sluice_queue_wait_seconds",
                "Time that requests waited for a worker. Rising: the instances have too few workers for the load.",
                BY_CLASS,
                LATENCY_BUCKETS,
            ),
            ttfb: histograms(
                registry,
                "sluice_time_to_first_byte_seconds",
                "Time from sending a request to an instance to the head of its response. Rising while sluice_queue_wait_seconds does not: the application is slower.",
                BY_CLASS,
                LATENCY_BUCKETS,
            ),
            duration: histograms(
                registry,
                DURATION,
                "Time from a request's arrival to the last byte that its instance sent, queue included. What of it is waiting: sluice_queue_wait_seconds.",
                BY_CLASS,
                LATENCY_BUCKETS,
            ),
            response_bytes: counters(
                registry,
                "sluice_response_bytes_total",
                "Body bytes from instances. More than expected: see which class.",
                BY_CLASS,
            ),
            request_bytes: counters(
                registry,
                "sluice_request_bytes_total",
                "Body bytes from clients. More than expected: see which class.",
                BY_CLASS,
            ),
            retries: counters(
                registry,
                "sluice_retries_total",
                "Attempts made again on another instance, by what failed. Steadily growing: look at that instance.",
                &["service", "reason"],
            ),
        }
    }

    /// The same metrics under a service's label.
    pub fn for_service(&self, service: &str) -> Self {
        let service: Arc<str> = service.into();
        let decisions = Arc::new(self.decisions.for_service(service.clone()));
        Self { service, decisions, ..self.clone() }
    }

    /// Resolves the handles of a class.
    pub fn class(&self, name: &ClassName) -> ClassMetrics {
        // Held to the end: a label that is given back meanwhile would take the new series with it.
        let mut labels = self.labels();
        let label = labels.take([self.service.clone(), name.as_str().into()]);
        let class = if label.is_some() { name.as_str() } else { ClassName::OTHER };
        let by_class = [self.service.as_ref(), class];
        let label = label.map(|names| Label { metrics: self.clone(), names });
        ClassMetrics {
            label: Mutex::new(label),
            decisions: self.decisions.clone(),
            requests: self.requests.clone(),
            labels: [self.service.clone(), class.into()],
            outcomes: std::array::from_fn(|_| OnceLock::new()),
            queue: self.queue.with_label_values(&by_class),
            ttfb: self.ttfb.with_label_values(&by_class),
            duration: self.duration.with_label_values(&by_class),
            response_bytes: self.response_bytes.with_label_values(&by_class),
            request_bytes: self.request_bytes.with_label_values(&by_class),
            exemplars: self.exemplar_slot(&by_class),
        }
    }

    fn exemplar_slot(&self, [service, class]: &[&str; 2]) -> ExemplarSlot {
        self.exemplars.slot(DURATION, &[("class", class), ("service", service)], LATENCY_BUCKETS)
    }

    fn labels(&self) -> MutexGuard<'_, Labels> {
        self.labels.lock().expect("no code panics while holding it")
    }

    /// Removes what [`RequestMetrics::class`] made. Series that were never used are not there.
    fn remove(&self, [service, class]: &[Arc<str>; 2]) {
        let by_class = [service.as_ref(), class.as_ref()];
        let histograms = [&self.queue, &self.ttfb, &self.duration];
        histograms.iter().for_each(|of| drop(of.remove_label_values(&by_class)));
        self.exemplar_slot(&by_class).clear();
        let counters = [&self.response_bytes, &self.request_bytes];
        counters.iter().for_each(|of| drop(of.remove_label_values(&by_class)));
        let answered = [100, 200, 300, 400, 500].map(Outcome::Answered);
        let broken = [End::CutShort, End::Stalled, End::ClientGone].map(Outcome::Broken);
        let failed = Failure::ALL.map(Outcome::Failed);
        for outcome in answered.into_iter().chain(broken).chain(failed) {
            drop(self.requests.remove_label_values(&[by_class[0], by_class[1], outcome.label()]));
        }
    }

    pub fn retried(&self, failure: Failure) {
        self.retries.with_label_values(&[self.service.as_ref(), failure.label()]).inc();
    }
}

impl Labels {
    /// The label of a class, if it has one or there is one left.
    fn take(&mut self, names: [Arc<str>; 2]) -> Option<[Arc<str>; 2]> {
        if &*names[1] == ClassName::OTHER {
            return None;
        }
        if let Some(holders) = self.holders.get_mut(&names) {
            *holders += 1;
        } else {
            self.left = self.left.checked_sub(1)?;
            self.holders.insert(names.clone(), 1);
        }
        Some(names)
    }
}

impl Drop for Label {
    fn drop(&mut self) {
        let mut labels = self.metrics.labels();
        let holders = labels.holders.get_mut(&self.names).map(|holders| {
            *holders -= 1;
            *holders
        });
        if holders == Some(0) {
            labels.holders.remove(&self.names);
            labels.left += 1;
            self.metrics.remove(&self.names);
        }
    }
}

impl ClassMetrics {
    /// Gives the label back before the handles go, as nothing is counted with them any more.
    pub fn retire(&self) {
        self.label.lock().expect("no code panics while holding it").take();
    }

    /// A request got its slot, or was turned away, after this time.
    pub fn waited(&self, wait: Duration) {
        self.queue.observe(wait.as_secs_f64());
    }

    pub fn answered_after(&self, ttfb: Duration) {
        self.ttfb.observe(ttfb.as_secs_f64());
    }

    /// A request that is over, and took that long, was part of a trace that is recorded.
    pub fn traced(&self, trace: u128, duration: Duration) {
        self.exemplars.observed(duration.as_secs_f64(), trace, SystemTime::now());
    }

    /// A request is over.
    pub fn ended(&self, outcome: Outcome, duration: Duration, request_bytes: u64, response_bytes: u64) {
        let make = || {
            let [service, class] = &self.labels;
            self.requests.with_label_values(&[service.as_ref(), class.as_ref(), outcome.label()])
        };
        self.outcomes[outcome.index()].get_or_init(make).inc();
        self.duration.observe(duration.as_secs_f64());
        self.request_bytes.inc_by(request_bytes);
        self.response_bytes.inc_by(response_bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(registry: &Registry, class: &str) -> usize {
        let families = registry.gather();
        let metrics = families.iter().flat_map(|family| family.get_metric());
        metrics.filter(|metric| metric.get_label().iter().any(|label| label.value() == class)).count()
    }

    #[test]
    fn a_class_that_goes_leaves_its_label_to_another() {
        let registry = Registry::new();
        let metrics = RequestMetrics::register(&registry, &Exemplars::default(), 1).for_service("default");
        let class = |name: &str| {
            let class = metrics.class(&ClassName::parse(name).expect("valid"));
            for outcome in
                [Outcome::Answered(204), Outcome::Failed(Failure::QueueFull(sluice_relay::RetryAfter::SOON))]
            {
                class.ended(outcome, Duration::ZERO, 1, 1);
            }
            class
        };
        // Two outcomes, three histograms, two counters of bytes.
        let first = class("GET /a");
        assert_eq!((series(&registry, "GET /a"), series(&registry, "other")), (7, 0));
        let second = class("GET /b");
        assert_eq!((series(&registry, "GET /b"), series(&registry, "other")), (0, 7));
        let again = class("GET /a");
        first.retire();
        drop(first);
        assert_eq!(series(&registry, "GET /a"), 7, "another holds it");
        drop((again, second));
        assert_eq!((series(&registry, "GET /a"), series(&registry, "other")), (0, 7));
        let _third = class("GET /c");
        assert_eq!(series(&registry, "GET /c"), 7);
    }
}
