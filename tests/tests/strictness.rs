//! Requests that can be read in two ways reach no instance, through the balancer and through an agent. A table with a
//! line for every rule of the standard is in tests/strict, where HAProxy and nginx answer the same requests.

use sluice_tests::admin;
use sluice_tests::script::{Answering, RawInstance};
use sluice_tests::site::{Chain, Settings, Site};
use sluice_tests::wire::{Conn, ok};

const BOTH: [Chain; 2] = [Chain::Balancer, Chain::Agent];

#[tokio::test]
async fn what_can_be_read_in_two_ways_reaches_no_instance() {
    for chain in BOTH {
        let instance = Answering::named("never").await;
        let site = Site::start(chain, instance.address(), Settings::default()).await;
        for (request, status) in [
            ("GET / HTTP/1.1\r\n\r\n", 400),
            ("GET / HTTP/1.1\nhost: a\n\n", 400),
            ("GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n", 400),
            ("GET http://b/ HTTP/1.1\r\nhost: a\r\n\r\n", 400),
            ("GET /a#b HTTP/1.1\r\nhost: a\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nhost : a\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nhost: a\r\nx: 1\r\n folded\r\n\r\n", 400),
            ("GET / HTTP/1.2\r\nhost: a\r\n\r\n", 505),
            ("CONNECT a:80 HTTP/1.1\r\nhost: a:80\r\n\r\n", 501),
            ("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\nabcd", 400),
            (
                "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
                400,
            ),
            (
                "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\ncontent-length: 3\r\n\r\n0\r\n\r\n",
                400,
            ),
            ("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: xchunked\r\n\r\n0\r\n\r\n", 400),
            ("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
            ("POST / HTTP/1.0\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nhost: a\r\nexpect: miracles\r\n\r\n", 417),
        ] {
            let mut client = Conn::open(site.address()).await;
            client.send(request).await;
            let response = client.response().await;
            assert_eq!(response.status(), status, "{request:?}");
            assert!(response.text().starts_with("bad request: "), "{}", response.text());
            client.ended().await;
        }
        let mut client = Conn::open(site.address()).await;
        client.send(format!("GET /{} HTTP/1.1\r\n", "a".repeat(70_000))).await;
        assert_eq!(client.response().await.status(), 414);
        assert_eq!(instance.served(), 0);
    }
}

/// Requests before the bad one are answered in their order; what follows it is not read.
#[tokio::test]
async fn a_refusal_comes_in_its_turn() {
    let instance = Answering::named("fine").await;
    let site = Site::start(Chain::Balancer, instance.address(), Settings::default()).await;
    let mut client = Conn::open(site.address()).await;
    let good = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nabc";
    client.send(format!("{good}{good}GET  / HTTP/1.1\r\nhost: a\r\n\r\n{good}")).await;
    let statuses = [
        client.response().await.status(),
        client.response().await.status(),
        client.response().await.status(),
    ];
    assert_eq!(statuses, [200, 200, 400]);
    client.ended().await;
    assert_eq!(instance.served(), 2);
    admin::until_metric(site.balancer.admin, "sluice_requests_total", &["outcome=\"bad_request\""], 1.0)
        .await;
}

/// The instance sees a request that was cut, never one that ended; the client is told why.
#[tokio::test]
async fn a_body_that_turns_bad_is_cut_off() {
    for chain in BOTH {
        let mut instance = RawInstance::start().await;
        let site = Site::start(chain, instance.address(), Settings::default()).await;
        let mut client = Conn::open(site.address()).await;
        client.send("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n").await;
        // An agent takes the whole of it in before it asks its instance.
        let mut upstream = match chain {
            Chain::Balancer => Some(instance.accept().await),
            Chain::Agent => None,
        };
        if let Some(upstream) = &mut upstream {
            assert_eq!(upstream.head().await.get("transfer-encoding"), Some("chunked"));
        }
        client.send("0x\r\n").await;
        let response = client.response().await;
        assert_eq!((response.status(), response.text().as_str()), (400, "bad request: invalid chunk size\n"));
        client.ended().await;
        if let Some(mut upstream) = upstream {
            let (rest, _) = upstream.rest().await;
            assert!(!rest.ends_with(b"0\r\n\r\n"), "{}", rest.escape_ascii());
        }
        assert_eq!(instance.connections(), usize::from(chain == Chain::Balancer));
    }
}

/// What a client sends after a wish to upgrade is the new protocol's, or a request, but never both.
#[tokio::test]
async fn what_follows_a_declined_upgrade_is_a_request_again() {
    for chain in BOTH {
        let mut instance = RawInstance::start().await;
        let site = Site::start(chain, instance.address(), Settings::default()).await;
        let mut client = Conn::open(site.address()).await;
        let wish = "GET /ws HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
        client.send(format!("{wish}GET /next HTTP/1.1\r\nhost: a\r\n\r\n")).await;
        let mut upstream = instance.accept().await;
        assert!(upstream.request().await.head.start.starts_with("GET /ws"));
        upstream.send(ok("no")).await;
        assert_eq!(client.response().await.text(), "no");
        let next = upstream.request().await;
        assert!(next.head.start.starts_with("GET /next"), "{:?}", next.head);
        upstream.send(ok("next")).await;
        assert_eq!(client.response().await.text(), "next");
    }
}
