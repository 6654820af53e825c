//! SIGUSR2: a new process takes over from a running one, and no client notices.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use http::Method;
use sluice_emulation::dist::Dist;
use sluice_emulation::instance::{Instance, InstanceConfig, Release};
use sluice_emulation::load::{self, ClassLoad, Progress, RunOptions, Summary, Workload};
use sluice_tests::http2::{self, Http2};
use sluice_tests::lineage::{Lineage, signal};
use sluice_tests::process::{Process, free_addresses};
use sluice_tests::script::{Answering, RawInstance};
use sluice_tests::site::{Agent, Balancer};
use sluice_tests::wire::{Conn, ask, get};
use sluice_tests::{PATIENCE, admin, eventually, expect, soon};
use tokio::task::{JoinHandle, JoinSet};

/// Workers that an instance has beyond those that its agent knows of: what is let in too much is seen, not queued.
const SPARE: usize = 4;

async fn instance(workers: usize) -> Instance {
    // A worker is free before its client can know, so that no count is one too high for a moment.
    let config =
        InstanceConfig { workers: workers + SPARE, release: Release::FirstByte, ..InstanceConfig::default() };
    Instance::start(config).await.expect("a free port")
}

/// A balancer's configuration file, with clients at `data`.
fn configure(file: &Path, data: SocketAddr, admin: SocketAddr, threads: usize) {
    let text = format!(
        "listen = [\"{data},h2c\"]\nadmin = \"{admin}\"\nthreads = {threads}\ninstance-keep-alive = \"1s\"\n"
    );
    fs::write(file, text).expect("written");
}

/// `address`: that of clients, which is listened on last.
async fn until_it_listens(address: SocketAddr) {
    eventually("an address to listen on", PATIENCE, async || {
        tokio::net::TcpStream::connect(address).await.map(drop).map_err(|error| error.to_string())
    })
    .await;
}

/// Load of which nothing may be lost: pages, long ones, and some that must not be sent twice.
struct Load {
    progress: Arc<Progress>,
    running: JoinHandle<Summary>,
}

impl Load {
    fn start(target: SocketAddr, seconds: u64, rates: [f64; 3]) -> Self {
        let class = |name: &str, rate, work_ms, bytes| {
            let mut class = ClassLoad::new(name, rate);
            class.work_ms = Dist::Constant(work_ms);
            class.bytes = Dist::Constant(bytes);
            class
        };
        let mut posts = class("posts", rates[2], 20.0, 100.0);
        (posts.method, posts.request_bytes) = (Method::POST, 10_000);
        let pages = class("pages", rates[0], 20.0, 20_000.0);
        let classes = vec![pages, class("exports", rates[1], 700.0, 300_000.0), posts];
        let duration = Duration::from_secs(seconds);
        let workload = Workload { name: "steady".into(), seed: 1, duration, classes };
        let progress = Progress::new(&workload);
        let shown = progress.clone();
        let options = RunOptions { timeout: Duration::from_secs(30), ..RunOptions::default() };
        let running = tokio::spawn(async move { load::run(target, &workload, options, shown).await });
        Self { progress, running }
    }

    /// Waits for that many further pages, or the end.
    async fn more(&self, count: u64) {
        let answered = || self.progress.snapshot()[0].answered;
        let wanted = answered() + count;
        eventually("further answers", 3 * PATIENCE, async || {
            expect(answered(), |n| *n >= wanted || self.running.is_finished())
        })
        .await;
    }

    async fn assert_nothing_was_lost(self) {
        let summary = self.running.await.expect("the load does not panic");
        println!("{summary}");
        for class in &summary.classes {
            assert_eq!((class.failures(), class.not_sent), (0, 0), "{:?}", class.failed);
        }
    }
}

/// Clients that ask on one connection for as long as they may, until they are told to stop: what they send there must be
/// answered, unless they were told before that the connection ends.
struct Faithful {
    over: Arc<AtomicBool>,
    answers: Arc<AtomicUsize>,
    clients: JoinSet<()>,
}

