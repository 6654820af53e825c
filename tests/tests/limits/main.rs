//! Every limit holds, names itself to whoever runs into it, and harms nobody else.

mod bodies;
mod rates;

use std::io::Write;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use sluice_tests::admin::{metric, until_metric};
use sluice_tests::certs::Cert;
use sluice_tests::frames::{self, Frames, HEADERS, INITIAL_WINDOW_SIZE, RST_STREAM, WINDOW_UPDATE, frame};
use sluice_tests::http2::{self, Http2};
use sluice_tests::script::{Answering, RawInstance};
use sluice_tests::site::{Balancer, Chain, Settings, Site};
use sluice_tests::wire::{Conn, Ending, Message, ask, chunked, get, ok, pattern};
use sluice_tests::{PATIENCE, eventually, soon};
use tokio::net::TcpSocket;
use tokio::time::sleep;

async fn site(instance: SocketAddr, flags: &'static str) -> Site {
    Site::start(Chain::Balancer, instance, Settings { balancer: flags, ..Settings::default() }).await
}

/// A connection that was served and is kept.
async fn served(address: SocketAddr) -> Conn {
    let mut client = Conn::open(address).await;
    assert_eq!(again(&mut client).await.text(), "x");
    client
}

async fn again(client: &mut Conn) -> Message {
    client.send(get("/")).await;
    client.response().await
}

async fn until_cut(site: &Site, reason: &str) {
    let label = format!("reason=\"{reason}\"");
    until_metric(site.balancer.admin, "sluice_client_connections_cut_total", &[&label], 1.0).await;
}

async fn until_outcome(site: &Site, outcome: &str, count: f64) {
    let label = format!("outcome=\"{outcome}\"");
    until_metric(site.balancer.admin, "sluice_requests_total", &[&label], count).await;
    site.until_idle().await;
}

// Connections.

#[tokio::test]
async fn the_connection_that_idles_for_longest_makes_room_for_another() {
    let instance = Answering::named("x").await;
    let site = site(instance.address(), "--max-connections 3").await;
    let mut first = served(site.address()).await;
    let mut others = [served(site.address()).await, served(site.address()).await];
    // Idle times are in milliseconds: those of the others are to be shorter by more than one.
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(50) {
        for client in &mut others {
            again(client).await;
        }
    }
    let mut last = served(site.address()).await;
    assert_eq!(first.ended().await, Ending::Closed);
    for client in others.iter_mut().chain([&mut last]) {
        assert_eq!(again(client).await.text(), "x");
    }
    until_cut(&site, "made_room").await;
}

/// For longer than a connection idles before its buffers are given back.
const RESTED: Duration = Duration::from_millis(2500);

#[tokio::test]
async fn who_comes_back_after_a_rest_is_served_as_before() {
    let instance = Answering::named("x").await;
    let site = site(instance.address(), "").await;
    let mut silent = Conn::open(site.address()).await;
    let mut clients = Vec::new();
    for _ in 0..4 {
        clients.push(served(site.address()).await);
    }
    let [whole, in_pieces, pipelining, wrong] = &mut clients[..] else { unreachable!("four were made") };
    in_pieces.send("GET / HTTP/1.1\r\nho").await;
    sleep(RESTED).await;
    for client in [&mut silent, whole] {
        assert_eq!(again(client).await.text(), "x");
    }
    in_pieces.send("st: x\r\n\r\n").await;
    assert_eq!(in_pieces.response().await.text(), "x", "what came before is not forgotten");
    pipelining.send([get("/"), get("/")].concat()).await;
    for _ in 0..2 {
        assert_eq!(pipelining.response().await.text(), "x");
    }
    wrong.send("GET / HTTP/1.1\r\n\r\n").await;
    assert_eq!(wrong.response().await.status(), 400);
    assert_eq!(wrong.ended().await, Ending::Closed);
}

#[tokio::test]
async fn a_resting_connection_is_closed_when_it_has_idled_for_long_enough_and_at_a_stop() {
    let instance = Answering::named("x").await;
    for (flags, stopped) in [("--client-keep-alive 3s", false), ("", true)] {
        let site = site(instance.address(), flags).await;
        let mut client = served(site.address()).await;
        if stopped {
            sleep(RESTED).await;
            site.balancer.stop();
        }
        assert_eq!(client.ended().await, Ending::Closed, "stopped: {stopped}");
    }
}

#[tokio::test]
async fn connections_at_work_stay_and_further_ones_wait() {
    let mut instance = RawInstance::start().await;
    let site = site(instance.address(), "--max-connections 2").await;
    let mut clients = [Conn::open(site.address()).await, Conn::open(site.address()).await];
    let mut upstreams = Vec::new();
    for client in &mut clients {
        client.send(get("/")).await;
        let mut upstream = instance.accept().await;
        upstream.request().await;
        upstreams.push(upstream);
    }
    let mut third = Conn::open(site.address()).await;
    third.send(get("/third")).await;
    let pauses = "sluice_accept_pauses_total";
    until_metric(site.balancer.admin, pauses, &["reason=\"max_connections\""], 1.0).await;
    for (client, mut upstream) in clients.iter_mut().zip(upstreams) {
        upstream.send(CLOSING).await;
        assert_eq!(client.response().await.text(), "x");
    }
    drop(clients);
    let mut upstream = instance.accept().await;
    assert_eq!(upstream.request().await.head.start, "GET /third HTTP/1.1");
    upstream.send(CLOSING).await;
    assert_eq!(third.response().await.text(), "x");
}

const CLOSING: &str = "HTTP/1.1 200 OK\r\ncontent-length: 1\r\nconnection: close\r\n\r\nx";

