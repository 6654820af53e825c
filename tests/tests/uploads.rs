//! An upload holds no worker before it is there, as far as there is room for it; and it arrives as it was sent.

use std::io::Write;
use std::net::SocketAddr;

use sluice_tests::script::RawInstance;
use sluice_tests::site::{Agent, Balancer};
use sluice_tests::wire::{Conn, chunked, get, ok, pattern};
use sluice_tests::{PATIENCE, admin, eventually, expect};

const MIB: usize = 1024 * 1024;

/// An agent with one worker, asked directly.
struct Site {
    agent: Agent,
    instance: RawInstance,
    _balancer: Balancer,
}

impl Site {
    async fn start(flags: &str) -> Self {
        let (balancer, instance) = (Balancer::start(""), RawInstance::start().await);
        let agent = Agent::start(balancer.admin, instance.address(), flags);
        admin::until_routed(balancer.admin, 1, PATIENCE).await;
        Self { agent, instance, _balancer: balancer }
    }

    /// Waits until the agent keeps that much and works on nothing.
    async fn until_kept(&self, bytes: impl Fn(u64) -> bool) {
        eventually("what the agent keeps", PATIENCE, async || {
            let now = now(self.agent.admin).await;
            expect(now, |now| now["in_flight"] == 0 && now["spooled_bytes"].as_u64().is_some_and(&bytes))
        })
        .await;
    }
}

async fn now(agent: SocketAddr) -> serde_json::Value {
    admin::json(agent, "/v1/status").await["now"].clone()
}

fn post(length: usize, fields: &str) -> String {
    format!("POST /upload HTTP/1.1\r\nhost: a\r\n{fields}content-length: {length}\r\n\r\n")
}

#[tokio::test]
async fn a_slow_upload_holds_no_worker() {
    let mut site = Site::start("").await;
    let body = pattern(20 * MIB);
    let (first, rest) = body.split_at(8 * MIB);
    let mut slow = Conn::open(site.agent.address).await;
    slow.send(post(body.len(), "")).await;
    slow.send(first).await;
    site.until_kept(|bytes| bytes >= 8 * MIB as u64).await;

    let mut other = Conn::open(site.agent.address).await;
    other.send(get("/page")).await;
    let mut upstream = site.instance.accept().await;
    assert_eq!(upstream.request().await.head.start, "GET /page HTTP/1.1", "the only worker is free");
    upstream.send(ok("page")).await;
    assert_eq!(other.response().await.text(), "page");

    slow.send(rest).await;
    let request = upstream.request().await;
    assert_eq!(request.head.get("content-length"), Some("20971520"));
    assert!(request.body == body, "other bytes than sent");
    upstream.send(ok("stored")).await;
    assert_eq!(slow.response().await.text(), "stored");
    site.until_kept(|bytes| bytes == 0).await;
    // The connection is good for more.
    slow.send(get("/again")).await;
    assert_eq!(upstream.request().await.head.start, "GET /again HTTP/1.1");
}

#[tokio::test]
async fn chunks_get_a_length_and_trailers_stay() {
    let mut site = Site::start("").await;
    let mut client = Conn::open(site.agent.address).await;
    let head = "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n";
    client
        .send(
            [format!("{head}\r\n").into_bytes(), chunked(&pattern(300_000), 777), b"\r\n".to_vec()].concat(),
        )
        .await;
    let mut upstream = site.instance.accept().await;
    let request = upstream.request().await;
    assert_eq!(request.head.get("content-length"), Some("300000"));
    assert_eq!(request.head.get("transfer-encoding"), None);
    assert!(request.body == pattern(300_000));
    upstream.send(ok("")).await;
    client.response().await;

    let trailed = [
        format!("{head}trailer: x-sum\r\n\r\n").into_bytes(),
        chunked(&pattern(300_000), 777),
        b"x-sum: 1\r\n\r\n".to_vec(),
    ];
    client.send(trailed.concat()).await;
    let request = upstream.request().await;
    assert_eq!(request.trailers, [("x-sum".to_owned(), "1".to_owned())]);
    assert!(request.body == pattern(300_000));
}

#[tokio::test]
async fn who_waits_for_100_continue_gets_it_from_the_agent() {
    let mut site = Site::start("").await;
    let mut client = Conn::open(site.agent.address).await;
    client.send(post(5, "expect: 100-continue\r\n")).await;
    assert_eq!(client.head().await.start, "HTTP/1.1 100 Continue");
    assert_eq!(now(site.agent.admin).await["in_flight"], 0);
    client.send("hello").await;
    let mut upstream = site.instance.accept().await;
    let request = upstream.request().await;
    assert_eq!((request.text().as_str(), request.head.get("expect")), ("hello", None));
}

/// What finds no room is passed on as it comes.
#[tokio::test]
async fn beyond_the_limits_an_upload_streams() {
    for flags in ["--buffer-size 64KiB --spool-size 0", "--buffer-size 64KiB --spool-size 1MiB"] {
        let mut site = Site::start(flags).await;
        let body = pattern(20 * MIB);
        let mut client = Conn::open(site.agent.address).await;
        client.send(post(body.len(), "")).await;
        let instance = async {
            let mut upstream = site.instance.accept().await;
            let head = upstream.head().await;
            assert_eq!(now(site.agent.admin).await["in_flight"], 1);
            let request = upstream.body(head, Some(0)).await;
            (upstream, request)
        };
        let ((), (mut upstream, request)) = tokio::join!(client.send(&body), instance);
        assert!(request.body == body, "{flags}: other bytes than sent");
        upstream.send(ok("stored")).await;
        assert_eq!(client.response().await.text(), "stored");
    }
}

#[tokio::test]
async fn a_class_may_be_left_out() {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    write!(file, "[[buffering]]\nclass = \"POST /live*\"\nuploads = \"off\"\n").expect("room");
    let mut site = Site::start(&format!("--config {}", file.path().display())).await;
    let mut client = Conn::open(site.agent.address).await;
    client.send("POST /live HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nfirst").await;
    let mut upstream = site.instance.accept().await;
    upstream.head().await;
    assert_eq!(upstream.exactly(5).await, b"first", "at once");

    let mut other = Conn::open(site.agent.address).await;
    other.send("POST /stored HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nfirst").await;
    eventually("the other is taken in", PATIENCE, async || {
        expect(now(site.agent.admin).await, |now| now["spooled_bytes"].as_u64() > Some(0))
    })
    .await;
    assert_eq!(site.instance.connections(), 1, "the instance hears of it later");
}

#[tokio::test]
async fn who_leaves_in_the_middle_leaves_nothing() {
    let site = Site::start("").await;
    let mut client = Conn::open(site.agent.address).await;
    client.send(post(20 * MIB, "")).await;
    client.send(pattern(8 * MIB)).await;
    site.until_kept(|bytes| bytes >= 8 * MIB as u64).await;
    client.reset();
    site.until_kept(|bytes| bytes == 0).await;
    assert_eq!(site.instance.connections(), 0, "the instance never heard of it");
}
