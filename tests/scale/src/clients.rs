//! Clients of the site.

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use serde::Serialize;
use tokio::task::LocalSet;
use tokio::time::{Instant, sleep, sleep_until};

use crate::connect;
use crate::reports::path;
use crate::watched::{CpuTime, Held, Watched};
use crate::wire::Wire;

#[derive(clap::Args)]
pub(crate) struct RequestArgs {
    /// The balancer's address for clients.
    #[arg(long)]
    listen: SocketAddr,
    /// The balancer's process.
    #[arg(long)]
    pid: u32,
    /// Classes that are asked for in turn.
    #[arg(long)]
    classes: usize,
    /// Clients, one request at a time each.
    #[arg(long, default_value_t = 8)]
    clients: usize,
    /// Seconds that are measured, ...
    #[arg(long, default_value_t = 5)]
    secs: u64,
    /// ... after as many that are not, in which connections to all instances are made.
    #[arg(long, default_value_t = 3)]
    warm: u64,
}

#[derive(Serialize)]
pub(crate) struct RequestOutcome {
    classes: usize,
    requests: u64,
    failed: u64,
    /// CPU time of the balancer's data threads per request.
    data_us: f64,
    /// CPU time of its other threads, in cores.
    other_cores: f64,
    held: Held,
}

#[derive(Default)]
struct Counts {
    requests: Cell<u64>,
    failed: Cell<u64>,
}

pub(crate) async fn requests(args: RequestArgs) -> io::Result<RequestOutcome> {
    let watched = Watched::new(args.pid);
    let begin = Instant::now() + Duration::from_secs(args.warm);
    let end = begin + Duration::from_secs(args.secs);
    let counts = Rc::new(Counts::default());
    let requests: Rc<[Vec<u8>]> = (0..args.classes).map(request).collect();
    let clients = LocalSet::new();
    for client in 0..args.clients {
        let (counts, requests, listen) = (counts.clone(), requests.clone(), args.listen);
        clients.spawn_local(async move {
            let asked = ask(client, listen, &requests, end, &counts).await;
            asked.unwrap_or_else(|_| counts.failed.update(|n| n + 1));
        });
    }
    let measure = async {
        sleep_until(begin).await;
        let (cpu, answered) = (watched.cpu_time()?, counts.requests.get());
        sleep_until(end).await;
        io::Result::Ok((cpu, watched.cpu_time()?, counts.requests.get() - answered))
    };
    let (before, after, answered) = clients.run_until(measure).await?;
    let data = |time: &CpuTime| time.get("data").copied().unwrap_or(0.0);
    let all = |time: &CpuTime| time.values().sum::<f64>();
    let data_s = data(&after) - data(&before);
    Ok(RequestOutcome {
        classes: args.classes,
        requests: answered,
        failed: counts.failed.get(),
        data_us: data_s * 1e6 / answered.max(1) as f64,
        other_cores: (all(&after) - all(&before) - data_s) / args.secs.max(1) as f64,
        held: watched.held()?,
    })
}

fn request(class: usize) -> Vec<u8> {
    let path = path(class);
    format!("GET {path} HTTP/1.1\r\nhost: site.example\r\nuser-agent: scale\r\naccept: */*\r\n\r\n")
        .into_bytes()
}

async fn ask(
    client: usize,
    listen: SocketAddr,
    requests: &[Vec<u8>],
    end: Instant,
    counts: &Counts,
) -> io::Result<()> {
    let mut wire = Wire::new(connect::from(client, listen).await?);
    for request in requests.iter().cycle().skip(client * requests.len() / 8) {
        let reply = wire.exchange(request).await?;
        let good = reply.status == 200;
        counts.requests.update(|n| n + 1);
        counts.failed.update(|n| n + u64::from(!good));
        if Instant::now() >= end {
            break;
        }
    }
    Ok(())
}

#[derive(clap::Args)]
pub(crate) struct IdleArgs {
    /// The balancer's address for clients.
    #[arg(long)]
    listen: SocketAddr,
    /// The balancer's process.
    #[arg(long)]
    pid: u32,
    /// How many connections.
    #[arg(long)]
    connections: usize,
}

#[derive(Serialize)]
pub(crate) struct IdleOutcome {
    connections: usize,
    /// Connections or requests that failed.
    failed: usize,
    before: Held,
    with_all: Held,
    /// CPU time per second while nobody asks, in cores.
    idle_cores: f64,
}

/// Opens connections, asks once on each, and looks at what is left of that.
pub(crate) async fn idle(args: IdleArgs) -> io::Result<IdleOutcome> {
    const LOOK: Duration = Duration::from_secs(5);
    let watched = Watched::new(args.pid);
    let before = watched.held()?;
    let request = request(0);
    let (mut open, mut failed) = (Vec::new(), 0);
    for index in 0..args.connections {
        match open_one(index, args.listen, &request).await {
            Ok(wire) => open.push(wire),
            Err(_) => failed += 1,
        }
    }
    sleep(Duration::from_secs(2)).await;
    let all = |time: CpuTime| time.values().sum::<f64>();
    let cpu = all(watched.cpu_time()?);
    sleep(LOOK).await;
    let idle_cores = (all(watched.cpu_time()?) - cpu) / LOOK.as_secs_f64();
    Ok(IdleOutcome { connections: open.len(), failed, before, with_all: watched.held()?, idle_cores })
}

async fn open_one(index: usize, listen: SocketAddr, request: &[u8]) -> io::Result<Wire> {
    let mut wire = Wire::new(connect::from(index, listen).await?);
    let reply = wire.exchange(request).await?;
    if reply.status == 200 { Ok(wire) } else { Err(io::Error::other(reply.status.to_string())) }
}
