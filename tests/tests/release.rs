//! When a worker is free is found out by class, believed by the balancer, and taken back at the first contradiction.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use serde_json::{Value, json};
use sluice_tests::admin;
use sluice_tests::site::{Agent, Balancer};
use sluice_tests::wire::{Conn, ask, get, ok};
use sluice_tests::{PATIENCE, eventually, expect};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, SemaphorePermit, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Pauses between probes are seconds; on a busy machine more.
const LEARNED: Duration = Duration::from_secs(60);
const BLOB: &str = "GET /blob";
const LENGTH: usize = 1_000_000;
/// Of a blob, what comes at once. The rest comes when the test says.
const BEGINNING: usize = 1000;

/// An instance with one worker. Pages are answered at once; blobs are begun, and ended when told.
struct Server {
    address: SocketAddr,
    state: Arc<State>,
    _connections: JoinSet<()>,
}

struct State {
    worker: Semaphore,
    /// Whether a blob's worker is free at its first byte.
    frees_early: AtomicBool,
    /// Counts the times that all blobs were ended.
    ends: watch::Sender<u64>,
}

impl Server {
    async fn start(frees_early: bool) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let state = Arc::new(State {
            worker: Semaphore::new(1),
            frees_early: AtomicBool::new(frees_early),
            ends: watch::Sender::new(0),
        });
        let mut connections = JoinSet::new();
        let serving = state.clone();
        connections.spawn(async move {
            let mut each = JoinSet::new();
            while let Ok((tcp, _)) = listener.accept().await {
                let state = serving.clone();
                each.spawn(async move { state.serve(Conn::new(tcp)).await });
            }
        });
        Self { address, state, _connections: connections }
    }

    fn end_blobs(&self) {
        self.state.ends.send_modify(|ends| *ends += 1);
    }
}

impl State {
    /// One request after the other, until the other side is gone.
    async fn serve(&self, mut conn: Conn) {
        while let Ok(head) = conn.try_head().await {
            let request = conn.body(head, Some(0)).await;
            let worker = self.worker.acquire().await.expect("never closed");
            let sent = if request.head.start.contains(" /blob") {
                self.send_blob(&mut conn, worker).await
            } else {
                conn.try_send(ok("page")).await
            };
            if sent.is_err() {
                return;
            }
        }
    }

    async fn send_blob(&self, conn: &mut Conn, worker: SemaphorePermit<'_>) -> std::io::Result<()> {
        let mut ends = self.ends.subscribe();
        let before = *ends.borrow_and_update();
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {LENGTH}\r\n\r\n");
        conn.try_send([head.as_bytes(), &[b'x'; BEGINNING]].concat()).await?;
        let _held = (!self.frees_early.load(Relaxed)).then_some(worker);
        ends.wait_for(|ends| *ends > before).await.expect("the server outlives its connections");
        conn.try_send(vec![b'x'; LENGTH - BEGINNING]).await
    }
}

/// A balancer, an agent and a server.
struct Chain {
    server: Server,
    balancer: Balancer,
    agent: Agent,
}

impl Chain {
    async fn start(frees_early: bool, flags: &str) -> Self {
        let server = Server::start(frees_early).await;
        let balancer = Balancer::start("");
        // Read at once, a response would free its worker whatever the server does.
        let agent =
            Agent::start(balancer.admin, server.address, &format!("--response-buffering off {flags}"));
        admin::until_routed(balancer.admin, 1, PATIENCE).await;
        let chain = Self { server, balancer, agent };
        chain.ask_for_pages().await;
        chain
    }

    /// So many that the agent knows how long they take, however busy the machine was for some of them.
    async fn ask_for_pages(&self) {
        for _ in 0..30 {
            assert_eq!(ask(self.agent.address, get("/page")).await.status(), 200);
        }
    }

    /// Waits until the agent knows of blobs what `wanted` says.
    async fn until_learned(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        eventually("the agent to learn", LEARNED, async || {
            let status = admin::json(self.agent.admin, "/v1/status").await;
            let claims = status["releases"].as_array().expect("a list");
            expect(claims.iter().find(|claim| claim["class"] == BLOB).cloned().unwrap_or_default(), &wanted)
        })
        .await
    }

