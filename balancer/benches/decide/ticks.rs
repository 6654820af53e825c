//! What a second costs.

use std::time::{Duration, Instant};

use criterion::Criterion;
use sluice_balancer::decide::plan::{PlanParams, plan};
use sluice_balancer::decide::schedule::{Named, Scheduler};

use crate::fleet::{Fleet, HELD, Request, Target, busy, named, scheduler};

const INSTANCES: u64 = 10_000;
const CLASSES: u32 = 2_000;
/// What a request holds away from home, in units of [`HELD`].
const AWAY: u32 = 4;
/// Large requests per second, and how long each holds its worker.
const BLOBS: u64 = 2_000;
const BLOB: Duration = Duration::from_secs(2);
/// Requests of each class before anything is measured, in pairs, and after how many a second is over.
const ROUNDS: u64 = 6;
const TICK_EVERY: usize = 100;

pub(crate) fn bench(c: &mut Criterion) {
    let named = named(INSTANCES, CLASSES);
    homes(c, &named);
    large(c, &named);
}

fn homes(c: &mut Criterion, named: &Named) {
    let mut fleet = homely(named);
    fleet.now += Duration::from_secs(1);
    let snapshot = fleet.target.tick(fleet.now, 0, named.clone()).snapshot;
    let homes = snapshot.homes.as_ref().expect("homes pay by now");
    assert_eq!(homes.classes.len(), CLASSES as usize, "all classes have homes");
    let previous = fleet.target.plan().clone();
    c.bench_function("scheduler/tick/homes", |b| {
        b.iter_custom(|times| (0..times).map(|_| tick(&mut fleet, named)).sum());
    });
    c.bench_function("plan/homes", |b| b.iter(|| plan(&snapshot, &previous, &PlanParams::default())));
}

/// Large requests have a fifth of the instances to themselves.
fn large(c: &mut Criterion, named: &Named) {
    let mut fleet = Fleet::new(scheduler(named), busy(INSTANCES));
    (0..30).for_each(|_| {
        blobs(&mut fleet);
        tick(&mut fleet, named);
    });
    blobs(&mut fleet);
    fleet.now += Duration::from_secs(1);
    let snapshot = fleet.target.tick(fleet.now, 0, named.clone()).snapshot;
    let previous = fleet.target.plan().clone();
    let dedicated = previous.dedicated.instances.len() as u64;
    assert!(dedicated > INSTANCES / 10, "only {dedicated} dedicated");
    c.bench_function("scheduler/tick/large", |b| {
        b.iter_custom(|times| {
            let second = |_| {
                blobs(&mut fleet);
                tick(&mut fleet, named)
            };
            (0..times).map(second).sum()
        });
    });
    c.bench_function("plan/large", |b| b.iter(|| plan(&snapshot, &previous, &PlanParams::default())));
}

/// A second's large requests, and four times as many small ones.
fn blobs(fleet: &mut Fleet<Scheduler<()>>) {
    for _ in 0..BLOBS {
        for (class, held) in [(0, HELD), (0, HELD), (0, HELD), (0, HELD), (1, BLOB)] {
            let request = Request::small(class);
            let granted = Target::arrive(&mut fleet.target, fleet.now, &request).expect("workers are free");
            Target::end(&mut fleet.target, fleet.now + held, granted.run);
        }
    }
}

/// What a second's end takes.
fn tick(fleet: &mut Fleet<Scheduler<()>>, named: &Named) -> Duration {
    fleet.now += Duration::from_secs(1);
    let named = named.clone();
    let begun = Instant::now();
    drop(fleet.target.tick(fleet.now, 0, named));
    begun.elapsed()
}

/// A scheduler that has found out that homes pay: each class is served faster where it was first.
fn homely(named: &Named) -> Fleet<Scheduler<()>> {
    let mut fleet = Fleet::new(scheduler(named), busy(INSTANCES));
    let classes: Vec<Request> = (0..CLASSES).map(Request::small).collect();
    for round in 0..ROUNDS {
        for (turn, request) in classes.iter().enumerate() {
            // The first takes its home, which is then busier than the others.
            let home = Target::arrive(&mut fleet.target, fleet.now, request).expect("workers are free");
            let away = Target::arrive(&mut fleet.target, fleet.now, request).expect("workers are free");
            Target::end(&mut fleet.target, fleet.now + HELD, home.run);
            let held = if home.instance == away.instance { HELD } else { HELD * AWAY };
            Target::end(&mut fleet.target, fleet.now + held, away.run);
            fleet.now += HELD * AWAY;
            if turn % TICK_EVERY == 0 {
                fleet.target.tick(fleet.now, round, named.clone());
            }
        }
    }
    fleet
}
