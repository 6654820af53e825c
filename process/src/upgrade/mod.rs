//! A running program hands its work to a new process of itself: no connection is refused and none is cut.
//!
//! ```text
//!  predecessor                                      successor
//!  SIGUSR2 ─► starts the program of its path ─────► configuration is good
//!           ◄──────────────────────────── hello ──
//!           ── offer, sockets, what it knows ─────► starts all that it has
//!           ◄──────────────────────────── ready ──  (serves beside the predecessor, by the very same sockets)
//!           ── yours ─────────────────────────────► alone responsible
//!  accepts nothing more, finishes what is there ─► ends
//! ```
//!
//! The sockets themselves pass, as `SCM_RIGHTS` over a Unix socket, and not only their addresses: each listening socket
//! has a queue of connections that the kernel has taken and nobody has accepted, and closing one resets what waits in it.
//! Until `ready` nothing has changed for the predecessor: whatever becomes of its successor, it goes on.
//!
//! What is handed over besides sockets, and what the two say to each other after `yours`, is the program's own matter.

mod launch;
mod predecessor;
mod sockets;
mod successor;
mod wire;

use std::{io, time::Duration};

use prometheus::{IntCounter, IntGauge, Registry};

pub use predecessor::Predecessor;
pub use sockets::Sockets;
pub use successor::{Heritage, Incumbent, Upgrades};
pub use wire::Wire;

use crate::metrics::{counter, gauge};

/// For each step of the other side. A start takes well under a second; reading what was learned, and a machine that is
/// busy, may take some.
const PATIENCE: Duration = Duration::from_secs(30);

/// Grows when programs of two versions could not understand each other.
const PROTOCOL: u32 = 1;

/// Why a hand-over did not come about.
#[derive(Debug, thiserror::Error)]
pub enum UpgradeError {
    #[error("the new process can not be started: {0}")]
    Start(#[source] io::Error),
    #[error("the other process can not be talked to: {0}")]
    Wire(#[source] io::Error),
    #[error("the other process says something unexpected ({0})")]
    Unexpected(String),
    #[error("the other process refuses: {0}")]
    Refused(String),
    #[error("it is not the time for it: {0}")]
    NotNow(String),
    #[error("this process is being stopped")]
    Stopping,
}

/// What an operator sees of upgrades.
#[derive(Clone, Debug)]
pub struct UpgradeMetrics {
    failed: IntCounter,
}

impl UpgradeMetrics {
    /// `generation`: this process' own.
    pub fn register(registry: &Registry, generation: u64) -> Self {
        let number: IntGauge = gauge(
            registry,
            "sluice_generation",
            "Upgrades from process to process since the first was started; 0: this is the first.",
        );
        number.set(i64::try_from(generation).unwrap_or(i64::MAX));
        let failed = counter(
            registry,
            "sluice_upgrades_failed_total",
            "Upgrades that did not come about; this process went on. Its log says why.",
        );
        Self { failed }
    }
}
