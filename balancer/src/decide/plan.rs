//! The planner: a snapshot in, a plan out, every entry with its reason.
//!
//! In this release every instance serves every class. What is here is the frame that dedication
//! fills: the same snapshot, the same versions, the same reasons shown everywhere.

use serde::Serialize;
use sluice_proto::{InstanceName, Role, ServiceName};

use crate::decide::membership::Routing;

/// What the planner looks at.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// In a stable order: by service, then name.
    pub instances: Vec<InstanceSnapshot>,
}

/// One instance in a snapshot.
#[derive(Clone, Debug, PartialEq)]
pub struct InstanceSnapshot {
    pub service: ServiceName,
    pub name: InstanceName,
    pub workers: u32,
    pub routing: Routing,
}

/// What each instance is for.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Plan {
    /// Grows with each change.
    pub version: u64,
    pub entries: Vec<PlanEntry>,
}

/// The plan for one instance.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PlanEntry {
    pub service: ServiceName,
    pub instance: InstanceName,
    pub role: Role,
    /// Whether it gets requests at all.
    pub routed: bool,
    /// Why, in words and figures.
    pub reason: String,
}

impl Plan {
    pub fn entry(&self, service: &ServiceName, instance: &InstanceName) -> Option<&PlanEntry> {
        self.entries.iter().find(|entry| entry.service == *service && entry.instance == *instance)
    }
}

/// Makes the plan for `snapshot`. Its version is that of `previous` if nothing changes.
pub fn plan(snapshot: &Snapshot, previous: &Plan) -> Plan {
    let entries: Vec<_> = snapshot.instances.iter().map(|instance| entry(instance, snapshot)).collect();
    let version = previous.version + u64::from(entries != previous.entries);
    Plan { version, entries }
}

fn entry(instance: &InstanceSnapshot, snapshot: &Snapshot) -> PlanEntry {
    let (routed, reason) = match &instance.routing {
        Routing::Routed => (true, general_reason(instance, snapshot)),
        Routing::Excluded(reason) => (false, reason.clone()),
    };
    PlanEntry {
        service: instance.service.clone(),
        instance: instance.name.clone(),
        role: Role::General,
        routed,
        reason,
    }
}

fn general_reason(instance: &InstanceSnapshot, snapshot: &Snapshot) -> String {
    let routed =
        |other: &&InstanceSnapshot| other.service == instance.service && other.routing == Routing::Routed;
    let (count, workers) =
        snapshot.instances.iter().filter(routed).fold((0, 0), |(n, w), other| (n + 1, w + other.workers));
    format!("serves every class; {} of {workers} workers on {count} instances", instance.workers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(states: &[Routing]) -> Snapshot {
        let instance = |(i, routing): (usize, &Routing)| InstanceSnapshot {
            service: ServiceName::default(),
            name: format!("zope-{i}").parse().expect("a name"),
            workers: 2,
            routing: routing.clone(),
        };
        Snapshot { instances: states.iter().enumerate().map(instance).collect() }
    }

    #[test]
    fn a_plan_changes_its_version_only_with_its_content() {
        let both = snapshot(&[Routing::Routed, Routing::Routed]);
        let first = plan(&both, &Plan::default());
        assert_eq!(first.version, 1);
        assert_eq!(plan(&both, &first), first);
        let one = snapshot(&[Routing::Routed, Routing::Excluded("drained by the operator".to_owned())]);
        let second = plan(&one, &first);
        assert_eq!(second.version, 2);
        let told: Vec<_> = second.entries.iter().map(|e| (e.routed, e.reason.as_str())).collect();
        assert_eq!(
            told,
            [(true, "serves every class; 2 of 2 workers on 1 instances"), (false, "drained by the operator")]
        );
    }
}
