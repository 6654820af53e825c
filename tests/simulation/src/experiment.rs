//! Many runs: scenarios, loads and policies, each with several seeds.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::thread;

use crate::model;
use crate::policies::Entry;
use crate::scenario::{Reports, Scenario};
use crate::stats::Outcome;

/// What to run.
#[derive(Clone, Debug)]
pub struct Experiment {
    pub scenarios: Vec<String>,
    /// For the scenarios that take one.
    pub loads: Vec<f64>,
    pub policies: Vec<Entry>,
    pub seeds: Vec<u64>,
    /// Multiplies the length of every run.
    pub scale: f64,
    pub reports: Reports,
}

/// One policy in one scenario at one load, with every seed.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Cell {
    pub scenario: String,
    /// `None`: the scenario has its own rates.
    pub load: Option<f64>,
    pub policy: &'static str,
    pub seeds: Vec<u64>,
    /// By seed.
    pub runs: Vec<Outcome>,
}

/// A scenario that is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownScenario(pub String);

impl std::fmt::Display for UnknownScenario {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "there is no scenario {:?}; --list shows all", self.0)
    }
}

impl std::error::Error for UnknownScenario {}

#[derive(Clone)]
struct Run {
    cell: usize,
    scenario: Scenario,
    policy: Entry,
    seed: u64,
}

impl Experiment {
    /// Runs everything on `threads` threads; the result does not depend on their number.
    pub fn run(&self, threads: usize) -> Result<Vec<Cell>, UnknownScenario> {
        let (mut cells, runs) = self.plan()?;
        let outcomes = Mutex::new(vec![None; runs.len()]);
        let next = Mutex::new(runs.iter().enumerate());
        thread::scope(|scope| {
            for _ in 0..threads.clamp(1, runs.len().max(1)) {
                scope.spawn(|| {
                    loop {
                        let Some((index, run)) = next.lock().unwrap_or_else(PoisonError::into_inner).next()
                        else {
                            return;
                        };
                        let outcome = run.outcome();
                        outcomes.lock().unwrap_or_else(PoisonError::into_inner)[index] = Some(outcome);
                    }
                });
            }
        });
        let outcomes = outcomes.into_inner().unwrap_or_else(PoisonError::into_inner);
        for (run, outcome) in runs.iter().zip(outcomes) {
            cells[run.cell].runs.extend(outcome);
        }
        Ok(cells)
    }

    fn plan(&self) -> Result<(Vec<Cell>, Vec<Run>), UnknownScenario> {
        let (mut cells, mut runs) = (Vec::new(), Vec::new());
        for name in &self.scenarios {
            for load in self.loads_of(name) {
                let mut scenario = Scenario::named(name, load.unwrap_or(1.0), self.scale)
                    .ok_or_else(|| UnknownScenario(name.clone()))?;
                scenario.reports = self.reports;
                for &policy in &self.policies {
                    let run = |&seed| Run { cell: cells.len(), scenario: scenario.clone(), policy, seed };
                    runs.extend(self.seeds.iter().map(run));
                    cells.push(Cell {
                        scenario: name.clone(),
                        load,
                        policy: policy.name,
                        seeds: self.seeds.clone(),
                        runs: Vec::new(),
                    });
                }
            }
        }
        Ok((cells, runs))
    }

    fn loads_of(&self, scenario: &str) -> Vec<Option<f64>> {
        if Scenario::takes_load(scenario) {
            self.loads.iter().copied().map(Some).collect()
        } else {
            vec![None]
        }
    }
}

impl Run {
    fn outcome(&self) -> Outcome {
        let mut policy = (self.policy.make)(&self.scenario.setup(self.seed));
        model::run(&self.scenario, &mut *policy, self.seed)
    }
}
