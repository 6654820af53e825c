//! More work than workers: who is served, who is turned away, how soon it is told; and nobody is while there is room.

use std::ops::Range;

use sluice_simulation::model;
use sluice_simulation::policies;
use sluice_simulation::scenario::{EMULATED, Kind, RESEARCH, Rate, Scenario};
use sluice_simulation::stats::{ClassOutcome, Outcome};

/// The default `--queue-timeout`, in seconds.
const DEADLINE: f64 = 30.0;
/// What is turned away later than this was kept waiting for nothing, in seconds.
const AT_ONCE: f64 = 0.05;

fn run(scenario: &Scenario, policy: &str, seed: u64) -> Outcome {
    let entry = policies::named(policy).expect("a known policy");
    let mut policy = (entry.make)(&scenario.setup(seed));
    let outcome = model::run(scenario, &mut *policy, seed);
    assert!(outcome.violations.is_empty(), "{}: {:?}", scenario.name, outcome.violations);
    outcome
}

/// A minute and a half, of which the last minute counts.
fn minute(name: &str, load: f64) -> Scenario {
    let mut scenario = Scenario::named(name, load, 1.0).expect("a known scenario");
    (scenario.duration_s, scenario.warm_up) = (90.0, 1.0 / 3.0);
    scenario
}

fn of(outcome: &Outcome, kind: Kind) -> &ClassOutcome {
    outcome.kind(kind).expect("in the scenario")
}

/// Requests of a class that came to something in the counted minute, per second.
fn goodput(class: &ClassOutcome) -> f64 {
    class.count as f64 / 60.0
}

fn tell(what: &str, class: &ClassOutcome) {
    println!(
        "{what}: {:?}: {:.1} per second, p99 {:.2} s; {} turned away, after {:.3} s at most",
        class.kind,
        goodput(class),
        class.p99_s,
        class.turned_away.count,
        class.turned_away.longest_wait_s
    );
}

#[test]
fn at_three_times_the_capacity_small_requests_keep_their_share_and_the_rest_is_told_at_once() {
    for name in ["a", "b", "w1", "w4", "three"] {
        let once = run(&minute(name, 1.0), "ncq-bounded", 1);
        let thrice = run(&minute(name, 3.0), "ncq-bounded", 1);
        thrice.classes.iter().for_each(|class| tell(name, class));
        let share = goodput(of(&thrice, Kind::Small)) / goodput(of(&once, Kind::Small));
        println!("{name}: small at 3x over small at 1x: {share:.2}");
        assert!(share >= 0.9, "{name}: {share}");
        assert!(thrice.utilisation > 0.97, "{name}: {}", thrice.utilisation);
        for class in &thrice.classes {
            let deadline = if class.kind == Kind::Small { DEADLINE } else { 2.0 * DEADLINE };
            assert!(class.p99_s < deadline, "{name}: {class:?}");
        }
        let small = of(&thrice, Kind::Small).turned_away;
        assert!(small.longest_wait_s <= AT_ONCE, "{name}: {small:?}");
        let large = of(&thrice, Kind::Large).turned_away;
        assert!(large.longest_wait_s <= AT_ONCE, "{name}: {large:?}");
    }
}

#[test]
fn what_is_turned_away_at_the_door_costs_nobody_anything() {
    let served = |policy: &str| {
        let outcome = run(&minute("d", 3.0), policy, 1);
        tell(policy, of(&outcome, Kind::Small));
        of(&outcome, Kind::Small).clone()
    };
    let own = served("ncq-bounded");
    assert!(own.p99_s < DEADLINE / 10.0, "{own:?}");
    for other in ["timeout", "codel", "lifo"] {
        let other = served(other);
        assert!(goodput(&own) >= 0.98 * goodput(&other), "as many are served: {own:?}, {other:?}");
        assert!(own.turned_away.longest_wait_s <= AT_ONCE && other.turned_away.longest_wait_s > 1.0);
    }
}

/// Three times the capacity from 30 s to 90 s, then 0.6 times.
#[test]
fn nobody_is_turned_away_once_the_overload_is_over() {
    for name in ["a", "w1"] {
        let mut scenario = minute(name, 1.0);
        (scenario.duration_s, scenario.warm_up) = (150.0, 0.0);
        for class in &mut scenario.classes {
            let Rate::Constant(once) = class.rate else { panic!("{:?}", class.rate) };
            class.rate = Rate::Shift { before: 3.0 * once, after: 0.6 * once, at_s: 90.0 };
        }
        for class in run(&scenario, "ncq-bounded", 1).classes {
            tell(name, &class);
            let Range { start, end } = if class.kind == Kind::Small { 80.0..100.0 } else { 60.0..100.0 };
            let last = class.turned_away.last_s;
            assert!((start..end).contains(&last), "{name}: the last at {last} s");
        }
    }
}

#[test]
fn nobody_is_turned_away_who_would_have_been_served() {
    let beyond = ["e", "h1k", "mmall", "affb", "g1", "caches"];
    for name in RESEARCH.iter().chain(&EMULATED).filter(|name| !beyond.contains(name)) {
        for load in [0.7, 0.9] {
            let mut scenario = Scenario::named(name, load, 1.0).expect("a known scenario");
            scenario.duration_s = scenario.duration_s.min(240.0);
            scenario.warm_up = 0.0;
            let outcome = run(&scenario, "ncq-bounded", 1);
            for class in &outcome.classes {
                if class.turned_away.count > 0 {
                    tell(&format!("{name} at {load}"), class);
                }
            }
        }
    }
}
