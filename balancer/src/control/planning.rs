//! The plans of all services as one value, as the API shows it and as events tell of it.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use sluice_proto::{InstanceName, ServiceName};

use crate::control::versions::VersionsView;
use crate::decide::ids::Lane;
use crate::decide::plan::dedicate::Mode;
use crate::decide::plan::homes::HomeMove;
use crate::decide::plan::lanes::LanePlan;
use crate::decide::plan::{PlanEntry, ServicePlan};
use crate::decide::schedule::figures::Figures;

/// What every instance is for, and what every lane may take.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Grows with each change of what is decided.
    pub version: u64,
    /// By service and name: in the order of both.
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

impl Entry {
    fn key(&self) -> (&ServiceName, &InstanceName) {
        (&self.service, &self.entry.instance)
    }
}

/// The plan for one service's lanes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServiceView {
    pub service: ServiceName,
    pub version: u64,
    /// How small and large requests share instances, and since when (Unix time).
    pub mode: Mode,
    pub since_ms: u64,
    /// Share by which a large request prolongs each small one beside it; 0: not enough to act upon.
    pub interference: f64,
    /// What it is worth to serve a class where it was served before, in words.
    pub homes: String,
    /// The shortest requests first.
    pub lanes: Vec<LaneView>,
    /// Homes of classes that the last plan changed.
    pub moves: Vec<HomeMove>,
    /// Which versions of the application get requests.
    #[serde(default)]
    pub versions: VersionsView,
}

/// The plan for one lane.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LaneView {
    pub name: String,
    /// Seconds of worker-held time that belong to it; `None`: no upper bound.
    pub from_s: f64,
    pub to_s: Option<f64>,
    /// Requests that hold a worker, and that wait for one.
    pub running: usize,
    pub waiting: usize,
    #[serde(flatten)]
    pub plan: LanePlan,
}

impl LaneView {
    fn new((plan, lane): (LanePlan, Lane), figures: &Figures) -> Self {
        let state = figures.lanes.get(lane.index());
        Self {
            name: lane.name().to_owned(),
            from_s: state.map_or(0.0, |lane| lane.from_ms / 1e3),
            to_s: state.and_then(|lane| lane.to_ms).map(|ms| ms / 1e3),
            running: state.map_or(0, |lane| lane.running),
            waiting: state.map_or(0, |lane| lane.waiting),
            plan,
        }
    }
}

impl LaneView {
    fn words(&self) -> String {
        let LanePlan { high, reason, .. } = &self.plan;
        let workers = if *high == 1 { "worker" } else { "workers" };
        format!("lane {} may hold {high} {workers}: {reason}", self.name)
    }
}

impl Plan {
    /// Of the services' plans, in the order of their names.
    pub fn of(services: Vec<(ServiceName, ServicePlan, Figures)>) -> Self {
        let mut plan = Self::default();
        for (service, own, figures) in services {
            plan.version += own.version;
            let entry = |entry| Entry { service: service.clone(), entry };
            plan.entries.extend(own.instances.into_iter().map(entry));
            plan.services.push(ServiceView {
                service,
                version: own.version,
                mode: own.dedicated.mode,
                since_ms: own.dedicated.since_ms,
                interference: figures.interference,
                homes: figures.homes.words(),
                lanes: own.lanes.into_iter().zip(Lane::all()).map(|l| LaneView::new(l, &figures)).collect(),
                moves: own.moves,
                versions: VersionsView::default(),
            });
        }
        plan.entries.sort_by(|a, b| a.key().cmp(&b.key()));
        plan
    }

    pub(super) fn set_versions(&mut self, service: &ServiceName, versions: VersionsView) {
        if let Some(own) = self.services.iter_mut().find(|own| own.service == *service) {
            own.versions = versions;
        }
    }

    pub fn entry(&self, service: &ServiceName, instance: &InstanceName) -> Option<&PlanEntry> {
        let found = self.entries.binary_search_by(|entry| entry.key().cmp(&(service, instance)));
        found.ok().map(|place| &self.entries[place].entry)
    }

    /// Since when a service's instances are shared as they are, in milliseconds of Unix time.
    pub fn since(&self, service: &ServiceName) -> Option<u64> {
        self.services.iter().find(|own| own.service == *service).map(|own| own.since_ms)
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
            let capped = move |(i, lane): &(usize, &LaneView)| {
                let old = old.and_then(|old| old.lanes.get(*i));
                *i > 0 && old.is_none_or(|old| old.plan.high != lane.plan.high)
            };
            service.lanes.iter().enumerate().filter(capped).map(move |(_, lane)| Change {
                service: service.service.clone(),
                instance: None,
                text: lane.words(),
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

#[cfg(test)]
mod tests {
    use sluice_proto::Role;

    use super::*;
    use crate::decide::ids::InstanceId;
    use crate::decide::schedule::{Scheduler, Settings};

    #[test]
    fn every_instance_is_found_among_those_of_all_services() {
        let now = std::time::Instant::now();
        let scheduler = Scheduler::<()>::new(now, Settings::default(), fastrand::Rng::with_seed(1));
        let entry = |name: &str| PlanEntry {
            id: InstanceId(0),
            instance: name.parse().expect("a name"),
            role: Role::General,
            routed: true,
            reason: name.to_owned(),
        };
        let of = |service: &str, names: &[&str]| {
            let instances = names.iter().map(|name| entry(name)).collect();
            let plan = ServicePlan { instances, ..ServicePlan::default() };
            (service.parse().expect("a name"), plan, scheduler.figures(now))
        };
        let plan = Plan::of(vec![of("shop", &["b", "a", "c-10", "c-9"]), of("default", &["a", "z"])]);
        for (service, name, found) in [
            ("shop", "a", true),
            ("shop", "b", true),
            ("shop", "c-10", true),
            ("shop", "c-9", true),
            ("shop", "z", false),
            ("default", "z", true),
            ("other", "a", false),
        ] {
            let (service, name) = (service.parse().expect("a name"), name.parse().expect("a name"));
            let entry = plan.entry(&service, &name);
            assert_eq!(entry.map(|entry| entry.reason.as_str()), found.then_some(name.as_str()), "{service}");
        }
    }
}