impl Faithful {
    fn start(address: SocketAddr) -> Self {
        let (over, answers) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let mut clients = JoinSet::new();
        clients.spawn(ask_over_http1(address, over.clone(), answers.clone()));
        clients.spawn(ask_over_http2(address, over.clone(), answers.clone()));
        Self { over, answers, clients }
    }

    async fn stop(mut self) {
        let so_far = self.answers.load(SeqCst);
        eventually("answers on kept connections", PATIENCE, async || {
            expect(self.answers.load(SeqCst), |n| *n >= so_far + 4)
        })
        .await;
        self.over.store(true, SeqCst);
        while let Some(client) = self.clients.join_next().await {
            client.expect("every request was answered");
        }
    }
}

async fn ask_over_http1(address: SocketAddr, over: Arc<AtomicBool>, answers: Arc<AtomicUsize>) {
    let mut conn = Conn::open(address).await;
    while !over.load(SeqCst) {
        conn.send(format!("POST /kept HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n{WORK}\r\nhi")).await;
        let answer = conn.response().await;
        assert_eq!((answer.status(), answer.cut), (200, None), "{}", answer.text());
        answers.fetch_add(1, SeqCst);
        if answer.head.get("connection") == Some("close") {
            conn = Conn::open(address).await;
        }
    }
}

async fn ask_over_http2(address: SocketAddr, over: Arc<AtomicBool>, answers: Arc<AtomicUsize>) {
    let mut connection = Http2::open(address).await;
    while !over.load(SeqCst) {
        let request = http2::request("GET", "/kept").header("x-emulate-work-us", "5000").body(());
        match connection.try_send(request.expect("valid"), true).await {
            Ok((response, _)) => {
                let answer = soon("a response", response).await.expect("it was sent before any GOAWAY");
                let answer = http2::collect(answer).await.expect("whole");
                assert_eq!(answer.status(), 200, "{}", answer.text());
                answers.fetch_add(1, SeqCst);
            }
            Err(_told_to_go) => connection = Http2::open(address).await,
        }
    }
}

const WORK: &str = "x-emulate-work-us: 5000\r\n";

/// The balancer, three times under load, each time with another number of threads.
#[tokio::test]
async fn a_balancer_is_upgraded_three_times_under_load_and_nothing_is_lost() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = dir.path().join("sluice.toml");
    let [data, admin_address] = free_addresses();
    configure(&file, data, admin_address, 2);
    let balancer = Lineage::start("sluice-balancer", &format!("--config {}", file.display()));
    until_it_listens(data).await;
    let instances = [instance(2).await, instance(2).await];
    let agents: Vec<_> = (instances.iter().enumerate())
        .map(|(n, at)| {
            Agent::start(admin_address, at.addr(), &format!("--workers 2 --name i{n} --release end"))
        })
        .collect();
    admin::until_routed(admin_address, 2, PATIENCE).await;

    let (load, faithful) = (Load::start(data, 5, [40.0, 1.0, 10.0]), Faithful::start(data));
    for (generation, threads) in [(1, 3), (2, 1), (3, 2)] {
        load.more(15).await;
        configure(&file, data, admin_address, threads);
        balancer.upgrade(admin_address, generation).await;
    }
    load.assert_nothing_was_lost().await;
    faithful.stop().await;
    admin::until_idle(admin_address).await;
    for (agent, instance) in agents.iter().zip(&instances) {
        admin::until_agent_holds(agent.admin, 0).await;
        assert!(instance.stats().peak_busy <= 2, "{:?}", instance.stats());
    }
    balancer.until_left(1).await;
    assert_eq!(admin::metric(admin_address, "sluice_generation", &[]).await, 3.0);
}

