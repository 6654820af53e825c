//! Many connections, and no descriptors for more: those that are served stay so, and the rest wait without costing much.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use sluice_process::descriptors;
use sluice_tests::admin::{metric, until_routed};
use sluice_tests::process::{Process, free_addresses};
use sluice_tests::script::{Answering, RawInstance};
use sluice_tests::wire::{Conn, Ending, Message, ask, get, ok};
use sluice_tests::{PATIENCE, eventually, expect};
use tokio::task::JoinSet;
use tokio::time::sleep;

/// A balancer in a process of its own.
struct Balancer {
    process: Process,
    data: SocketAddr,
    admin: SocketAddr,
}

impl Balancer {
    /// `first`: what a shell does before it becomes the balancer.
    async fn start(first: &str, instance: SocketAddr, flags: &str) -> Self {
        let [data, admin] = free_addresses();
        let flags =
            format!("--threads 1 --listen {data} --admin {admin} --instance {instance},workers=4 {flags}");
        let process = Process::start_after(first, "sluice-balancer", &flags);
        eventually("an admin server", 3 * PATIENCE, async || {
            tokio::net::TcpStream::connect(admin).await.map(drop).map_err(|error| error.to_string())
        })
        .await;
        until_routed(admin, 1, PATIENCE).await;
        Self { process, data, admin }
    }
}

