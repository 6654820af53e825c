//! Decisions made again, and what differs.

use std::collections::HashMap;

use serde::Serialize;
use sluice_process::Progress;
use sluice_proto::ServiceName;

use super::set::{SetError, Setting, apply};
use super::{Continuity, Recorded};
use crate::decide::ids::{ClassId, InstanceId};
use crate::decide::plan::ServicePlan;

/// A recorded decision and the same made again.
#[derive(Clone, Debug)]
pub struct Again {
    pub recorded: Recorded,
    pub plan: ServicePlan,
}

/// One thing that is decided otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    pub what: String,
    pub recorded: String,
    pub replayed: String,
}

/// All decisions together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Summary {
    pub decisions: usize,
    pub differ: usize,
    /// Means over the decisions: workers that large requests may hold at once, recorded and replayed,
    pub large_cap: [f64; 2],
    /// and instances dedicated to them.
    pub dedicated: [f64; 2],
}

/// Makes every decision again, in order.
///
/// # Errors
/// If the settings do not go together with what was recorded.
pub fn replay(
    recorded: Vec<Recorded>,
    settings: &[Setting],
    continuity: Continuity,
) -> Result<Vec<Again>, SetError> {
    let mut last: HashMap<ServiceName, (u64, u64, ServicePlan)> = HashMap::new();
    let mut all = Vec::with_capacity(recorded.len());
    let mut progress = Progress::new("planning again", recorded.len() as u64);
    for recorded in recorded {
        progress.add(1);
        let params = apply(recorded.params, settings)?;
        let decision = &recorded.decision;
        let before = last.get(&decision.service).filter(|(run, number, _)| {
            *run == recorded.run && number + 1 == decision.number && continuity == Continuity::Own
        });
        let plan = decision.again(before.map(|(_, _, plan)| plan), &params);
        last.insert(decision.service.clone(), (recorded.run, decision.number, plan.clone()));
        all.push(Again { recorded, plan });
    }
    Ok(all)
}

impl Again {
    /// What is decided otherwise: caps, instances and homes; reasons and versions are not decisions.
    pub fn differences(&self) -> Vec<Difference> {
        let (old, new) = (&self.recorded.decision.plan, &self.plan);
        let mut all = Vec::new();
        let mut compare = |what: String, recorded: String, replayed: String| {
            if recorded != replayed {
                all.push(Difference { what, recorded, replayed });
            }
        };
        for lane in 1..old.lanes.len().max(new.lanes.len()) {
            compare(format!("lane {lane}"), cap(old, lane), cap(new, lane));
        }
        compare("mode".to_owned(), word(old), word(new));
        compare("dedicated".to_owned(), self.dedicated(old), self.dedicated(new));
        compare("homes".to_owned(), self.moves(old), self.moves(new));
        all
    }

    fn dedicated(&self, plan: &ServicePlan) -> String {
        list(plan.dedicated.instances.iter().map(|id| self.instance(*id)))
    }

    fn moves(&self, plan: &ServicePlan) -> String {
        let end = |id: Option<InstanceId>| id.map_or_else(|| "-".to_owned(), |id| self.instance(id));
        list(plan.moves.iter().map(|m| format!("{}: {} to {}", self.class(m.class), end(m.from), end(m.to))))
    }

    fn instance(&self, id: InstanceId) -> String {
        let known = self.recorded.decision.snapshot.instances.iter().find(|instance| instance.id == id);
        known.map_or_else(|| format!("#{}", id.0), |instance| instance.name.to_string())
    }

    fn class(&self, id: ClassId) -> String {
        let homes = self.recorded.decision.snapshot.homes.as_ref();
        let known = homes.and_then(|homes| homes.classes.iter().find(|class| class.id == id));
        known.map_or_else(|| format!("class {}", id.0), |class| class.name.to_string())
    }
}

impl Summary {
    pub fn of(all: &[Again]) -> Self {
        let mean = |figure: fn(&ServicePlan) -> usize| {
            let mean = |plan: fn(&Again) -> &ServicePlan| {
                let sum: usize = all.iter().map(|again| figure(plan(again))).sum();
                sum as f64 / all.len().max(1) as f64
            };
            [mean(|again| &again.recorded.decision.plan), mean(|again| &again.plan)]
        };
        Self {
            decisions: all.len(),
            differ: all.iter().filter(|again| !again.differences().is_empty()).count(),
            large_cap: mean(|plan| plan.lanes.get(1).map_or(0, |lane| lane.cap)),
            dedicated: mean(|plan| plan.dedicated.instances.len()),
        }
    }
}

fn cap(plan: &ServicePlan, lane: usize) -> String {
    let cap = |lane: &crate::decide::plan::lanes::LanePlan| match lane.high {
        high if high == lane.cap => format!("{high}"),
        high => format!("{}, {high} after {:.2} s", lane.cap, lane.patience_s),
    };
    plan.lanes.get(lane).map_or_else(|| "none".to_owned(), cap)
}

fn word(plan: &ServicePlan) -> String {
    format!("{:?}", plan.dedicated.mode).to_lowercase()
}

fn list(items: impl Iterator<Item = String>) -> String {
    let items: Vec<_> = items.collect();
    if items.is_empty() { "none".to_owned() } else { items.join(", ") }
}
