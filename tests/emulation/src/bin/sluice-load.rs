//! The open-loop load generator on its own: see `sluice_emulation::load`.

use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use sluice_emulation::instance::InstanceConfig;
use sluice_emulation::load::{self, Progress, RunOptions, Summary, Workload};
use sluice_emulation::scenario::{NAMES, Scenario};

const FILE_HELP: &str = r#"A workload FILE is JSON:
  {"name": "mine", "seed": 1, "secs": 24, "classes": [
    {"name": "pages", "rate": {"constant": 200},
     "path": {"template": "/page/{n}", "keys": 1000},
     "work_ms": {"lognormal": {"mean": 10, "cv": 1}}, "bytes": {"constant": 20000}}]}
rate     {"constant": PER_S}, {"bursts": {"per_s", "on_s", "every_s"}},
         {"window": {"per_s", "from_s", "until_s"}}
work_ms, bytes
         {"constant": X}, {"exponential": {"mean"}}, {"lognormal": {"mean", "cv"}},
         {"bounded_pareto": {"alpha", "min", "max"}}
and, all optional: "method", "request_bytes", "client_rate" (bytes/s), "sizes" ("by_url" or
"by_request"), "miss_ms", in path "sections": {"count": N, "pick": "uniform" or {"zipf": S}}.

Latency is counted from the scheduled arrival. Exit code: 0 if every request got a complete
response with status below 500, 1 if not, 2 bad usage."#;

/// Sends a workload to a server at the times its seed says, whatever the server does.
#[derive(Parser)]
#[command(version, after_help = after_help())]
struct Args {
    /// Address of the server.
    #[arg(long, value_name = "ADDR", required_unless_present = "describe")]
    target: Option<SocketAddr>,
    /// A name (below) or a JSON file.
    #[arg(long, value_name = "NAME|FILE")]
    workload: String,
    /// Length of the run in seconds [default: the workload's, 24 for a name]
    #[arg(long, value_name = "N", value_parser = seconds)]
    secs: Option<Duration>,
    /// Seed of arrivals and costs [default: the workload's, 1 for a name]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// A request fails when not answered whole within this many seconds of its arrival.
    #[arg(long, value_name = "SECS", default_value = "60", value_parser = seconds)]
    timeout: Duration,
    /// Requests in flight at most; arrivals beyond count as not sent.
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    max_in_flight: usize,
    /// Host header [default: the target's address]
    #[arg(long)]
    host: Option<String>,
    /// Print the summary as JSON.
    #[arg(long)]
    json: bool,
    /// Add each single request to the JSON.
    #[arg(long, requires = "json")]
    requests: bool,
    /// Send nothing: print the workload and the instances that it is meant for as JSON.
    #[arg(long)]
    describe: bool,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let secs: f64 = text.parse().map_err(|e| format!("{e}"))?;
    match Duration::try_from_secs_f64(secs) {
        Ok(time) if !time.is_zero() => Ok(time),
        _ => Err("a number of seconds above 0 is needed".to_owned()),
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let args = Args::parse();
    let workload = match workload(&args) {
        Ok(workload) => workload,
        Err(error) => {
            eprintln!("sluice-load: {error}");
            return ExitCode::from(2);
        }
    };
    let Some(target) = args.target.filter(|_| !args.describe) else {
        println!("{}", description(&workload));
        return ExitCode::SUCCESS;
    };
    eprintln!("workload {}, seed {}", workload.name, workload.seed);
    let summary = run(target, &workload, &args).await;
    print(&summary, args.json);
    ExitCode::from(u8::from(!summary.all_answered()))
}

fn workload(args: &Args) -> Result<Workload, String> {
    let mut workload = match Scenario::named(&args.workload) {
        Some(scenario) => scenario.workload,
        None => from_file(&args.workload)?,
    };
    workload.seed = args.seed.unwrap_or(workload.seed);
    workload.duration = args.secs.unwrap_or(workload.duration);
    Ok(workload)
}

fn from_file(path: &str) -> Result<Workload, String> {
    if !Path::new(path).exists() {
        return Err(format!("{path:?} is neither a file nor one of {}", NAMES.join(", ")));
    }
    let text = std::fs::read_to_string(path).map_err(|e| format!("{path}: {e}"))?;
    Workload::from_json(&text).map_err(|e| format!("{path}: {e}"))
}

async fn run(target: SocketAddr, workload: &Workload, args: &Args) -> Summary {
    let options = RunOptions {
        max_in_flight: args.max_in_flight,
        timeout: args.timeout,
        host: args.host.clone(),
        keep_requests: args.requests,
        ..RunOptions::default()
    };
    load::run(target, workload, options, Progress::new(workload)).await
}

fn print(summary: &Summary, json: bool) {
    if json {
        println!("{}", serde_json::json!(summary));
    } else {
        print!("{summary}");
    }
}

/// `{"workload": {...}, "instances": [...]}`; instances are known of named workloads only.
fn description(workload: &Workload) -> serde_json::Value {
    let instances = Scenario::named(&workload.name).map(|scenario| scenario.instances).unwrap_or_default();
    let instances: Vec<_> = instances.iter().map(instance).collect();
    serde_json::json!({"workload": workload, "instances": instances})
}

/// The flags of `sluice-instance`, as far as workloads set them.
fn instance(config: &InstanceConfig) -> serde_json::Value {
    serde_json::json!({
        "workers": config.workers,
        "release": config.release.as_str(),
        "speed": config.speed,
        "cache": config.cache,
    })
}

fn after_help() -> String {
    let scenarios = NAMES.iter().filter_map(|name| Scenario::named(name));
    let rows = scenarios.map(|s| format!("  {:<20} {}\n", s.workload.name, s.about));
    format!("Workloads:\n{}\n{FILE_HELP}", rows.collect::<String>())
}