/// The agent, three times under load through a balancer: it shares its workers with the process before it, and is never
/// called draining or down.
#[tokio::test]
async fn an_agent_is_upgraded_three_times_under_load_and_nothing_is_lost() {
    let balancer = Balancer::start("--instance-keep-alive 1s");
    let instance = instance(2).await;
    let [data, admin_address] = free_addresses();
    let agent = Lineage::start(
        "sluice-agent",
        &format!(
            "--balancer http://{} --instance {} --listen {data} --admin {admin_address} --name only --workers 2 \
             --release end --interval 100ms",
            balancer.admin,
            instance.addr()
        ),
    );
    admin::until_routed(balancer.admin, 1, PATIENCE).await;
    let mut events = Conn::open(balancer.admin).await;
    events.send(get("/v1/events")).await;
    events.head().await;
    let load = Load::start(balancer.address, 5, [20.0, 0.6, 5.0]);
    for generation in [1, 2, 3] {
        load.more(10).await;
        agent.upgrade(admin_address, generation).await;
    }
    load.assert_nothing_was_lost().await;
    assert!(instance.stats().peak_busy <= 2, "{:?}", instance.stats());
    agent.until_left(1).await;
    admin::until_agent_holds(admin_address, 0).await;
    admin::until_routed(balancer.admin, 1, PATIENCE).await;
    // The last of the events is told apart, all before it are of the upgrades.
    assert_eq!(admin::post(balancer.admin, "/v1/instances/only/drain", "", "").await.status(), 200);
    let told = events.until("the operator says drain").await;
    assert!(told.contains("agent-restarted"), "{told}");
    assert!(!told.contains("gets no requests"), "{told}");
}

/// HAProxy asks all the time (agent-check): it is never refused, and hears of no drain.
#[tokio::test]
async fn an_agent_is_upgraded_and_haproxy_does_not_notice() {
    let instance = Answering::named("zope").await;
    let [data, admin_address, check] = free_addresses();
    let flags = format!(
        "--instance {} --listen {data} --admin {admin_address} --agent-check {check} --workers 2",
        instance.address()
    );
    let agent = Lineage::start("sluice-agent", &flags);
    until_it_listens(check).await;
    eventually("a line", PATIENCE, async || {
        expect(agent_check(check).await, |line| line == "ready up 100% maxconn:2\n")
    })
    .await;
    let (over, lines) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
    let (is_over, heard) = (over.clone(), lines.clone());
    let haproxy = tokio::spawn(async move {
        while !is_over.load(SeqCst) {
            let line = agent_check(check).await;
            assert!(line.starts_with("ready up") && line.ends_with("maxconn:2\n"), "{line:?}");
            heard.fetch_add(1, SeqCst);
        }
    });
    let more = async || {
        let so_far = lines.load(SeqCst);
        let heard =
            async || expect(lines.load(SeqCst), |lines| *lines >= so_far + 5 || haproxy.is_finished());
        eventually("further lines", 3 * PATIENCE, heard).await;
    };
    for generation in [1, 2] {
        more().await;
        agent.upgrade(admin_address, generation).await;
    }
    agent.until_left(1).await;
    more().await;
    over.store(true, SeqCst);
    haproxy.await.expect("every line was as it should be");
}

async fn agent_check(address: SocketAddr) -> String {
    let (line, _) = Conn::open(address).await.rest().await;
    String::from_utf8_lossy(&line).into_owned()
}

const UPGRADE: &str = "GET /ws HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
    sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n\r\n";
const SWITCHED: &str =
    "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n";

/// A balancer before an instance that the test plays.
async fn before_a_raw_instance(flags: &str) -> (Lineage, RawInstance, SocketAddr, SocketAddr) {
    let instance = RawInstance::start().await;
    let [data, admin_address] = free_addresses();
    let balancer = Lineage::start(
        "sluice-balancer",
        &format!(
            "--listen {data},h2c --admin {admin_address} --threads 1 --instance {},workers=9 {flags}",
            instance.address()
        ),
    );
    until_it_listens(data).await;
    (balancer, instance, data, admin_address)
}

