//! `sluice-agent`: parse, build, run.

use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use sluice_agent::{Config, Options};
use sluice_process::{RunError, config::to_toml, exit, logging, reload::Source};

/// Runs beside an application server: lets in as many requests as it has workers, measures, reports to balancers.
///
/// Every flag has a key of the same name in the configuration file and an environment variable SLUICE_...; flag beats
/// environment beats file. SIGTERM or SIGINT drains: balancers are told, what runs is finished, then it ends with
/// exit code 0; the same signal again ends it at once. Exit code 1: failed while running, 2: bad configuration.
#[derive(Debug, Parser)]
#[command(name = "sluice-agent", version, max_term_width = 110)]
struct Cli {
    /// What to do
    #[arg(value_enum, default_value = "run", hide_default_value = true)]
    command: Command,
    #[command(flatten)]
    options: Options,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Command {
    /// Run until SIGTERM or SIGINT (default)
    Run,
    /// Print the effective configuration as a file, or what is wrong with it (exit code 2)
    Check,
}

fn main() -> ExitCode {
    let Cli { command, options } = Cli::parse();
    exit::report(execute(command, options))
}

fn execute(command: Command, options: Options) -> Result<(), RunError> {
    let source = Source::new(options.clone(), options.config.clone());
    let config = Config::load(options)?;
    match command {
        Command::Run => {
            logging::init(config.log_format)?;
            sluice_agent::run(source, config)
        }
        Command::Check => {
            print!("{}", to_toml(&config.effective()));
            Ok(())
        }
    }
}