/// Tries until the balancer serves it: those that left are counted until their end was seen.
async fn until_served(from: &str, address: SocketAddr) -> Conn {
    eventually("served again", PATIENCE, async || {
        let mut client = open_from(from, address).await;
        let asked = client.try_send(get("/")).await.map_err(|error| error.to_string());
        asked?;
        client.try_head().await.map_err(|end| format!("{end:?}"))?;
        Ok(client)
    })
    .await
}

async fn open_from(from: &str, address: SocketAddr) -> Conn {
    let socket = TcpSocket::new_v4().expect("a descriptor");
    socket.bind(format!("{from}:0").parse().expect("an address")).expect("an address of this host");
    Conn::new(soon("connect", socket.connect(address)).await.expect("it listens"))
}

const REFUSED: &str = "sluice_client_limit_refused_total";

#[tokio::test]
async fn one_client_gets_no_more_than_its_connections() {
    let instance = Answering::named("x").await;
    let flags = "--max-connections-per-client 2 --trusted-proxy 127.0.0.9/32";
    let site = site(instance.address(), flags).await;
    let address = site.address();
    let mut kept = vec![served(address).await, served(address).await];
    let mut third = Conn::open(address).await;
    third.ended().await;
    until_metric(site.balancer.admin, REFUSED, &[], 1.0).await;
    for from in ["127.0.0.2", "127.0.0.9", "127.0.0.9", "127.0.0.9"] {
        kept.push(until_served(from, address).await);
    }
    assert_eq!(metric(site.balancer.admin, REFUSED, &[]).await, 1.0, "others are not counted with it");
    assert_eq!(again(&mut kept[0]).await.text(), "x");
    kept.remove(0);
    until_served("127.0.0.1", address).await;
}

#[tokio::test]
async fn a_client_is_refused_before_its_handshake() {
    let dir = tempfile::tempdir().expect("a directory");
    let cert = Cert::write(dir.path(), "a", &["site.example"]);
    let flags = format!(
        "--listen 127.0.0.1:0,{} --max-connections-per-client 1 --trusted-proxy 127.0.0.9/32",
        cert.option()
    );
    let balancer = Balancer::start(&flags);
    let _first = Conn::open(balancer.address).await;
    until_metric(balancer.admin, "sluice_client_connections_open", &[], 1.0).await;
    Conn::open(balancer.address).await.ended().await;
    until_metric(balancer.admin, REFUSED, &[], 1.0).await;
    assert_eq!(metric(balancer.admin, "sluice_tls_handshakes_total", &[]).await, 0.0);
}

#[tokio::test]
async fn behind_a_proxy_it_is_the_client_that_counts() {
    let instance = Answering::named("x").await;
    let flags = "--listen 127.0.0.1:0,proxy --max-connections-per-client 1";
    let site = site(instance.address(), flags).await;
    let open = async |source: &str| {
        let mut client = Conn::open(site.address()).await;
        client.send(format!("PROXY TCP6 {source} ::1 5000 443\r\n{}", get("/"))).await;
        client
    };
    let mut first = open("2001:db8::1").await;
    assert_eq!(first.response().await.text(), "x");
    open("2001:db8::2").await.ended().await;
    until_metric(site.balancer.admin, REFUSED, &[], 1.0).await;
    assert_eq!(open("2001:db8:0:1::1").await.response().await.text(), "x", "another /64");
}

// Requests per connection.

#[tokio::test]
async fn a_connection_ends_with_its_last_request() {
    let instance = Answering::named("x").await;
    for (chain, balancer, agent) in [
        (Chain::Balancer, "--max-requests-per-connection 3", ""),
        (Chain::Agent, "", "--max-requests-per-connection 3"),
    ] {
        let site =
            Site::start(chain, instance.address(), Settings { balancer, agent, ..Settings::default() }).await;
        let address = site.agent.as_ref().map_or(site.address(), |agent| agent.address);
        let mut client = Conn::open(address).await;
        for n in 1..=3 {
            let answer = again(&mut client).await;
            assert_eq!((answer.status(), answer.text().as_str()), (200, "x"));
            assert_eq!(answer.head.get("connection"), (n == 3).then_some("close"), "{chain:?}: {n}");
        }
        assert_eq!(client.ended().await, Ending::Closed);
        // A balancer makes a new connection, and nobody notices.
        for _ in 0..10 {
            assert_eq!(ask(site.address(), get("/")).await.text(), "x");
        }
    }
}

#[tokio::test]
async fn an_http_2_connection_ends_with_its_last_request() {
    let instance = Answering::named("x").await;
    let site = site(instance.address(), "--listen 127.0.0.1:0,h2c --max-requests-per-connection 3").await;
    let mut client = Http2::open(site.address()).await;
    let mut answered = 0;
    while let Ok(answer) = client.try_ask(http2::get("/")).await {
        assert_eq!(answer.text(), "x");
        answered += 1;
    }
    assert!(answered >= 3, "{answered}");
    client.ended().await.expect("an end in order");
}

#[tokio::test]
async fn streams_beyond_the_limit_are_refused() {
    let instance = RawInstance::start().await;
    let site = site(instance.address(), "--listen 127.0.0.1:0,h2c --http2-max-streams 2").await;
    let mut client = Frames::open(site.address(), &[]).await;
    for stream in [1, 3, 5] {
        client.send(frames::get(stream)).await;
    }
    let reset = client.next_of(RST_STREAM).await.expect("a refusal");
    assert_eq!((reset.stream, reset.code()), (5, 7), "REFUSED_STREAM");
}
