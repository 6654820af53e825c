//! The findings that the baselines must reproduce, on short runs: figures of algorithms.md 2.1 and 2.2, with
//! room for the seed.

use sluice_simulation::model;
use sluice_simulation::policies;
use sluice_simulation::scenario::{EMULATED, Kind, RESEARCH, Scenario};
use sluice_simulation::stats::Outcome;

const SEED: u64 = 1;

fn run(scenario: &str, load: f64, scale: f64, policy: &str) -> Outcome {
    let scenario = Scenario::named(scenario, load, scale).expect("a known scenario");
    let entry = policies::named(policy).expect("a known policy");
    let mut policy = (entry.make)(&scenario.setup(SEED));
    model::run(&scenario, &mut *policy, SEED)
}

/// Milliseconds.
fn small_p99(scenario: &str, load: f64, scale: f64, policy: &str) -> f64 {
    run(scenario, load, scale, policy).kind(Kind::Small).expect("small jobs").p99_s * 1e3
}

#[test]
fn separation_keeps_small_requests_fast_beside_blobs() {
    let p99 = |policy| small_p99("a", 0.7, 0.15, policy);
    let bands = [
        ("lc", 280.0, 1200.0),
        ("central", 150.0, 700.0),
        ("prio", 80.0, 220.0),
        ("darc", 48.0, 65.0),
        ("sita-cs", 46.0, 56.0),
        ("cap11", 46.0, 58.0),
    ];
    for (policy, least, most) in bands {
        let found = p99(policy);
        assert!((least..most).contains(&found), "{policy}: {found} ms (seed {SEED})");
    }
}

#[test]
fn a_job_more_per_instance_hides_the_round_trip_at_high_load() {
    let (central, one_more) = (small_p99("d", 0.95, 0.2, "central"), small_p99("d", 0.95, 0.2, "central+1"));
    assert!(central > 2.0 * one_more, "{central} and {one_more} ms (seed {SEED})");
}

#[test]
fn counting_connections_as_slots_ruins_a_queue_when_workers_are_free_early() {
    let (central, lc) = (small_p99("async", 0.7, 0.1, "central"), small_p99("async", 0.7, 0.1, "lc"));
    assert!((55.0..85.0).contains(&lc), "{lc} ms (seed {SEED})");
    assert!(central > 100.0 * lc, "{central} ms (seed {SEED})");
}

#[test]
fn resumelb_finds_homes_for_sites_and_others_do_not() {
    let (resume, lc) = (run("aff", 0.7, 0.2, "resume"), run("aff", 0.7, 0.2, "lc"));
    assert!(resume.hit_ratio.is_some_and(|ratio| ratio > 0.9), "{:?}", resume.hit_ratio);
    assert!(lc.hit_ratio.is_some_and(|ratio| ratio < 0.4), "{:?}", lc.hit_ratio);
    let p99 = resume.kind(Kind::Small).expect("small jobs").p99_s * 1e3;
    assert!((55.0..100.0).contains(&p99), "{p99} ms (seed {SEED})");
}

#[test]
fn every_scenario_offers_the_load_that_it_is_asked_for() {
    for name in RESEARCH {
        let scenario = Scenario::named(name, 0.8, 1.0).expect(name);
        let offered: f64 = scenario.classes.iter().map(|c| c.rate.at_first() * c.held_s.mean()).sum();
        assert!((offered / scenario.capacity() - 0.8).abs() < 1e-9, "{name}");
    }
}

#[test]
fn workers_are_busy_as_the_load_says() {
    let used = run("d", 0.8, 0.1, "central").utilisation;
    assert!((used - 0.8).abs() < 0.02, "{used} (seed {SEED})");
}

#[test]
fn design_rows_have_the_emulation_s_figures_ten_times_as_long() {
    for name in EMULATED {
        let scenario = Scenario::named(name, 1.0, 1.0).expect(name);
        assert_eq!((scenario.speeds.len(), scenario.workers), (4, 1), "{name}");
        let emulated = sluice_emulation::scenario::Scenario::named(name).expect(name).workload.duration;
        assert!((scenario.duration_s - 10.0 * emulated.as_secs_f64()).abs() < 1e-9, "{name}");
    }
    let exports = Scenario::named("exports", 1.0, 1.0).expect("a row of design.md");
    let rates: Vec<f64> = exports.classes.iter().map(|class| class.rate.at_first()).collect();
    assert_eq!(rates, [150.0, 0.6]);
    assert_eq!(exports.classes[1].name, "GET /export/{n}");
    assert!(Scenario::named("nothing", 1.0, 1.0).is_none());
}

#[test]
fn a_class_that_appears_is_seen_in_the_second_it_does() {
    let adaptation = run("appears", 1.0, 0.2, "lc").adaptation.expect("the traffic changes");
    assert!(adaptation.worst_p99_s > 3.0 * adaptation.p99_before_s, "{adaptation:?} (seed {SEED})");
}
