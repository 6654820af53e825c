//! Long bodies of known length, which the kernel passes on without a copy: every byte as it was sent, and everything
//! that holds for other responses holds for them.

use std::time::Duration;

use sluice_tests::admin;
use sluice_tests::script::{Answering, RawInstance};
use sluice_tests::site::{Chain, Settings, Site};
use sluice_tests::wire::{Conn, Ending, Message, get, pattern};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::sleep;

const BOTH: [Chain; 2] = [Chain::Balancer, Chain::Agent];
const MIB: usize = 1024 * 1024;
/// From this length on bodies are spliced.
const THRESHOLD: usize = 64 * 1024;

/// A site before an instance that serves `/N`: N bytes of the pattern; to HEAD, their length.
async fn blob_site(chain: Chain) -> (Site, Answering) {
    let instance = Answering::with(|request| {
        let mut words = request.head.start.split(' ');
        let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let length = path.trim_start_matches('/').parse().expect("a length");
        let mut answer = head(length).into_bytes();
        if method != "HEAD" {
            answer.extend(pattern(length));
        }
        answer
    })
    .await;
    (Site::start(chain, instance.address(), Settings::default()).await, instance)
}

/// A client with a small receive buffer, so that little is on its way to it, has asked for `length` bytes and read the
/// head of the response.
async fn slow_client(site: &Site, length: usize) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a descriptor");
    socket.set_recv_buffer_size(8 * 1024).expect("a socket takes the option");
    let mut tcp = socket.connect(site.address()).await.expect("it listens");
    tcp.write_all(get(&format!("/{length}")).as_bytes()).await.expect("it is there");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(tcp.read_u8().await.expect("a head"));
    }
    tcp
}

async fn raw_site(chain: Chain, settings: Settings) -> (Site, RawInstance) {
    let instance = RawInstance::start().await;
    (Site::start(chain, instance.address(), settings).await, instance)
}

fn head(length: usize) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n")
}

fn assert_blob(response: &Message, length: usize) {
    assert_eq!((response.status(), response.cut, response.body.len()), (200, None, length));
    assert!(response.body == pattern(length), "{length}: other bytes than sent");
}

/// How much the relay in front of the client passed on without a copy.
async fn spliced(site: &Site) -> f64 {
    admin::metric(site.balancer.admin, "sluice_spliced_bytes_total", &[]).await
}

#[tokio::test]
async fn every_length_arrives_as_sent_over_kept_connections() {
    let around = |n: usize| [n - 1, n, n + 1];
    let lengths = [1, 8192, 2_613_064, 5 * MIB + 17]
        .into_iter()
        .chain(around(THRESHOLD))
        .chain(around(THRESHOLD + 8192))
        .chain(around(MIB / 4))
        .chain(around(MIB));
    for chain in BOTH {
        let (site, _instance) = blob_site(chain).await;
        let mut client = Conn::open(site.address()).await;
        for length in lengths.clone() {
            client.send(get(&format!("/{length}"))).await;
            assert_blob(&client.response().await, length);
        }
        site.until_idle().await;
        let made = admin::metric(site.balancer.admin, "sluice_upstream_connections_total", &[]).await;
        assert!(made <= 2.0, "one to serve, and perhaps one to look: {made}");
        assert!(spliced(&site).await > 8.0 * MIB as f64, "this is about the way past the library");
    }
}

#[tokio::test]
async fn short_bodies_are_not_worth_it() {
    let (site, _instance) = blob_site(Chain::Balancer).await;
    let mut client = Conn::open(site.address()).await;
    client.send(get(&format!("/{}", THRESHOLD - 1))).await;
    assert_blob(&client.response().await, THRESHOLD - 1);
    site.until_idle().await;
    assert_eq!(spliced(&site).await, 0.0);
}

#[tokio::test]
async fn pipelined_requests_get_their_responses_in_order() {
    for chain in BOTH {
        let (site, _instance) = blob_site(chain).await;
        let mut client = Conn::open(site.address()).await;
        let requests = [get("/300000"), get("/5"), get("/2613064"), get("/70000"), get("/0")].concat();
        client.send(requests).await;
        for length in [300_000, 5, 2_613_064, 70_000, 0] {
            assert_blob(&client.response().await, length);
        }
        site.until_idle().await;
    }
}