/// A tunnel, a download, an upload, a stream and an idle connection are with the old process to their end.
#[tokio::test]
async fn what_is_under_way_is_finished_by_the_process_that_began_it() {
    let (balancer, mut instance, data, admin_address) = before_a_raw_instance("").await;
    let mut idle = Conn::open(data).await;
    idle.send(get("/first")).await;
    let mut at_idle = instance.accept().await;
    at_idle.request().await;
    at_idle.send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await;
    assert_eq!(idle.response().await.head.get("connection"), None);
    drop(at_idle);

    let (mut tunnel, mut at_tunnel) = tunnel_through(data, &mut instance).await;

    let mut download = Conn::open(data).await;
    download.send(get("/download")).await;
    let mut at_download = instance.accept().await;
    at_download.request().await;
    at_download.send("HTTP/1.1 200 OK\r\ncontent-length: 200000\r\nconnection: close\r\n\r\n").await;
    at_download.send(vec![b'a'; 100_000]).await;
    let head = download.head().await;
    download.exactly(50_000).await;

    let mut upload = Conn::open(data).await;
    upload.send("POST /upload HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nhello").await;
    let mut at_upload = instance.accept().await;
    at_upload.until("hello").await;

    let mut stream = Http2::open(data).await;
    let (streamed, _) = stream.send(http2::get("/stream"), true).await;
    let mut at_stream = instance.accept().await;
    at_stream.request().await;

    let old = balancer.upgrade(admin_address, 1).await;
    assert_ne!(balancer.newest(), old);

    at_stream.send("HTTP/1.1 200 OK\r\ncontent-length: 4\r\nconnection: close\r\n\r\ndone").await;
    let answer = http2::collect(soon("a response", streamed).await.expect("not refused")).await;
    assert_eq!(answer.expect("whole").text(), "done");
    drop(stream);

    upload.send("world").await;
    at_upload.until("world").await;
    at_upload.send("HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\ntaken").await;
    let answer = upload.response().await;
    assert_eq!((answer.text().as_str(), answer.head.get("connection")), ("taken", Some("close")));

    at_download.send(vec![b'b'; 100_000]).await;
    assert_eq!(download.exactly(150_000).await.last(), Some(&b'b'));
    assert_eq!(head.status(), 200);
    drop((download, upload));

    tunnel.send("ping").await;
    assert_eq!(at_tunnel.exactly(4).await, b"ping");
    at_tunnel.send("pong").await;
    assert_eq!(tunnel.exactly(4).await, b"pong");

    // It may ask once more, and is told then.
    idle.send(get("/second")).await;
    let mut at_idle = instance.accept().await;
    at_idle.request().await;
    at_idle.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi").await;
    let answer = idle.response().await;
    assert_eq!((answer.text().as_str(), answer.head.get("connection")), ("hi", Some("close")));
    assert!(balancer.pids().contains(&old), "the tunnel keeps it");
    drop((tunnel, at_tunnel));
    balancer.until_left(1).await;
}

/// Whatever is wrong with the new process, the old one serves on, says so, and can be upgraded once it is put right.
#[tokio::test]
async fn a_new_process_that_can_not_serve_leaves_the_old_one_serving() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = dir.path().join("sluice.toml");
    let [data, admin_address, other] = free_addresses();
    configure(&file, data, admin_address, 1);
    let instance = instance(2).await;
    let flags = format!("--config {} --instance {},workers=2", file.display(), instance.addr());
    let balancer = Lineage::start("sluice-balancer", &flags);
    until_it_listens(data).await;
    let mut kept = Conn::open(data).await;
    let good = fs::read_to_string(&file).expect("just written");
    let taken = std::net::TcpListener::bind(other).expect("it was free a moment ago");
    let at_taken = good.replacen("listen = [", &format!("listen = [\"{other}\", "), 1);
    let program = sluice_tests::process::program("sluice-balancer");
    let no_program = dir.path().join("nothing");
    let cases = [
        ("a bad configuration", &program, "threads = \"many\"\n"),
        ("an address that somebody else has", &program, &at_taken),
        ("another program", &"/bin/false".into(), &good),
        ("no program", &no_program, &good),
    ];
    for (failures, (case, program, text)) in (1..).zip(cases) {
        fs::write(&file, text).expect("written");
        balancer.replace(program);
        let old = balancer.ask();
        println!("{case}");
        admin::until_metric(admin_address, "sluice_upgrades_failed_total", &[], f64::from(failures)).await;
        kept.send(get("/")).await;
        let answer = kept.response().await;
        assert_eq!((answer.status(), answer.head.get("connection")), (200, None), "{case}");
        assert_eq!(ask(data, get("/")).await.status(), 200, "{case}");
        assert_eq!(balancer.pids(), [old], "{case}");
    }
    drop(taken);
    balancer.replace(&program);
    fs::write(&file, at_taken).expect("written");
    balancer.upgrade(admin_address, 1).await;
    for address in [data, other] {
        assert_eq!(ask(address, get("/")).await.status(), 200);
    }
    drop(kept);
    balancer.until_left(1).await;
}

