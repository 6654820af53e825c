//! `sluice-balancer replay`: recorded decisions made again, with the same code and other parameters.

mod compare;
mod read;
mod set;
mod show;
#[cfg(test)]
mod tests;

use std::io::{self, Write};
use std::path::PathBuf;

use clap::Args;
use sluice_process::RunError;
use sluice_process::config::ConfigError;
use sluice_proto::ServiceName;

pub use compare::{Again, Summary, replay};
#[doc(hidden)] // for tests/fuzzing
pub use read::read_bytes;
pub use read::{ReadError, Recorded, read};
pub use set::{Setting, apply};

/// What a replay is, and is not.
const LIMITS: &str = "\
FILE is one that --decision-log wrote, or the answer of GET /v1/decisions: plans with all that they were made from. \
Each is made again with the parameters of then, but for those given by --set.

Where recorded plans follow each other without a gap, a plan continues the replayed one before it, so that \
hysteresis shows. After a gap (plans that decide nothing new are recorded every 10 seconds only) it continues the \
plan that was in force then, as all do with --each.

What is recorded is what requests did under the plans of then: a replay shows what would have been decided, not \
what requests would have done.

Exit codes: 0 whether or not anything differs, 1 if the file can not be read, 2 for a wrong setting.";

/// What `replay` can be asked.
#[derive(Clone, Debug, Args)]
#[command(after_long_help = LIMITS)]
pub struct ReplayOptions {
    /// A log of decisions
    file: PathBuf,
    /// A parameter to plan with, as in the [planner] table: patience=0, cap.small_bias=1.5; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<Setting>,
    /// Only this service
    #[arg(long, value_name = "NAME")]
    service: Option<ServiceName>,
    /// Every decision continues the plan recorded before it, also where none is missing between
    #[arg(long)]
    each: bool,
    /// One JSON object per decision that differs, and one of the summary, instead of a table
    #[arg(long)]
    json: bool,
}

/// Which plan a replayed one continues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Continuity {
    /// The replayed one before, unless there is a gap.
    Own,
    /// The one recorded.
    Recorded,
}

/// Replays and prints.
///
/// # Errors
/// A wrong setting, or a file that can not be read.
pub fn main(options: &ReplayOptions) -> Result<(), RunError> {
    apply(Default::default(), &options.set).map_err(|error| refused(&error))?;
    let mut recorded = read(&options.file).map_err(RunError::failed)?;
    recorded.retain(|r| options.service.as_ref().is_none_or(|service| r.decision.service == *service));
    let continuity = if options.each { Continuity::Recorded } else { Continuity::Own };
    let again = replay(recorded, &options.set, continuity).map_err(|error| refused(&error))?;
    let mut out = io::stdout().lock();
    let printed = if options.json { show::json(&again, &mut out) } else { show::table(&again, &mut out) };
    match printed.and_then(|()| out.flush()) {
        // Whoever looked at the first lines has seen enough.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(RunError::failed(error)),
        _ => Ok(()),
    }
}

fn refused(error: &set::SetError) -> ConfigError {
    let set::SetError { key, value, accepted } = error;
    ConfigError::value(format!("--set {key}"), value, accepted)
}
