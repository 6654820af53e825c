//! What one request costs.

use std::sync::Arc;
use std::time::Instant;

use criterion::Criterion;
use sluice_balancer::decide::dispatch::{InstanceId, Lane, Rules};
use sluice_balancer::decide::learn::affinity::Worth;

use crate::fleet::{Fleet, HELD, LATE_AFTER, Request, Target, WORKERS, busy, dispatcher, named, scheduler};

const SIZES: [u64; 3] = [4, 100, 10_000];
/// Classes with homes: at least so many, and two per instance.
const CLASSES: u32 = 200;
const WAITERS: usize = 500;
/// Instances that a restricted request may use.
const ONLY: u64 = 4;

pub(crate) fn bench(c: &mut Criterion) {
    for instances in SIZES {
        small(c, &format!("scheduler/small/{instances}"), scheduler(&named(instances, 0)), instances);
        small(c, &format!("dispatcher/small/{instances}"), dispatcher(instances), instances);
        homes(c, instances);
        queue(c, instances);
        large(c, instances);
        restricted(c, instances);
    }
}

fn small(c: &mut Criterion, name: &str, target: (impl Target, Instant), instances: u64) {
    let mut fleet = Fleet::new(target, busy(instances));
    (0..busy(instances)).for_each(|_| assert!(fleet.start(&Request::small(0)), "workers are free"));
    c.bench_function(name, |b| b.iter(|| fleet.turn(&Request::small(0))));
}

/// Each class waits for its home where that pays.
fn homes(c: &mut Criterion, instances: u64) {
    let mut fleet = Fleet::new(dispatcher(instances), busy(instances));
    let homes = Worth::Pays { home: HELD, away: HELD * 4 };
    let rules = Rules { homes, small_held: HELD, ..Rules::none(fleet.now) };
    fleet.target.follow(rules, LATE_AFTER, &[], fleet.now);
    let mut rng = fastrand::Rng::with_seed(3);
    let classes = CLASSES.max(2 * instances as u32);
    let mut request = || Request::small(rng.u32(..classes));
    (0..busy(instances)).for_each(|_| {
        fleet.start(&request());
    });
    // The queues at home come to be first.
    (0..20 * busy(instances)).for_each(|_| fleet.turn(&request()));
    c.bench_function(&format!("dispatcher/homes/{instances}"), |b| b.iter(|| fleet.turn(&request())));
}

/// All workers busy, and a queue that neither grows nor shrinks.
fn queue(c: &mut Criterion, instances: u64) {
    let workers = (instances * u64::from(WORKERS)) as usize;
    let mut fleet = Fleet::new(dispatcher(instances), workers);
    (0..workers + WAITERS).for_each(|_| {
        fleet.start(&Request::small(0));
    });
    assert_eq!(fleet.running.len(), workers);
    c.bench_function(&format!("dispatcher/queue/{instances}"), |b| {
        b.iter(|| fleet.turn(&Request::small(0)));
    });
}

/// Large requests come and go among small ones that stay.
fn large(c: &mut Criterion, instances: u64) {
    let large = Request { lane: Lane::LARGE, ..Request::small(0) };
    let mut fleet = Fleet::new(dispatcher(instances), busy(instances));
    (0..busy(instances) * 3 / 4).for_each(|_| assert!(fleet.start(&Request::small(1)), "workers are free"));
    fleet.running.clear();
    (0..busy(instances) / 4).for_each(|_| assert!(fleet.start(&large), "workers are free"));
    c.bench_function(&format!("dispatcher/large/{instances}"), |b| b.iter(|| fleet.turn(&large)));
}

/// Requests that may use a few instances only, among others.
fn restricted(c: &mut Criterion, instances: u64) {
    let only: Arc<[InstanceId]> = (0..ONLY).map(|n| InstanceId(n * instances / ONLY)).collect();
    let request = Request { only: Some(only), ..Request::small(0) };
    let mut fleet = Fleet::new(dispatcher(instances), busy(instances));
    // All but a worker of each of them is busy with others.
    (0..instances as usize).for_each(|_| assert!(fleet.start(&Request::small(1)), "workers are free"));
    fleet.running.clear();
    assert!(fleet.start(&request), "a worker each is free");
    c.bench_function(&format!("dispatcher/restricted/{instances}"), |b| b.iter(|| fleet.turn(&request)));
}