/// Nothing learned is lost, without any file; and who was known is known before its next report.
#[tokio::test]
async fn what_was_learned_and_who_is_there_is_known_to_the_next_process() {
    let [data, admin_address] = free_addresses();
    let flags = format!("--listen {data} --admin {admin_address} --threads 1");
    let balancer = Lineage::start("sluice-balancer", &flags);
    until_it_listens(data).await;
    let instance = instance(2).await;
    // Reports seldom: what is known right after the upgrade was handed over.
    let _agents = ["a", "b"].map(|name| {
        let flags = format!(
            "--balancer http://{admin_address} --instance {} --listen 127.0.0.1:0 --admin 127.0.0.1:0 --workers 2 \
             --name {name} --interval 30s",
            instance.addr()
        );
        Process::start("sluice-agent", &flags)
    });
    admin::until_routed(admin_address, 2, PATIENCE).await;
    assert_eq!(admin::post(admin_address, "/v1/instances/b/drain", "", "").await.status(), 200);
    let serve = async |path: &str, work: u32| {
        let request = format!("GET {path} HTTP/1.1\r\nhost: h\r\nx-emulate-work-us: {work}\r\n\r\n");
        assert_eq!(ask(data, request).await.status(), 200, "{path}");
    };
    let lane = async || {
        let explained = admin::json(admin_address, "/v1/explain?host=h&path=/exports/7").await;
        expect(explained["lane"]["name"].clone(), |lane| lane == "large")
    };
    for _ in 0..20 {
        serve("/page", 2_000).await;
    }
    // As many as it takes: on a machine that is busy pages are slow as well.
    eventually("exports to be known as large", 3 * PATIENCE, async || {
        serve("/exports/1", 800_000).await;
        lane().await
    })
    .await;
    let old = balancer.upgrade(admin_address, 1).await;
    assert!(lane().await.is_ok(), "{:?}", lane().await);
    let list = admin::instances(admin_address).await;
    let known: Vec<_> = list.iter().map(|i| (i["name"].clone(), i["routed"].clone())).collect();
    assert_eq!(known, [("a".into(), true.into()), ("b".into(), false.into())], "{list:?}");
    assert_eq!(ask(data, get("/page")).await.status(), 200);
    eventually("the end of the old process", PATIENCE, async || {
        expect(balancer.pids(), |pids| !pids.contains(&old))
    })
    .await;
}

/// A tunnel's two ends.
async fn tunnel_through(data: SocketAddr, instance: &mut RawInstance) -> (Conn, Conn) {
    let mut client = Conn::open(data).await;
    client.send(UPGRADE).await;
    let mut server = instance.accept().await;
    server.request().await;
    server.send(SWITCHED).await;
    assert_eq!(client.response().await.status(), 101);
    (client, server)
}

/// The old process is killed while it still finishes something: that is lost, and nothing else.
#[tokio::test]
async fn a_process_that_is_killed_after_it_handed_over_is_not_missed() {
    let (balancer, mut instance, data, admin_address) = before_a_raw_instance("").await;
    let _both_ends = tunnel_through(data, &mut instance).await;
    let old = balancer.upgrade(admin_address, 1).await;
    signal(old, "KILL");
    balancer.until_left(1).await;
    let mut client = Conn::open(data).await;
    client.send(get("/")).await;
    let mut at_client = instance.accept().await;
    at_client.request().await;
    at_client.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi").await;
    assert_eq!(client.response().await.text(), "hi");
    // And it can be upgraded in turn.
    drop(client);
    balancer.upgrade(admin_address, 2).await;
}