#[tokio::test]
async fn a_head_request_gets_the_length_alone() {
    for chain in BOTH {
        let (site, _instance) = blob_site(chain).await;
        let mut client = Conn::open(site.address()).await;
        client.send("HEAD /300000 HTTP/1.1\r\nhost: a\r\n\r\n").await;
        let head = client.head().await;
        assert_eq!((head.status(), head.get("content-length")), (200, Some("300000")));
        client.send(get("/300000")).await;
        assert_blob(&client.response().await, 300_000);
        site.until_idle().await;
    }
}

#[tokio::test]
async fn an_http_1_0_client_gets_it_and_the_end_of_the_connection() {
    for chain in BOTH {
        let (site, _instance) = blob_site(chain).await;
        let mut client = Conn::open(site.address()).await;
        client.send("GET /300000 HTTP/1.0\r\n\r\n").await;
        assert_blob(&client.response().await, 300_000);
        assert_eq!(client.ended().await, Ending::Closed);
        site.until_idle().await;
    }
}

/// Pieces of all sizes, cut anywhere, also in the head: whatever is read ahead, nothing is lost or doubled.
#[tokio::test]
async fn an_instance_may_write_in_pieces_of_any_size() {
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(20_261_124);
    println!("SEED={seed}");
    let mut next: u64 = seed;
    let mut piece = move || {
        next = next.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        1 + usize::try_from(next >> 33).expect("31 bits")
            % [3, 100, 9_000, 200_000][(next >> 20) as usize % 4]
    };
    for chain in BOTH {
        let (site, mut instance) = raw_site(chain, Settings::default()).await;
        let mut client = Conn::open(site.address()).await;
        let mut upstream: Option<Conn> = None;
        for length in [THRESHOLD, 100_000, 700_000] {
            client.send(get("/")).await;
            let conn = match &mut upstream {
                Some(conn) => conn,
                None => upstream.insert(instance.accept().await),
            };
            conn.request().await;
            let answer = [head(length).as_bytes(), &pattern(length)].concat();
            let serve = async {
                let mut rest = &answer[..];
                while !rest.is_empty() {
                    let (now, later) = rest.split_at(piece().min(rest.len()));
                    conn.send(now).await;
                    tokio::task::yield_now().await;
                    rest = later;
                }
            };
            let (response, ()) = tokio::join!(client.response(), serve);
            assert_blob(&response, length);
        }
        site.until_idle().await;
    }
}

/// Back-pressure: what the client does not take stays where it is, and arrives when it does.
#[tokio::test]
async fn a_client_may_take_it_as_slowly_as_it_likes() {
    const LENGTH: usize = 12 * MIB;
    for chain in BOTH {
        let (site, _instance) = blob_site(chain).await;
        let mut tcp = slow_client(&site, LENGTH).await;
        let expected = pattern(LENGTH);
        let mut taken = 0;
        let mut block = vec![0; 3_001];
        while taken < LENGTH {
            let n = tcp.read(&mut block).await.expect("it goes on");
            assert!(
                n > 0 && block[..n] == expected[taken..taken + n],
                "other bytes than sent, after {taken}"
            );
            taken += n;
        }
        drop(tcp);
        site.until_idle().await;
    }
}

/// The instance is done long before the client: a client that still takes is not idle.
#[tokio::test]
async fn the_end_may_take_longer_than_a_connection_may_idle() {
    const LENGTH: usize = 6 * MIB;
    const QUICKLY: usize = 3 * MIB;
    let settings = Settings { balancer: "--client-keep-alive 500ms", ..Settings::default() };
    for chain in BOTH {
        let instance = Answering::with(|_| [head(LENGTH).as_bytes(), &pattern(LENGTH)].concat()).await;
        let site = Site::start(chain, instance.address(), settings).await;
        let mut client = slow_client(&site, LENGTH).await;
        let mut body = vec![0; LENGTH];
        client.read_exact(&mut body[..QUICKLY]).await.expect("it comes");
        for slowly in body[QUICKLY..].chunks_mut(64 * 1024) {
            sleep(Duration::from_millis(30)).await; // what makes it slow
            client.read_exact(slowly).await.expect("it still comes");
        }
        assert!(body == pattern(LENGTH), "other bytes than sent");
        site.until_idle().await;
    }
}

