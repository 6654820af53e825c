//! What is decided about requests, and how good the predictions were.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec, Registry};
use sluice_process::metrics::{LATENCY_BUCKETS, counters, histograms};

use crate::decide::ids::Lane;
use crate::decide::predict::{Estimate, Source};

/// Predicted over measured: a factor of 2 is harmless, one of 20 puts a request into another lane.
const RATIO_BUCKETS: &[f64] =
    &[0.05, 0.1, 0.2, 0.35, 0.5, 0.7, 0.85, 1.0, 1.2, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0];

/// One service's. A series is there once it is used.
#[derive(Clone, Debug)]
pub struct DecisionMetrics {
    service: Arc<str>,
    requests: IntCounterVec,
    waits: HistogramVec,
    ratios: HistogramVec,
    lanes: [OnceLock<LaneHandles>; Lane::MOST],
    sources: [OnceLock<Histogram>; Source::ALL.len()],
}

#[derive(Clone, Debug)]
struct LaneHandles {
    requests: IntCounter,
    wait: Histogram,
}

impl DecisionMetrics {
    pub(super) fn register(registry: &Registry) -> Self {
        Self {
            service: "".into(),
            requests: counters(
                registry,
                "sluice_lane_requests_total",
                "Requests by the lane that they were put into when they came. Pages in a large lane: ask /v1/explain why.",
                &["service", "lane"],
            ),
            waits: histograms(
                registry,
                "sluice_lane_wait_seconds",
                "Time that requests of a lane waited for a worker. Rising in lane small: more instances are needed.",
                &["service", "lane"],
                LATENCY_BUCKETS,
            ),
            ratios: histograms(
                registry,
                "sluice_prediction_ratio",
                "Predicted over measured time that a request holds a worker, by what the prediction was from. Mostly beyond 0.1 to 10: give such requests a rule.",
                &["service", "source"],
                RATIO_BUCKETS,
            ),
            lanes: Default::default(),
            sources: Default::default(),
        }
    }

    pub(super) fn for_service(&self, service: Arc<str>) -> Self {
        Self { service, lanes: Default::default(), sources: Default::default(), ..self.clone() }
    }

    /// A request of `lane` got its worker after this time.
    pub fn waited(&self, lane: Lane, wait: Duration) {
        let handles = self.lanes[lane.index()].get_or_init(|| {
            let labels = [self.service.as_ref(), lane.name()];
            LaneHandles {
                requests: self.requests.with_label_values(&labels),
                wait: self.waits.with_label_values(&labels),
            }
        });
        handles.requests.inc();
        handles.wait.observe(wait.as_secs_f64());
    }

    /// A request of which this was predicted held its worker for `held`.
    pub fn held(&self, predicted: Estimate, held: Duration) {
        let histogram = self.sources[predicted.from as usize]
            .get_or_init(|| self.ratios.with_label_values(&[self.service.as_ref(), predicted.from.as_str()]));
        // The clock's step is no measure of a prediction.
        histogram.observe(predicted.mean / held.as_secs_f64().max(1e-6));
    }
}
