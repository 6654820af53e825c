//! What agents and balancers say to each other, and the values both reason with.
//!
//! ```text
//!  agent ── Report (JSON, on a timer) ──► balancer
//!  agent ◄─ PlanReply (in the answer) ─── balancer
//!  balancer ── request + headers::CLASS ─► agent      both speak of the same class
//!  balancer ◄─ response + headers::REFUSED ─ agent    "not executed: try elsewhere"
//! ```
//!
//! Types, their validation and their arithmetic only: no runtime, no clock, no I/O, no global state.

#![forbid(unsafe_code)]

mod application;
pub mod class;
pub mod classify;
pub mod headers;
pub mod heavy;
pub mod host;
mod kind;
mod lean;
pub mod learn;
pub mod measured;
pub mod names;
pub mod plan;
pub mod release;
pub mod report;
pub mod rules;
mod segment;
pub mod sketch;
pub mod sparse;
pub mod sums;
mod template;
mod templates;
mod text;

pub use application::ApplicationLoad;
pub use class::ClassName;
pub use classify::{Classification, Classifier};
pub use heavy::{Heavy, HeavyHitters};
pub use host::HostPattern;
pub use kind::Kind;
pub use lean::Lean;
pub use measured::{Measured, Quality, Source};
pub use names::{BootId, InstanceName, NameError, ServiceName, Target};
pub use plan::{PlanReply, Role};
pub use release::{ClassRelease, ReleaseEvidence};
pub use report::{
    ClassReport, HeavyUrl, Mode, Now, Release, ReleaseFound, ReleasePoint, Report, ReportError, State,
};
pub use rules::{HeaderSpec, RuleError, RuleSpec, Rules};
pub use sketch::Sketch;
pub use sparse::SparseSketch;
pub use sums::ClassSums;
pub use templates::Templates;

/// Version of the report and of its reply. A reader refuses any other.
pub const SCHEMA: u32 = 1;
