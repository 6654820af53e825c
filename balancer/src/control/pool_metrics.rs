//! Gauges that are read off the pool when Prometheus asks, and the control plane's counters.

use std::sync::{Arc, Mutex, Weak};

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{GaugeVec, IntCounter, IntCounterVec, IntGaugeVec, Opts, Registry};
use sluice_process::metrics::{counter, counters};

use crate::control::ControlState;
use crate::decide::membership::Routing;
use crate::pool::now;

/// What can become of a report, see `ingest`.
const REPORT_OUTCOMES: [&str; 12] = [
    "accepted",
    "malformed",
    "invalid_field",
    "unknown_service",
    "old_sequence",
    "earlier_boot",
    "other_sender",
    "other_instance",
    "too_many",
    "busy",
    "unauthorized",
    "too_large",
];

/// Counters of the control plane.
#[derive(Clone)]
pub struct ControlMetrics {
    pub reports: IntCounterVec,
    /// Of these, the accepted ones.
    pub reports_accepted: IntCounter,
    pub plan_changes: IntCounter,
    pub classes_retired: IntCounter,
    pub decision_failures: IntCounter,
    pub state_failures: IntCounter,
}

impl ControlMetrics {
    pub(super) fn register(registry: &Registry) -> Self {
        let reports = counters(
            registry,
            "sluice_reports_total",
            "Reports from agents by what became of them. Anything but accepted: see the agent's log. other_sender, other_instance: two agents have one name or address, or somebody forges reports.",
            &["outcome"],
        );
        for outcome in REPORT_OUTCOMES {
            reports.with_label_values(&[outcome]);
        }
        let plan_changes = counter(
            registry,
            "sluice_plan_changes_total",
            "Plans that differed from the one before. Several a minute for long: GET /v1/events says what changes.",
        );
        let classes_retired = counter(
            registry,
            "sluice_classes_retired_total",
            "Classes that were merged into another or forgotten. Steadily growing by the hundred: see --max-classes.",
        );
        let decision_failures = counter(
            registry,
            "sluice_decision_log_failures_total",
            "Decisions that are not in --decision-log, as they could not be written. The log says why.",
        );
        let state_failures = counter(
            registry,
            "sluice_state_save_failures_total",
            "Files in --state-dir that could not be written. The log says why.",
        );
        Self {
            reports_accepted: reports.with_label_values(&["accepted"]),
            reports,
            plan_changes,
            classes_retired,
            decision_failures,
            state_failures,
        }
    }
}

/// Reads the pool at scrape time: no request pays for keeping a gauge current.
pub struct PoolCollector {
    state: Weak<ControlState>,
    gauges: Gauges,
    /// One scrape at a time: the vectors are filled anew by each.
    scraping: Mutex<()>,
}

struct Gauges {
    slots: IntGaugeVec,
    workers: IntGaugeVec,
    up: IntGaugeVec,
    age: GaugeVec,
    queued: IntGaugeVec,
}

/// Not `instance`: that is what Prometheus calls the target that it scrapes.
const BY_INSTANCE: &[&str] = &["service", "instance_name"];

impl PoolCollector {
    /// Registers a collector for `state`.
    ///
    /// # Panics
    /// If called twice for one registry.
    pub fn register(registry: &Registry, state: &Arc<ControlState>) {
        let collector =
            Self { state: Arc::downgrade(state), gauges: Gauges::new(), scraping: Mutex::default() };
        registry.register(Box::new(collector)).expect("one collector per registry");
    }
}

impl Gauges {
    fn new() -> Self {
        let ints = |name: &str, help: &str, labels: &[&str]| {
            IntGaugeVec::new(Opts::new(name, help), labels).expect("valid names")
        };
        Self {
            slots: ints(
                "sluice_slots",
                "Requests of this balancer at an instance: working (they hold a worker) or streaming. All workers working: look at sluice_queue_length.",
                &["service", "instance_name", "stage"],
            ),
            workers: ints(
                "sluice_workers",
                "Workers of an instance, by its agent's or the configuration's word. Not what the server has: give its agent --workers.",
                BY_INSTANCE,
            ),
            up: ints(
                "sluice_instance_up",
                "1 if the instance gets requests. 0: GET /v1/instances says why.",
                BY_INSTANCE,
            ),
            age: GaugeVec::new(
                Opts::new(
                    "sluice_report_age_seconds",
                    "Age of an agent's last report. Above 3 intervals: look at the agent and the network.",
                ),
                BY_INSTANCE,
            )
            .expect("valid names"),
            queued: ints(
                "sluice_queue_length",
                "Requests waiting for a worker. Staying above 0: more instances are needed.",
                &["service"],
            ),
        }
    }

    fn ints(&self) -> [&IntGaugeVec; 4] {
        [&self.slots, &self.workers, &self.up, &self.queued]
    }

    fn fill(&self, state: &ControlState) {
        self.slots.reset();
        self.workers.reset();
        self.up.reset();
        self.age.reset();
        self.queued.reset();
        for service in state.directory().iter() {
            self.queued.with_label_values(&[service.name.as_str()]).set(as_i64(service.queued() as u64));
        }
        let now = now();
        for (key, member) in state.members() {
            let labels = [key.0.as_str(), key.1.as_str()];
            let occupancy = state.directory().get(&key.0).and_then(|service| service.occupancy(member.id));
            let up = member.routing() == Routing::Routed
                && occupancy.is_some_and(|o| o.breaker.is_closed() && o.ejection.is_none() && !o.withheld);
            self.up.with_label_values(&labels).set(i64::from(up));
            self.workers.with_label_values(&labels).set(member.workers.into());
            if let Some(agent) = &member.agent {
                let age = now.saturating_duration_since(agent.received);
                self.age.with_label_values(&labels).set(age.as_secs_f64());
            }
            let Some(load) = occupancy.map(|o| o.load) else { continue };
            for (stage, n) in [("working", load.working), ("streaming", load.streaming)] {
                self.slots.with_label_values(&[labels[0], labels[1], stage]).set(n.into());
            }
        }
    }
}

fn as_i64(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

impl Collector for PoolCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.gauges.ints().into_iter().flat_map(Collector::desc).chain(self.gauges.age.desc()).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let Some(state) = self.state.upgrade() else { return Vec::new() };
        let _one_at_a_time = self.scraping.lock().expect("no code panics while holding it");
        self.gauges.fill(&state);
        self.gauges.ints().into_iter().flat_map(Collector::collect).chain(self.gauges.age.collect()).collect()
    }
}
