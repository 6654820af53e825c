//! A slow client holds no worker: the agent takes the response, in memory and then in a file, and whatever becomes of
//! the file, the client gets what the instance sent.

use std::net::SocketAddr;

use serde_json::Value;
use sluice_tests::script::{Answering, RawInstance};
use sluice_tests::site::{Chain, Settings, Site};
use sluice_tests::wire::{Conn, Message, ask, chunked, get, pattern};
use sluice_tests::{PATIENCE, admin, eventually, expect};
use tokio::net::TcpSocket;

const MIB: usize = 1024 * 1024;
/// More than the sockets between an agent and a client that does not read have room for.
const BLOB: usize = 16 * MIB;

/// `/N`: N bytes of the pattern; anything else is a page.
async fn blobs() -> Answering {
    Answering::with(|request| {
        let path = request.head.start.split(' ').nth(1).unwrap_or_default();
        let body = path.trim_start_matches('/').parse().map_or_else(|_| b"page".to_vec(), pattern);
        [format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len()).into_bytes(), body].concat()
    })
    .await
}

/// Asks for `path` and reads nothing: little is on its way to it.
async fn slow_client(address: SocketAddr, path: &str) -> Conn {
    let socket = TcpSocket::new_v4().expect("a descriptor");
    socket.set_recv_buffer_size(128 * 1024).expect("a socket takes the option");
    let mut client = Conn::new(socket.connect(address).await.expect("it listens"));
    client.send(format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: te\r\nte: trailers\r\n\r\n")).await;
    client
}

/// What its clients ask directly: a balancer would take some of it.
fn agent_data(site: &Site) -> SocketAddr {
    site.agent.as_ref().expect("a site with an agent").address
}

fn agent_admin(site: &Site) -> SocketAddr {
    site.agent.as_ref().expect("a site with an agent").admin
}

async fn one_worker(instance: SocketAddr, agent: &'static str) -> Site {
    Site::start(Chain::Agent, instance, Settings { workers: 1, balancer: "", agent }).await
}

/// Waits until as many hold a worker and as many get their response from the agent alone.
async fn until(agent: SocketAddr, in_flight: u64, streaming: u64) -> Value {
    eventually("the agent's workers and streams", 6 * PATIENCE, async || {
        let status = admin::json(agent, "/v1/status").await;
        expect(status, |s| s["now"]["in_flight"] == in_flight && s["now"]["streaming"] == streaming)
    })
    .await
}

async fn until_nothing_is_kept(agent: SocketAddr) {
    eventually("an empty spool", PATIENCE, async || {
        expect(admin::json(agent, "/v1/status").await["now"].clone(), |now| now["spooled_bytes"] == 0)
    })
    .await;
}

fn assert_blob(response: &Message, length: usize) {
    assert_eq!((response.status(), response.cut, response.body.len()), (200, None, length));
    assert!(response.body == pattern(length), "other bytes than sent");
}

#[tokio::test]
async fn pages_are_served_while_every_client_of_a_blob_is_slow() {
    let instance = blobs().await;
    let site = one_worker(instance.address(), "").await;
    let mut clients = Vec::new();
    for _ in 0..3 {
        // The sockets on the way through the balancer take half of it.
        clients.push(slow_client(site.address(), &format!("/{}", 32 * MIB)).await);
    }
    let status = until(agent_admin(&site), 0, 3).await;
    assert!(status["spool"]["file_bytes"].as_u64() > Some(3 * 4 * MIB as u64), "{status}");
    assert_eq!((&status["spool"]["faults"], status["now"]["queued"].as_u64()), (&0.into(), Some(0)));
    // Through the balancer, which must have heard that the only worker is free.
    for _ in 0..20 {
        assert_eq!(ask(site.address(), get("/page")).await.text(), "page");
    }
    let report = admin::instances(site.balancer.admin).await;
    assert_eq!(report[0]["working"], 0, "{report:?}");
    assert_blob(&clients.remove(0).response().await, 32 * MIB);
    drop(clients);
    until_nothing_is_kept(agent_admin(&site)).await;
    site.until_idle().await;
}

/// Whatever a client's pace is, and whether it changes in the middle.
#[tokio::test]
async fn fast_and_slow_by_turns_every_byte_arrives() {
    let instance = blobs().await;
    let site = one_worker(instance.address(), "--buffer-size 256KiB").await;
    let mut client = slow_client(agent_data(&site), &format!("/{BLOB}")).await;
    let head = client.head().await;
    let mut taken = Vec::new();
    let mut pieces = [10_000, 3 * MIB, 100, 700_000, 6 * MIB].into_iter().cycle();
    until(agent_admin(&site), 0, 1).await; // all of it has come, so that there is something in the file
    while taken.len() < BLOB {
        let n = pieces.next().expect("for ever").min(BLOB - taken.len());
        taken.extend(client.exactly(n).await);
        tokio::task::yield_now().await;
    }
    assert_eq!((head.status(), taken == pattern(BLOB)), (200, true));
    // The same connection again, now fast from the start.
    client.send(get("/3000000")).await;
    assert_blob(&client.response().await, 3_000_000);
    site.until_idle().await;
    until_nothing_is_kept(agent_admin(&site)).await;
}

#[tokio::test]
async fn a_chunked_response_is_taken_as_well_and_keeps_its_trailers() {
    let mut instance = RawInstance::start().await;
    let site = one_worker(instance.address(), "").await;
    let mut client = slow_client(agent_data(&site), "/export").await;
    let mut upstream = instance.accept().await;
    upstream.request().await;
    upstream
        .send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n3\r\nnow\r\n")
        .await;
    assert_eq!(client.head().await.get("x-accel-buffering"), None);
    assert_eq!(client.until("now").await, "3\r\nnow", "what came is passed on at once");
    upstream.send([chunked(&pattern(BLOB), 9_999), b"x-sum: 1\r\n\r\n".to_vec()].concat()).await;
    until(agent_admin(&site), 0, 1).await;
    // The rest of the first chunk's line is still to be read.
    assert_eq!(client.until("\r\n").await, "\r\n");
    let rest = [("transfer-encoding".to_owned(), "chunked".to_owned())];
    let head = sluice_tests::wire::Head { fields: rest.to_vec(), ..Default::default() };
    let response = client.body(head, None).await;
    assert!(response.cut.is_none() && response.body == pattern(BLOB));
    assert_eq!(response.trailers, [("x-sum".to_owned(), "1".to_owned())]);
    site.until_idle().await;
}

#[tokio::test]
async fn a_response_cut_short_is_seen_as_cut_short_by_a_slow_client_too() {
    let heads = ["content-length: 40000000", "transfer-encoding: chunked"];
    for (framing, sent) in heads.into_iter().zip([pattern(BLOB), {
        let mut whole = chunked(&pattern(BLOB), 10_000);
        whole.truncate(whole.len() - 100);
        whole
    }]) {
        let mut instance = RawInstance::start().await;
        let site = one_worker(instance.address(), "").await;
        let mut client = slow_client(agent_data(&site), "/").await;
        let mut upstream = instance.accept().await;
        upstream.request().await;
        upstream.send(format!("HTTP/1.1 200 OK\r\n{framing}\r\n\r\n")).await;
        upstream.send(&sent).await;
        drop(upstream);
        admin::until_metric(
            agent_admin(&site),
            "sluice_agent_requests_total",
            &["outcome=\"cut_short\""],
            1.0,
        )
        .await;
        let response = client.response().await;
        assert!(response.cut.is_some(), "{framing}: {} bytes", response.body.len());
        assert!(pattern(BLOB).starts_with(&response.body), "{framing}: only what was sent");
        site.until_idle().await;
    }
}

/// Beyond the limits the instance waits for the client, and the worker with it.
#[tokio::test]
async fn beyond_the_limits_the_instance_waits() {
    let instance = blobs().await;
    let site = one_worker(instance.address(), "--buffer-size 1MiB --spool-size 1MiB").await;
    let agent = agent_admin(&site);
    let mut client = slow_client(agent_data(&site), &format!("/{}", 2 * BLOB)).await;
    admin::until_metric(agent, "sluice_spool_throttled_total", &[], 1.0).await;
    let status = until(agent, 1, 0).await;
    assert!(status["now"]["spooled_bytes"].as_u64() < Some(3 * MIB as u64), "{status}");
    assert_blob(&client.response().await, 2 * BLOB);
    site.until_idle().await;
    assert_eq!(admin::json(agent, "/v1/status").await["spool"]["faults"], 0, "a limit is no fault");
}

/// What the application wants at its client's pace, and what never ends.
#[tokio::test]
async fn streams_and_what_is_not_to_be_buffered_keep_pace_with_the_client() {
    let (on, off) = ("x-accel-buffering: yes\r\n", "x-accel-buffering: no\r\n");
    let events = "content-type: text/event-stream\r\n";
    for (fields, flags, is_taken) in [
        ("", "", true),
        (off, "", false),
        (events, "", false),
        (&[events, on].concat(), "", true),
        ("", "--response-buffering off", false),
    ] {
        let mut instance = RawInstance::start().await;
        let site = one_worker(instance.address(), flags).await;
        let mut client = slow_client(agent_data(&site), "/").await;
        let mut upstream = instance.accept().await;
        upstream.request().await;
        // What is not taken is more than all sockets on the way have room for.
        let length = if is_taken { BLOB } else { 4 * BLOB };
        upstream.send(format!("HTTP/1.1 200 OK\r\n{fields}content-length: {length}\r\n\r\n")).await;
        let head = client.head().await;
        assert_eq!(head.get("x-accel-buffering"), None, "{fields}: not the client's affair");
        let body = pattern(length);
        tokio::select! {
            sent = upstream.try_send(&body) => {
                sent.expect("the agent takes it");
                assert!(is_taken, "{fields}{flags}: nobody has taken it");
            }
            () = client_takes(&mut client, &site, is_taken) => {}
        }
        if is_taken {
            until(agent_admin(&site), 0, 1).await;
        }
    }
}

/// Never resolves if the agent is to take everything; else once nothing moves although the worker is held.
async fn client_takes(client: &mut Conn, site: &Site, is_taken: bool) {
    if is_taken {
        return std::future::pending().await;
    }
    let agent = agent_admin(site);
    for _ in 0..5 {
        let status = until(agent, 1, 0).await;
        assert_eq!(status["now"]["spooled_bytes"], 0);
        client.exactly(1000).await;
    }
}

/// Also in the middle: file, memory, worker and the instance's connection.
#[tokio::test]
async fn a_client_that_leaves_frees_everything_at_once() {
    let mut instance = RawInstance::start().await;
    let site = one_worker(instance.address(), "").await;
    let client = slow_client(agent_data(&site), "/").await;
    let mut upstream = instance.accept().await;
    upstream.request().await;
    upstream.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", 2 * BLOB)).await;
    upstream.send(pattern(BLOB)).await;
    let agent = agent_admin(&site);
    eventually("something in a file", PATIENCE, async || {
        let spool = admin::json(agent, "/v1/status").await["spool"].clone();
        expect(spool, |spool| spool["file_bytes"].as_u64() > Some(8 * MIB as u64))
    })
    .await;
    client.reset();
    upstream.ended().await;
    until_nothing_is_kept(agent).await;
    site.until_idle().await;
}

/// Graceful leaving waits for those who still get something from the spool.
#[tokio::test]
async fn an_agent_that_leaves_serves_what_it_has_taken() {
    let instance = blobs().await;
    let mut site = one_worker(instance.address(), "").await;
    let mut client = slow_client(agent_data(&site), &format!("/{BLOB}")).await;
    until(agent_admin(&site), 0, 1).await;
    let agent = site.agent.take().expect("a site with an agent");
    agent.stop();
    eventually("draining", PATIENCE, async || {
        expect(admin::json(agent.admin, "/v1/status").await["state"].clone(), |s| *s == "draining")
    })
    .await;
    assert_blob(&client.response().await, BLOB);
    agent.ended().await;
}
