//! The balancer's answer to a report: what it means this instance to be.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::Classification;

/// The plan for the reporting instance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlanReply {
    /// [`crate::SCHEMA`].
    pub schema: u32,
    /// Grows with each change of the plan.
    pub plan: u64,
    pub role: Role,
    /// Why, in words and figures.
    pub reason: String,
    /// Whether the balancer sends requests to this instance, and if not, why.
    pub routed: bool,
    /// Workers of this instance that the balancer's requests hold now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used: Option<u32>,
    /// Workers of this instance that its requests would hold if they could: `used` and one more, or all while requests
    /// wait. `None`: a balancer that does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wanted: Option<u32>,
    /// Whether this balancer reads reports in the short form of [`crate::Lean`]. Without it, as of an older one, an agent
    /// sends them in full: also the first to each balancer, and the next after one that was not taken.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub lean: bool,
    /// How requests are classified, for a passive agent that does not have it: see
    /// [`crate::Report::classifications`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub classification: Option<Arc<Classification>>,
}

/// What an instance is for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Serves every class, small requests first.
    #[default]
    General,
    /// Dedicated: large requests go here first.
    Large,
}
