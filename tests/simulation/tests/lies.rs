//! An agent that reports nonsense harms little.

use std::time::Duration;

use sluice_simulation::model;
use sluice_simulation::policies;
use sluice_simulation::policy::{Dispatch, Head, InstanceReport, Job, JobId, Policy, Promise, World};
use sluice_simulation::scenario::{Kind, Lie, Reports, Scenario};
use sluice_simulation::stats::Outcome;

const SEED: u64 = 1;

/// Counts what each instance gets.
struct Counting {
    policy: Box<dyn Policy>,
    sent: Vec<u64>,
}

impl Counting {
    fn count(&mut self, before: usize, out: &[Dispatch]) {
        out[before..].iter().for_each(|dispatch| self.sent[dispatch.instance] += 1);
    }
}

impl Policy for Counting {
    fn arrive(&mut self, now: Duration, job: &Job, out: &mut Vec<Dispatch>) {
        let before = out.len();
        self.policy.arrive(now, job, out);
        self.count(before, out);
    }

    fn head(&mut self, now: Duration, job: JobId, head: Head) {
        self.policy.head(now, job, head);
    }

    fn released(&mut self, now: Duration, job: JobId, out: &mut Vec<Dispatch>) {
        let before = out.len();
        self.policy.released(now, job, out);
        self.count(before, out);
    }

    fn ended(&mut self, now: Duration, job: JobId, out: &mut Vec<Dispatch>) {
        let before = out.len();
        self.policy.ended(now, job, out);
        self.count(before, out);
    }

    fn timer(&mut self, now: Duration, out: &mut Vec<Dispatch>) {
        let before = out.len();
        self.policy.timer(now, out);
        self.count(before, out);
    }

    fn report(&mut self, now: Duration, reports: &[InstanceReport]) {
        self.policy.report(now, reports);
    }

    fn promise(&self) -> Promise {
        // What the liar can take is what is measured here.
        Promise::Nothing
    }

    fn check(&self, world: &World<'_>) -> Result<(), String> {
        self.policy.check(world)
    }
}

/// Result, and the liar's share of the requests over its fair share.
fn run(name: &str, load: f64, scale: f64, lie: Option<Lie>) -> (Outcome, f64) {
    let mut scenario = Scenario::named(name, load, scale).expect("a known scenario");
    scenario.reports = Reports { liar: lie.map(|lie| (0, lie)), ..Reports::default() };
    let entry = policies::named("ncq").expect("Sluice's own");
    let policy = (entry.make)(&scenario.setup(SEED));
    let mut counting = Counting { policy, sent: vec![0; scenario.speeds.len()] };
    let outcome = model::run(&scenario, &mut counting, SEED);
    assert!(outcome.violations.is_empty(), "{name}, {lie:?}: {:?}", outcome.violations);
    let all: u64 = counting.sent.iter().sum();
    let share = counting.sent[0] as f64 / all as f64 * counting.sent.len() as f64;
    (outcome, share)
}

fn small_p99(outcome: &Outcome) -> f64 {
    outcome.kind(Kind::Small).expect("small requests").p99_s
}

#[test]
fn a_lying_agent_takes_little_and_slows_little() {
    for (name, load, scale) in [("d", 0.7, 0.1), ("a", 0.7, 0.05), ("w1", 0.7, 0.05), ("all-small", 1.0, 0.2)]
    {
        let (honest, fair) = run(name, load, scale, None);
        for lie in [Lie::Zero, Lie::ThousandWorkers, Lie::OtherClasses] {
            let (outcome, share) = run(name, load, scale, Some(lie));
            let harm = small_p99(&outcome) / small_p99(&honest);
            println!(
                "{name}, {lie:?}: small p99 x {harm:.2}, share {share:.2}, honest {fair:.2} (seed {SEED})"
            );
            assert!(harm <= 1.5, "{name}, {lie:?}: small p99 x {harm}");
            assert!(share <= 2.0 * fair.max(1.0), "{name}, {lie:?}: {share} of its fair share");
        }
    }
}

/// 16 workers each that have to be found out: after five seconds nothing is left to notice.
#[test]
fn an_honest_agent_with_many_workers_is_soon_believed() {
    let scenario = Scenario::named("w16", 0.7, 0.03).expect("a known scenario");
    let p99 = |name, from_s: f64| {
        let mut scenario = scenario.clone();
        scenario.warm_up = from_s / scenario.duration_s;
        let entry = policies::named(name).expect("a known policy");
        small_p99(&model::run(&scenario, &mut *(entry.make)(&scenario.setup(SEED)), SEED)) * 1e3
    };
    for from_s in [0.0, 5.0] {
        let (ncq, lc) = (p99("ncq", from_s), p99("lc", from_s));
        println!("w16 from {from_s} s: small p99 {ncq:.1} ms, least connections {lc:.1} ms (seed {SEED})");
        assert!(ncq <= 1.05 * lc || from_s == 0.0, "{ncq} ms, least connections {lc} ms");
    }
}
