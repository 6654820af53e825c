//! An emulated application server on its own: see `sluice_emulation::instance`.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use sluice_emulation::instance::{Instance, InstanceConfig, Release};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// How long clients get to read what they asked for before the process was told to stop.
const GRACE: Duration = Duration::from_secs(10);

const HEADERS: &str = "\
Each request says what it costs, in its headers (all optional):
  X-Emulate-Work-Us  worker time in microseconds (default 0)
  X-Emulate-Bytes    length of the response (default 1024)
  X-Emulate-Object   cache key that the request needs
  X-Emulate-Miss-Us  additional worker time if the key is not cached
GET /health answers 200 without a worker. SIGTERM or SIGINT: answers what was accepted
(for up to 10 s), prints what was counted, exits with 0.";

/// An emulated application server with few workers.
#[derive(Parser)]
#[command(version, after_help = HEADERS)]
struct Args {
    /// Address to listen on; port 0 takes a free one. Printed as the first line.
    #[arg(long, default_value = "127.0.0.1:0", value_name = "ADDR")]
    listen: SocketAddr,
    /// Requests worked on at a time; more wait, first come first served.
    #[arg(long, default_value_t = 1, value_name = "N")]
    workers: usize,
    /// When a worker is free again: with the response head, or with the last byte.
    #[arg(long, value_enum, default_value_t = ReleaseArg::FirstByte)]
    release: ReleaseArg,
    /// Work takes its time divided by this; 0.2 is five times slower.
    #[arg(long, default_value_t = 1.0, value_name = "F")]
    speed: f64,
    /// Objects that fit the cache (least recently used goes first); without it nothing ever misses.
    #[arg(long, value_name = "N")]
    cache: Option<usize>,
    /// Bytes handed to the connection at a time, up to 65536.
    #[arg(long, default_value_t = 8192, value_name = "BYTES")]
    write_chunk: usize,
    /// Value of X-Emulate-Instance in responses [default: the port]
    #[arg(long)]
    name: Option<String>,
}

#[derive(Clone, Copy, ValueEnum)]
enum ReleaseArg {
    FirstByte,
    End,
}

impl From<Args> for InstanceConfig {
    fn from(args: Args) -> Self {
        Self {
            listen: args.listen,
            workers: args.workers,
            release: match args.release {
                ReleaseArg::FirstByte => Release::FirstByte,
                ReleaseArg::End => Release::End,
            },
            speed: args.speed,
            cache: args.cache,
            write_chunk: args.write_chunk,
            name: args.name,
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match serve(Args::parse().into()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sluice-instance: {error}");
            let usage = error.kind() == std::io::ErrorKind::InvalidInput;
            ExitCode::from(if usage { 2 } else { 1 })
        }
    }
}

async fn serve(config: InstanceConfig) -> std::io::Result<()> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let listen = config.listen;
    let instance = Instance::start(config)
        .await
        .map_err(|error| std::io::Error::new(error.kind(), format!("can not serve on {listen}: {error}")))?;
    println!("listening on {}", instance.addr());
    either(&mut terminate, &mut interrupt).await;
    match tokio::time::timeout(GRACE, instance.stop()).await {
        Ok(stats) => eprintln!("{stats:?}"),
        Err(_) => eprintln!("sluice-instance: cut off what was not read within {} s", GRACE.as_secs()),
    }
    Ok(())
}

async fn either(a: &mut Signal, b: &mut Signal) {
    tokio::select! {
        _ = a.recv() => {}
        _ = b.recv() => {}
    }
}