    /// Waits until the balancer says the same.
    async fn until_believed(&self, point: Option<&str>) {
        eventually("the balancer to believe it", PATIENCE, async || {
            let list = admin::instances(self.balancer.admin).await;
            let claims = list[0]["releases"].as_array().expect("a list");
            let found = claims.iter().find(|claim| claim["class"] == BLOB);
            expect(found.map(|claim| claim["point"].clone()), |found| *found == point.map(Value::from))
        })
        .await;
    }

    /// Begins a blob whose worker the balancer takes for free. Claims are stale after three intervals of 100 ms, which
    /// a busy machine may take for one.
    async fn begin_a_free_one(&self) -> Conn {
        begin_a_free_one(&self.server, self.balancer.address, self.balancer.admin, async || ()).await
    }
}

async fn begin_a_free_one(
    server: &Server,
    address: SocketAddr,
    admin: SocketAddr,
    mut before: impl AsyncFnMut(),
) -> Conn {
    eventually("a blob whose worker is taken for free", LEARNED, async || {
        before().await;
        let blob = begun(address).await;
        if load(admin).await == (0, 1) {
            return Ok(blob);
        }
        server.end_blobs();
        ended(blob).await;
        Err("its worker was taken for held".to_owned())
    })
    .await
}

/// Requests of the balancer that hold a worker of its only instance, and those that do no longer. Read when the
/// beginning of a response is here, which is after the decision.
async fn load(admin: SocketAddr) -> (u64, u64) {
    let list = admin::instances(admin).await;
    let figure = |name: &str| list[0][name].as_u64().expect("a number");
    (figure("working"), figure("streaming"))
}

/// A client that has the beginning of a blob.
async fn begun(address: SocketAddr) -> Conn {
    let mut conn = Conn::open(address).await;
    conn.send(get("/blob")).await;
    assert_eq!(conn.head().await.status(), 200);
    conn.exactly(BEGINNING).await;
    conn
}

async fn ended(mut conn: Conn) {
    conn.exactly(LENGTH - BEGINNING).await;
}

#[tokio::test]
async fn a_worker_that_is_free_early_is_used_early() {
    let chain = Chain::start(true, "--health-path /ping").await;
    let first = begun(chain.balancer.address).await;
    let claim = chain.until_learned(|claim| claim["point"] == "first-byte").await;
    assert_eq!(claim["found"], "learned");
    chain.until_believed(Some("first-byte")).await;
    assert_eq!(load(chain.balancer.admin).await, (1, 0), "that was not known at its beginning");
    chain.server.end_blobs();
    ended(first).await;

    let second = chain.begin_a_free_one().await;
    assert_eq!(ask(chain.balancer.address, get("/page")).await.status(), 200, "beside the blob");
    let now = admin::json(chain.agent.admin, "/v1/status").await["now"].clone();
    assert_eq!((&now["in_flight"], &now["streaming"]), (&json!(0), &json!(1)));
    eventually("explanations", PATIENCE, async || {
        let explained = admin::json(chain.balancer.admin, "/v1/explain?path=/blob").await;
        let words = [&explained["candidates"][0]["release"], &explained["known"]["releases"][0]];
        let words = words.map(|words| words.as_str().unwrap_or_default().to_owned());
        expect(words, |words| words.iter().all(|words| words.contains("free at the first byte, up to ")))
    })
    .await;
    chain.server.end_blobs();
    ended(second).await;
    admin::until_idle(chain.balancer.admin).await;
    let classes = admin::metric(chain.agent.admin, "sluice_agent_release_classes", &[]).await;
    let probes = admin::metric(chain.agent.admin, "sluice_agent_release_probes_total", &["answered"]).await;
    assert_eq!((classes, probes >= 2.0), (1.0, true), "{probes} probes");
}

#[tokio::test]
async fn a_worker_that_is_held_is_waited_for() {
    let chain = Chain::start(false, "--health-path /ping").await;
    let first = begun(chain.balancer.address).await;
    let claim = chain.until_learned(|claim| claim["found"] == "learned").await;
    assert_eq!((&claim["point"], &claim["evidence"]["answered"]), (&json!("end"), &json!(0)));
    chain.until_believed(Some("end")).await;
    chain.server.end_blobs();
    ended(first).await;
    let second = begun(chain.balancer.address).await;
    assert_eq!(load(chain.balancer.admin).await, (1, 0));
    chain.server.end_blobs();
    ended(second).await;
    let contradictions = "sluice_agent_release_contradictions_total";
    assert_eq!(admin::metric(chain.agent.admin, contradictions, &[]).await, 0.0, "nothing was claimed");
}

