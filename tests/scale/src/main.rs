//! One kind of load at a time on a balancer that runs already; what it cost that process, as one line of JSON.
//!
//! `tests/bench/scale.py` starts the programs and makes tables and plots of it.

#![forbid(unsafe_code)]

mod agents;
mod clients;
mod connect;
mod instance;
mod reports;
mod watched;
mod wire;

use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;

use clap::Parser;

/// What many of something cost one balancer.
#[derive(Parser)]
#[command(version)]
enum Load {
    /// Agents that report each second; the reports are spread evenly over it.
    Agents(agents::Args),
    /// Clients that ask as fast as they are answered.
    Requests(clients::RequestArgs),
    /// Clients that asked once and keep their connections.
    Idle(clients::IdleArgs),
    /// An instance that answers everything at once, on all loopback addresses if it listens on 0.0.0.0.
    Instance(InstanceArgs),
}

#[derive(clap::Args)]
struct InstanceArgs {
    #[arg(long)]
    listen: SocketAddr,
}

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let outcome = runtime.and_then(|runtime| runtime.block_on(run(Load::parse())));
    match outcome {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("sluice-scale: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(load: Load) -> io::Result<String> {
    let line = match load {
        Load::Agents(args) => serde_json::to_string(&agents::run(args).await?),
        Load::Requests(args) => serde_json::to_string(&clients::requests(args).await?),
        Load::Idle(args) => serde_json::to_string(&clients::idle(args).await?),
        Load::Instance(args) => return instance::serve(args.listen).await,
    };
    Ok(line?)
}
