//! The command line of the agent.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use sluice_agent::{Config, Options};
use sluice_process::{RunError, Shutdown, config::to_toml, exit::report, logging, run_on_own_thread};

/// Sluice's agent: runs beside an application server, gates it, measures it, reports to the balancer
///
/// Every flag has a key of the same name in the file and an environment variable SLUICE_...; flag
/// beats environment beats file.
#[derive(Parser)]
#[command(name = "sluice-agent", version, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: Options,
}

#[derive(Subcommand)]
enum Command {
    /// Serve; the same as without a command
    Run(Box<Options>),
    /// Say what is wrong with a configuration, or print it with all defaults
    Check(Box<Options>),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    report(match cli.command {
        None => serve(cli.run),
        Some(Command::Run(options)) => serve(*options),
        Some(Command::Check(options)) => print_effective(*options),
    })
}

fn serve(options: Options) -> Result<(), RunError> {
    let config = Config::load(options)?;
    logging::init(config.log_format)?;
    let shutdown = Shutdown::new();
    let for_signals = shutdown.clone();
    let _runs_to_the_end =
        run_on_own_thread("signals", move || sluice_process::shutdown::signals(for_signals))
            .map_err(RunError::failed)?;
    sluice_agent::start(config, &shutdown)?.join()
}

fn print_effective(options: Options) -> Result<(), RunError> {
    print!("{}", to_toml(&Config::load(options)?.effective()));
    Ok(())
}
