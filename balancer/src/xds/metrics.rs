//! Who is told, and what became of it.

use prometheus::{IntCounterVec, IntGauge, IntGaugeVec, Registry};
use sluice_process::metrics::{counters, gauge, gauges};

use crate::xds::endpoint::{Serves, Told};

/// Metrics of endpoint discovery, `sluice_xds_...`.
#[derive(Clone, Debug)]
pub struct XdsMetrics {
    pub(super) streams: IntGaugeVec,
    pub(super) pushes: IntCounterVec,
    pub(super) answers: IntCounterVec,
    pub(super) nameless: IntGauge,
    endpoints: IntGaugeVec,
}

impl XdsMetrics {
    /// # Panics
    /// If called twice for one registry.
    pub fn register(registry: &Registry) -> Self {
        let metrics = Self {
            streams: gauges(
                registry,
                "sluice_xds_streams",
                "Envoys that follow the plan now, by protocol. Fewer than there are Envoys: some serve by what they were told last.",
                &["protocol"],
            ),
            pushes: counters(
                registry,
                "sluice_xds_pushes_total",
                "Responses that told an Envoy something new, by protocol.",
                &["protocol"],
            ),
            answers: counters(
                registry,
                "sluice_xds_answers_total",
                "What Envoys made of them. nack: it could not use it, goes on with what it had, and the log says why.",
                &["protocol", "answer"],
            ),
            nameless: gauge(
                registry,
                "sluice_xds_instances_left_out",
                "Instances that Envoy is not told of, as their address is a name or a path: --advertise IP:PORT helps.",
            ),
            endpoints: gauges(
                registry,
                "sluice_xds_endpoints",
                "Instances that Envoy is told of, by what they serve (sluice.role).",
                &["role"],
            ),
        };
        for protocol in ["sotw", "delta"] {
            metrics.streams.with_label_values(&[protocol]);
            metrics.pushes.with_label_values(&[protocol]);
            metrics.answers.with_label_values(&[protocol, "ack"]);
            metrics.answers.with_label_values(&[protocol, "nack"]);
        }
        metrics.tell([].into_iter());
        metrics
    }

    pub(super) fn tell<'a>(&self, all: impl Iterator<Item = &'a Told> + Clone) {
        for serves in [Serves::Mixed, Serves::Small, Serves::Large, Serves::Out] {
            let count = all.clone().filter(|told| told.serves == serves).count();
            self.endpoints
                .with_label_values(&[serves.as_str()])
                .set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }
}
