//! Which instances are for large requests first.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use crate::decide::hash;
use crate::decide::ids::InstanceId;
use crate::decide::plan::PlanParams;
use crate::decide::plan::lanes::LanePlan;
use crate::decide::plan::snapshot::{InstanceLoad, Snapshot};

/// How small and large requests share instances.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Large requests are packed onto their instances first, and small ones go elsewhere first; each
    /// uses what the other leaves free.
    #[default]
    Pack,
    /// Large requests slow small ones down beside them: they stay on their instances.
    Separate,
    /// Homes matter more: large requests are spread, so that every instance keeps a worker for the
    /// small ones that are at home there.
    Spread,
}

/// The instances that large requests go to first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Dedicated {
    pub mode: Mode,
    pub instances: Vec<InstanceId>,
    /// Milliseconds of Unix time at which it came to be so.
    pub since_ms: u64,
    /// A different number was wanted for this many more ticks than not.
    pub change_wanted: u32,
}

/// Decides mode and instances. `caps`: what the lanes may take; in mode `Separate` the first large
/// lane's cap is rounded to whole instances, and returned so.
pub(super) fn dedicate(
    snapshot: &Snapshot,
    caps: &mut [LanePlan],
    previous: &Dedicated,
    params: &PlanParams,
) -> Dedicated {
    let load: f64 = snapshot.lanes.iter().skip(1).map(|lane| lane.load()).sum();
    let mode = mode(snapshot, load, previous.mode);
    let order = order(snapshot);
    let wanted = match mode {
        Mode::Spread => 0,
        Mode::Pack => enough(&order, (load + load.sqrt()).min(high(caps) as f64)),
        // The cap may be far more than they ever use, and what is separated is theirs alone.
        Mode::Separate => whole(&order, high(caps).min(peak(load, params)), load),
    };
    let wanted = if load > 0.0 { wanted.min(order.len().saturating_sub(1)) } else { 0 };
    let dedicated = settle(&order, wanted, mode, snapshot.at_ms, previous, params);
    if mode == Mode::Separate && !dedicated.instances.is_empty() {
        let workers = workers_of(&order[..dedicated.instances.len()]);
        caps.iter_mut().skip(1).for_each(|cap| {
            cap.cap = cap.cap.min(workers);
            cap.high = cap.high.min(workers);
        });
        caps[1].cap = workers;
        caps[1].high = workers;
    }
    if mode == Mode::Spread {
        let most = spreadable(snapshot).max(1);
        caps.iter_mut().skip(1).for_each(|cap| {
            cap.cap = cap.cap.min(most);
            cap.high = cap.high.min(most);
        });
    }
    dedicated
}

/// Workers that large requests hardly ever need more of at the same time.
fn peak(load: f64, params: &PlanParams) -> usize {
    ((load + params.cap.reserve * load.sqrt()).ceil() as usize).max(1)
}

fn high(caps: &[LanePlan]) -> usize {
    caps.get(1).map_or(0, |cap| cap.high)
}

/// Spreading begins when 0.8 of the workers that it leaves to large requests carry them, and ends
/// at 0.95.
fn mode(snapshot: &Snapshot, load: f64, previous: Mode) -> Mode {
    let limit = if previous == Mode::Spread { 0.95 } else { 0.8 };
    let several = snapshot.routed().all(|instance| instance.workers > 1);
    let fits = load > 0.0 && load <= limit * spreadable(snapshot) as f64;
    if snapshot.interference > 0.0 {
        Mode::Separate
    } else if snapshot.homes.is_some() && several && fits {
        Mode::Spread
    } else {
        Mode::Pack
    }
}

/// All workers but one of each instance.
fn spreadable(snapshot: &Snapshot) -> usize {
    snapshot.routed().map(|instance| instance.workers.saturating_sub(1) as usize).sum()
}

/// The order in which instances are dedicated: always the same for the same names, so that a change
/// of the number touches only the last ones, and that several balancers choose alike.
fn order(snapshot: &Snapshot) -> Vec<&InstanceLoad> {
    let rank = |instance: &InstanceLoad| hash::stable(instance.name.as_str().as_bytes());
    let mut order: Vec<_> = snapshot.routed().map(|instance| (rank(instance), instance)).collect();
    order.sort_by(|a, b| a.0.cmp(&b.0).then_with(|| a.1.name.cmp(&b.1.name)));
    order.into_iter().map(|(_, instance)| instance).collect()
}

/// How many instances have that many workers.
fn enough(order: &[&InstanceLoad], workers: f64) -> usize {
    let mut sum = 0.0;
    let fewer = |instance: &&&InstanceLoad| {
        let more = sum < workers;
        sum += f64::from(instance.workers);
        more
    };
    order.iter().take_while(fewer).count()
}

