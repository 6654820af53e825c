//! What each instance is for, in words that an operator can check against the figures.

use std::collections::HashSet;

use sluice_proto::Role;

use crate::decide::ids::InstanceId;
use crate::decide::plan::PlanEntry;
use crate::decide::plan::dedicate::{Dedicated, Mode};
use crate::decide::plan::lanes::LanePlan;
use crate::decide::plan::snapshot::{InstanceLoad, Snapshot};

pub(super) fn entries(snapshot: &Snapshot, lanes: &[LanePlan], dedicated: &Dedicated) -> Vec<PlanEntry> {
    let words = Words::of(snapshot, lanes, dedicated);
    let large: HashSet<_> = dedicated.instances.iter().copied().collect();
    snapshot.instances.iter().map(|instance| words.entry(instance, &large)).collect()
}

/// Sentences that are the same for all instances of a role.
struct Words {
    general: String,
    large: String,
}

impl Words {
    fn of(snapshot: &Snapshot, lanes: &[LanePlan], dedicated: &Dedicated) -> Self {
        let (count, workers) = snapshot.routed().fold((0, 0), |(n, w), i| (n + 1, w + i.workers));
        let load: f64 = snapshot.lanes.iter().skip(1).map(|lane| lane.load()).sum();
        let cap = lanes.get(1).map_or(0, |lane| lane.high);
        let held = snapshot.lanes.get(1).map_or(0.0, |lane| lane.held_s);
        let site = format!("{workers} workers on {count} instances");
        let large = format!(
            "large requests ({held:.1} s each) keep {load:.1} workers busy and may hold {cap} of {workers}"
        );
        let general = match (dedicated.instances.len(), dedicated.mode) {
            (0, Mode::Spread) => format!("serves every class; {large}, spread so that homes stay served"),
            (0, _) if load > 0.0 => format!("serves every class; {large}"),
            (0, _) => format!("serves every class; {site}"),
            (n, Mode::Separate) => {
                format!("serves small requests; large ones stay on {}", plural(n, "instance"))
            }
            (n, _) => {
                format!("serves small requests first; large ones go to {} first", plural(n, "instance"))
            }
        };
        let dedicated = match dedicated.mode {
            Mode::Separate => {
                let slowdown = snapshot.interference * 100.0;
                format!("{large}; each slows small ones beside it by {slowdown:.0} %, so they stay here")
            }
            _ => format!("{large}; they go here first"),
        };
        Self { general, large: dedicated }
    }

    fn entry(&self, instance: &InstanceLoad, large: &HashSet<InstanceId>) -> PlanEntry {
        let role = if large.contains(&instance.id) { Role::Large } else { Role::General };
        let mut reason = match (&instance.excluded, &role) {
            (Some(excluded), _) => excluded.clone(),
            (None, Role::Large) => self.large.clone(),
            (None, Role::General) => self.general.clone(),
        };
        if instance.excluded.is_none() && instance.slowness > 1.0 {
            reason.push_str(&format!(
                "; {:.1} times slower than the others: used when they are busy",
                instance.slowness
            ));
        }
        PlanEntry {
            id: instance.id,
            instance: instance.name.clone(),
            role,
            routed: instance.excluded.is_none(),
            reason,
        }
    }
}

fn plural(n: usize, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}
