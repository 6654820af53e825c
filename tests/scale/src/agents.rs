//! Agents: each keeps a connection, and reports on it once per interval.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;
use tokio::task::LocalSet;
use tokio::time::{Instant, sleep_until};

use crate::connect;
use crate::reports::{Form, Mix, Reports};
use crate::watched::{CpuTime, Held, Watched, cores};
use crate::wire::Wire;

/// Time for all agents to come, by number: a thousand per second.
const AGENTS_PER_S: usize = 1000;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The balancer's admin address.
    #[arg(long)]
    admin: SocketAddr,
    /// The balancer's process.
    #[arg(long)]
    pid: u32,
    /// How many.
    #[arg(long)]
    agents: usize,
    /// Seconds that are measured, after all have registered; 0: they register, and leave.
    #[arg(long, default_value_t = 10)]
    secs: u64,
    /// Seconds between that and the measurement, for what was put off to be done.
    #[arg(long, default_value_t = 5)]
    settle: u64,
    #[command(flatten)]
    mix: Mix,
}

/// What came of it.
#[derive(Serialize)]
pub(crate) struct Outcome {
    agents: usize,
    secs: u64,
    /// Of one report's request, in the mean.
    bytes: usize,
    accepted: u64,
    refused: u64,
    /// Connections that failed.
    failed: u64,
    /// Cores busy in the balancer, by its threads.
    cores: CpuTime,
    /// CPU time while all registered, in seconds.
    registering_s: f64,
    held: Held,
    /// From a report's time to the end of its answer.
    p50_ms: f64,
    p99_ms: f64,
    max_ms: f64,
}

struct Tally {
    latency_us: Histogram<u64>,
    accepted: u64,
    refused: u64,
    failed: u64,
    bytes: u64,
}

impl Tally {
    fn new() -> io::Result<Self> {
        let latency_us = Histogram::new_with_bounds(1, 60_000_000, 3).map_err(io::Error::other)?;
        Ok(Self { latency_us, accepted: 0, refused: 0, failed: 0, bytes: 0 })
    }

    fn count(&mut self, status: u16, bytes: usize, latency: Duration) {
        let accepted = status == 200;
        self.accepted += u64::from(accepted);
        self.refused += u64::from(!accepted);
        self.bytes += bytes as u64;
        self.latency_us.saturating_record(u64::try_from(latency.as_micros()).unwrap_or(u64::MAX));
    }
}

pub(crate) async fn run(args: Args) -> io::Result<Outcome> {
    let watched = Watched::new(args.pid);
    let reports = Reports::of(args.agents, &args.mix, &mut fastrand::Rng::with_seed(6));
    let tally = Rc::new(RefCell::new(Tally::new()?));
    let start = Instant::now();
    let coming =
        Duration::from_secs_f64(args.agents as f64 / AGENTS_PER_S as f64).max(Duration::from_secs(1));
    let begin = start + coming + Duration::from_secs(args.settle);
    let end = begin + Duration::from_secs(args.secs);
    let interval = Duration::from_millis(args.mix.interval_ms.into());
    let agents = LocalSet::new();
    let idle = watched.cpu_time()?;
    for (index, reports) in reports.into_iter().enumerate() {
        let first = start + coming.mul_f64(index as f64 / args.agents as f64);
        let (tally, admin) = (tally.clone(), args.admin);
        agents.spawn_local(async move {
            let sent = report(index, admin, &reports, first, interval, end, &tally).await;
            sent.unwrap_or_else(|_| tally.borrow_mut().failed += 1);
        });
    }
    let measure = async {
        sleep_until(begin).await;
        let (before, failed) = (watched.cpu_time()?, tally.borrow().failed);
        *tally.borrow_mut() = Tally { failed, ..Tally::new()? };
        // They leave at the end.
        sleep_until(end - Duration::from_millis(100)).await;
        let held = watched.held()?;
        sleep_until(end).await;
        io::Result::Ok((before, watched.cpu_time()?, held))
    };
    let (before, after, held) = agents.run_until(measure).await?;
    let tally = tally.borrow();
    let ms = |us: u64| us as f64 / 1e3;
    Ok(Outcome {
        agents: args.agents,
        secs: args.secs,
        bytes: usize::try_from(tally.bytes / (tally.accepted + tally.refused).max(1)).unwrap_or(0),
        accepted: tally.accepted,
        refused: tally.refused,
        failed: tally.failed,
        cores: cores(&before, &after, args.secs.max(1) as f64),
        registering_s: before.values().sum::<f64>() - idle.values().sum::<f64>(),
        held,
        p50_ms: ms(tally.latency_us.value_at_quantile(0.5)),
        p99_ms: ms(tally.latency_us.value_at_quantile(0.99)),
        max_ms: ms(tally.latency_us.max()),
    })
}

async fn report(
    index: usize,
    admin: SocketAddr,
    reports: &Reports,
    first: Instant,
    interval: Duration,
    end: Instant,
    tally: &RefCell<Tally>,
) -> io::Result<()> {
    sleep_until(first).await;
    let mut wire = Wire::new(connect::from(index, admin).await?);
    let (mut due, mut seq, mut form) = (first, 1, Form::Full);
    while due < end {
        sleep_until(due).await;
        let request = reports.request(seq, form);
        let reply = wire.exchange(&request).await?;
        tally.borrow_mut().count(reply.status, request.len(), due.elapsed());
        if reply.status != 200 && reply.status != 429 {
            eprintln!("{}: {}", reply.status, String::from_utf8_lossy(&reply.body));
        }
        form = Form::asked_for(&reply.body);
        (due, seq) = (due + interval, seq + 1);
    }
    Ok(())
}
