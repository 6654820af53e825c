//! What one scheduler knew and the next continues.

use std::collections::HashMap;
use std::time::Duration;

use sluice_proto::{ClassName, InstanceName};

use super::tests::{EXPORT, PAGE, Site, mixed};
use super::*;

fn name(class: u32) -> ClassName {
    ClassName::parse(&format!("GET /{class}")).expect("a name")
}

/// What is written down of a site, as text.
fn saved(site: &Site) -> String {
    let classes: HashMap<_, _> = [PAGE, EXPORT].map(|class| (ClassId(class), name(class))).into();
    let instances = site.named.instances.iter().map(|(id, name, _)| (*id, name.clone())).collect();
    serde_json::to_string(&site.scheduler.knowledge().state(&classes, &instances)).expect("plain data")
}

/// The next process: classes and instances have other numbers, and no instance has come yet.
fn restarted(text: &str, settings: Settings) -> Site {
    let mut site = Site::new(0);
    let state = serde_json::from_str(text).expect("as it was written");
    let class = |text: &str| match text {
        "GET /1" => Some(ClassId(PAGE)),
        "GET /2" => Some(ClassId(EXPORT)),
        _ => None,
    };
    site.scheduler = Scheduler::restored(site.now, settings, fastrand::Rng::with_seed(8), state, class);
    site
}

fn come(site: &mut Site, numbers: &[u64]) {
    for number in numbers {
        let (id, name) = (InstanceId(100 + number), format!("i{number}").parse().expect("a name"));
        site.scheduler.set_instance(id, 1, true, site.now);
        site.named.instances.push((id, name, None));
        site.scheduler.replan(site.now, 0, site.named.clone());
    }
}

fn dedicated(plan: &ServicePlan) -> Vec<&InstanceName> {
    let name = |id| plan.instances.iter().find(|entry| entry.id == id).map(|entry| &entry.instance);
    plan.dedicated.instances.iter().filter_map(|id| name(*id)).collect()
}

#[test]
fn what_was_large_is_large_at_its_first_request() {
    let mut before = Site::new(4);
    mixed(&mut before);
    let mut after = restarted(&saved(&before), Settings::default());
    for (class, large) in [(PAGE, false), (EXPORT, true)] {
        let ask = after.ask(class);
        assert_eq!(after.scheduler.judge(&ask).lane.is_large(), large, "{class}");
    }
    let held = |site: &Site| site.scheduler.learner().lane_held(Lane::LARGE).mean().expect("known");
    assert_eq!(held(&after), held(&before));
    assert_eq!(after.scheduler.learner().bounds().begins(), before.scheduler.learner().bounds().begins());
    assert_eq!(after.scheduler.url_seed(), before.scheduler.url_seed());
}

#[test]
fn what_changed_meanwhile_shows_after_a_few_requests() {
    let mut before = Site::new(4);
    mixed(&mut before);
    let mut after = restarted(&saved(&before), Settings::default());
    come(&mut after, &[0, 1, 2, 3]);
    after.serve_many(15, EXPORT, 10);
    let ask = after.ask(EXPORT);
    assert!(!after.scheduler.judge(&ask).lane.is_large(), "{:?}", after.scheduler.judge(&ask));
}

#[test]
fn the_plan_continues_once_all_instances_have_come() {
    let mut before = Site::new(4);
    mixed(&mut before);
    let old = before.scheduler.plan().clone();
    assert!(!old.dedicated.instances.is_empty() && old.lanes[1].high < 4, "{old:?}");
    let mut after = restarted(&saved(&before), Settings::default());
    come(&mut after, &[3, 1, 0, 2]);
    let new = after.scheduler.plan();
    assert_eq!(dedicated(new), dedicated(&old));
    assert_eq!((new.lanes[1].cap, new.lanes[1].high), (old.lanes[1].cap, old.lanes[1].high));
    assert!(new.version > old.version);
}

#[test]
fn an_instance_that_never_comes_is_not_waited_for_long() {
    let mut before = Site::new(4);
    mixed(&mut before);
    let mut after = restarted(&saved(&before), Settings::default());
    come(&mut after, &[0]);
    // But for the counts of ticks, which begin anew.
    let plan = |text: &str| {
        let mut plan = serde_json::from_str::<serde_json::Value>(text).expect("valid")["plan"].clone();
        let lanes = plan["lanes"].as_array_mut().expect("lanes");
        lanes.iter_mut().for_each(|lane| lane["lower_wanted"] = 0.into());
        plan
    };
    assert_eq!(plan(&saved(&after)), plan(&saved(&before)), "a restart in between loses nothing");
    after.pass(15_000);
    after.tick();
    after.pass(1_000);
    after.tick();
    assert_eq!(after.scheduler.plan().lanes[1].high, 1, "planned for what is there");
}

