//! What the forwarding engine counts about connections.

use prometheus::{IntCounter, IntCounterVec, IntGauge, Registry};
use sluice_process::metrics::{counter, counters, gauge};

use crate::proxy_protocol::ProxyRefusal;

/// Why a client's connection was ended by the relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cutoff {
    /// Idle for too long.
    Idle,
    /// A request that did not arrive.
    Request,
    /// A response that was not taken.
    Response,
    /// The client left while a request was under way.
    Gone,
    /// The relay stopped.
    Stop,
    /// Frames that serve no request.
    Flood,
    /// Requests made to be taken back.
    Resets,
}

impl Cutoff {
    pub const ALL: [Self; 7] =
        [Self::Idle, Self::Request, Self::Response, Self::Gone, Self::Stop, Self::Flood, Self::Resets];

    pub fn label(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Request => "request_timeout",
            Self::Response => "response_timeout",
            Self::Gone => "client_gone",
            Self::Stop => "stopping",
            Self::Flood => "flood",
            Self::Resets => "resets",
        }
    }
}

/// Handles into the registry; cheap to clone.
#[derive(Clone)]
pub struct RelayMetrics {
    pub client_connections: IntCounter,
    pub client_open: IntGauge,
    pub accept_errors: IntCounter,
    pub(crate) cutoffs: IntCounterVec,
    pub(crate) http2_connections: IntCounter,
    pub(crate) http2_stalled: IntCounter,
    proxy_refused: IntCounterVec,
    pub upstream_connections: IntCounter,
    pub upstream_open: IntGauge,
    pub upstream_reuses: IntCounter,
    pub tunnels_open: IntGauge,
    pub spliced_bytes: IntCounter,
}

impl RelayMetrics {
    /// Registers everything.
    ///
    /// # Panics
    /// If called twice for one registry.
    pub fn register(registry: &Registry) -> Self {
        let this = Self {
            client_connections: counter(
                registry,
                "sluice_client_connections_total",
                "Connections accepted from clients. As many as requests: the clients, or the proxy in front, do not keep them.",
            ),
            client_open: gauge(
                registry,
                "sluice_client_connections_open",
                "Client connections open now. Near the file limit: raise it, or shorten the keep-alive.",
            ),
            accept_errors: counter(
                registry,
                "sluice_accept_errors_total",
                "Connections that could not be accepted. Growing: file descriptors ran out.",
            ),
            cutoffs: counters(
                registry,
                "sluice_client_connections_cut_total",
                "Client connections ended by Sluice, by reason. Many of request or response: slow clients, or time-outs that are too short for them.",
                &["reason"],
            ),
            http2_connections: counter(
                registry,
                "sluice_http2_connections_total",
                "Connections on which clients spoke HTTP/2.",
            ),
            http2_stalled: counter(
                registry,
                "sluice_http2_streams_stalled_total",
                "Responses that were given up as their client took too little of them, on connections that went on.",
            ),
            proxy_refused: counters(
                registry,
                "sluice_proxy_refused_total",
                "Connections closed for want of a PROXY header. no_header: somebody comes past the proxy in front.",
                &["reason"],
            ),
            upstream_connections: counter(
                registry,
                "sluice_upstream_connections_total",
                "Connections made to instances. As many as requests: the instances do not keep them.",
            ),
            upstream_open: gauge(
                registry,
                "sluice_upstream_connections_open",
                "Connections to instances open now. More than sluice_slots for long: idle ones, see --instance-keep-alive.",
            ),
            upstream_reuses: counter(
                registry,
                "sluice_upstream_reuses_total",
                "Requests sent over a kept connection to an instance. Few against sluice_upstream_connections_total: see there.",
            ),
            tunnels_open: gauge(
                registry,
                "sluice_tunnels_open",
                "Upgraded connections (WebSocket) open now. Each holds what its instance counts as a worker: see --tunnel-timeout.",
            ),
            spliced_bytes: counter(
                registry,
                "sluice_spliced_bytes_total",
                "Body bytes of responses that the kernel passed on without a copy. 0 beside large responses: they are chunked, or clients use TLS.",
            ),
        };
        for cutoff in Cutoff::ALL {
            this.cutoffs.with_label_values(&[cutoff.label()]);
        }
        for refusal in ProxyRefusal::ALL {
            this.proxy_refused.with_label_values(&[refusal.label()]);
        }
        this
    }

    pub(crate) fn refused(&self, refusal: ProxyRefusal) {
        self.proxy_refused.with_label_values(&[refusal.label()]).inc();
    }

    pub(crate) fn cut(&self, cutoff: Cutoff) {
        self.cutoffs.with_label_values(&[cutoff.label()]).inc();
    }
}
