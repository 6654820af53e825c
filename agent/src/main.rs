//! `sluice-agent`: parse, build, run.

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use sluice_agent::{Config, Options};
use sluice_process::manual::{self, CompletionOptions, ManualOptions};
use sluice_process::{RunError, config::to_toml, exit, logging, reload::Source};

/// Gives memory back after a burst, see `Cargo.toml`.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Runs beside an application server: lets in as many requests as it has workers, measures, reports to balancers.
///
/// Every flag has a key of the same name in the configuration file and an environment variable SLUICE_...; flag beats
/// environment beats file. SIGTERM or SIGINT drains: balancers are told, what runs is finished, then it ends with
/// exit code 0; the same signal again ends it at once. Exit code 1: failed while running, 2: bad configuration.
#[derive(Debug, Parser)]
#[command(name = "sluice-agent", version, max_term_width = 110, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: Options,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run until SIGTERM or SIGINT; the same as without a command
    Run(Box<Options>),
    /// Print the effective configuration as a file, or what is wrong with it (exit code 2)
    Check(Box<Options>),
    /// Print completions for a shell
    Completions(CompletionOptions),
    /// Write the manual pages
    Manual(ManualOptions),
}

fn main() -> ExitCode {
    let Cli { command, run } = Cli::parse();
    exit::report(match command {
        None => serve(run),
        Some(Command::Run(options)) => serve(*options),
        Some(Command::Check(options)) => print_effective(*options),
        Some(Command::Completions(options)) => manual::completions(Cli::command(), &options),
        Some(Command::Manual(options)) => manual::manual(Cli::command(), &options),
    })
}

fn serve(options: Options) -> Result<(), RunError> {
    let source = Source::new(options.clone(), options.config.clone());
    let config = Config::load(options)?;
    logging::init(config.log_format)?;
    sluice_agent::run(source, config)
}

fn print_effective(options: Options) -> Result<(), RunError> {
    print!("{}", to_toml(&Config::load(options)?.effective()));
    Ok(())
}
