//! Over a socket, as clients see it.

use std::{fs, net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    body::Bytes,
    extract::ConnectInfo,
    http::header,
    routing::{get, post},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::Notify,
    task::JoinHandle,
    time,
};

use super::*;
use crate::{ByteSize, Readiness, Shutdown, TokenFile, metrics};

struct Fixture {
    _dir: tempfile::TempDir,
    addr: SocketAddr,
    readiness: Arc<Readiness>,
    shutdown: Shutdown,
    asked_endless: Arc<Notify>,
    serving: JoinHandle<Result<(), AdminError>>,
}

struct Answer {
    status: u16,
    head: String,
    body: String,
}

fn started(with_token: bool) -> Fixture {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("token");
    fs::write(&path, "s3cret").expect("a token file");
    let token = with_token.then(|| Arc::new(TokenFile::open(path).expect("a usable token")));

    let readiness = Arc::new(Readiness::new());
    let asked_endless = Arc::new(Notify::new());
    let asked = Arc::clone(&asked_endless);
    let endless = async move || {
        asked.notify_one();
        std::future::pending::<()>().await;
    };
    let length = async |body: Bytes| format!("{}\n", body.len());
    let registry = metrics::registry("test", "0");
    let router = common_routes(registry.clone(), Arc::clone(&readiness))
        .route("/length", post(length))
        .route("/short", limit_body(post(length), ByteSize::bytes(4)))
        .route("/long", limit_body(post(length), ByteSize::mib(2)))
        .route("/whoami", get(async |ConnectInfo(peer): ConnectInfo<SocketAddr>| peer.to_string()))
        .route("/kept", get(async || ([(header::CACHE_CONTROL, "max-age=60")], "kept")))
        .route("/endless", get(endless));
    let access = Access::register(&registry, token, false);
    let router = protect(list_paths(router, &["GET /metrics", "POST /length"]), access);

    let server = AdminServer::bind(SocketAddr::from(([127, 0, 0, 1], 0)), &registry).expect("a free port");
    let addr = server.local_addr();
    let shutdown = Shutdown::new();
    let watch = shutdown.watch();
    let serving = tokio::spawn(server.serve(router, async move { watch.requested().await }));
    Fixture { _dir: dir, addr, readiness, shutdown, asked_endless, serving }
}

impl Fixture {
    async fn ask(&self, request: &str, headers: &[&str], body: &[u8]) -> Answer {
        let lines: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
        let (addr, length) = (self.addr, body.len());
        let head = format!(
            "{request} HTTP/1.1\r\nhost: {addr}\r\nconnection: close\r\ncontent-length: {length}\r\n{lines}\r\n"
        );
        let mut stream = TcpStream::connect(addr).await.expect("connects");
        stream.write_all(head.as_bytes()).await.expect("sends the head");
        stream.write_all(body).await.expect("sends the body");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("reads the answer");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        let status = head[9..12].parse().expect("a status");
        Answer { status, head: head.to_lowercase(), body: body.to_owned() }
    }

    async fn get(&self, path: &str) -> Answer {
        self.ask(&format!("GET {path}"), &[], b"").await
    }

    async fn post(&self, path: &str, headers: &[&str], body: &[u8]) -> Answer {
        self.ask(&format!("POST {path}"), headers, body).await
    }
}

#[tokio::test]
async fn metrics_are_prometheus_text() {
    let answer = started(true).get("/metrics").await;
    assert_eq!(answer.status, 200);
    assert!(answer.head.contains("content-type: text/plain; version=0.0.4"), "{}", answer.head);
    assert!(answer.body.contains("sluice_build_info"), "{}", answer.body);
}

#[tokio::test]
async fn metrics_are_openmetrics_for_who_asks_for_it() {
    let accept = "accept: application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5";
    let answer = started(true).ask("GET /metrics", &[accept], b"").await;
    assert!(
        answer.head.contains("content-type: application/openmetrics-text; version=1.0.0"),
        "{}",
        answer.head
    );
    assert!(answer.body.starts_with("# TYPE process_cpu_seconds counter\n"), "{}", answer.body);
    assert!(answer.body.ends_with("\n# EOF\n"), "{}", answer.body);
}

