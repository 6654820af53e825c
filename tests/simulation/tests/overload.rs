//! More work than workers: who is served, who is turned away, how soon it is told; and nobody is while there is room.

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
    with_few_instances(&mut scenario);
    scenario
}

/// Two instances, and the traffic for them: a test must not take long.
fn with_few_instances(scenario: &mut Scenario) {
    let share = 2.0 / scenario.speeds.len() as f64;
    scenario.speeds.truncate(2);
    for class in &mut scenario.classes {
        if let Rate::Constant(rate) = &mut class.rate {
            *rate *= share;
        }
    }
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
    for name in ["a", "b", "w1", "three"] {
        let once = run(&minute(name, 1.0), "ncq-bounded", 1);
        let thrice = run(&minute(name, 3.0), "ncq-bounded", 1);
        thrice.classes.iter().for_each(|class| tell(name, class));
        let share = goodput(of(&thrice, Kind::Small)) / goodput(of(&once, Kind::Small));
        println!("{name}: small at 3x over small at 1x: {share:.2}");
        assert!(share >= 0.9, "{name}: {share}");
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
        let mut scenario = minute("d", 3.0);
        (scenario.duration_s, scenario.warm_up) = (120.0, 0.5);
        let outcome = run(&scenario, policy, 1);
        tell(policy, of(&outcome, Kind::Small));
        of(&outcome, Kind::Small).clone()
    };
    let own = served("ncq-bounded");
    assert!(own.p99_s < DEADLINE / 10.0, "{own:?}");
    assert!(own.turned_away.longest_wait_s <= AT_ONCE, "{own:?}");
    for name in ["timeout", "codel", "lifo"] {
        let other = served(name);
        assert!(other.turned_away.longest_wait_s > 1.0, "{other:?}");
        // Of the newest first, many are served when all is over: they have waited for half a minute.
        assert!(name == "lifo" || goodput(&own) >= 0.98 * goodput(&other), "{own:?}, {other:?}");
        assert!(name == "codel" || other.p99_s > 10.0 * own.p99_s, "{own:?}, {other:?}");
    }
}

/// Three times the capacity from 30 s to 90 s, then 0.6 times.
#[test]
fn nobody_is_turned_away_once_the_overload_is_over() {
    for name in ["a"] {
        let mut scenario = minute(name, 1.0);
        (scenario.duration_s, scenario.warm_up) = (150.0, 0.0);
        for class in &mut scenario.classes {
            let Rate::Constant(once) = class.rate else { panic!("{:?}", class.rate) };
            class.rate = Rate::Shift { before: 3.0 * once, after: 0.6 * once, at_s: 90.0 };
        }
        for class in run(&scenario, "ncq-bounded", 1).classes {
            tell(name, &class);
            let away = class.turned_away;
            assert!(class.kind == Kind::Small || away.count > 0, "{name}: it was an overload");
            assert!(away.last_s < 100.0, "{name}: the last at {} s", away.last_s);
        }
    }
}

/// Bursts, and loads below what the instances can do: some requests wait for long, and are served.
fn turned_away_with_room(names: &[&str], loads: &[f64], seconds: f64) -> Vec<String> {
    let mut told = vec![];
    for (name, load) in names.iter().flat_map(|name| loads.iter().map(move |load| (name, *load))) {
        let mut scenario = Scenario::named(name, load, 1.0).expect("a known scenario");
        (scenario.duration_s, scenario.warm_up) = (scenario.duration_s.min(seconds), 0.0);
        let outcome = run(&scenario, "ncq-bounded", 1);
        println!("{name} at {load}: {}", outcome.classes.iter().map(|class| class.count).sum::<u64>());
        for class in outcome.classes.iter().filter(|class| class.turned_away.count > 0) {
            told.push(format!("{name} at {load}: {:?} {:?}", class.kind, class.turned_away));
        }
    }
    told
}

#[test]
fn nobody_is_turned_away_while_there_is_room() {
    assert_eq!(turned_away_with_room(&["bursts", "exports"], &[1.0], 120.0), [""; 0]);
    assert_eq!(turned_away_with_room(&["w4"], &[0.9], 60.0), [""; 0]);
}

/// All workloads of the research whose load is bearable, and of the design: minutes of computing.
#[test]
#[ignore = "takes minutes: ./check simulate --overload"]
fn nobody_is_turned_away_in_any_workload() {
    // More than the instances can do, for a time: one worker for blobs, bursts and misses.
    let beyond = ["h1k", "h", "mmall", "affb", "g1", "caches"];
    let names: Vec<_> = RESEARCH.into_iter().chain(EMULATED).filter(|name| !beyond.contains(name)).collect();
    assert_eq!(turned_away_with_room(&names, &[0.7, 0.9], 600.0), [""; 0]);
}