#[tokio::test]
async fn a_response_cut_short_is_seen_as_cut_short() {
    for chain in BOTH {
        for sent in [1_000, 200_000, 999_999] {
            let (site, mut instance) = raw_site(chain, Settings::default()).await;
            let mut client = Conn::open(site.address()).await;
            client.send(get("/")).await;
            let mut upstream = instance.accept().await;
            upstream.request().await;
            upstream.send([head(MIB).as_bytes(), &pattern(sent)].concat()).await;
            drop(upstream);
            let response = client.response().await;
            assert!(response.cut.is_some(), "{} of {sent} bytes", response.body.len());
            assert!(pattern(sent).starts_with(&response.body), "only what was sent");
            admin::until_metric(
                site.balancer.admin,
                "sluice_requests_total",
                &["outcome=\"cut_short\""],
                1.0,
            )
            .await;
            site.until_idle().await;
        }
    }
}

#[tokio::test]
async fn an_instance_that_stops_in_the_middle_is_given_up() {
    let settings = Settings { balancer: "--stream-timeout 300ms", ..Settings::default() };
    for chain in BOTH {
        let (site, mut instance) = raw_site(chain, settings).await;
        let mut client = Conn::open(site.address()).await;
        client.send(get("/")).await;
        let mut upstream = instance.accept().await;
        upstream.request().await;
        upstream.send([head(MIB).as_bytes(), &pattern(300_000)].concat()).await;
        let response = client.response().await;
        assert!(response.cut.is_some() && pattern(300_000).starts_with(&response.body));
        upstream.ended().await; // and learns it
        let stalled = ["outcome=\"stalled\""];
        admin::until_metric(site.balancer.admin, "sluice_requests_total", &stalled, 1.0).await;
        site.until_idle().await;
    }
}

#[tokio::test]
async fn a_client_that_leaves_ends_the_instances_work() {
    for chain in BOTH {
        let (site, mut instance) = raw_site(chain, Settings::default()).await;
        let mut client = Conn::open(site.address()).await;
        client.send(get("/")).await;
        let mut upstream = instance.accept().await;
        upstream.request().await;
        upstream.send([head(100 * MIB).as_bytes(), &pattern(300_000)].concat()).await;
        assert_eq!(client.head().await.status(), 200);
        client.exactly(250_000).await;
        drop(client);
        upstream.ended().await;
        site.until_idle().await;
    }
}

/// The instance's fault or the client's: told apart even when the pipe is full.
#[tokio::test]
async fn a_client_that_takes_nothing_is_cut_off_and_the_instance_is_not_blamed() {
    let settings = Settings {
        balancer: "--client-write-timeout 2s --stream-timeout 1s",
        agent: "--spool-size 10MiB",
        ..Settings::default()
    };
    for chain in BOTH {
        let (site, mut instance) = raw_site(chain, settings).await;
        let mut client = Conn::open(site.address()).await;
        client.send(get("/")).await;
        let mut upstream = instance.accept().await;
        upstream.request().await;
        upstream.send(head(1 << 40)).await;
        let block = pattern(MIB);
        while upstream.try_send(&block).await.is_ok() {}
        assert_eq!(client.head().await.status(), 200);
        let cut = ["reason=\"response_timeout\""];
        let name = "sluice_client_connections_cut_total";
        admin::until_metric(site.balancer.admin, name, &cut, 1.0).await;
        site.until_idle().await;
    }
}

/// Whether a connection is kept is the instance's word, which nobody but us has heard once the library is out.
#[tokio::test]
async fn a_connection_that_can_not_be_used_again_is_not() {
    let close = format!("HTTP/1.1 200 OK\r\ncontent-length: {MIB}\r\nconnection: close\r\n\r\n");
    let old = format!("HTTP/1.0 200 OK\r\ncontent-length: {MIB}\r\n\r\n");
    for (head, after) in [(&close, ""), (&old, ""), (&head(MIB), "HTTP/1.1 200 OK\r\n")] {
        let (site, mut instance) = raw_site(Chain::Balancer, Settings::default()).await;
        let mut client = Conn::open(site.address()).await;
        for _ in 0..2 {
            client.send(get("/")).await;
            let mut upstream = instance.accept().await; // a new one each time
            upstream.request().await;
            upstream.send([head.as_bytes(), &pattern(MIB), after.as_bytes()].concat()).await;
            assert_blob(&client.response().await, MIB);
            upstream.ended().await;
        }
    }
}
