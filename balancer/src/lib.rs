//! The balancer.
//!
//! ```text
//!                      config          flags, environment, file -> checked values
//!                        │
//!   data ───────────────────────────────────────────── one runtime per core
//!   request ─► handler ─► route ─► classify ─► pool::acquire ─► relay ─► observe
//!                            │        │             │  ▲
//!   decide (pure) ──────── route   classify     dispatch, pick, retry
//!                                                   │  ▲
//!   pool (shared) ── Service: slots and queue ◄─────┘  │ settings
//!                                                      │
//!   control ─────────────────────────────────────────── a runtime of its own
//!   report ─► ingest ─► membership ─► plan (each second) ─► pool; api, events, explain
//! ```
//!
//! Dependencies point down: `data` and `control` use `pool` and `decide`; `pool` uses `decide`;
//! `decide` uses `proto` alone. To add a routing rule, see [`decide::route`]; a class,
//! [`decide::classify`]; another way to choose an instance, [`decide::dispatch`].

#![forbid(unsafe_code)]

pub mod config;
pub mod control;
mod control_plane;
pub mod data;
pub mod decide;
pub mod demo;
mod ground;
pub mod listeners;
pub mod metrics;
pub mod observe;
pub mod pool;
pub mod reload;
pub mod replay;
pub mod run;
pub mod saved;
pub mod services;
pub mod succession;
pub mod top;
pub mod xds;
