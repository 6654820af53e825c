//! What becomes of looking for instances.

use prometheus::{IntCounterVec, IntGaugeVec, Registry};
use sluice_process::metrics::{counters, gauges};

use crate::config::Source;

/// By source, as it is written.
pub(in crate::control) struct SourceMetrics {
    answers: IntCounterVec,
    endpoints: IntGaugeVec,
}

const OUTCOMES: [&str; 2] = ["answered", "failed"];

impl SourceMetrics {
    pub(in crate::control) fn register(registry: &Registry) -> Self {
        Self {
            answers: counters(
                registry,
                "sluice_source_answers_total",
                "Look-ups of a name and changes told by Kubernetes, by outcome. failed: what was found before is kept, and the log says why.",
                &["source", "outcome"],
            ),
            endpoints: gauges(
                registry,
                "sluice_source_endpoints",
                "Endpoints that a source has: those of a name in DNS, pods of a Kubernetes service. 0: look at the name, or the service.",
                &["source"],
            ),
        }
    }

    pub(super) fn answered(&self, source: &Source) {
        self.answers.with_label_values(&[&*source.to_string(), "answered"]).inc();
    }

    pub(super) fn failed(&self, source: &Source) {
        self.answers.with_label_values(&[&*source.to_string(), "failed"]).inc();
    }

    /// It has as many endpoints from now on.
    pub(super) fn has(&self, source: &Source, endpoints: usize) {
        let count = i64::try_from(endpoints).unwrap_or(i64::MAX);
        self.endpoints.with_label_values(&[&source.to_string()]).set(count);
    }

    /// Shows a source before its first answer.
    pub(super) fn begin(&self, source: &Source) {
        let label = source.to_string();
        OUTCOMES.iter().for_each(|outcome| drop(self.answers.with_label_values(&[&*label, outcome])));
        self.endpoints.with_label_values(&[&label]);
    }

    pub(super) fn forget(&self, source: &Source) {
        let label = source.to_string();
        // What was never there needs no removal.
        OUTCOMES.iter().for_each(|outcome| drop(self.answers.remove_label_values(&[&*label, outcome])));
        drop(self.endpoints.remove_label_values(&[&label]));
    }
}
