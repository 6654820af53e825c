//! The caps of all lanes, with hysteresis.

use serde::{Deserialize, Serialize};

use crate::decide::ids::Lane;
use crate::decide::plan::PlanParams;
use crate::decide::plan::cap::{Cap, Offered, cap};
use crate::decide::plan::snapshot::{LaneLoad, Snapshot};

/// Small requests that need this many times the workers left to them can not wait for hysteresis: the cap is one
/// that was made before they came.
const URGENT: f64 = 1.5;

/// What a lane may take.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LanePlan {
    /// Workers that this lane and the larger ones may hold together, ...
    pub cap: usize,
    /// ... and up to this many once one has waited for `patience_s`.
    pub high: usize,
    pub patience_s: f64,
    /// Both before they were fitted to whole instances: what the next plan's hysteresis starts from.
    pub settled: Cap,
    /// Ticks for which a lower cap was wanted.
    pub lower_wanted: u32,
    /// Why, in words and figures.
    pub reason: String,
}

/// Plans every lane from the split between it and the smaller ones. Lane 0 may use every worker.
pub(super) fn lanes(snapshot: &Snapshot, previous: &[LanePlan], params: &PlanParams) -> Vec<LanePlan> {
    let workers = (snapshot.effective_workers().round() as usize).max(1);
    let all: usize = snapshot.routed().map(|i| i.workers as usize).sum();
    let mut plans = vec![first(all.max(1))];
    for lane in 1..snapshot.lanes.len() {
        let below = plans[lane - 1].clone();
        let next = split(snapshot, lane, workers, previous.get(lane), params);
        plans.push(LanePlan { cap: next.cap.min(below.cap), high: next.high.min(below.high), ..next });
    }
    plans
}

fn first(workers: usize) -> LanePlan {
    LanePlan { cap: workers, high: workers, reason: "may use every worker".to_owned(), ..LanePlan::default() }
}

fn split(
    snapshot: &Snapshot,
    lane: usize,
    workers: usize,
    previous: Option<&LanePlan>,
    params: &PlanParams,
) -> LanePlan {
    let (small_lanes, large_lanes) = snapshot.lanes.split_at(lane);
    let small = offered(small_lanes, params.round_trip_s);
    let large = large_offered(large_lanes, params);
    let held = mean_held(large_lanes);
    let before = previous.map_or(workers, |plan| plan.settled.high);
    let wanted = cap(workers, before, small, large, &params.cap);
    let most = workers as f64 - small.load / URGENT;
    let (settled, lower_wanted) = settle(wanted, previous, most, params);
    LanePlan {
        cap: settled.base,
        high: settled.high,
        settled,
        patience_s: params.patience * held,
        lower_wanted,
        reason: reason(snapshot.lane(Lane::new(lane)), small, large, workers),
    }
}

/// Raises a cap at once and lowers it slowly: a cap that oscillates is worse than a constant one
/// (algorithms.md 3.5). At once if it is more than `most`: small requests would be overloaded.
fn settle(wanted: Cap, previous: Option<&LanePlan>, most: f64, params: &PlanParams) -> (Cap, u32) {
    let Some(previous) = previous else { return (wanted, 0) };
    let now = previous.settled;
    let lower = wanted.base < now.base || wanted.high < now.high;
    if lower && now.high as f64 > most {
        return (wanted, 0);
    }
    let lower_wanted = if lower { previous.lower_wanted + 1 } else { 0 };
    if lower && lower_wanted >= params.lower_after {
        let step =
            |now: usize, want: usize| now.saturating_sub(now.saturating_sub(want).div_ceil(4)).max(want);
        return (Cap { base: step(now.base, wanted.base), high: step(now.high, wanted.high) }, 0);
    }
    (Cap { base: wanted.base.max(now.base), high: wanted.high.max(now.high) }, lower_wanted)
}

/// What large lanes offer: over the last minute, unless requests have waited for so long that this says too little;
/// and lately.
fn large_offered(lanes: &[LaneLoad], params: &PlanParams) -> Offered {
    let lately = offered(lanes, 0.0);
    let rate = |lane: &LaneLoad| lane.lasting_rate.unwrap_or(lane.rate);
    let lasting: Vec<_> = lanes.iter().map(|lane| LaneLoad { rate: rate(lane), ..*lane }).collect();
    let lasting = offered(&lasting, 0.0);
    let waited = lasting.oldest_wait > params.cap.lasting_wait;
    let load = if waited { lately.load.max(lasting.load) } else { lasting.load };
    Offered { load, lately: lately.load, ..lasting }
}

