//! Runs scenarios with policies and prints what came out.

use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::thread;

use clap::Parser;
use sluice_simulation::experiment::Experiment;
use sluice_simulation::policies::{self, Entry};
use sluice_simulation::scenario::{EMULATED, Lie, RESEARCH, Reports};
use sluice_simulation::table;

/// Load-balancing policies in virtual time: Markdown tables of latencies, medians over seeds.
#[derive(Debug, Parser)]
struct Options {
    /// Scenarios, or `research`, or `design` for the rows of design.md.
    #[arg(long, value_delimiter = ',', default_value = "a,d,g,design")]
    scenario: Vec<String>,
    /// Offered worker time over capacity, for the scenarios that take it.
    #[arg(long, value_delimiter = ',', default_value = "0.7,0.85,0.95")]
    load: Vec<f64>,
    /// Policies, or `all`.
    #[arg(long, value_delimiter = ',', default_value = "all")]
    policy: Vec<String>,
    /// Runs of each, with seeds that follow one another.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Multiplies the length of every run.
    #[arg(long, default_value_t = 0.2)]
    scale: f64,
    /// Fraction of agents' reports that are lost; 1: there are none.
    #[arg(long, default_value_t = 0.0)]
    reports_lost: f64,
    /// Seconds that reports take.
    #[arg(long, default_value_t = 0.0)]
    reports_late: f64,
    /// The first instance's agent tells nonsense.
    #[arg(long)]
    reports_lie: Option<Lie>,
    /// All results of all runs as JSON.
    #[arg(long)]
    json: bool,
    /// Threads; the results do not depend on it. Default: one per core.
    #[arg(long)]
    threads: Option<NonZeroUsize>,
    /// Prints the names of scenarios and policies.
    #[arg(long)]
    list: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    if options.list {
        list();
        return ExitCode::SUCCESS;
    }
    match simulate(&options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::from(2)
        }
    }
}

fn list() {
    println!("scenarios of the research: {}", RESEARCH.join(" "));
    println!("rows of design.md: {}", EMULATED.join(" "));
    for Entry { name, about, .. } in policies::ALL.into_iter().chain(policies::CAPS) {
        println!("{name:10} {about}");
    }
}

/// Whether all invariants held.
fn simulate(options: &Options) -> Result<bool, String> {
    let experiment = experiment(options)?;
    let threads = options.threads.or_else(|| thread::available_parallelism().ok());
    let cells = experiment.run(threads.map_or(1, NonZeroUsize::get)).map_err(|e| e.to_string())?;
    if options.json {
        println!("{}", serde_json::to_string_pretty(&cells).map_err(|e| e.to_string())?);
    } else {
        println!("seeds {:?}, scale {}", experiment.seeds, experiment.scale);
        print!("{}", table::markdown(&cells));
    }
    let violations = table::violations(&cells);
    eprint!("{violations}");
    Ok(violations.is_empty())
}

fn experiment(options: &Options) -> Result<Experiment, String> {
    if !(options.scale > 0.0 && options.scale.is_finite()) {
        return Err(format!("--scale {} is outside 0.. (above 0)", options.scale));
    }
    if let Some(load) = options.load.iter().find(|load| !(**load > 0.0 && load.is_finite())) {
        return Err(format!("--load {load} is outside 0.. (above 0)"));
    }
    let reports = Reports {
        lost: options.reports_lost.clamp(0.0, 1.0),
        late_s: options.reports_late.max(0.0),
        liar: options.reports_lie.map(|lie| (0, lie)),
    };
    Ok(Experiment {
        scenarios: options.scenario.iter().flat_map(|name| scenarios(name)).collect(),
        loads: options.load.clone(),
        policies: policies(&options.policy)?,
        seeds: (options.seed..options.seed.saturating_add(options.seeds)).collect(),
        scale: options.scale,
        reports,
    })
}

fn scenarios(name: &str) -> Vec<String> {
    match name {
        "research" => RESEARCH.map(str::to_owned).to_vec(),
        "design" => EMULATED.map(str::to_owned).to_vec(),
        name => vec![name.to_owned()],
    }
}

fn policies(names: &[String]) -> Result<Vec<Entry>, String> {
    if names.iter().any(|name| name == "all") {
        return Ok(policies::ALL.to_vec());
    }
    let find = |name: &String| {
        policies::named(name).ok_or_else(|| format!("there is no policy {name:?}; --list shows all"))
    };
    names.iter().map(find).collect()
}
