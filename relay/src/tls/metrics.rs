//! What is counted about TLS.

use std::path::Path;
use std::time::Duration;

use prometheus::{IntCounter, IntCounterVec, IntGaugeVec, Registry};
use sluice_process::metrics::{counter, counters, gauges};

/// Why a handshake did not come to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandshakeFailure {
    /// It took too long.
    Timeout,
    /// The client left.
    Closed,
    /// What came is no TLS, such as plain HTTP.
    NotTls,
    /// No version, cipher or curve that both have.
    Incompatible,
    /// The client speaks neither HTTP/2 nor HTTP/1.1.
    Protocol,
    /// The client did not accept the certificate, or something else, and said so.
    Refused,
    /// The client broke the protocol's rules.
    Misbehaved,
    /// The relay stopped.
    Stopping,
}

impl HandshakeFailure {
    pub const ALL: [Self; 8] = [
        Self::Timeout,
        Self::Closed,
        Self::NotTls,
        Self::Incompatible,
        Self::Protocol,
        Self::Refused,
        Self::Misbehaved,
        Self::Stopping,
    ];

    pub fn label(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Closed => "closed",
            Self::NotTls => "not_tls",
            Self::Incompatible => "incompatible",
            Self::Protocol => "no_common_protocol",
            Self::Refused => "refused_by_client",
            Self::Misbehaved => "misbehaved",
            Self::Stopping => "stopping",
        }
    }
}

/// Handles into the registry; cheap to clone.
#[derive(Clone)]
pub struct TlsMetrics {
    pub(super) handshakes: IntCounter,
    failures: IntCounterVec,
    pub(super) reloads: IntCounterVec,
    expiry: IntGaugeVec,
}

impl TlsMetrics {
    /// Registers everything.
    ///
    /// # Panics
    /// If called twice for one registry.
    pub fn register(registry: &Registry) -> Self {
        let this = Self {
            handshakes: counter(
                registry,
                "sluice_tls_handshakes_total",
                "TLS handshakes that were completed.",
            ),
            failures: counters(
                registry,
                "sluice_tls_handshake_failures_total",
                "TLS handshakes that failed. refused_by_client growing: look at the certificate.",
                &["reason"],
            ),
            reloads: counters(
                registry,
                "sluice_tls_certificate_reloads_total",
                "Certificates that changed and were read again. failed: the old one is still used, the log says why.",
                &["outcome"],
            ),
            expiry: gauges(
                registry,
                "sluice_tls_certificate_expiry_timestamp_seconds",
                "When the certificate in use ends, in Unix time. Alert when less than two weeks are left.",
                &["certificate"],
            ),
        };
        for failure in HandshakeFailure::ALL {
            this.failures.with_label_values(&[failure.label()]);
        }
        for outcome in ["loaded", "failed"] {
            this.reloads.with_label_values(&[outcome]);
        }
        this
    }

    pub(super) fn failed(&self, failure: HandshakeFailure) {
        self.failures.with_label_values(&[failure.label()]).inc();
    }

    pub(super) fn set_expiry(&self, certificate: &Path, not_after: Duration) {
        let gauge = self.expiry.with_label_values(&[&certificate.display().to_string()]);
        gauge.set(i64::try_from(not_after.as_secs()).unwrap_or(i64::MAX));
    }
}
