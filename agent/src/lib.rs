//! The agent: beside each instance, between it and the balancers.
//!
//! ```text
//!  data ──────────────────────────────── its own threads
//!  balancer ─► relay::Server ─► handler ─► gate ─► instance
//!                                  │
//!                               measure (one window for all)        state ◄── health checks
//!                                  │                                  │
//!  control ────────────────────────┼──────────────────────────────────┼── its own thread
//!                               report: collect ─► send ─► each balancer;   drain, api
//! ```
//!
//! - [`config`]: flags, environment, file -> checked values
//! - [`data`]: the path of a request; [`gate`]: no more of them at the instance than it has workers
//! - [`measure`]: what the instance did, per class; [`report`]: telling the balancers
//! - [`health`] and [`state`]: ready, draining or down, and why; [`drain`]: leaving in order
//! - [`api`]: the admin endpoints; [`run`]: puts it all together
//!
//! The agent keeps nothing on disk: after a restart its first report registers it again.

#![forbid(unsafe_code)]

pub mod activity;
pub mod api;
pub mod config;
pub mod data;
pub mod drain;
pub mod gate;
pub mod health;
pub mod measure;
pub mod metrics;
pub mod report;
pub mod run;
pub mod shared;
pub mod state;

pub use config::{Config, Options};
pub use run::{Running, start};

/// What health checks and reports call themselves.
pub const USER_AGENT: &str = concat!("sluice-agent/", env!("CARGO_PKG_VERSION"));