#[test]
fn homes_are_the_same_by_name() {
    let mut before = Site::new(4);
    let homes = [InstanceId(2), InstanceId(0)];
    before.scheduler.dispatcher.set_homes(ClassId(PAGE), &homes);
    let mut after = restarted(&saved(&before), Settings::default());
    come(&mut after, &[3]);
    after.serve_many(5, PAGE, 10);
    come(&mut after, &[0, 2]);
    assert_eq!(after.scheduler.dispatcher.homes_of(ClassId(PAGE)), [InstanceId(102), InstanceId(100)]);
}

#[test]
fn what_is_not_possible_is_left_out() {
    let mut before = Site::new(4);
    mixed(&mut before);
    let text = saved(&before);
    let mut tree: serde_json::Value = serde_json::from_str(&text).expect("valid");
    tree["learner"]["bounds"] = serde_json::json!([-1.0]);
    tree["learner"]["lanes"][1]["held"]["mean"] = serde_json::json!(-7.5);
    tree["learner"]["lanes"][1]["rate"] = serde_json::json!(1e300);
    tree["plan"]["lanes"][1]["cap"] = serde_json::json!(1_000_000);
    tree["plan"]["version"] = serde_json::json!(u64::MAX);
    let mut after = restarted(&tree.to_string(), Settings::default());
    come(&mut after, &[0, 1, 2, 3]);
    let learner = after.scheduler.learner();
    assert_eq!(learner.bounds(), &crate::decide::learn::bounds::Bounds::default());
    assert_eq!((learner.lane_held(Lane::LARGE).mean(), learner.lane_rate(Lane::LARGE)), (None, 0.0));
    assert!(after.scheduler.plan().lanes[1].cap <= 4);
    after.pass(Duration::from_secs(1).as_millis() as u64);
    after.tick();
}

/// Every number of a tree.
fn numbers<'a>(tree: &'a mut serde_json::Value, all: &mut Vec<&'a mut serde_json::Value>) {
    match tree {
        serde_json::Value::Number(_) => all.push(tree),
        serde_json::Value::Array(items) => items.iter_mut().for_each(|item| numbers(item, all)),
        serde_json::Value::Object(fields) => fields.values_mut().for_each(|field| numbers(field, all)),
        _ => {}
    }
}

#[test]
fn no_figures_in_a_file_stop_a_start() {
    let mut before = Site::new(4);
    before.scheduler.dispatcher.set_homes(ClassId(PAGE), &[InstanceId(2)]);
    mixed(&mut before);
    let text = saved(&before);
    let mut read = 0;
    for seed in 0..300 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut tree: serde_json::Value = serde_json::from_str(&text).expect("valid");
        let mut all = Vec::new();
        numbers(&mut tree, &mut all);
        for _ in 0..rng.usize(1..8) {
            let index = rng.usize(..all.len());
            let odd =
                ["0", "-1", "1e300", "-1e300", "1e-300", "18446744073709551615", "4294967295", "0.5", "1e38"];
            *all[index] = serde_json::from_str(odd[rng.usize(..odd.len())]).expect("a number");
        }
        let odd = tree.to_string();
        // What does not even fit its type is refused as a whole.
        if serde_json::from_str::<SchedulerState>(&odd).is_err() {
            continue;
        }
        read += 1;
        let mut after = restarted(&odd, Settings::default());
        come(&mut after, &[0, 1, 2, 3]);
        for _ in 0..3 {
            for class in [PAGE, EXPORT] {
                let ask = after.ask(class);
                let (arrival, judgement) = after.scheduler.arrive(after.now, &ask, &[], || 0);
                assert!(judgement.prediction.held.mean.is_finite(), "seed {seed}: {judgement:?}");
                if let Arrival::Slot(granted) = arrival {
                    after.pass(10);
                    let outcome =
                        Outcome { answered: true, failed: false, bytes: Some(1000), held_to_the_end: true };
                    after.scheduler.end(granted.run, outcome, after.now);
                }
            }
            after.pass(1000);
            after.tick();
        }
        assert!(after.scheduler.plan().lanes.iter().all(|lane| lane.cap >= 1), "seed {seed}");
    }
    assert!(read > 100, "only {read} of 300 tell anything");
}
