//! Endpoint discovery for Envoy (xDS, EDS): what the planner decides, told to somebody else's data plane.
//!
//! ```text
//!  membership, plan ─► follow ─► endpoint::tell ─► resource ─► table ──watch──► streams ─► conversation ─► Envoy
//!     each publication            roles, health,    bytes,      by service       one task   sotw, delta:
//!                                 weights           version                      each       ACK, NACK
//! ```
//!
//! Read-only, on a listener of its own. Everything that decides is a value without clock or I/O; `follow`, `streams`
//! and `server` are the edge, on the control plane's runtime.

pub mod conversation;
pub mod delta;
pub mod endpoint;
mod follow;
pub mod messages;
mod metrics;
pub mod resource;
mod rest;
mod server;
pub mod sotw;
mod streams;
pub mod table;
#[cfg(test)]
mod tests;

pub use follow::{Teller, follow};
pub use metrics::XdsMetrics;
pub use server::{XdsError, XdsServer};
pub use streams::{Shared, router};