/// A metric over a connection that is there already.
async fn metric_over(admin: &mut Conn, name: &str) -> f64 {
    admin.send("GET /metrics HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let page = admin.response().await.text();
    let values = page.lines().filter_map(|line| line.strip_prefix(name)?.trim().parse::<f64>().ok());
    values.sum()
}

async fn again(client: &mut Conn) -> Message {
    client.send(get("/")).await;
    client.response().await
}

const ACCEPT_ERRORS: &str = "sluice_accept_errors_total";
const OPEN: &str = "sluice_client_connections_open";

#[tokio::test]
async fn without_descriptors_what_is_served_goes_on_and_the_rest_waits() {
    let mut instance = RawInstance::start().await;
    let flags = "--max-connections 100000 --client-head-timeout 5m";
    let balancer = Balancer::start("ulimit -n 128;", instance.address(), flags).await;
    let mut admin = Conn::open(balancer.admin).await;
    metric_over(&mut admin, ACCEPT_ERRORS).await;
    let mut client = Conn::open(balancer.data).await;
    client.send(get("/")).await;
    let mut upstream = instance.accept().await;
    upstream.request().await;
    // One that will need a connection to the instance.
    let mut other = Conn::open(balancer.data).await;
    other.send("GET / HTTP/1.1\r\n").await;
    let mut flood = Vec::new();
    for _ in 0..200 {
        let mut busy = Conn::open(balancer.data).await;
        busy.send("GET / HTTP/1.1\r\n").await;
        flood.push(busy);
    }
    eventually("nothing more is accepted", PATIENCE, async || {
        expect(metric_over(&mut admin, ACCEPT_ERRORS).await, |errors| *errors > 0.0)
    })
    .await;

    let (since, cpu) = (Instant::now(), balancer.process.cpu_time());
    let errors = metric_over(&mut admin, ACCEPT_ERRORS).await;
    eventually("it is tried again", PATIENCE, async || {
        sleep(Duration::from_millis(100)).await;
        expect(metric_over(&mut admin, ACCEPT_ERRORS).await, |now| *now >= errors + 20.0)
    })
    .await;
    let (took, cpu) = (since.elapsed(), balancer.process.cpu_time() - cpu);
    println!("without descriptors: {cpu:?} of the processor in {took:?}");
    assert!(cpu < took / 2, "it spins: {cpu:?} in {took:?}");

    other.send("host: a\r\n\r\n").await;
    let answer = other.response().await;
    assert_eq!((answer.status(), answer.head.get("retry-after")), (503, Some("1")), "{}", answer.text());
    upstream.send(ok("x")).await;
    assert_eq!(client.response().await.text(), "x");
    client.send(get("/")).await;
    upstream.request().await;
    upstream.send(ok("y")).await;
    assert_eq!(client.response().await.text(), "y");

    let released = Instant::now();
    drop(flood);
    let mut newcomer = Conn::open(balancer.data).await;
    newcomer.send(get("/")).await;
    upstream.request().await;
    upstream.send(ok("z")).await;
    assert_eq!(newcomer.response().await.text(), "z", "and the instance is not blamed");
    println!("served {:?} after descriptors were released", released.elapsed());
    assert!(released.elapsed() < Duration::from_secs(5), "{:?}", released.elapsed());
}

/// The default leaves room: as many clients as come are held, and each that asks is served.
#[tokio::test]
async fn the_default_number_of_connections_fits_the_descriptors() {
    let instance = Answering::named("x").await;
    let balancer = Balancer::start("ulimit -n 128;", instance.address(), "").await;
    let mut clients = Vec::new();
    for _ in 0..200 {
        clients.push(Conn::open(balancer.data).await);
    }
    let waits = ["reason=\"max_connections\""];
    eventually("the limit", PATIENCE, async || {
        expect(metric(balancer.admin, "sluice_accept_pauses_total", &waits).await, |pauses| *pauses > 0.0)
    })
    .await;
    // Those that say nothing make room.
    for _ in 0..5 {
        assert_eq!(ask(balancer.data, get("/")).await.text(), "x");
    }
    assert_eq!(metric(balancer.admin, ACCEPT_ERRORS, &[]).await, 0.0);
}

/// So many connections that were served and are kept.
async fn served(address: SocketAddr, count: usize) -> Vec<Conn> {
    const AT_ONCE: usize = 50;
    let mut opening = JoinSet::new();
    for n in 0..AT_ONCE {
        opening.spawn(async move {
            let mut clients = Vec::new();
            for _ in (n..count).step_by(AT_ONCE) {
                let mut client = Conn::open(address).await;
                assert_eq!(again(&mut client).await.text(), "x");
                clients.push(client);
            }
            clients
        });
    }
    opening.join_all().await.into_iter().flatten().collect()
}

/// `SLUICE_IDLE_CONNECTIONS=10000` for the long form.
#[tokio::test]
async fn idle_connections_cost_little_and_end_in_time() {
    descriptors::raise();
    let wanted = std::env::var("SLUICE_IDLE_CONNECTIONS").map_or(2000, |n| n.parse().expect("a number"));
    let count = wanted.min(usize::try_from(descriptors::most()).unwrap_or(usize::MAX).saturating_sub(200));
    let instance = Answering::named("x").await;
    let flags = format!("--client-keep-alive 15s --instance-keep-alive 2s --max-connections {}", count + 100);
    let balancer = Balancer::start("", instance.address(), &flags).await;
    for _ in 0..200 {
        ask(balancer.data, get("/")).await;
    }
    let before = balancer.process.rss_kib();
    let mut clients = served(balancer.data, count).await;
    // On a machine that is very slow the first ones are gone by now.
    let open = metric(balancer.admin, OPEN, &[]).await;
    let each = balancer.process.rss_kib().saturating_sub(before) as f64 / open;
    println!("{open} idle connections take {each:.1} KiB each");
    assert!(open >= count as f64 / 2.0, "{open} of {count}");
    // Of which the HTTP library has 16 KiB for what is read and what is written.
    assert!(each <= 32.0, "{each:.1} KiB each");
    let since = Instant::now();
    assert_eq!(ask(balancer.data, get("/probe")).await.text(), "x");
    println!("a probe beside them is answered in {:?}", since.elapsed());
    eventually("all of them closed", 6 * PATIENCE, async || {
        expect(metric(balancer.admin, OPEN, &[]).await, |open| *open == 0.0)
    })
    .await;
    for client in clients.iter_mut().step_by(100) {
        assert_eq!(client.ended().await, Ending::Closed);
    }
}
