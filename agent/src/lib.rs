//! The agent beside each instance: gates, measures, reports, drains.
//!
//! ```text
//!            data threads                          │ control thread
//!  request ─► data::handler ─► gate ─► instance    │  health ──► state ──► report::collect ─► report::send ─► balancers
//!                  │                               │                            ▲
//!                  └─ data::exchange ─► measure ───┼────────────────────────────┘
//!                     (end of each request)        │  api: /metrics /v1/status /v1/drain /v1/observe
//!                                                  │  drain: from SIGTERM to the last report
//! ```
//!
//! | module | what | waits for |
//! |---|---|---|
//! | [`config`] | options to checked values, each default with its reason | nothing |
//! | [`gate`], [`activity`], [`measure`], [`state`] | what both sides share; no I/O | nothing |
//! | [`compress`] | responses, on threads of its own | nothing |
//! | [`clock`] | requests that the agent makes itself, on a schedule | the gate, the instance |
//! | [`gate`], [`activity`], [`measure`], [`state`], [`release`] | what both sides share; no I/O (but one task of `release`) | nothing |
//! | [`gate`], [`activity`], [`measure`], [`figures`], [`state`] | what both sides share; no I/O | nothing |
//! | [`files`] | what responses name and the agent sends itself | the disk, on blocking threads |
//! | `data` | requests | instance, clients; never the control thread |
//! | [`follow`] | mode passive: access log, metrics page | the disk and the application, never for a request |
//! | [`orca`] | load reports, heard in fields of responses and told there or on streams; one task looks at the machine | nobody |
//! | [`discover`] | balancers that are found in DNS, and a sender for each | DNS |
//! | [`languages`] | what HAProxy and httpd are told | nobody |
//! | [`grants`] | which balancer may count on how many workers; no I/O | nothing |
//! | [`health`], [`report`], `drain`, `api` | everything else | balancers, operators; never a request |
//!
//! An agent is a value ([`start`]): a process may run many, each with its own registry, ports and threads.

#![forbid(unsafe_code)]

pub mod activity;
pub mod api;
pub mod busy_time;
pub mod clock;
pub mod compress;
pub mod config;
pub mod control;
pub mod data;
pub mod discover;
pub mod drain;
pub mod figures;
pub mod files;
pub mod follow;
pub mod gate;
pub mod grants;
pub mod health;
pub mod languages;
pub mod measure;
pub mod metrics;
pub mod orca;
pub mod release;
pub mod reload;
pub mod report;
pub mod shared;
mod start;
pub mod state;
pub mod succession;

pub use config::{Config, Options};
pub use start::{Running, run, start, start_after, start_from};

/// The name that metrics and log lines know this program by.
pub const PROGRAM: &str = "sluice-agent";

/// What balancers and instances see in `User-Agent`.
const USER_AGENT: &str = concat!("sluice-agent/", env!("CARGO_PKG_VERSION"));
