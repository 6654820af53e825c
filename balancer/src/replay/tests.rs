use std::io::Write;
use std::time::{Duration, Instant};

use super::*;
use crate::decide::decision::{Decision, Head, Line, SCHEMA};
use crate::decide::dispatch::{Arrival, ClassId, InstanceId, RunId};
use crate::decide::plan::PlanParams;
use crate::decide::predict::{ExtensionKey, RequestKey, UrlKey};
use crate::decide::schedule::{Ask, Named, Outcome, Planned, Scheduler, Settings};

const INSTANCES: u64 = 6;

/// Minutes of pages of 20 ms and exports of 2 s, as many of them as chance says, under the plans that
/// they lead to. Every plan, made each second.
fn run(seed: u64, seconds: u64) -> Vec<Planned> {
    let mut rng = fastrand::Rng::with_seed(seed);
    let start = Instant::now();
    let mut scheduler: Scheduler<u32> = Scheduler::new(start, Settings::default(), rng.fork());
    let mut named = Named::default();
    for id in 0..INSTANCES {
        scheduler.set_instance(InstanceId(id), 2, true, start);
        named.instances.push((InstanceId(id), format!("zope-{id}").parse().expect("a name"), None));
    }
    let mut running: Vec<(Instant, RunId)> = Vec::new();
    let mut plans = Vec::new();
    for ms in (0..seconds * 1000).step_by(10) {
        let now = start + Duration::from_millis(ms);
        for (_, run) in running.extract_if(.., |(end, _)| *end <= now) {
            let outcome = Outcome { answered: true, failed: false, bytes: Some(1000), held_to_the_end: true };
            scheduler.end(run, outcome, now);
        }
        // Exports come by the minute: many, few, none.
        let exports = [0.005, 0.02, 0.0][(ms / 60_000 % 3) as usize];
        for (class, chance, held) in [(1, 0.8, 20), (2, exports, 2000)] {
            if rng.f64() < chance {
                let url = UrlKey(rng.u64(0..1000));
                let ask = Ask::new(RequestKey { class: ClassId(class), url, extension: ExtensionKey::Bare });
                if let (Arrival::Slot(granted), _) = scheduler.arrive(now, &ask, &[], || 0) {
                    let held = Duration::from_millis(rng.u64(held / 2..held * 2));
                    running.push((now + held, granted.run));
                }
            }
        }
        while let Some(grant) = scheduler.next_grant(now) {
            running.push((now + Duration::from_millis(20), grant.granted.run));
        }
        if ms % 1000 == 0 {
            plans.push(scheduler.tick(now, ms, named.clone()));
        }
    }
    plans
}

fn decision(number: u64, planned: Planned) -> Decision {
    let Planned { previous, snapshot, plan } = planned;
    let service = ServiceName::default();
    Decision { at_ms: snapshot.at_ms, service, number, previous, snapshot, plan }
}

/// The lines that are written of these plans; `kept` says of which.
fn written(plans: Vec<Planned>, kept: impl Fn(&Planned) -> bool) -> String {
    let (schema, version, params) = (SCHEMA, "test".to_owned(), PlanParams::default());
    let mut lines = vec![Line::Head(Head { schema, version, run: 1, params })];
    let numbered = (1..).zip(plans).filter(|(_, planned)| kept(planned));
    lines.extend(numbered.map(|(number, planned)| Line::Decision(Box::new(decision(number, planned)))));
    lines.iter().map(|line| serde_json::to_string(line).expect("plain data") + "\n").collect()
}

fn file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.write_all(text.as_bytes()).expect("written");
    file
}

fn settings(text: &[&str]) -> Vec<Setting> {
    text.iter().map(|text| text.parse().expect("KEY=VALUE")).collect()
}

#[test]
fn with_the_same_parameters_every_decision_is_the_same_to_the_last_bit() {
    for seed in 0..5 {
        let plans = run(seed, 240);
        let caps: std::collections::BTreeSet<_> =
            plans.iter().map(|p| (p.plan.lanes[1].cap, p.plan.dedicated.instances.len())).collect();
        assert!(caps.len() > 3, "seed {seed}: a run in which little is decided proves little: {caps:?}");
        for (case, every) in [("all", 1), ("with gaps", 7)] {
            let text = written(plans.clone(), |planned| planned.snapshot.at_ms / 1000 % every == 0);
            let recorded = read(file(&text).path()).expect("just written");
            for continuity in [Continuity::Own, Continuity::Recorded] {
                for again in replay(recorded.clone(), &[], continuity).expect("nothing is set") {
                    let number = again.recorded.decision.number;
                    assert_eq!(again.plan, again.recorded.decision.plan, "seed {seed}, {case}, {number}");
                }
            }
        }
    }
}