/// What some lanes offer together. `overhead_s`: time between two requests in which a worker is lost.
fn offered(lanes: &[LaneLoad], overhead_s: f64) -> Offered {
    let rate: f64 = lanes.iter().map(|lane| lane.rate).sum();
    let held = mean_held(lanes);
    if rate <= 0.0 || held <= 0.0 {
        return Offered { scv: 1.0, oldest_wait: oldest(lanes, held), ..Offered::default() };
    }
    let square: f64 =
        lanes.iter().map(|lane| lane.rate * (lane.scv + 1.0) * lane.held_s * lane.held_s).sum::<f64>() / rate;
    let scv = (square / (held * held) - 1.0).max(0.0);
    let load = rate * (held + overhead_s);
    Offered { load, lately: load, scv, oldest_wait: oldest(lanes, held) }
}

fn mean_held(lanes: &[LaneLoad]) -> f64 {
    let rate: f64 = lanes.iter().map(|lane| lane.rate).sum();
    if rate > 0.0 { lanes.iter().map(LaneLoad::load).sum::<f64>() / rate } else { 0.0 }
}

fn oldest(lanes: &[LaneLoad], held: f64) -> f64 {
    let oldest = lanes.iter().map(|lane| lane.oldest_wait_s).fold(0.0, f64::max);
    if held > 0.0 { oldest / held } else { 0.0 }
}

fn reason(lane: LaneLoad, small: Offered, large: Offered, workers: usize) -> String {
    format!(
        "{:.2}/s of {:.2} s each keep {:.1} workers busy ({:.1} over the last minutes), smaller ones {:.1} of {workers}",
        lane.rate, lane.held_s, large.lately, large.load, small.load
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::plan::tests::snapshot;

    fn plan_of(previous: &[LanePlan], small: f64, large: f64) -> Vec<LanePlan> {
        lanes(&snapshot(8, 2, small, large), previous, &PlanParams::default())
    }

    #[test]
    fn caps_rise_at_once_and_fall_slowly() {
        let first = plan_of(&[], 380.0, 1.0);
        assert_eq!(first[0].cap, 16);
        let more = plan_of(&first, 380.0, 3.7);
        assert!(more[1].high > 8 && more[1].high >= first[1].high, "{more:?}");
        let mut plans = more.clone();
        for tick in 1..5 {
            plans = plan_of(&plans, 600.0, 0.1);
            assert_eq!(plans[1].high, more[1].high, "tick {tick}");
        }
        plans = plan_of(&plans, 600.0, 0.1);
        assert!(plans[1].high < more[1].high, "after 5 ticks");
    }

    /// A cap of the time before small requests came is no longer one when they have come.
    #[test]
    fn what_starves_small_requests_is_lowered_at_once() {
        let idle = lanes(&snapshot(4, 1, 0.0, 0.0), &[], &PlanParams::default());
        assert_eq!(idle[1].high, 4);
        let mixed = lanes(&snapshot(4, 1, 150.0, 0.4), &idle, &PlanParams::default());
        assert_eq!((mixed[1].cap, mixed[1].high), (2, 2), "{mixed:?}");
    }

    /// Bursts are not planned for as if they lasted, unless somebody has waited for long.
    #[test]
    fn the_rate_of_late_counts_once_large_requests_have_waited() {
        let mut snapshot = snapshot(4, 1, 150.0, 1.2);
        snapshot.lanes[1].lasting_rate = Some(0.4);
        let high = |snapshot: &Snapshot| lanes(snapshot, &[], &PlanParams::default())[1].high;
        assert_eq!(high(&snapshot), 2);
        snapshot.lanes[1].oldest_wait_s = 2.0 * 4.1;
        assert_eq!(high(&snapshot), 3);
    }

    #[test]
    fn a_larger_lane_never_has_the_larger_cap() {
        let mut snapshot = snapshot(8, 2, 300.0, 1.0);
        snapshot.lanes.insert(1, LaneLoad { rate: 20.0, held_s: 0.1, scv: 1.0, ..LaneLoad::default() });
        let plans = lanes(&snapshot, &[], &PlanParams::default());
        assert!(plans[0].cap >= plans[1].cap && plans[1].cap >= plans[2].cap, "{plans:?}");
        assert!(plans[2].cap >= 1);
    }
}
