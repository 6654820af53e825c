//! The planner: a snapshot of one service in, a plan out, every entry with its reason.
//!
//! A pure function of the snapshot, the plan before and the parameters. Hysteresis, dwell and counts
//! of ticks are in the plan itself, so that a recorded snapshot with the plan before it can be
//! planned again, with other parameters too. Source: algorithms.md 3.5 and 3.6.

pub mod cap;
pub mod dedicate;
pub mod homes;
pub mod lanes;
pub mod params;
mod reason;
pub mod saved;
pub mod snapshot;

use serde::{Deserialize, Serialize};
use sluice_proto::{InstanceName, Role};

use dedicate::Dedicated;
use homes::HomeMove;
use lanes::LanePlan;
pub use params::PlanParams;
use snapshot::Snapshot;

use crate::decide::ids::InstanceId;

/// How often a plan is made: its inputs change more slowly, and no pick waits for it.
pub const TICK: std::time::Duration = std::time::Duration::from_secs(1);

/// What a service's instances are for, and what each lane may take.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ServicePlan {
    /// Grows with each change of what is decided; reasons and figures change without it.
    pub version: u64,
    /// By lane, the shortest requests first.
    pub lanes: Vec<LanePlan>,
    pub dedicated: Dedicated,
    pub instances: Vec<PlanEntry>,
    /// Changes of homes that this plan makes.
    pub moves: Vec<HomeMove>,
}

/// The plan for one instance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlanEntry {
    pub id: InstanceId,
    pub instance: InstanceName,
    pub role: Role,
    /// Whether it gets requests at all.
    pub routed: bool,
    /// Why, in words and figures.
    pub reason: String,
}

impl ServicePlan {
    pub fn entry(&self, instance: &InstanceName) -> Option<&PlanEntry> {
        self.instances.iter().find(|entry| entry.instance == *instance)
    }

    /// Whether both decide the same, whatever their reasons.
    fn decides_as(&self, other: &Self) -> bool {
        let caps = |plan: &Self| plan.lanes.iter().map(|lane| (lane.cap, lane.high)).collect::<Vec<_>>();
        let roles =
            |plan: &Self| plan.instances.iter().map(|e| (e.id, e.role.clone(), e.routed)).collect::<Vec<_>>();
        caps(self) == caps(other)
            && roles(self) == roles(other)
            && self.dedicated.mode == other.dedicated.mode
            && self.moves.is_empty()
    }
}

/// Makes the plan for `snapshot`. Its version is that of `previous` if nothing else is decided.
pub fn plan(snapshot: &Snapshot, previous: &ServicePlan, params: &PlanParams) -> ServicePlan {
    let mut lanes = lanes::lanes(snapshot, &previous.lanes, params);
    let dedicated = dedicate::dedicate(snapshot, &mut lanes, &previous.dedicated, params);
    let instances = reason::entries(snapshot, &lanes, &dedicated);
    let moves = homes::rehome(snapshot);
    let mut next = ServicePlan { version: previous.version, lanes, dedicated, instances, moves };
    next.version += u64::from(!next.decides_as(previous));
    next
}

#[cfg(test)]
pub(super) mod tests {
    use super::snapshot::{InstanceLoad, LaneLoad};
    use super::*;

    /// Instances with ids from 0, pages of 10 ms and blobs of 2 s at these rates.
    pub(in crate::decide) fn snapshot(instances: u64, workers: u32, pages: f64, blobs: f64) -> Snapshot {
        let instance = |id| InstanceLoad {
            id: InstanceId(id),
            name: format!("zope-{id}").parse().expect("a name"),
            workers,
            slowness: 1.0,
            excluded: None,
        };
        let lane =
            |begins_s, rate, held_s| LaneLoad { begins_s, rate, held_s, scv: 0.5, ..LaneLoad::default() };
        Snapshot {
            lanes: vec![lane(0.0, pages, 0.01), lane(0.08, blobs, 2.0)],
            instances: (0..instances).map(instance).collect(),
            ..Snapshot::default()
        }
    }

    #[test]
    fn a_plan_changes_its_version_only_with_what_it_decides() {
        let params = PlanParams::default();
        let both = snapshot(2, 2, 100.0, 0.0);
        let first = plan(&both, &ServicePlan::default(), &params);
        assert_eq!(first.version, 1);
        let busier = snapshot(2, 2, 101.0, 0.0);
        assert_eq!(plan(&busier, &first, &params).version, 1, "other figures, same decisions");
        let mut one = both.clone();
        one.instances[1].excluded = Some("drained by the operator".to_owned());
        let second = plan(&one, &first, &params);
        assert_eq!(second.version, 2);
        let told: Vec<_> = second.instances.iter().map(|e| (e.routed, e.reason.as_str())).collect();
        assert_eq!(told[1], (false, "drained by the operator"));
        assert!(told[0].0 && told[0].1.contains("every class"), "{told:?}");
    }

    /// I7: the same inputs make the same plan. I1: no lane is ever without a worker that it may use.
    #[test]
    fn plans_are_pure_and_leave_no_lane_out() {
        for seed in 0..300 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let mut now = ServicePlan::default();
            for _ in 0..20 {
                let workers = rng.u32(1..5);
                let mut snapshot =
                    snapshot(rng.u64(1..12), workers, rng.f64() * 500.0, rng.f64() * rng.f64() * 20.0);
                snapshot.interference = if rng.bool() { 0.0 } else { rng.f64() * 2.0 };
                snapshot.lanes[1].oldest_wait_s = rng.f64() * 200.0;
                let params = PlanParams::default();
                let next = plan(&snapshot, &now, &params);
                assert_eq!(next, plan(&snapshot, &now, &params), "seed {seed}");
                let general = next.instances.iter().filter(|e| e.role == Role::General).count();
                assert!(general >= 1, "seed {seed}: {next:?}");
                assert!(next.lanes.iter().all(|lane| lane.cap >= 1 && lane.high >= lane.cap), "seed {seed}");
                now = next;
            }
        }
    }
}
