//! The plans of all services as one value, as the API shows it and as events tell of it.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use sluice_proto::{InstanceName, ServiceName};

use crate::decide::plan::dedicate::Mode;
use crate::decide::plan::homes::HomeMove;
use crate::decide::plan::lanes::LanePlan;
use crate::decide::plan::{PlanEntry, ServicePlan};

/// What every instance is for, and what every lane may take.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Grows with each change of what is decided.
    pub version: u64,
    /// By service and name.
    pub entries: Vec<Entry>,
    /// By name.
    pub services: Vec<ServiceView>,
}

/// The plan for one instance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    pub service: ServiceName,
    #[serde(flatten)]
    pub entry: PlanEntry,
}

/// The plan for one service's lanes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServiceView {
    pub service: ServiceName,
    pub version: u64,
    /// How small and large requests share instances, and since when (Unix time).
    pub mode: Mode,
    pub since_ms: u64,
    /// The shortest requests first.
    pub lanes: Vec<LanePlan>,
    /// Homes of classes that the last plan changed.
    pub moves: Vec<HomeMove>,
}

impl Plan {
    /// Of the services' plans, in the order of their names.
    pub fn of(services: Vec<(ServiceName, ServicePlan)>) -> Self {
        let mut plan = Self::default();
        for (service, own) in services {
            plan.version += own.version;
            let entry = |entry| Entry { service: service.clone(), entry };
            plan.entries.extend(own.instances.into_iter().map(entry));
            plan.services.push(ServiceView {
                service,
                version: own.version,
                mode: own.dedicated.mode,
                since_ms: own.dedicated.since_ms,
                lanes: own.lanes,
                moves: own.moves,
            });
        }
        plan
    }

    pub fn entry(&self, service: &ServiceName, instance: &InstanceName) -> Option<&PlanEntry> {
        let found = self.entries.iter().find(|e| e.service == *service && e.entry.instance == *instance);
        found.map(|found| &found.entry)
    }

    /// What is decided otherwise than in `before`: instances in another role or routed otherwise, and
    /// lanes with another cap; each with its reason.
    pub fn changes<'a>(&'a self, before: &'a Self) -> impl Iterator<Item = Change> + 'a {
        let entries = self.entries.iter().filter(|new| {
            let old = before.entry(&new.service, &new.entry.instance);
            old.is_none_or(|old| old.role != new.entry.role || old.routed != new.entry.routed)
        });
        let lanes = self.services.iter().flat_map(move |service| {
            let old = before.services.iter().find(|old| old.service == service.service);
            let capped = move |(i, lane): &(usize, &LanePlan)| {
                *i > 0 && old.and_then(|old| old.lanes.get(*i)).is_none_or(|old| old.high != lane.high)
            };
            service.lanes.iter().enumerate().filter(capped).map(move |(i, lane)| Change {
                service: service.service.clone(),
                instance: None,
                text: format!("lane {i} may hold {} workers: {}", lane.high, lane.reason),
            })
        });
        let of_entry = |new: &Entry| Change {
            service: new.service.clone(),
            instance: Some(new.entry.instance.clone()),
            text: new.entry.reason.clone(),
        };
        entries.map(of_entry).chain(lanes)
    }
}

/// One decision that differs.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    pub service: ServiceName,
    /// `None`: it concerns a lane.
    pub instance: Option<InstanceName>,
    pub text: String,
}

/// Unix time in milliseconds, for showing.
pub fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
    u64::try_from(since).unwrap_or(u64::MAX)
}
