//! What the forwarding engine counts about connections.

use prometheus::{IntCounter, IntCounterVec, IntGauge, Registry};
use sluice_process::metrics::{counter, counters, gauge};

use crate::peer::Overdue;
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
    /// A request that came too slowly.
    SlowRequest,
    /// A response that was taken too slowly.
    SlowResponse,
    /// Idle, and another needed its place.
    MadeRoom,
}

impl Cutoff {
    pub const ALL: [Self; 10] = [
        Self::Idle,
        Self::Request,
        Self::Response,
        Self::Gone,
        Self::Stop,
        Self::Flood,
        Self::Resets,
        Self::SlowRequest,
        Self::SlowResponse,
        Self::MadeRoom,
    ];

    pub fn label(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Request => "request_timeout",
            Self::Response => "response_timeout",
            Self::Gone => "client_gone",
            Self::Stop => "stopping",
            Self::Flood => "flood",
            Self::Resets => "resets",
            Self::SlowRequest => "slow_request",
            Self::SlowResponse => "slow_response",
            Self::MadeRoom => "made_room",
        }
    }
}

/// Why accepting paused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pause {
    /// As many connections are open as may be.
    Connections,
    /// No descriptor is left, or no memory for one.
    Descriptors,
}

impl Pause {
    const ALL: [Self; 2] = [Self::Connections, Self::Descriptors];

    fn label(self) -> &'static str {
        match self {
            Self::Connections => "max_connections",
            Self::Descriptors => "descriptors",
        }
    }
}

impl From<Overdue> for Cutoff {
    fn from(overdue: Overdue) -> Self {
        match overdue {
            Overdue::Idle => Self::Idle,
            Overdue::Request => Self::Request,
            Overdue::Response => Self::Response,
            Overdue::SlowRequest => Self::SlowRequest,
            Overdue::SlowResponse => Self::SlowResponse,
        }
    }
}

/// Handles into the registry; cheap to clone.
#[derive(Clone)]
pub struct RelayMetrics {
    pub client_connections: IntCounter,
    pub client_open: IntGauge,
    pub accept_errors: IntCounter,
    accept_pauses: IntCounterVec,
    pub(crate) over_client_limit: IntCounter,
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
            accept_pauses: counters(
                registry,
                "sluice_accept_pauses_total",
                "Times that no connection was accepted for a while, by reason. max_connections: raise --max-connections if there is memory; descriptors: raise the limit of open files.",
                &["reason"],
            ),
            over_client_limit: counter(
                registry,
                "sluice_client_limit_refused_total",
                "Connections closed at once as their address had as many as --max-connections-per-client. A proxy in front: name it with --trusted-proxy.",
            ),
            cutoffs: counters(
                registry,
                "sluice_client_connections_cut_total",
                "Client connections ended by Sluice, by reason. Many of request or response: slow clients, or time-outs or rates that do not fit them. made_room: --max-connections is reached.",
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
        for pause in Pause::ALL {
            this.accept_pauses.with_label_values(&[pause.label()]);
        }
        for refusal in ProxyRefusal::ALL {
            this.proxy_refused.with_label_values(&[refusal.label()]);
        }
        this
    }

    pub(crate) fn refused(&self, refusal: ProxyRefusal) {
        self.proxy_refused.with_label_values(&[refusal.label()]).inc();
    }

    pub(crate) fn paused(&self, pause: Pause) {
        self.accept_pauses.with_label_values(&[pause.label()]).inc();
    }

    pub(crate) fn cut(&self, cutoff: Cutoff) {
        self.cutoffs.with_label_values(&[cutoff.label()]).inc();
    }
}
