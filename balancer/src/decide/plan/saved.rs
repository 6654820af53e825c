//! A plan to be saved and continued by the next process, instances by name.

use serde::{Deserialize, Serialize};
use sluice_proto::InstanceName;

use super::ServicePlan;
use super::dedicate::{Dedicated, Mode};
use super::lanes::LanePlan;
use crate::decide::ids::{InstanceId, Lane};

/// What of a plan the next one depends on. Counts of ticks are not kept: they begin anew.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SavedPlan {
    version: u64,
    lanes: Vec<LanePlan>,
    mode: Mode,
    since_ms: u64,
    /// In the order in which they are dedicated.
    dedicated: Vec<InstanceName>,
    /// All that got requests.
    instances: Vec<InstanceName>,
}

impl SavedPlan {
    pub fn of(plan: &ServicePlan) -> Self {
        let name = |id: &InstanceId| plan.instances.iter().find(|e| e.id == *id).map(|e| e.instance.clone());
        let routed = plan.instances.iter().filter(|entry| entry.routed);
        Self {
            version: plan.version,
            lanes: plan.lanes.clone(),
            mode: plan.dedicated.mode,
            since_ms: plan.dedicated.since_ms,
            dedicated: plan.dedicated.instances.iter().filter_map(name).collect(),
            instances: routed.map(|entry| entry.instance.clone()).collect(),
        }
    }

    /// The plan as far as its instances are there by now: `id` says which are.
    pub fn resolved(&self, id: impl Fn(&InstanceName) -> Option<InstanceId>) -> ServicePlan {
        let instances = self.dedicated.iter().filter_map(&id).collect();
        let dedicated = Dedicated { mode: self.mode, instances, since_ms: self.since_ms, change_wanted: 0 };
        ServicePlan { version: self.version, lanes: self.lanes.clone(), dedicated, ..ServicePlan::default() }
    }

    /// Whether `is_there` holds for everything that got requests.
    pub fn is_complete(&self, is_there: impl Fn(&InstanceName) -> bool) -> bool {
        self.instances.iter().all(is_there)
    }

    /// What may be believed of a plan that was read from a file: lanes that are not possible are not
    /// planned yet.
    #[must_use]
    pub fn checked(mut self) -> Self {
        let possible =
            |lane: &LanePlan| (1..=lane.high).contains(&lane.cap) && (0.0..1e9).contains(&lane.patience_s);
        if self.lanes.len() > Lane::MOST || !self.lanes.iter().all(possible) {
            self.lanes.clear();
        }
        self.lanes.iter_mut().for_each(|lane| lane.lower_wanted = 0);
        // It is shown as a number that JavaScript can hold, and it grows.
        self.version = if self.version < 1 << 52 { self.version } else { 0 };
        self
    }
}
