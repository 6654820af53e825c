//! A plan written down with what it was made from, so that it can be made again.

use serde::{Deserialize, Serialize};
use sluice_proto::ServiceName;

use crate::decide::plan::snapshot::Snapshot;
use crate::decide::plan::{PlanParams, ServicePlan, plan};

/// Grows when what is written can no longer be planned again by the same code.
pub const SCHEMA: u32 = 1;

/// One line of a log of decisions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Line {
    Head(Head),
    Decision(Box<Decision>),
}

/// What holds for all decisions until the next head.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Head {
    pub schema: u32,
    /// Of the program that decided; for people.
    pub version: String,
    /// When it started, Unix time in milliseconds: tells its numbers from those of another run.
    pub run: u64,
    pub params: PlanParams,
}

/// One plan of one service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// Unix time in milliseconds.
    pub at_ms: u64,
    pub service: ServiceName,
    /// Grows by one with each plan of the service, written down or not.
    pub number: u64,
    /// The plan before, which this one continues.
    pub previous: ServicePlan,
    pub snapshot: Snapshot,
    pub plan: ServicePlan,
}

impl Decision {
    /// What is decided from the same with these parameters, and with another plan before, if there
    /// is one.
    pub fn again(&self, previous: Option<&ServicePlan>, params: &PlanParams) -> ServicePlan {
        plan(&self.snapshot, previous.unwrap_or(&self.previous), params)
    }
}