#[test]
fn other_parameters_decide_otherwise_and_the_summary_says_how_much() {
    let text = written(run(1, 240), |_| true);
    let recorded = read(file(&text).path()).expect("just written");
    let again = replay(recorded, &settings(&["cap.small_bias=3", "patience=0"]), Continuity::Own);
    let again = again.expect("both are parameters");
    let summary = Summary::of(&again);
    assert_eq!(summary.decisions, 240);
    assert!(summary.differ > 0 && summary.large_cap[1] < summary.large_cap[0], "{summary:?}");
    let mut table = Vec::new();
    show::table(&again, &mut table).expect("memory");
    let table = String::from_utf8(table).expect("text");
    let last = table.lines().last().expect("a summary");
    assert!(
        last.starts_with(&format!("240 decisions, {} differ; large cap mean ", summary.differ)),
        "{last}"
    );
    assert!(last.contains("instead of"), "{last}");
    assert!(table.lines().any(|l| l.starts_with("1970-01-01T00:") && l.contains("  lane 1 ")), "{table}");
}

#[test]
fn a_service_after_a_gap_continues_what_was_recorded() {
    // Hysteresis that never ends: what was raised stays up while plans follow each other.
    let plans = run(1, 240);
    let high = |text: &str| {
        let recorded = read(file(text).path()).expect("just written");
        let again = replay(recorded, &settings(&["lower_after=86400"]), Continuity::Own).expect("valid");
        again.last().expect("decisions").plan.lanes[1].high
    };
    let without_gap = high(&written(plans.clone(), |_| true));
    let last_ms = plans.last().expect("plans").snapshot.at_ms;
    let after_a_gap = high(&written(plans.clone(), |planned| {
        planned.snapshot.at_ms == last_ms || planned.snapshot.at_ms < 180_000
    }));
    // The first plan is made before any small request came, and is not defended once they have come.
    let most = plans.iter().skip(1).map(|p| p.plan.lanes[1].high).max().expect("plans");
    assert_eq!(without_gap, most);
    assert!(after_a_gap <= plans[plans.len() - 2].plan.lanes[1].high, "{after_a_gap} of {most}");
}

#[test]
fn what_can_not_be_set_is_refused_with_what_can() {
    for (setting, parts) in [
        ("cap.bias=1", &["cap.bias", "cap.small_bias", "patience", "lower_after"][..]),
        ("cap=1", &["cap.small_bias"]),
        ("patience=soon", &["patience", "soon", "a number"]),
        ("lower_after=1.5", &["lower_after", "1.5", "whole number"]),
        ("lower_after=0", &["lower_after", "from 1"]),
        ("cap.small_bias=100", &["cap.small_bias", "0.1 to 10"]),
    ] {
        let error = apply(PlanParams::default(), &settings(&[setting])).expect_err(setting).to_string();
        assert!(parts.iter().all(|part| error.contains(part)), "{setting}: {error}");
    }
    assert!("patience".parse::<Setting>().is_err());
    let set = apply(PlanParams::default(), &settings(&["patience=0", "cap.reserve=2"])).expect("valid");
    assert_eq!((set.patience, set.cap.reserve, set.lower_after), (0.0, 2.0, 5));
}

#[test]
fn a_file_that_can_not_be_read_is_told_with_the_line() {
    let good = written(run(1, 3), |_| true);
    let (head, decisions) = good.split_once('\n').expect("a head");
    let other_schema = head.replacen(&format!("\"schema\":{SCHEMA}"), "\"schema\":99", 1);
    for (case, text, parts) in [
        ("empty", String::new(), &["no decision"][..]),
        ("no head", decisions.to_owned(), &["line 1", "no head"]),
        ("foreign", format!("{head}\n{{}}\n"), &["line 2", "no line of a log"]),
        ("schema", format!("{other_schema}\n{decisions}"), &["line 1", "99"]),
        ("broken in the middle", good.replacen("\"number\":2", "\"number\":", 1), &["line 3"]),
    ] {
        let error = read(file(&text).path()).expect_err(case).to_string();
        assert!(parts.iter().all(|part| error.contains(part)), "{case}: {error}");
    }
    let crashed = &good[..good.len() - 20];
    assert_eq!(read(file(crashed).path()).expect("but for the last line").len(), 2);
}