/// As many whole instances as the cap fills, rounded down if they carry the load all the same.
fn whole(order: &[&InstanceLoad], cap: usize, load: f64) -> usize {
    let up = enough(order, cap as f64);
    let down = up.saturating_sub(1);
    let fits = down > 0 && workers_of(&order[..up]) > cap;
    if fits && load <= 0.93 * workers_of(&order[..down]) as f64 { down } else { up }
}

fn workers_of(instances: &[&InstanceLoad]) -> usize {
    instances.iter().map(|instance| instance.workers as usize).sum()
}

fn settle(
    order: &[&InstanceLoad],
    wanted: usize,
    mode: Mode,
    now_ms: u64,
    previous: &Dedicated,
    params: &PlanParams,
) -> Dedicated {
    let chosen = |n: usize| order.iter().take(n).map(|instance| instance.id).collect::<Vec<_>>();
    let known: HashSet<_> = order.iter().map(|instance| instance.id).collect();
    let current = previous.instances.iter().filter(|id| known.contains(id)).count();
    // Down again for each tick that is content: what is wanted most of the time happens, though the
    // loads that it follows from waver.
    let change_wanted = match wanted == current {
        true => previous.change_wanted.saturating_sub(1),
        false => previous.change_wanted + 1,
    };
    // A first instance is urgent. One more takes a worker of its own from small requests only where
    // the two are separated.
    let urgent = wanted > current && (current == 0 || mode != Mode::Separate);
    let after = if urgent { params.dedicate_after } else { params.return_after };
    let changes = change_wanted >= after || mode != previous.mode;
    let number = if changes { wanted } else { current.min(order.len().saturating_sub(1)) };
    let instances = chosen(number);
    let same = instances == previous.instances && mode == previous.mode;
    Dedicated {
        mode,
        since_ms: if same { previous.since_ms } else { now_ms },
        change_wanted: if changes { 0 } else { change_wanted },
        instances,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::plan::lanes::lanes;
    use crate::decide::plan::tests::snapshot;

    fn dedicated(snapshot: &Snapshot, previous: &Dedicated) -> (Dedicated, Vec<LanePlan>) {
        let params = PlanParams::default();
        let mut caps = lanes(snapshot, &[], &params);
        (dedicate(snapshot, &mut caps, previous, &params), caps)
    }

    #[test]
    fn instances_are_dedicated_after_three_ticks_and_returned_after_ten() {
        let mixed = snapshot(8, 2, 300.0, 2.0);
        let mut now = Dedicated::default();
        let mut numbers = vec![];
        for _ in 0..4 {
            now = dedicated(&mixed, &now).0;
            numbers.push(now.instances.len());
        }
        // 4 workers of large requests on average, 6 at times: 3 instances of 2.
        assert_eq!(numbers, [0, 0, 3, 3]);
        let pages = snapshot(8, 2, 300.0, 0.0);
        for _ in 0..9 {
            now = dedicated(&pages, &now).0;
            assert_eq!(now.instances.len(), 3);
        }
        assert!(dedicated(&pages, &now).0.instances.is_empty());
    }

    #[test]
    fn the_last_general_instance_is_never_taken() {
        for instances in 1..4 {
            let flood = snapshot(instances, 1, 1.0, 100.0);
            let mut now = Dedicated::default();
            (0..20).for_each(|_| now = dedicated(&flood, &now).0);
            assert!((now.instances.len() as u64) < instances, "{instances}: {now:?}");
        }
    }

    #[test]
    fn interference_separates_whole_instances() {
        let mut mixed = snapshot(8, 2, 300.0, 2.0);
        mixed.interference = 1.0;
        let (now, caps) = dedicated(&mixed, &Dedicated::default());
        assert_eq!(now.mode, Mode::Separate);
        assert_eq!(caps[1].cap, now.instances.len() * 2);
        assert!(caps[1].cap >= 4, "{caps:?}");
    }

    #[test]
    fn a_lost_instance_is_replaced_by_the_next_in_order() {
        let mixed = snapshot(8, 2, 300.0, 2.0);
        let mut now = Dedicated::default();
        (0..3).for_each(|_| now = dedicated(&mixed, &now).0);
        let lost = now.instances[0];
        let mut fewer = mixed.clone();
        fewer.instances.retain(|instance| instance.id != lost);
        (0..3).for_each(|_| now = dedicated(&fewer, &now).0);
        assert_eq!(now.instances.len(), 3);
        assert!(!now.instances.contains(&lost));
    }
}