#[tokio::test]
async fn readiness_is_told_with_its_reason_and_health_apart_from_it() {
    let fixture = started(false);
    assert_eq!(fixture.get("/readyz").await.status, 200);

    fixture.readiness.block("instances", "none is up");
    let answer = fixture.get("/readyz").await;
    assert_eq!((answer.status, &*answer.body), (503, "instances: none is up\n"));
    let health = fixture.get("/healthz").await;
    assert_eq!((health.status, &*health.body), (200, "ok\n"));
}

#[tokio::test]
async fn a_post_needs_the_token() {
    let fixture = started(true);
    for (authorization, status) in
        [(None, 401), (Some("authorization: Bearer no"), 403), (Some("authorization: Bearer s3cret"), 200)]
    {
        let answer = fixture.post("/length", authorization.as_slice(), b"four").await;
        assert_eq!(answer.status, status, "{authorization:?}");
        assert_eq!(answer.body.lines().count(), 1, "{}", answer.body);
        assert_eq!(answer.head.contains("www-authenticate: bearer"), status == 401);
    }
}

#[tokio::test]
async fn a_post_from_another_site_is_refused() {
    let fixture = started(false);
    for line in ["sec-fetch-site: cross-site", "origin: http://evil.example"] {
        assert_eq!(fixture.post("/length", &[line], b"").await.status, 403, "{line}");
    }
    let metrics = fixture.get("/metrics").await.body;
    assert!(metrics.contains("sluice_admin_refused_total{reason=\"cross_site\"} 2"), "{metrics}");
    let own = format!("origin: http://{}", fixture.addr);
    let answer = fixture.post("/length", &["sec-fetch-site: same-origin", &own], b"").await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn a_body_that_is_too_large_is_told_the_limit_of_its_route() {
    let fixture = started(false);
    let mib = 1 << 20;
    for (path, size, status, body) in [
        ("/length", mib, 200, "1048576\n"),
        ("/length", mib + 1, 413, "request body is larger than 1MiB\n"),
        ("/short", 4, 200, "4\n"),
        ("/short", 5, 413, "request body is larger than 4\n"),
        ("/long", 2 * mib, 200, "2097152\n"),
        ("/long", 2 * mib + 1, 413, "request body is larger than 2MiB\n"),
    ] {
        let answer = fixture.post(path, &[], &vec![b'x'; size]).await;
        assert_eq!((answer.status, &*answer.body), (status, body), "{path} {size}");
    }
}

#[tokio::test]
async fn every_answer_is_hardened_refusals_too() {
    let fixture = started(true);
    for answer in
        [fixture.get("/healthz").await, fixture.get("/none").await, fixture.post("/length", &[], b"").await]
    {
        for line in [
            "content-security-policy: default-src 'none'; script-src 'self'; style-src 'self';",
            "x-content-type-options: nosniff",
            "x-frame-options: deny",
            "referrer-policy: no-referrer",
            "cross-origin-opener-policy: same-origin",
            "cross-origin-resource-policy: same-origin",
            "cache-control: no-store",
        ] {
            assert!(answer.head.contains(line), "{line} is not in {}", answer.head);
        }
    }
    let kept = fixture.get("/kept").await.head;
    assert!(kept.contains("cache-control: max-age=60") && !kept.contains("no-store"), "{kept}");
}

#[tokio::test]
async fn what_is_not_there_is_answered_with_what_is() {
    let fixture = started(false);
    let answer = fixture.get("/metric").await;
    let listed = "no GET /metric here; there are:\n  GET /metrics\n  POST /length\n";
    assert_eq!((answer.status, &*answer.body), (404, listed));
    let answer = fixture.get("/length").await;
    assert_eq!(answer.status, 405);
    assert!(answer.body.contains("POST /length") && answer.head.contains("allow: post"), "{}", answer.head);
}

#[tokio::test]
async fn handlers_see_the_client() {
    assert!(started(false).get("/whoami").await.body.starts_with("127.0.0.1:"));
}

#[tokio::test]
async fn a_taken_address_is_named() {
    let fixture = started(false);
    let message =
        AdminServer::bind(fixture.addr, &metrics::registry("test", "0")).err().expect("taken").to_string();
    assert!(message.contains(&fixture.addr.to_string()) && message.contains("--admin"), "{message}");
}

/// The paused clock jumps to the end of the grace, and would stand still if there were nothing to wait for.
#[tokio::test(start_paused = true)]
async fn stopping_ends_idle_connections_at_once_and_endless_answers_after_the_grace() {
    let fixture = started(false);
    let mut idle = TcpStream::connect(fixture.addr).await.expect("connects");
    let request = format!("GET /healthz HTTP/1.1\r\nhost: {}\r\n\r\n", fixture.addr);
    idle.write_all(request.as_bytes()).await.expect("asks");
    let mut first = [0; 12];
    idle.read_exact(&mut first).await.expect("is answered");
    let mut endless = TcpStream::connect(fixture.addr).await.expect("connects");
    let request = format!("GET /endless HTTP/1.1\r\nhost: {}\r\n\r\n", fixture.addr);
    endless.write_all(request.as_bytes()).await.expect("asks");
    fixture.asked_endless.notified().await;

    let asked_at = time::Instant::now();
    fixture.shutdown.trigger();
    idle.read_to_end(&mut Vec::new()).await.expect("closed in order");
    assert!(asked_at.elapsed() < Duration::from_secs(1), "idle: {:?}", asked_at.elapsed());
    let served = time::timeout(Duration::from_secs(10), fixture.serving).await;
    served.expect("does not wait for ever").expect("no panic").expect("no error");
    assert!(asked_at.elapsed() >= Duration::from_secs(2), "endless: {:?}", asked_at.elapsed());
    assert!(TcpStream::connect(fixture.addr).await.is_err(), "nobody listens any more");
}

/// Longer than the minute between two scrapes, as one timer bounds both; the paused clock jumps to its end.
#[tokio::test(start_paused = true)]
async fn half_a_head_is_not_waited_for_for_ever() {
    let fixture = started(false);
    let mut stream = TcpStream::connect(fixture.addr).await.expect("connects");
    stream.write_all(b"GET /healthz HTTP/1.1\r\n").await.expect("sends half a head");
    let sent_at = time::Instant::now();
    let ended = time::timeout(Duration::from_secs(70), stream.read_to_end(&mut Vec::new())).await;
    assert!(ended.is_ok(), "still open after 70 s");
    assert!(sent_at.elapsed() > Duration::from_secs(60), "closed after {:?}", sent_at.elapsed());
}

#[tokio::test(start_paused = true)]
async fn half_a_body_is_not_waited_for_for_ever() {
    let fixture = started(false);
    let mut stream = TcpStream::connect(fixture.addr).await.expect("connects");
    let head = format!(
        "POST /length HTTP/1.1\r\nhost: {}\r\nconnection: close\r\ncontent-length: 9\r\n\r\nhalf",
        fixture.addr
    );
    stream.write_all(head.as_bytes()).await.expect("sends half a body");
    let mut answer = String::new();
    let ended = time::timeout(Duration::from_secs(40), stream.read_to_string(&mut answer)).await;
    assert!(ended.is_ok(), "still open after 40 s");
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
}

#[tokio::test]
async fn one_sender_gets_half_of_the_connections_that_there_may_be() {
    let registry = metrics::registry("test", "0");
    let server = AdminServer::bind(SocketAddr::from(([127, 0, 0, 1], 0)), &registry).expect("a free port");
    let server = server.with_connections(5);
    let addr = server.local_addr();
    let router = common_routes(registry, Arc::new(Readiness::new()));
    let _serving = tokio::spawn(server.serve(router, std::future::pending()));
    let mut kept = Vec::new();
    for _ in 0..3 {
        let mut stream = TcpStream::connect(addr).await.expect("connects");
        stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").await.expect("asks");
        stream.read_exact(&mut [0; 12]).await.expect("is answered");
        kept.push(stream);
    }
    let mut one_more = TcpStream::connect(addr).await.expect("connects");
    assert_eq!(one_more.read(&mut [0; 1]).await.expect("closed in order"), 0, "and not answered");
}

#[test]
fn connections_are_bounded_by_what_a_process_may_open() {
    for (descriptors, connections) in
        [(256, 1024), (8192, 1024), (20_000, 2500), (524_288, 16_384), (u64::MAX, 16_384)]
    {
        assert_eq!(connections_within(descriptors), connections, "of {descriptors}");
    }
}
