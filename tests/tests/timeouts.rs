//! Nobody is waited for for ever: each wait of the relay has its limit, its consequence and its count.

use std::time::{Duration, Instant};

use sluice_tests::admin::until_metric;
use sluice_tests::script::RawInstance;
use sluice_tests::site::{Chain, Settings, Site};
use sluice_tests::wire::{Conn, Ending, get, ok, pattern};

const LIMIT: Duration = Duration::from_millis(300);

/// A balancer with this flag set to [`LIMIT`].
async fn site(flag: &'static str) -> (Site, RawInstance) {
    let instance = RawInstance::start().await;
    let settings = Settings { workers: 1, balancer: flag, agent: "" };
    (Site::start(Chain::Balancer, instance.address(), settings).await, instance)
}

/// A client that has been connected for a while: the relay is waiting for it already, with the limit of a connection
/// that idles, when a shorter one comes to apply.
async fn idle_client(site: &Site) -> Conn {
    let client = Conn::open(site.address()).await;
    until_metric(site.balancer.admin, "sluice_client_connections_open", &[], 1.0).await;
    client
}

/// Not before the limit, which the relay counts in whole milliseconds, and soon after it.
fn assert_in_time(since: Instant) {
    let took = since.elapsed();
    assert!((LIMIT - Duration::from_millis(2)..Duration::from_secs(3)).contains(&took), "{took:?}");
}

async fn until_cut(site: &Site, reason: &str) {
    let label = format!("reason=\"{reason}\"");
    until_metric(site.balancer.admin, "sluice_client_connections_cut_total", &[&label], 1.0).await;
    until_metric(site.balancer.admin, "sluice_client_connections_open", &[], 0.0).await;
    site.until_idle().await;
}

async fn until_outcome(site: &Site, outcome: &str) {
    let label = format!("outcome=\"{outcome}\"");
    until_metric(site.balancer.admin, "sluice_requests_total", &[&label], 1.0).await;
    site.until_idle().await;
}

#[tokio::test]
async fn a_request_head_that_does_not_get_finished_is_answered_408() {
    let (site, _instance) = site("--client-head-timeout 300ms").await;
    let mut client = idle_client(&site).await;
    let since = Instant::now();
    client.send("GET / HTTP/1.1\r\nhost: a\r\n").await;
    let response = client.response().await;
    assert_eq!((response.status(), response.head.get("connection")), (408, Some("close")));
    assert_eq!(client.ended().await, Ending::Closed);
    assert_in_time(since);
    until_cut(&site, "request_timeout").await;
}

#[tokio::test]
async fn a_connection_that_asks_for_nothing_is_closed_quietly() {
    let (site, mut instance) = site("--client-keep-alive 300ms").await;
    let mut client = Conn::open(site.address()).await;
    client.send(get("/")).await;
    let mut upstream = instance.accept().await;
    upstream.request().await;
    upstream.send(ok("x")).await;
    client.response().await;
    let since = Instant::now();
    assert_eq!(client.ended().await, Ending::Closed);
    assert!(since.elapsed() < Duration::from_secs(3), "{:?}", since.elapsed());
    until_cut(&site, "idle").await;
}

#[tokio::test]
async fn an_upload_that_stalls_is_answered_408_and_cancelled() {
    let (site, mut instance) = site("--client-body-timeout 300ms").await;
    let mut client = idle_client(&site).await;
    client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\nthe first of it").await;
    let mut upstream = instance.accept().await;
    upstream.head().await;
    assert_eq!(upstream.exactly(15).await, b"the first of it");
    assert_eq!(client.response().await.status(), 408);
    upstream.ended().await;
    client.ended().await;
    until_cut(&site, "request_timeout").await;
}

#[tokio::test]
async fn a_client_that_takes_nothing_is_cut_off_and_its_worker_freed() {
    let (site, mut instance) = site("--client-write-timeout 300ms").await;
    let mut client = idle_client(&site).await;
    client.send(get("/")).await;
    let mut upstream = instance.accept().await;
    upstream.request().await;
    upstream.send("HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n").await;
    let block = pattern(1_000_000);
    // Ends by the relay closing the connection: it sends no further than the buffers on the way.
    let since = Instant::now();
    while upstream.try_send(&block).await.is_ok() {}
    assert_in_time(since);
    until_cut(&site, "response_timeout").await;
}

#[tokio::test]
async fn a_response_that_stalls_is_cut_off_and_seen_as_cut_short() {
    let (site, mut instance) = site("--stream-timeout 300ms").await;
    let mut client = Conn::open(site.address()).await;
    client.send(get("/")).await;
    let mut upstream = instance.accept().await;
    upstream.request().await;
    let since = Instant::now();
    upstream.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\nonly this\r\n").await;
    assert!(client.response().await.cut.is_some());
    assert_in_time(since);
    upstream.ended().await;
    until_outcome(&site, "stalled").await;
}

/// The time counts only while the instance owes something, not while the client is the slow one.
#[tokio::test]
async fn a_slow_client_does_not_make_the_instance_stall() {
    let (site, mut instance) = site("--stream-timeout 300ms").await;
    let body = pattern(16_000_000);
    let mut client = Conn::open(site.address()).await;
    client.send(get("/")).await;
    let mut upstream = instance.accept().await;
    upstream.request().await;
    let send = async {
        upstream.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len())).await;
        upstream.send(&body).await;
    };
    // The pause is the point here: it is longer than the limit, and nothing may come of it.
    let read = async {
        tokio::time::sleep(3 * LIMIT).await;
        client.response().await
    };
    let ((), response) = tokio::join!(send, read);
    assert_eq!(response.cut, None);
    assert!(response.body == body);
    until_outcome(&site, "2xx").await;
}

#[tokio::test]
async fn an_unused_connection_to_an_instance_is_closed() {
    let (site, mut instance) = site("--instance-keep-alive 300ms").await;
    let mut client = Conn::open(site.address()).await;
    client.send(get("/")).await;
    let mut upstream = instance.accept().await;
    upstream.request().await;
    upstream.send(ok("x")).await;
    client.response().await;
    assert_eq!(upstream.ended().await, Ending::Closed);
    until_metric(site.balancer.admin, "sluice_upstream_connections_open", &[], 0.0).await;
}

#[tokio::test]
async fn a_silent_tunnel_is_closed_on_both_sides() {
    let (site, mut instance) = site("--tunnel-timeout 300ms").await;
    let mut client = Conn::open(site.address()).await;
    client.send("GET /ws HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n").await;
    let mut upstream = instance.accept().await;
    upstream.request().await;
    upstream
        .send("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n")
        .await;
    assert_eq!(client.response().await.status(), 101);
    let since = Instant::now();
    client.ended().await;
    upstream.ended().await;
    assert!(since.elapsed() < Duration::from_secs(3), "{:?}", since.elapsed());
    until_metric(site.balancer.admin, "sluice_tunnels_open", &[], 0.0).await;
    site.until_idle().await;
}
