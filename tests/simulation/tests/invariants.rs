//! Every baseline keeps its promises in every scenario, and the checker finds those that break them.

use std::collections::VecDeque;
use std::time::Duration;

use sluice_simulation::check::Rule;
use sluice_simulation::experiment::Experiment;
use sluice_simulation::model;
use sluice_simulation::policies;
use sluice_simulation::policy::{Dispatch, Hold, Job, JobId, OverCommit, Policy, Promise, World};
use sluice_simulation::scenario::{EMULATED, RESEARCH, Reports, Scenario};
use sluice_simulation::stats::Outcome;
use sluice_simulation::table;

#[test]
fn every_policy_serves_every_job_and_keeps_its_promise() {
    let experiment = Experiment {
        scenarios: RESEARCH.iter().chain(&EMULATED).map(|name| (*name).to_owned()).collect(),
        loads: vec![0.9],
        policies: policies::ALL.to_vec(),
        seeds: vec![1],
        scale: 0.005,
        reports: Reports::default(),
    };
    let cells = experiment.run(2).expect("known scenarios");
    assert_eq!(table::violations(&cells), "");
    assert_eq!(cells.len(), (RESEARCH.len() + EMULATED.len()) * policies::ALL.len());
    assert!(cells.iter().all(|cell| cell.runs.iter().all(|run| run.unfinished == 0)));
}

/// A central queue with a fault.
#[derive(Default)]
struct Faulty {
    fault: Fault,
    queue: VecDeque<JobId>,
    running: usize,
    arrived: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Fault {
    #[default]
    Nothing,
    /// Every hundredth job is forgotten.
    Loses,
    /// Every hundredth job is sent twice.
    Repeats,
    /// To an instance that is not there.
    Astray,
    /// More than workers allow.
    Overfills,
    /// Never uses the last slot.
    Idles,
    /// Its own books are wrong.
    Miscounts,
}

/// One instance with two workers at 70 %.
fn scenario() -> Scenario {
    let mut scenario = Scenario::named("d", 0.7 / 8.0, 0.02).expect("a known scenario");
    scenario.speeds = vec![1.0];
    scenario
}

impl Faulty {
    fn drain(&mut self, out: &mut Vec<Dispatch>) {
        let slots = match self.fault {
            Fault::Overfills => 3,
            Fault::Idles => 1,
            _ => 2,
        };
        while self.running < slots
            && let Some(job) = self.queue.pop_front()
        {
            self.running += 1;
            out.push(Dispatch { job, instance: 0 });
        }
    }
}

impl Policy for Faulty {
    fn arrive(&mut self, _now: Duration, job: &Job, out: &mut Vec<Dispatch>) {
        self.arrived += 1;
        let special = self.arrived.is_multiple_of(100);
        match self.fault {
            Fault::Loses if special => return,
            Fault::Astray if special => out.push(Dispatch { job: job.id, instance: 1 }),
            _ => {}
        }
        self.queue.push_back(job.id);
        self.drain(out);
        if self.fault == Fault::Repeats && special {
            out.extend(out.last().copied());
        }
    }

    fn ended(&mut self, _now: Duration, _job: JobId, out: &mut Vec<Dispatch>) {
        self.running -= 1;
        self.drain(out);
    }

    fn promise(&self) -> Promise {
        Promise::Slots {
            until: Hold::Ended,
            over: 0,
            over_for: OverCommit::Anyone,
            small_never_waits_beside_a_free_slot: true,
        }
    }

    fn check(&self, world: &World<'_>) -> Result<(), String> {
        let own = if self.fault == Fault::Miscounts { self.running + 1 } else { self.running };
        if own == world.connections[0] && self.queue.len() <= world.queued {
            return Ok(());
        }
        Err(format!("{own} jobs run in the books, {} in the world", world.connections[0]))
    }
}

fn run(fault: Fault) -> Outcome {
    let mut policy = Faulty { fault, ..Faulty::default() };
    model::run(&scenario(), &mut policy, 1)
}

#[test]
fn each_fault_is_found_and_only_faults_are() {
    let sound = run(Fault::Nothing);
    assert!(sound.violations.is_empty() && sound.unfinished == 0, "{:?}", sound.violations);
    let cases = [
        (Fault::Loses, Rule::NeverEnded),
        (Fault::Repeats, Rule::NotQueued),
        (Fault::Astray, Rule::NotQueued),
        (Fault::Overfills, Rule::Overfull),
        (Fault::Idles, Rule::SmallWaits),
        (Fault::Miscounts, Rule::OwnBooks),
    ];
    for (fault, rule) in cases {
        let found = run(fault).violations;
        assert!(found.count(rule) > 0, "{fault:?} not found in {found:?}");
    }
}

/// Sends everything to instance 0 at once, and promises otherwise.
struct Careless;

impl Policy for Careless {
    fn arrive(&mut self, _now: Duration, job: &Job, out: &mut Vec<Dispatch>) {
        out.push(Dispatch { job: job.id, instance: 0 });
    }

    fn ended(&mut self, _now: Duration, _job: JobId, _out: &mut Vec<Dispatch>) {}

    fn promise(&self) -> Promise {
        Promise::Slots {
            until: Hold::Released,
            over: usize::MAX / 2,
            over_for: OverCommit::SmallBesideSmall { after: Duration::from_secs(1) },
            small_never_waits_beside_a_free_slot: false,
        }
    }
}

#[test]
fn over_commit_behind_a_large_job_is_found_once_the_policy_had_time_to_learn() {
    let scenario = Scenario::named("b", 0.5, 0.0005).expect("a known scenario"); // 2 s
    let found = model::run(&scenario, &mut Careless, 1).violations;
    let (rule, broken) = found.iter().next().expect("blobs come within 2 s");
    assert_eq!(rule, Rule::BehindLarge);
    assert!(broken.first.starts_with("1."), "{broken:?}"); // seconds
}