#[tokio::test]
async fn the_first_request_that_waits_takes_the_claim_back() {
    let chain = Chain::start(true, "--health-path /ping").await;
    let first = begun(chain.balancer.address).await;
    chain.until_learned(|claim| claim["point"] == "first-byte").await;
    chain.server.end_blobs();
    ended(first).await;

    chain.server.state.frees_early.store(false, Relaxed);
    let second = chain.begin_a_free_one().await;
    let mut page = Conn::open(chain.balancer.address).await;
    page.send(get("/page")).await;
    let claim = chain.until_learned(|claim| claim["point"] == "end").await;
    assert!(claim["evidence"]["contradicted"].as_u64() >= Some(1), "{claim}");
    chain.until_believed(Some("end")).await;
    chain.server.end_blobs();
    assert_eq!(page.response().await.status(), 200);
    ended(second).await;
    admin::until_idle(chain.balancer.admin).await;
    let contradictions = "sluice_agent_release_contradictions_total";
    assert!(admin::metric(chain.agent.admin, contradictions, &[]).await >= 1.0);
}

#[tokio::test]
async fn without_a_path_to_ask_for_those_that_wait_anyway_show_it_if_they_change_nothing() {
    let chain = Chain::start(true, "").await;
    let address = chain.agent.address;
    let now = async || admin::json(chain.agent.admin, "/v1/status").await["now"].clone();
    // Pages that took long on a busy machine are not let in: then all over again.
    eventually("pages to be let in beside the blob", LEARNED, async || {
        let blob = begun(address).await;
        let mut form = Conn::open(address).await;
        form.send("POST /page HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n").await;
        eventually("the form to wait", PATIENCE, async || expect(now().await["queued"].clone(), |n| *n == 1))
            .await;
        let overtaken = timeout(PATIENCE / 2, async {
            loop {
                assert_eq!(ask(address, get("/page")).await.status(), 200);
                let status = admin::json(chain.agent.admin, "/v1/status").await;
                if status["releases"][0]["point"] == "first-byte" {
                    return;
                }
            }
        })
        .await;
        let waits = now().await["queued"] == 1;
        chain.server.end_blobs();
        ended(blob).await;
        assert_eq!(form.response().await.status(), 200);
        if overtaken.is_err() {
            chain.ask_for_pages().await;
        }
        overtaken.map(|()| assert!(waits, "a form may change something")).map_err(|late| late.to_string())
    })
    .await;
}

/// The test itself reports, and stops.
#[tokio::test]
async fn when_reports_stop_workers_count_as_held_to_the_end() {
    let server = Server::start(true).await;
    let balancer = Balancer::start("");
    let mut seq = 0;
    let report = async || {
        seq += 1;
        let report = json!({
            "schema": 1, "name": "zope-1", "address": server.address.to_string(), "boot_id": "b", "seq": seq,
            "interval_ms": 1000, "window_ms": 1000, "workers": 1, "mode": "inline", "state": "ready",
            "release": {"point": "end", "found": "assumed"}, "now": {},
            "releases": [{"class": BLOB, "point": "first-byte", "found": "learned", "up_to_bytes": LENGTH}],
        });
        let answer = admin::post(balancer.admin, "/v1/report", "", &report.to_string()).await;
        assert_eq!(answer.status(), 200, "{}", answer.text());
    };
    let blob = begin_a_free_one(&server, balancer.address, balancer.admin, report).await;
    server.end_blobs();
    ended(blob).await;
    eventually("silence to be noticed", LEARNED, async || {
        let blob = begun(balancer.address).await;
        let load = load(balancer.admin).await;
        server.end_blobs();
        ended(blob).await;
        expect(load, |load| *load == (1, 0))
    })
    .await;
    let claims = admin::instances(balancer.admin).await[0]["releases"].clone();
    assert_eq!(claims, json!([]));
}
