//! What a relay does to a request and its response: nothing that either side did not ask for. Each promise is kept
//! by the balancer alone and by balancer and agent in a row.

use std::time::{Duration, Instant};

use sluice_tests::admin;
use sluice_tests::script::{Answering, RawInstance};
use sluice_tests::site::{Chain, Settings, Site};
use sluice_tests::wire::{self, Conn, Ending, chunked, get, ok, pattern};

/// Runs each test through both chains.
macro_rules! through_both_chains {
    ($($name:ident),* $(,)?) => {
        mod balancer {
            $(#[tokio::test] async fn $name() { super::$name(super::Chain::Balancer).await; })*
        }
        mod balancer_and_agent {
            $(#[tokio::test] async fn $name() { super::$name(super::Chain::Agent).await; })*
        }
    };
}

mod endings;

through_both_chains!(
    connections_are_kept_on_both_sides,
    bodies_with_a_length_pass_both_ways,
    chunked_bodies_pass_both_ways,
    trailers_pass_both_ways,
    head_204_and_304_have_no_body_and_keep_the_connection,
    expect_continue_is_answered_by_the_relay,
    an_early_response_reaches_a_client_that_is_still_sending,
    an_early_response_of_an_instance_that_closes_reaches_the_client,
    a_response_may_begin_before_its_request_ends,
    a_reason_phrase_is_passed_on,
    an_upgrade_becomes_a_tunnel,
    a_refused_upgrade_is_a_response,
    fields_are_stripped_and_added,
    an_http_10_client_is_served,
    pipelined_requests_are_answered_in_order,
    a_forged_refusal_is_not_passed_on,
    a_slow_reader_holds_up_the_instance_and_not_the_relay,
);

/// Uploads pass as they come.
const LIVE_UPLOADS: Settings = Settings { workers: 4, balancer: "", agent: "--upload-buffering off" };

async fn site(chain: Chain) -> (Site, RawInstance) {
    site_with(chain, Settings::default()).await
}

async fn site_with(chain: Chain, settings: Settings) -> (Site, RawInstance) {
    let instance = RawInstance::start().await;
    let site = Site::start(chain, instance.address(), settings).await;
    (site, instance)
}

/// One request from `client`, as it reaches the instance.
async fn pass(client: &mut Conn, request: &str, instance: &mut RawInstance) -> (Conn, wire::Message) {
    client.send(request).await;
    let mut upstream = instance.accept().await;
    let request = upstream.request().await;
    (upstream, request)
}

async fn connections_are_kept_on_both_sides(chain: Chain) {
    let (site, mut instance) = site(chain).await;
    let mut client = Conn::open(site.address()).await;
    let (mut upstream, _) = pass(&mut client, &get("/0"), &mut instance).await;
    for n in 0..3 {
        upstream.send(ok("x")).await;
        assert_eq!(client.response().await.text(), "x");
        client.send(get(&format!("/{}", n + 1))).await;
        assert_eq!(upstream.request().await.head.start, format!("GET /{} HTTP/1.1", n + 1));
    }
    // Another client's request takes the same connection.
    upstream.send(ok("x")).await;
    client.response().await;
    let mut other = Conn::open(site.address()).await;
    other.send(get("/other")).await;
    assert_eq!(upstream.request().await.head.start, "GET /other HTTP/1.1");
    upstream.send(ok("other")).await;
    assert_eq!(other.response().await.text(), "other");
    assert_eq!(instance.connections(), 1);
    site.until_idle().await;
}

async fn bodies_with_a_length_pass_both_ways(chain: Chain) {
    let (site, mut instance) = site(chain).await;
    let (up, down) = (pattern(300_000), pattern(400_001));
    let mut client = Conn::open(site.address()).await;
    client.send(format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n", up.len())).await;
    client.send(&up).await;
    let mut upstream = instance.accept().await;
    let request = upstream.request().await;
    assert_eq!(request.head.get("content-length"), Some("300000"));
    assert_eq!(request.head.get("transfer-encoding"), None);
    assert!(request.body == up);
    upstream.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", down.len())).await;
    upstream.send(&down).await;
    let response = client.response().await;
    assert_eq!(response.head.get("content-length"), Some("400001"));
    assert!(response.body == down);
    site.until_idle().await;
}

async fn chunked_bodies_pass_both_ways(chain: Chain) {
    let (site, mut instance) = site(chain).await;
    let (up, down) = (pattern(300_000), pattern(400_001));
    let mut client = Conn::open(site.address()).await;
    client.send("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n").await;
    client.send(chunked(&up, 1000)).await;
    client.send("\r\n").await;
    let mut upstream = instance.accept().await;
    let request = upstream.request().await;
    // What an agent has taken in has a length.
    let framing = match chain {
        Chain::Balancer => (Some("chunked"), None),
        Chain::Agent => (None, Some("300000")),
    };
    assert_eq!((request.head.get("transfer-encoding"), request.head.get("content-length")), framing);
    assert!(request.body == up);
    upstream.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await;
    upstream.send(chunked(&down, 777)).await;
    upstream.send("\r\n").await;
    let response = client.response().await;
    assert_eq!((response.head.get("content-length"), response.cut), (None, None));
    assert!(response.body == down);
    // Both connections are fit for another request.
    client.send(get("/next")).await;
    upstream.request().await;
    upstream.send(ok("next")).await;
    assert_eq!(client.response().await.text(), "next");
}

async fn trailers_pass_both_ways(chain: Chain) {
    let (site, mut instance) = site(chain).await;
    let mut client = Conn::open(site.address()).await;
    client
        .send("POST / HTTP/1.1\r\nhost: a\r\nte: trailers\r\ntrailer: x-up\r\ntransfer-encoding: chunked\r\n\r\n")
        .await;
    client.send([chunked(b"up", 9), b"x-up: 1\r\n\r\n".to_vec()].concat()).await;
    let mut upstream = instance.accept().await;
    let request = upstream.request().await;
    assert_eq!((request.text().as_str(), request.head.get("te")), ("up", Some("trailers")));
    assert_eq!(request.trailers, [("x-up".to_owned(), "1".to_owned())]);
    upstream.send("HTTP/1.1 200 OK\r\ntrailer: x-down\r\ntransfer-encoding: chunked\r\n\r\n").await;
    upstream.send([chunked(b"down", 9), b"x-down: 2\r\n\r\n".to_vec()].concat()).await;
    let response = client.response().await;
    assert_eq!((response.text().as_str(), response.cut), ("down", None));
    assert_eq!(response.trailers, [("x-down".to_owned(), "2".to_owned())]);
}

async fn head_204_and_304_have_no_body_and_keep_the_connection(chain: Chain) {
    let (site, mut instance) = site(chain).await;
    let mut client = Conn::open(site.address()).await;
    let (mut upstream, _) = pass(&mut client, "HEAD /h HTTP/1.1\r\nhost: a\r\n\r\n", &mut instance).await;
    upstream.send("HTTP/1.1 200 OK\r\ncontent-length: 1234\r\n\r\n").await;
    let head = client.head().await;
    assert_eq!((head.status(), head.get("content-length")), (200, Some("1234")));

    client.send(get("/204")).await;
    upstream.request().await;
    upstream.send("HTTP/1.1 204 No Content\r\n\r\n").await;
    let response = client.response().await;
    assert_eq!(response.status(), 204);
    assert_eq!((response.head.get("content-length"), response.head.get("transfer-encoding")), (None, None));

    client.send(get("/304")).await;
    upstream.request().await;
    upstream.send("HTTP/1.1 304 Not Modified\r\netag: \"x\"\r\ncontent-length: 10\r\n\r\n").await;
    let response = client.response().await;
    assert_eq!((response.status(), response.head.get("etag")), (304, Some("\"x\"")));
    assert_eq!(response.head.get("transfer-encoding"), None);

    client.send(get("/next")).await;
    upstream.request().await;
    upstream.send(ok("next")).await;
    assert_eq!(client.response().await.text(), "next");
    assert_eq!(instance.connections(), 1);
    site.until_idle().await;
}

async fn expect_continue_is_answered_by_the_relay(chain: Chain) {
    let (site, mut instance) = site(chain).await;
    let mut client = Conn::open(site.address()).await;
    client.send("POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\n").await;
    assert_eq!(client.head().await.start, "HTTP/1.1 100 Continue");
    client.send("body").await;
    let mut upstream = instance.accept().await;
    let request = upstream.request().await;
    assert_eq!((request.head.get("expect"), request.text().as_str()), (None, "body"));
    upstream.send(ok("done")).await;
    assert_eq!(client.response().await.text(), "done");
}

/// The instance says 413 while the client is still sending, and reads no further.
async fn an_early_response_reaches_a_client_that_is_still_sending(chain: Chain) {
    let (site, mut instance) = site_with(chain, LIVE_UPLOADS).await;
    let mut client = Conn::open(site.address()).await;
    client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 50000000\r\n\r\n").await;
    client.send(pattern(10_000)).await;
    let mut upstream = instance.accept().await;
    upstream.head().await;
    upstream.send("HTTP/1.1 413 Content Too Large\r\ncontent-length: 8\r\n\r\ntoo big\n").await;
    let response = client.response().await;
    assert_eq!((response.status(), response.text().as_str(), response.cut), (413, "too big\n", None));
    // The connection that the rest of the upload would belong to is not used again.
    upstream.rest().await;
    drop(client);
    site.until_idle().await;
}

/// As above, of a server that closes at once and so resets what is still on its way to it.
async fn an_early_response_of_an_instance_that_closes_reaches_the_client(chain: Chain) {
    let (site, mut instance) = site_with(chain, LIVE_UPLOADS).await;
    let mut client = Conn::open(site.address()).await;
    client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 50000000\r\n\r\n").await;
    client.send(pattern(10_000)).await;
    let mut upstream = instance.accept().await;
    upstream.head().await;
    upstream
        .send("HTTP/1.1 413 Content Too Large\r\nconnection: close\r\ncontent-length: 8\r\n\r\ntoo big\n")
        .await;
    drop(upstream);
    let response = client.response().await;
    assert_eq!((response.status(), response.text().as_str(), response.cut), (413, "too big\n", None));
    drop(client);
    site.until_idle().await;
}

/// Of an instance that answers as it is asked, none of the two waits for the other.
async fn a_response_may_begin_before_its_request_ends(chain: Chain) {
    let (site, mut instance) = site_with(chain, LIVE_UPLOADS).await;
    let mut client = Conn::open(site.address()).await;
    client.send("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n").await;
    let mut upstream = instance.accept().await;
    upstream.until("3\r\none\r\n").await;
    upstream.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n").await;
    client.until("3\r\none\r\n").await;
    for word in ["two", "six"] {
        client.send(format!("3\r\n{word}\r\n")).await;
        upstream.until(&format!("3\r\n{word}\r\n")).await;
        upstream.send(format!("3\r\n{word}\r\n")).await;
        client.until(&format!("3\r\n{word}\r\n")).await;
    }
    client.send("0\r\n\r\n").await;
    upstream.until("0\r\n\r\n").await;
    upstream.send("0\r\n\r\n").await;
    client.until("0\r\n\r\n").await;
    site.until_idle().await;
}

async fn a_reason_phrase_is_passed_on(chain: Chain) {
    let (site, mut instance) = site(chain).await;
    let mut client = Conn::open(site.address()).await;
    let (mut upstream, _) = pass(&mut client, &get("/"), &mut instance).await;
    upstream.send("HTTP/1.1 404 Not Here\r\ncontent-length: 0\r\n\r\n").await;
    assert_eq!(client.head().await.start, "HTTP/1.1 404 Not Here");
}

const UPGRADE: &str = "GET /ws HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
    sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n\r\n";

async fn an_upgrade_becomes_a_tunnel(chain: Chain) {
    let (site, mut instance) = site_with(chain, Settings { workers: 1, ..Settings::default() }).await;
    let mut client = Conn::open(site.address()).await;
    let (mut upstream, request) = pass(&mut client, UPGRADE, &mut instance).await;
    assert_eq!(request.head.get("upgrade"), Some("websocket"));
    assert_eq!(request.head.get("connection").map(str::to_ascii_lowercase).as_deref(), Some("upgrade"));
    assert_eq!(request.head.get("sec-websocket-key"), Some("dGhlIHNhbXBsZSBub25jZQ=="));
    // Its first words may come together with the response.
    upstream
        .send("HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: x\r\n\r\nhello")
        .await;
    let response = client.response().await;
    assert_eq!((response.status(), response.head.get("sec-websocket-accept")), (101, Some("x")));
    assert_eq!(response.head.get("upgrade"), Some("websocket"));
    assert_eq!(client.exactly(5).await, b"hello");
    for word in ["ping", "pong"] {
        client.send(word).await;
        assert_eq!(upstream.exactly(4).await, word.as_bytes());
        upstream.send(word.to_uppercase()).await;
        assert_eq!(client.exactly(4).await, word.to_uppercase().as_bytes());
    }
    admin::until_metric(site.balancer.admin, "sluice_tunnels_open", &[], 1.0).await;
    // One side closes; the other learns it, may say its last, and closes.
    client.half_close().await;
    assert_eq!(upstream.ended().await, Ending::Closed);
    upstream.send("bye").await;
    drop(upstream);
    assert_eq!(client.rest().await, (b"bye".to_vec(), Ending::Closed));
    admin::until_metric(site.balancer.admin, "sluice_tunnels_open", &[], 0.0).await;
    site.until_idle().await;
}

async fn a_refused_upgrade_is_a_response(chain: Chain) {
    let (site, mut instance) = site(chain).await;
    let mut client = Conn::open(site.address()).await;
    let (mut upstream, _) = pass(&mut client, UPGRADE, &mut instance).await;
    upstream.send("HTTP/1.1 403 Forbidden\r\ncontent-length: 3\r\n\r\nno\n").await;
    let response = client.response().await;
    assert_eq!((response.status(), response.text().as_str()), (403, "no\n"));
    client.send(get("/next")).await;
    upstream.request().await;
    upstream.send(ok("next")).await;
    assert_eq!(client.response().await.text(), "next");
    site.until_idle().await;
}

async fn fields_are_stripped_and_added(chain: Chain) {
    // A client at a loopback address is trusted by default; this one is not.
    let settings = Settings { balancer: "--trusted-proxy 192.0.2.0/24", ..Settings::default() };
    let (site, mut instance) = site_with(chain, settings).await;
    let mut client = Conn::open(site.address()).await;
    let request = "GET /a?b=%20c HTTP/1.1\r\nHost: site.example\r\nConnection: keep-alive, X-Custom\r\n\
        X-Custom: 1\r\nKeep-Alive: timeout=5\r\nProxy-Connection: close\r\nProxy-Authorization: Basic x\r\n\
        TE: gzip\r\nX-Forwarded-For: 10.0.0.1\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: bank.example\r\n\
        Forwarded: for=10.0.0.1\r\nX-Real-Ip: 10.0.0.1\r\nX-Request-Start: t=1\r\nX-Sluice-Class: GET /cheap\r\n\
        X-Sluice-Refused: forged\r\nCookie: a=b\r\nCookie: c=d\r\n\r\n";
    let (mut upstream, request) = pass(&mut client, request, &mut instance).await;
    let head = request.head;
    assert_eq!(head.start, "GET /a?b=%20c HTTP/1.1");
    assert_eq!(head.get("host"), Some("site.example"));
    for gone in
        ["x-custom", "keep-alive", "proxy-connection", "proxy-authorization", "te", "forwarded", "x-real-ip"]
    {
        assert_eq!(head.get(gone), None, "{gone}");
    }
    let internal: Vec<_> = head.fields.iter().filter(|(name, _)| name.starts_with("x-sluice")).collect();
    assert!(internal.is_empty(), "{internal:?}");
    assert_eq!(head.get("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(head.get("x-forwarded-proto"), Some("http"));
    assert_eq!(head.get("x-forwarded-host"), Some("site.example"));
    assert_eq!(head.all("cookie"), ["a=b", "c=d"]);
    assert!(!head.get("x-request-id").expect("an id").is_empty());
    let start = head.get("x-request-start").and_then(|v| v.strip_prefix("t=")).expect("t=");
    let micros: u64 = start.parse().expect("digits");
    // 2020 to 2100, in microseconds.
    assert!((1_577_836_800_000_000..4_102_444_800_000_000).contains(&micros), "{micros}");
    let parts: Vec<_> = head.get("traceparent").expect("a trace").split('-').map(str::to_owned).collect();
    assert_eq!(parts.iter().map(String::len).collect::<Vec<_>>(), [2, 32, 16, 2], "{parts:?}");
    assert!(parts.concat().bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)), "{parts:?}");
    assert_eq!(parts[0], "00");
    let vias = if chain == Chain::Agent { 2 } else { 1 };
    let via: Vec<_> =
        head.all("via").iter().flat_map(|v| v.split(',')).map(|v| v.trim().to_owned()).collect();
    assert_eq!(via, vec!["1.1 sluice"; vias]);

    upstream
        .send(
            "HTTP/1.1 200 OK\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\n\
             X-Sluice-Class: x\r\nX-Sluice-Refused: x\r\nServer: zope\r\nSet-Cookie: a=b\r\nSet-Cookie: c=d\r\n\
             Content-Length: 2\r\n\r\nok",
        )
        .await;
    let head = client.response().await.head;
    for gone in ["x-hop", "keep-alive", "x-sluice-class", "x-sluice-refused", "transfer-encoding"] {
        assert_eq!(head.get(gone), None, "{gone}: {head:?}");
    }
    assert_eq!((head.get("server"), head.all("set-cookie")), (Some("zope"), vec!["a=b", "c=d"]));
}

async fn an_http_10_client_is_served(chain: Chain) {
    let (site, mut instance) = site(chain).await;
    let mut client = Conn::open(site.address()).await;
    let (mut upstream, request) = pass(&mut client, "GET /old HTTP/1.0\r\n\r\n", &mut instance).await;
    assert_eq!(request.head.start, "GET /old HTTP/1.1");
    assert!(request.head.get("host").is_some(), "{request:?}");
    upstream.send(ok("old")).await;
    let response = client.response().await;
    assert_eq!((response.status(), response.text().as_str()), (200, "old"));
    assert_eq!(client.ended().await, Ending::Closed);

    // A chunked response reaches it without chunks, to the end of the connection.
    let mut client = Conn::open(site.address()).await;
    client.send("GET /old HTTP/1.0\r\nhost: a\r\n\r\n").await;
    upstream.request().await;
    upstream
        .send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n")
        .await;
    let response = client.response().await;
    assert_eq!(response.head.get("transfer-encoding"), None);
    assert_eq!((response.text().as_str(), response.cut), ("onetwo", None));

    // One that asks for it may keep its connection.
    let mut client = Conn::open(site.address()).await;
    for _ in 0..2 {
        client.send("GET /kept HTTP/1.0\r\nhost: a\r\nconnection: keep-alive\r\n\r\n").await;
        upstream.request().await;
        upstream.send(ok("kept")).await;
        assert_eq!(client.response().await.text(), "kept");
    }
    site.until_idle().await;
}

async fn pipelined_requests_are_answered_in_order(chain: Chain) {
    let (site, _) = site(chain).await;
    drop(site);
    let instance = Answering::with(|request| ok(&request.head.start).into_bytes()).await;
    let site = Site::start(chain, instance.address(), Settings::default()).await;
    let mut client = Conn::open(site.address()).await;
    let post = "POST /2 HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nabc";
    client.send([get("/1").as_str(), post, &get("/3")].concat()).await;
    for wanted in ["GET /1 HTTP/1.1", "POST /2 HTTP/1.1", "GET /3 HTTP/1.1"] {
        assert_eq!(client.response().await.text(), wanted);
    }
    site.until_idle().await;
}

/// Only an agent may say that an instance did not see a request; what the instance says of itself is the response.
async fn a_forged_refusal_is_not_passed_on(chain: Chain) {
    let forged = "HTTP/1.1 503 Service Unavailable\r\nx-sluice-refused: forged\r\nx-sluice-failed: forged\r\ncontent-length: 5\r\n\r\nbusy\n";
    let instance = Answering::with(|_| forged.into()).await;
    let site = Site::start(chain, instance.address(), Settings::default()).await;
    for request in [get("/"), "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n".to_owned()] {
        let before = instance.served();
        let response = wire::ask(site.address(), &request).await;
        assert_eq!(response.status(), 503);
        assert_eq!(response.head.get("x-sluice-refused"), None);
        assert_eq!(instance.served() - before, 1, "asked once: {request}");
        assert_eq!(response.text(), "busy\n", "the instance's own words");
    }
    site.until_idle().await;
}

/// Bounded memory: what a client does not take stays with the instance, up to some buffers on the way and what the
/// agent may keep.
async fn a_slow_reader_holds_up_the_instance_and_not_the_relay(chain: Chain) {
    let settings = Settings { agent: "--spool-size 0", ..Settings::default() };
    let (site, mut instance) = site_with(chain, settings).await;
    let mut client = Conn::open(site.address()).await;
    let (mut upstream, _) = pass(&mut client, &get("/"), &mut instance).await;
    let block = pattern(251 * 1000);
    upstream.send("HTTP/1.1 200 OK\r\ncontent-length: 251000000\r\n\r\n").await;
    let mut sent = 0;
    // Ends when the way is full: kernel buffers of at most 6 MiB receiving and 4 MiB sending on each leg.
    while tokio::time::timeout(Duration::from_millis(300), upstream.try_send(&block)).await.is_ok() {
        sent += block.len();
        assert!(sent < 64 << 20, "the relay takes in what nobody reads");
    }
    client.reset();
    upstream.rest().await;
    site.until_idle().await;
}
