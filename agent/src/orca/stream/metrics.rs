//! What is exported about streams.

use prometheus::{IntCounter, IntGauge, Registry};
use sluice_process::metrics::{counter, counters, gauge};

use super::grpc::Refusal;

/// Far more than there are Envoys and services before one instance. Each costs a timer and some kilobytes.
const MOST: i64 = 1024;

/// Handles into the registry.
#[derive(Clone, Debug)]
pub(in crate::orca) struct StreamMetrics {
    open: IntGauge,
    told: IntCounter,
    http1: IntCounter,
    not_grpc: IntCounter,
    unimplemented: IntCounter,
    malformed: IntCounter,
    exhausted: IntCounter,
}

/// A stream that is open, until dropped.
#[derive(Debug)]
pub(super) struct OpenStream(StreamMetrics);

impl StreamMetrics {
    /// Registers everything.
    ///
    /// # Panics
    /// If called twice for one registry.
    pub(in crate::orca) fn register(registry: &Registry) -> Self {
        let refused = counters(
            registry,
            "sluice_agent_orca_streams_refused_total",
            "Requests for a stream of load reports (--orca-listen, --orca-on-listen) that got none. Unimplemented: something else was asked for; exhausted: 1024 are open.",
            &["reason"],
        );
        let refused = |reason| refused.with_label_values(&[reason]);
        Self {
            open: gauge(
                registry,
                "sluice_agent_orca_streams",
                "Streams of load reports (ORCA out of band) that peers have open.",
            ),
            told: counter(
                registry,
                "sluice_agent_orca_stream_reports_total",
                "Load reports on such streams.",
            ),
            http1: refused("http1"),
            not_grpc: refused("not-grpc"),
            unimplemented: refused("unimplemented"),
            malformed: refused("malformed"),
            exhausted: refused("exhausted"),
        }
    }

    /// `None`: as many are open as may be.
    pub(super) fn open(&self) -> Option<OpenStream> {
        self.open.inc();
        let open = OpenStream(self.clone());
        (self.open.get() <= MOST).then_some(open)
    }

    pub(super) fn refused(&self, refusal: Refusal) {
        match refusal {
            Refusal::Http1 => self.http1.inc(),
            Refusal::NotGrpc => self.not_grpc.inc(),
            Refusal::Unimplemented => self.unimplemented.inc(),
            Refusal::Malformed => self.malformed.inc(),
            Refusal::Exhausted => self.exhausted.inc(),
        }
    }
}

impl OpenStream {
    pub(super) fn told(&self) {
        self.0.told.inc();
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.0.open.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_bounded_and_their_places_come_back() {
        let metrics = StreamMetrics::register(&Registry::new());
        let mut open: Vec<_> = (0..MOST).map(|_| metrics.open().expect("a place")).collect();
        assert!(metrics.open().is_none());
        assert!(metrics.open().is_none(), "who was refused holds no place");
        open.pop();
        assert!(metrics.open().is_some());
    }
}
