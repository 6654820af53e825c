//! A run is a function of scenario, policy and seed; policies with the same seed see the same requests.

use std::time::Duration;

use sluice_simulation::experiment::Experiment;
use sluice_simulation::model;
use sluice_simulation::policies;
use sluice_simulation::policy::{Dispatch, Job, JobId, Policy};
use sluice_simulation::scenario::{Reports, Scenario};

fn results(seed: u64, threads: usize) -> String {
    let experiment = Experiment {
        scenarios: ["a", "ant", "affz", "async", "bursts"].map(str::to_owned).to_vec(),
        loads: vec![0.85],
        policies: policies::ALL.to_vec(),
        seeds: vec![seed],
        scale: 0.005,
        reports: Reports { lost: 0.3, late_s: 2.0, liar: None },
    };
    let cells = experiment.run(threads).expect("known scenarios");
    serde_json::to_string(&cells).expect("results are plain data")
}

#[test]
fn the_same_seed_gives_the_same_result_on_any_number_of_threads() {
    let first = results(3, 1);
    assert_eq!(first, results(3, 4));
    assert_ne!(first, results(4, 1));
}

/// Notes who came; sends everybody to one instance, or to all in turn.
struct Witness {
    instances: usize,
    seen: Vec<(Duration, usize, u64, Option<u32>)>,
}

impl Policy for Witness {
    fn arrive(&mut self, now: Duration, job: &Job, out: &mut Vec<Dispatch>) {
        out.push(Dispatch { job: job.id, instance: self.seen.len() % self.instances });
        self.seen.push((now, job.class, job.url, job.site));
    }

    fn ended(&mut self, _now: Duration, _job: JobId, _out: &mut Vec<Dispatch>) {}
}

#[test]
fn what_a_policy_does_changes_nothing_of_what_comes() {
    for name in ["f", "mis", "ant", "affz"] {
        let scenario = Scenario::named(name, 0.7, 0.01).expect("a known scenario");
        let seen = |instances| {
            let mut witness = Witness { instances, seen: Vec::new() };
            model::run(&scenario, &mut witness, 9);
            witness.seen
        };
        let one = seen(1);
        assert!(one.len() > 100, "{name}");
        assert_eq!(one, seen(8), "{name}");
    }
}
