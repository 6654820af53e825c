//! Invariants of Sluice's own decisions that need its books: I1, I2 and I8 of algorithms.md 3.10.

use std::time::Instant;

use sluice_balancer::decide::breaker::Breaker;
use sluice_balancer::decide::dispatch::{InstanceId, Lane, Occupancy, Rules};
use sluice_balancer::decide::learn::affinity::Worth;
use sluice_balancer::decide::schedule::Scheduler;

/// From this slow-down on, a free worker may be left idle while small requests wait.
const RELUCTANT: f64 = 1.5;

/// What holds right after a request of `lane` was sent to `instance`.
pub(super) fn after_dispatch<W>(
    scheduler: &Scheduler<W>,
    now: Instant,
    lane: Lane,
    instance: InstanceId,
) -> Result<(), String> {
    let counted = |from: usize| -> usize {
        Lane::all().skip(from).map(|lane| scheduler.backlog(lane, now).counted).sum()
    };
    for k in 1..=lane.index() {
        let (held, most) = (counted(k), scheduler.rules_in_force().lanes[k].high);
        if held > most {
            return Err(format!("I2: {held} of lane {k} and above run, {most} may"));
        }
    }
    let Some(Occupancy { load, limit, .. }) = scheduler.occupancy(instance) else {
        return Err(format!("I2: sent to {instance:?}, which is not there"));
    };
    let ahead = load.working > limit;
    if load.working > limit + 1 || (ahead && load.large > 0) {
        return Err(format!("I2: {load:?} after a request of {lane:?} with {limit} workers to use"));
    }
    Ok(())
}

/// What holds between any two events. `fresh`: freed workers have been handed out since the last report.
pub(super) fn always<W>(
    scheduler: &Scheduler<W>,
    now: Instant,
    instances: usize,
    fresh: bool,
) -> Result<(), String> {
    let occupancies: Vec<_> =
        (0..instances).filter_map(|index| scheduler.occupancy(InstanceId(index as u64))).collect();
    let rules = scheduler.rules_in_force();
    every_lane_is_served(scheduler, now, instances)?;
    let working: usize = occupancies.iter().map(|o| o.load.working as usize).sum();
    let running: usize = Lane::all().map(|lane| scheduler.backlog(lane, now).running).sum();
    if working != running || occupancies.iter().any(|o| o.load.large > o.load.working) {
        return Err(format!("I2: {working} hold workers by instance, {running} by lane"));
    }
    let waiting = scheduler.backlog(Lane::SMALL, now).waiting;
    let free = occupancies.iter().find(|o| is_fast_and_free(o, rules));
    match free {
        Some(free) if fresh && waiting > 0 && !matches!(rules.homes, Worth::Pays { .. }) => {
            Err(format!("I8: {waiting} small ones wait beside {free:?}"))
        }
        _ => Ok(()),
    }
}

fn every_lane_is_served<W>(scheduler: &Scheduler<W>, now: Instant, instances: usize) -> Result<(), String> {
    let rules = scheduler.rules_in_force();
    let barred = Lane::all()
        .find(|lane| scheduler.backlog(*lane, now).waiting > 0 && rules.lanes[lane.index()].high == 0);
    if let Some(lane) = barred {
        return Err(format!("I1: {lane:?} waits and may use no worker"));
    }
    let dedicated = rules.dedicated.len();
    if dedicated >= instances {
        return Err(format!("I1: {dedicated} of {instances} instances are dedicated"));
    }
    Ok(())
}

fn is_fast_and_free(o: &Occupancy, rules: &Rules) -> bool {
    let slowdown = o.slowness * (1.0 + rules.interference * f64::from(o.load.large));
    o.routable && o.breaker == Breaker::Closed && o.load.has_slot() && slowdown <= RELUCTANT
}
