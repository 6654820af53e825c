//! The model against queueing theory: where a formula is exact, the simulation must agree with it.

use sluice_emulation::dist::Dist;
use sluice_simulation::model;
use sluice_simulation::policies;
use sluice_simulation::scenario::{Kind, Scenario};

const SEED: u64 = 42;

/// Small jobs only, on one instance, with no round trip.
fn one_instance(workers: usize, load: f64, held_s: Dist, duration_s: f64) -> Scenario {
    let mut scenario = Scenario::named("d", load, 1.0).expect("a known scenario");
    // `d` has 16 workers and 10 ms jobs: the rate shrinks with the workers.
    let rate = load * workers as f64 / held_s.mean();
    scenario.classes[0].rate = sluice_simulation::scenario::Rate::Constant(rate);
    scenario.classes[0].held_s = held_s;
    scenario.speeds = vec![1.0];
    scenario.workers = workers;
    scenario.round_trip_s = 0.0;
    scenario.duration_s = duration_s;
    scenario
}

/// Mean time from arrival to start, in seconds.
fn mean_wait(scenario: &Scenario, policy: &str) -> f64 {
    let entry = policies::named(policy).expect("a known policy");
    let mut policy = (entry.make)(&scenario.setup(SEED));
    let outcome = model::run(scenario, &mut *policy, SEED);
    let small = outcome.kind(Kind::Small).expect("small jobs");
    small.mean_s - scenario.classes[0].held_s.mean()
}

/// Probability that all of `workers` are busy, by the Erlang C formula; `offered` in workers.
fn erlang_c(workers: usize, offered: f64) -> f64 {
    let blocked = (1..=workers).fold(1.0, |b, k| offered * b / (k as f64 + offered * b));
    blocked / (1.0 - offered / workers as f64 * (1.0 - blocked))
}

fn assert_near(found: f64, expected: f64, tolerance: f64, what: &str) {
    // Over the lengths below the standard error is about 1.5 %.
    let ratio = found / expected;
    assert!((ratio - 1.0).abs() < tolerance, "{what}: {found} s, theory says {expected} s (seed {SEED})");
}

#[test]
fn one_worker_waits_as_pollaczek_and_khinchine_say() {
    // W = load * E[S] * (1 + cv^2) / (2 * (1 - load)).
    for (held_s, cv2) in
        [(Dist::Exponential { mean: 0.01 }, 1.0), (Dist::Constant(0.01), 0.0), (lognormal(), 1.0)]
    {
        let scenario = one_instance(1, 0.5, held_s, 3000.0);
        let expected = 0.5 * 0.01 * (1.0 + cv2) / (2.0 * 0.5);
        assert_near(mean_wait(&scenario, "random"), expected, 0.05, "M/G/1");
    }
}

#[test]
fn several_workers_wait_as_erlang_says_wherever_the_queue_is() {
    let scenario = one_instance(4, 0.7, Dist::Exponential { mean: 0.01 }, 1000.0);
    let expected = erlang_c(4, 2.8) * 0.01 / (4.0 - 2.8);
    for policy in ["central", "lc"] {
        assert_near(mean_wait(&scenario, policy), expected, 0.05, policy);
    }
}

fn lognormal() -> Dist {
    Dist::Lognormal { mean: 0.01, cv: 1.0 }
}
