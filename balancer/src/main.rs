//! The command line of the balancer.

use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand};
use sluice_balancer::config::{Config, Options};
use sluice_balancer::{demo, replay, run, top};
use sluice_process::config::to_toml;
use sluice_process::exit::report;
use sluice_process::manual::{self, CompletionOptions, ManualOptions};
use sluice_process::reload::{self, Source};
use sluice_process::upgrade::{Predecessor, Upgrades};
use sluice_process::{RunError, Shutdown, logging, run_on_own_thread, supervisor};

/// Gives memory back after a burst, see `Cargo.toml`.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Adaptive HTTP load balancer for application servers with few workers
///
/// Run an agent beside each instance (sluice-agent), this centrally, and scrape metrics from the
/// admin address. Every flag has a key of the same name in the file and an environment variable
/// SLUICE_...; flag beats environment beats file.
#[derive(Parser)]
#[command(name = "sluice-balancer", version, args_conflicts_with_subcommands = true)]
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
    /// Everything in one process: 4 emulated instances with agents, a balancer, mixed traffic
    Demo(demo::DemoOptions),
    /// Say what is wrong with a configuration, or print it with all defaults
    Check(Box<CheckOptions>),
    /// Show a running balancer's instances and classes in the terminal
    Top(top::TopOptions),
    /// Make recorded decisions again, with other parameters, and say what would have differed
    Replay(replay::ReplayOptions),
    /// Print completions for a shell
    Completions(CompletionOptions),
    /// Write the manual pages
    Manual(ManualOptions),
}

#[derive(Args)]
struct CheckOptions {
    #[command(flatten)]
    options: Options,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    report(match cli.command {
        None => serve(cli.run),
        Some(Command::Run(options)) => serve(*options),
        Some(Command::Demo(options)) => demo::main(&options),
        Some(Command::Check(check)) => print_effective(check.options),
        Some(Command::Top(options)) => top::main(&options),
        Some(Command::Replay(options)) => replay::main(&options),
        Some(Command::Completions(options)) => manual::completions(Cli::command(), &options),
        Some(Command::Manual(options)) => manual::manual(Cli::command(), &options),
    })
}

fn source(options: Options) -> Source<Options> {
    let file = options.config.clone();
    Source::new(options, file)
}

fn serve(options: Options) -> Result<(), RunError> {
    let source = source(options);
    let options = source.read()?.with_defaults();
    logging::init(options.log_format.unwrap_or_default())?;
    let shutdown = Shutdown::new();
    let for_signals = shutdown.clone();
    let _runs_to_the_end = run_on_own_thread("signals", move || async {
        reload::outlive_hangups()?;
        sluice_process::shutdown::signals(for_signals).await
    })
    .map_err(RunError::failed)?;
    let upgrades = Upgrades::watch(&shutdown)?;
    let predecessor =
        Predecessor::find("sluice-balancer", env!("CARGO_PKG_VERSION")).map_err(RunError::failed)?;
    let (running, heritage) = run::start_after(predecessor, source, options, &shutdown)?;
    supervisor::ready();
    upgrades.offer(heritage)?;
    running.join()
}

fn print_effective(options: Options) -> Result<(), RunError> {
    let options = source(options).read()?.with_defaults();
    Config::try_from(options.clone())?;
    print!("{}", to_toml(&options));
    Ok(())
}
