//! `sluice-balancer demo`: a whole site in one process, over loopback.
//!
//! ```text
//!  load (open loop) ──► balancer ──► 4 agents ──► 4 emulated instances
//!                          ▲───── reports ──┘
//! ```
//!
//! Everything but the instances and the load is the real thing, on the threads it has in production.

mod screen;
mod site;

use std::io::IsTerminal;
use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;
use sluice_emulation::load::{self, Progress, Rate, RunOptions, Summary, Workload};
use sluice_emulation::scenario::Scenario;
use sluice_process::RunError;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use site::Site;

/// What the demo can be asked.
#[derive(Clone, Debug, Args)]
pub struct DemoOptions {
    /// Stop after this many seconds and print a summary; exit code 0 only if every request was answered
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    secs: Option<u64>,

    /// Seed of the traffic: the same seed sends the same requests at the same times
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,

    /// Pages, images and downloads in percent of the usual, for a machine that has else to do; exports stay as rare
    #[arg(long, value_name = "PERCENT", default_value_t = 100, value_parser = clap::value_parser!(u8).range(1..=150))]
    load: u8,

    /// Where the balancer serves [default: 127.0.0.1:8080, or a free port if that is taken]
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,

    /// Where its dashboard and metrics are [default: 127.0.0.1:9900, or a free port if that is taken]
    #[arg(long, value_name = "ADDR")]
    admin: Option<SocketAddr>,
}

/// Longest run without `--secs`: a day is until Ctrl-C.
const UNTIL_INTERRUPTED: Duration = Duration::from_secs(86_400);
/// How often the screen is drawn.
const DRAW_EVERY: Duration = Duration::from_millis(500);
/// How often a line is printed where there is no screen.
const TELL_EVERY: Duration = Duration::from_secs(5);

/// Runs the demo to its end.
///
/// # Errors
/// If something can not be started, or a request was not answered.
pub fn main(options: &DemoOptions) -> Result<(), RunError> {
    let mut scenario = Scenario::named("demo").expect("the emulation has a scenario for the demo");
    scenario.workload.seed = options.seed;
    scale(&mut scenario.workload, f64::from(options.load) / 100.0);
    scenario.workload.duration = options.secs.map_or(UNTIL_INTERRUPTED, Duration::from_secs);
    let site = Site::start(&scenario, options.listen, options.admin)?;
    println!("{}", screen::addresses(&site));
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(RunError::failed)?;
    let summary = runtime.block_on(watch(&site, &scenario))?;
    site.stop()?;
    match summary {
        None => Ok(()),
        Some(summary) => conclude(&summary),
    }
}

/// Exports are what the demo is about, and are not scaled: fewer would get no instance of their own.
fn scale(workload: &mut Workload, factor: f64) {
    for class in workload.classes.iter_mut().filter(|class| class.name != "export") {
        if let Rate::Constant(per_s) = &mut class.rate {
            *per_s *= factor;
        }
    }
}

/// Sends the traffic and shows what happens, until it is over (the summary) or interrupted (`None`).
async fn watch(site: &Site, scenario: &Scenario) -> Result<Option<Summary>, RunError> {
    site.ready().await?;
    let progress = Progress::new(&scenario.workload);
    let run = load::run(site.balancer.listen[0], &scenario.workload, RunOptions::default(), progress.clone());
    let mut run = std::pin::pin!(run);
    let has_screen = std::io::stdout().is_terminal();
    let period = if has_screen { DRAW_EVERY } else { TELL_EVERY };
    let mut ticks = interval_at(Instant::now() + period, period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            summary = run.as_mut() => return Ok(Some(summary)),
            interrupted = tokio::signal::ctrl_c() => {
                interrupted.map_err(RunError::failed)?;
                println!("\n{}", screen::line(&progress.snapshot()));
                return Ok(None);
            }
            _ = ticks.tick() => screen::show(site, &progress.snapshot(), has_screen).map_err(RunError::failed)?,
        }
    }
}

fn conclude(summary: &Summary) -> Result<(), RunError> {
    println!("\n{summary}");
    if summary.all_answered() {
        println!("every request was answered");
        return Ok(());
    }
    Err(RunError::failed("some requests were not answered: see the failures above"))
}
