//! Clients that leave before their response is over, and responses that end before their time.

use super::*;

through_both_chains!(
    a_half_closed_client_gets_its_whole_response,
    a_client_that_closes_cancels_the_work,
    a_client_that_resets_in_the_middle_of_a_response_cancels_the_work,
    a_client_that_leaves_the_queue_is_never_served,
    a_response_cut_short_of_its_length_is_seen_as_cut_short,
    a_chunked_response_cut_short_is_seen_as_cut_short,
    a_response_cut_short_is_seen_as_cut_short_by_an_http_10_client,
);

/// Larger than any buffer on the way, so that most of it is sent after the client has closed its side.
async fn a_half_closed_client_gets_its_whole_response(chain: Chain) {
    let (site, mut instance) = site(chain).await;
    let body = pattern(8_000_000);
    let mut client = Conn::open(site.address()).await;
    client.send(get("/")).await;
    client.half_close().await;
    let mut upstream = instance.accept().await;
    upstream.request().await;
    let length = body.len();
    let send = async {
        upstream.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n")).await;
        upstream.send(&body).await;
    };
    let (response, ()) = tokio::join!(client.response(), send);
    assert_eq!(response.cut, None);
    assert!(response.body == body);
    assert_eq!(client.ended().await, Ending::Closed);
    site.until_idle().await;
}

/// Shorter than the default, which is made for people; the same step on both relays.
const IMPATIENT: Settings =
    Settings { workers: 1, balancer: "--half-close-grace 100ms", agent: "--half-close-grace 100ms" };

async fn a_client_that_closes_cancels_the_work(chain: Chain) {
    let (site, mut instance) = site_with(chain, IMPATIENT).await;
    let mut client = Conn::open(site.address()).await;
    let (mut upstream, _) = pass(&mut client, &get("/"), &mut instance).await;
    let left = Instant::now();
    drop(client);
    upstream.ended().await;
    assert!(left.elapsed() < Duration::from_secs(2), "{:?}", left.elapsed());
    site.until_idle().await;
    admin::until_metric(site.balancer.admin, "sluice_requests_total", &["outcome=\"client_gone\""], 1.0)
        .await;
    // The only worker is free for somebody else.
    let mut next = Conn::open(site.address()).await;
    let (mut upstream, _) = pass(&mut next, &get("/next"), &mut instance).await;
    upstream.send(ok("next")).await;
    assert_eq!(next.response().await.text(), "next");
}

async fn a_client_that_resets_in_the_middle_of_a_response_cancels_the_work(chain: Chain) {
    let (site, mut instance) = site_with(chain, IMPATIENT).await;
    let mut client = Conn::open(site.address()).await;
    let (mut upstream, _) = pass(&mut client, &get("/"), &mut instance).await;
    upstream.send("HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\nthe first of it").await;
    client.head().await;
    client.exactly(15).await;
    client.reset();
    upstream.ended().await;
    site.until_idle().await;
    admin::until_metric(site.balancer.admin, "sluice_requests_total", &["outcome=\"client_gone\""], 1.0)
        .await;
    admin::until_metric(site.balancer.admin, "sluice_client_connections_open", &[], 0.0).await;
}

async fn a_client_that_leaves_the_queue_is_never_served(chain: Chain) {
    let (site, mut instance) = site_with(chain, IMPATIENT).await;
    let admin = site.balancer.admin;
    let mut first = Conn::open(site.address()).await;
    let (mut upstream, _) = pass(&mut first, &get("/first"), &mut instance).await;
    let mut leaves = Conn::open(site.address()).await;
    leaves.send(get("/leaves")).await;
    admin::until_queued(admin, 1).await;
    let mut stays = Conn::open(site.address()).await;
    stays.send(get("/stays")).await;
    admin::until_queued(admin, 2).await;
    drop(leaves);
    admin::until_queued(admin, 1).await;
    upstream.send(ok("first")).await;
    assert_eq!(first.response().await.text(), "first");
    assert_eq!(upstream.request().await.head.start, "GET /stays HTTP/1.1");
    upstream.send(ok("stays")).await;
    assert_eq!(stays.response().await.text(), "stays");
    site.until_idle().await;
}
async fn a_response_cut_short_of_its_length_is_seen_as_cut_short(chain: Chain) {
    let (site, mut instance) = site(chain).await;
    let mut client = Conn::open(site.address()).await;
    let (mut upstream, _) = pass(&mut client, &get("/"), &mut instance).await;
    upstream.send("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nonly this").await;
    drop(upstream);
    let response = client.response().await;
    assert_eq!((response.head.get("content-length"), response.cut.is_some()), (Some("100"), true));
    assert!("only this".starts_with(&response.text()), "{response:?}");
    admin::until_metric(site.balancer.admin, "sluice_requests_total", &["outcome=\"cut_short\""], 1.0).await;
    site.until_idle().await;
}

async fn a_chunked_response_cut_short_is_seen_as_cut_short(chain: Chain) {
    let (site, mut instance) = site(chain).await;
    let mut client = Conn::open(site.address()).await;
    let (mut upstream, _) = pass(&mut client, &get("/"), &mut instance).await;
    upstream.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\nonly this\r\n").await;
    drop(upstream);
    let response = client.response().await;
    assert!(response.cut.is_some(), "{response:?}");
    admin::until_metric(site.balancer.admin, "sluice_requests_total", &["outcome=\"cut_short\""], 1.0).await;
    site.until_idle().await;
}

/// It knows the end of a response only by the end of the connection, which therefore must not be a clean one.
async fn a_response_cut_short_is_seen_as_cut_short_by_an_http_10_client(chain: Chain) {
    let (site, mut instance) = site(chain).await;
    let mut client = Conn::open(site.address()).await;
    let (mut upstream, _) = pass(&mut client, "GET / HTTP/1.0\r\nhost: a\r\n\r\n", &mut instance).await;
    upstream.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\nonly this\r\n").await;
    let head = client.head().await;
    assert_eq!(client.exactly(9).await, b"only this");
    drop(upstream);
    assert_eq!(client.ended().await, Ending::Reset, "{head:?}");
    site.until_idle().await;
}
