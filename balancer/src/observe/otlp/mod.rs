//! Spans for a trace collector: OTLP over HTTP, in JSON.
//!
//! An exporter of our own and not the opentelemetry crates: those bring thirty crates, protobuf and threads of their
//! own for what is, here, one fixed shape of span. JSON is a form that every OTLP receiver must take.

mod export;
mod span;
#[cfg(test)]
mod tests;

use prometheus::{IntCounter, IntCounterVec, Registry};
use sluice_process::metrics::{counter, counters};
use sluice_process::{RunError, Watch};
use sluice_relay::trace::TraceParent;
use tokio::sync::mpsc;

pub use export::Exporter;

use crate::observe::Finished;
use span::Span;

/// Where spans go, and which.
#[derive(Clone, Debug, PartialEq)]
pub struct OtlpSpec {
    /// Such as `http://127.0.0.1:4318`.
    pub endpoint: String,
    /// Share of the traces that begin here that are recorded. Those that come with a decision keep it.
    pub sample: f64,
}

/// Requests whose spans wait for the collector; further ones are lost, and counted.
const WAITING: usize = 2048;

/// The way to the exporter.
pub(super) struct Spans {
    sample: f64,
    to_exporter: mpsc::Sender<Vec<Span>>,
    metrics: Metrics,
}

/// A request that is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recording {
    /// The trace, and this request's own span.
    pub context: TraceParent,
    /// The span that asked for it, if somebody did.
    pub parent: Option<u64>,
}

#[derive(Clone)]
struct Metrics {
    exported: IntCounter,
    dropped: IntCounterVec,
}

impl Metrics {
    fn register(registry: &Registry) -> Self {
        let exported = counter(
            registry,
            "sluice_spans_exported_total",
            "Spans that the collector at --otlp-endpoint took.",
        );
        let dropped = counters(
            registry,
            "sluice_spans_dropped_total",
            "Spans that the collector did not get. queue_full: it is too slow, try a smaller --otlp-sample. failed, rejected: the log says why.",
            &["reason"],
        );
        for reason in ["queue_full", "failed", "rejected"] {
            dropped.with_label_values(&[reason]);
        }
        Self { exported, dropped }
    }

    fn drop_spans(&self, reason: &str, n: usize) {
        self.dropped.with_label_values(&[reason]).inc_by(n as u64);
    }
}

/// Both ends. The exporter is to be [run](Exporter::run) until `stop` says so.
///
/// # Errors
/// If there can be no HTTP client.
pub(super) fn open(spec: &OtlpSpec, registry: &Registry, stop: Watch) -> Result<(Spans, Exporter), RunError> {
    let metrics = Metrics::register(registry);
    let (to_exporter, spans) = mpsc::channel(WAITING);
    let exporter = Exporter::new(&spec.endpoint, spans, metrics.clone(), stop)?;
    Ok((Spans { sample: spec.sample, to_exporter, metrics }, exporter))
}

impl Spans {
    /// Whether a request is recorded: as whoever asked for it said, or by chance if nobody did.
    pub(super) fn begin(
        &self,
        context: TraceParent,
        asked_by: Option<TraceParent>,
        rng: &mut fastrand::Rng,
    ) -> Option<Recording> {
        let wanted = asked_by.map_or_else(|| rng.f64() < self.sample, TraceParent::is_sampled);
        let context = context.sampled().with_span(rng.u64(1..));
        wanted.then(|| Recording { context, parent: asked_by.map(|parent| parent.span) })
    }

    /// Never waits: spans that find no place are lost, and counted.
    pub(super) fn tell(&self, recording: Recording, finished: &Finished<'_>) {
        let spans = span::spans(recording, finished);
        let count = spans.len();
        if self.to_exporter.try_send(spans).is_err() {
            self.metrics.drop_spans("queue_full", count);
        }
    }
}
