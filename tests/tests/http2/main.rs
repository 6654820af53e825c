//! HTTP/2: clients that keep to the rules get what HTTP/1.1 gives, and those that do not only cost themselves.

mod attacks;

use std::time::Duration;

use bytes::Bytes;
use h2::Reason;
use http::HeaderMap;
use sluice_tests::admin::{metric, until_idle, until_metric};
use sluice_tests::frames::{
    self, CONTINUATION, DATA, END_HEADERS, END_STREAM, Frames, HEADERS, INITIAL_WINDOW_SIZE, PING, PRIORITY,
    RST_STREAM, SETTINGS, WINDOW_UPDATE, block, frame, pseudo,
};
use sluice_tests::http2::{Http2, collect, get, request};
use sluice_tests::script::{Answering, RawInstance};
use sluice_tests::site::{Chain, Settings, Site};
use sluice_tests::soon;
use sluice_tests::wire::{self, Conn, Ending, Message, ask, ok, pattern};

/// A balancer that takes both kinds of HTTP, before an instance that the test serves.
async fn site(flags: &'static str) -> (Site, RawInstance) {
    let instance = RawInstance::start().await;
    let site = site_before(instance.address(), flags).await;
    (site, instance)
}

async fn site_before(instance: std::net::SocketAddr, flags: &'static str) -> Site {
    let settings = Settings { balancer: flags, ..Settings::default() };
    Site::start(Chain::Balancer, instance, settings).await
}

const H2C: &str = "--listen 127.0.0.1:0,h2c";

/// One request as it reaches the instance, which answers "x" and closes.
async fn answered(instance: &mut RawInstance) -> Message {
    let mut upstream = instance.accept().await;
    let request = upstream.request().await;
    upstream.send("HTTP/1.1 200 OK\r\ncontent-length: 1\r\nconnection: close\r\n\r\nx").await;
    request
}

#[tokio::test]
async fn one_port_takes_both_kinds() {
    let instance = Answering::named("x").await;
    let site = site_before(instance.address(), H2C).await;
    let mut client = Http2::open(site.address()).await;
    for _ in 0..3 {
        let answer = client.ask(get("/")).await;
        assert_eq!((answer.status(), answer.text()), (200, "x".to_owned()));
    }
    let answer = ask(site.address(), wire::get("/")).await;
    assert_eq!((answer.status(), answer.text()), (200, "x".to_owned()));
    assert_eq!(metric(site.balancer.admin, "sluice_http2_connections_total", &[]).await, 1.0);
}

#[tokio::test]
async fn without_h2c_the_preface_ends_the_connection() {
    let instance = RawInstance::start().await;
    let site = Site::start(Chain::Balancer, instance.address(), Settings::default()).await;
    let mut client = Conn::open(site.address()).await;
    client.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    let (answer, _) = client.rest().await;
    assert!(answer.starts_with(b"HTTP/1.1 "), "{}", String::from_utf8_lossy(&answer));
    assert_eq!(instance.connections(), 0);
}

#[tokio::test]
async fn a_request_reaches_the_instance_as_http_1_1() {
    let (site, mut instance) = site(H2C).await;
    let mut client = Http2::open(site.address()).await;
    let request = request("POST", "/a?b=c")
        .header("cookie", "a=1")
        .header("cookie", "b=2")
        .header("te", "trailers")
        .header("x-forwarded-for", "192.0.2.1")
        .header("accept", "text/html")
        .body(())
        .expect("valid");
    let (response, mut body) = client.send(request, false).await;
    body.send_data(Bytes::from_static(b"hello"), true).expect("open");
    let seen = answered(&mut instance).await;
    assert_eq!(seen.head.start, "POST /a?b=c HTTP/1.1");
    for (name, value) in [
        ("host", Some("site.example")),
        ("cookie", Some("a=1; b=2")),
        ("via", Some("2.0 sluice")),
        ("te", Some("trailers")),
        ("x-forwarded-proto", Some("http")),
        ("x-forwarded-host", Some("site.example")),
        ("x-forwarded-for", Some("192.0.2.1, 127.0.0.1")),
        ("accept", Some("text/html")),
        (":authority", None),
        ("upgrade", None),
    ] {
        assert_eq!(seen.head.get(name), value, "{name}");
    }
    assert_eq!(seen.text(), "hello");
    let answer = collect(soon("a response", response).await.expect("one")).await.expect("whole");
    assert_eq!((answer.status(), answer.text()), (200, "x".to_owned()));
    for name in ["connection", "transfer-encoding", "keep-alive"] {
        assert_eq!(answer.get(name), None, "{name}");
    }
}

#[tokio::test]
async fn chunked_responses_and_trailers_become_frames() {
    let (site, mut instance) = site(H2C).await;
    let mut client = Http2::open(site.address()).await;
    let request = request("GET", "/").header("te", "trailers").body(()).expect("valid");
    let (response, _) = client.send(request, true).await;
    let mut upstream = instance.accept().await;
    upstream.request().await;
    upstream.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n").await;
    upstream.send(wire::chunked(&pattern(100_000), 7000)).await;
    upstream.send("x-sum: 1\r\n\r\n").await;
    let answer = collect(soon("a response", response).await.expect("one")).await.expect("whole");
    assert!(answer.body == pattern(100_000), "{} bytes", answer.body.len());
    assert_eq!(answer.get("transfer-encoding"), None);
    let trailers = answer.trailers.expect("some");
    assert_eq!(trailers.get("x-sum").expect("there"), "1");
    site.until_idle().await;
}

#[tokio::test]
async fn trailers_of_a_request_arrive() {
    let (site, mut instance) = site(H2C).await;
    let mut client = Http2::open(site.address()).await;
    let request = request("POST", "/").header("trailer", "x-sum").body(()).expect("valid");
    let (_response, mut body) = client.send(request, false).await;
    body.send_data(Bytes::from_static(b"hello"), false).expect("open");
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", "1".parse().expect("valid"));
    body.send_trailers(trailers).expect("open");
    let seen = answered(&mut instance).await;
    assert_eq!(
        (seen.text(), seen.trailers),
        ("hello".to_owned(), vec![("x-sum".to_owned(), "1".to_owned())])
    );
}

/// Every worker is busy with requests of one connection, and each gets its own response.
#[tokio::test]
async fn requests_of_one_connection_go_side_by_side() {
    let (site, mut instance) = site(H2C).await;
    let mut client = Http2::open(site.address()).await;
    let mut responses = Vec::new();
    for n in 0..4 {
        responses.push(client.send(get(&format!("/{n}")), true).await.0);
    }
    let mut upstreams = Vec::new();
    for _ in 0..4 {
        let mut upstream = instance.accept().await;
        let path = upstream.request().await.head.start;
        upstreams.push((upstream, path));
    }
    for (upstream, path) in upstreams.iter_mut().rev() {
        upstream.send(ok(path)).await;
    }
    for (n, response) in responses.into_iter().enumerate() {
        let answer = collect(soon("a response", response).await.expect("one")).await.expect("whole");
        assert_eq!(answer.text(), format!("GET /{n} HTTP/1.1"));
    }
    assert_eq!(metric(site.balancer.admin, "sluice_client_connections_total", &[]).await, 1.0);
}

#[tokio::test]
async fn what_has_two_meanings_or_none_is_refused() {
    let (site, instance) = site(H2C).await;
    let mut client = Http2::open(site.address()).await;
    for (case, fields) in [
        ("another host", vec![("host", "other.example")]),
        ("two hosts", vec![("host", "site.example"), ("host", "site.example")]),
        ("two lengths", vec![("content-length", "0"), ("content-length", "0")]),
    ] {
        let mut asked = request("GET", "/");
        for (name, value) in fields {
            asked = asked.header(name, value);
        }
        let answer = client.ask(asked.body(()).expect("valid")).await;
        assert_eq!(answer.status(), 400, "{case}: {}", answer.text());
    }
    let connect = http::Request::connect("site.example:443").body(()).expect("valid");
    assert_eq!(client.ask(connect).await.status(), 400, "CONNECT");

    assert_eq!(instance.connections(), 0, "nothing was passed on");
}

/// What is broken in HTTP/2 is in http2_conformance.rs.
#[tokio::test]
async fn what_is_no_http_2_ends_the_connection() {
    let (site, instance) = site(H2C).await;
    let mut client = Frames::raw(site.address()).await;
    client.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nnot a frame at all").await;
    while client.next().await.is_some() {}
    until_metric(site.balancer.admin, "sluice_client_connections_open", &[], 0.0).await;
    assert_eq!(instance.connections(), 0);
    site.until_idle().await;
}

#[tokio::test]
async fn head_answers_have_no_body() {
    let (site, mut instance) = site(H2C).await;
    let mut client = Http2::open(site.address()).await;
    let head = || request("HEAD", "/").body(()).expect("valid");
    let (response, _) = client.send(head(), true).await;
    let mut upstream = instance.accept().await;
    upstream.request().await;
    upstream.send("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n").await;
    let answer = collect(soon("a response", response).await.expect("one")).await.expect("whole");
    assert_eq!((answer.get("content-length"), answer.body.len()), (Some("5"), 0));

    let refused = request("HEAD", "/").header("host", "other.example").body(()).expect("valid");
    let answer = client.ask(refused).await;
    assert_eq!((answer.status(), answer.body.len()), (400, 0), "the relay's own text is left out");
}

#[tokio::test]
async fn an_early_answer_comes_before_the_end_of_an_upload() {
    let (site, mut instance) = site(H2C).await;
    let mut client = Http2::open(site.address()).await;
    let upload = request("POST", "/").header("content-length", "1000000").body(()).expect("valid");
    let (response, mut body) = client.send(upload, false).await;
    body.send_data(Bytes::from_static(b"the first of it"), false).expect("open");
    let mut upstream = instance.accept().await;
    upstream.head().await;
    upstream
        .send("HTTP/1.1 413 Payload Too Large\r\ncontent-length: 3\r\nconnection: close\r\n\r\nbig")
        .await;
    let answer = collect(soon("a response", response).await.expect("one")).await.expect("whole");
    assert_eq!((answer.status(), answer.text()), (413, "big".to_owned()));
    // RFC 9113, 8.1: the rest is not wanted, and the connection goes on.
    let reason = soon("the reset", std::future::poll_fn(|cx| body.poll_reset(cx))).await.expect("reset");
    assert!(matches!(reason, Reason::NO_ERROR | Reason::CANCEL), "{reason:?}");
    let (response, _) = client.send(get("/"), true).await;
    answered(&mut instance).await;
    assert_eq!(soon("a response", response).await.expect("one").status(), 200);
    site.until_idle().await;
}

#[tokio::test]
async fn a_request_taken_back_cancels_the_work() {
    let (site, mut instance) = site(H2C).await;
    let mut client = Http2::open(site.address()).await;
    for (case, begun) in [("before the answer", false), ("within the answer", true)] {
        let (response, mut body) = client.send(get("/"), true).await;
        let mut upstream = instance.accept().await;
        upstream.request().await;
        if begun {
            upstream.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n").await;
            let mut response = soon("a response", response).await.expect("one").into_body();
            soon("a byte", response.data()).await.expect("one").expect("open");
            body.send_reset(Reason::CANCEL);
        } else {
            body.send_reset(Reason::CANCEL);
        }
        let (_, end) = upstream.rest().await;
        assert!(matches!(end, Ending::Closed | Ending::Reset), "{case}");
        site.until_idle().await;
    }
    // Nobody else on the connection was disturbed.
    let (response, _) = client.send(get("/"), true).await;
    answered(&mut instance).await;
    assert_eq!(soon("a response", response).await.expect("one").status(), 200);
}

#[tokio::test]
async fn a_client_that_leaves_cancels_all_its_work() {
    let (site, mut instance) = site(H2C).await;
    let mut client = Frames::open(site.address(), &[]).await;
    client.send([frames::get(1), frames::get(3)].concat()).await;
    let mut upstreams = [instance.accept().await, instance.accept().await];
    drop(client);
    for upstream in &mut upstreams {
        upstream.request().await;
        upstream.ended().await;
    }
    site.until_idle().await;
}

/// An instance that breaks off makes a reset of a stream, not an end that could be taken for the response's.
#[tokio::test]
async fn a_response_cut_short_is_seen_as_cut_short() {
    let (site, mut instance) = site(H2C).await;
    let mut client = Http2::open(site.address()).await;
    for head in ["content-length: 100\r\n\r\nhalf", "transfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n"] {
        let (response, _) = client.send(get("/"), true).await;
        let mut upstream = instance.accept().await;
        upstream.request().await;
        upstream.send(format!("HTTP/1.1 200 OK\r\n{head}")).await;
        let response = soon("a response", response).await.expect("one");
        drop(upstream);
        collect(response).await.expect_err(head);
    }
    site.until_idle().await;
}

#[tokio::test]
async fn a_stop_finishes_what_is_under_way_and_takes_nothing_new() {
    let (site, mut instance) = site(H2C).await;
    let mut client = Http2::open(site.address()).await;
    let (response, _) = client.send(get("/"), true).await;
    let mut upstream = instance.accept().await;
    upstream.request().await;
    site.balancer.stop();
    // GOAWAY: the client's library sends nothing new, at the latest after a round trip.
    while let Ok((late, _)) = client.try_send(get("/late"), true).await {
        tokio::select! {
            _ = late => {}
            mut late = instance.accept() => {
                late.request().await;
                late.send(ok("late")).await;
            }
        }
    }
    upstream.send(ok("done")).await;
    let answer = collect(soon("a response", response).await.expect("one")).await.expect("whole");
    assert_eq!(answer.text(), "done");
    client.ended().await.expect("an end in order");
    site.balancer.ended().await;
}

#[tokio::test]
async fn an_idle_connection_is_closed_in_order() {
    let (site, mut instance) = site("--listen 127.0.0.1:0,h2c --client-keep-alive 300ms").await;
    let mut client = Http2::open(site.address()).await;
    let (response, _) = client.send(get("/"), true).await;
    answered(&mut instance).await;
    collect(soon("a response", response).await.expect("one")).await.expect("whole");
    client.ended().await.expect("an end in order");

    // Who does not answer either, or keeps saying that it is there, is closed as well.
    let flags = "--listen 127.0.0.1:0,h2c --client-keep-alive 300ms --client-write-timeout 300ms";
    let (site, _instance) = self::site(flags).await;
    let mut client = Frames::open(site.address(), &[]).await;
    while client.try_send(frame(PING, 0, 0, &[0; 8])).await.is_ok() && client.next_of(PING).await.is_some() {}
    until_metric(site.balancer.admin, "sluice_client_connections_cut_total", &["reason=\"idle\""], 1.0).await;
}

#[tokio::test]
async fn an_upload_that_stalls_is_answered_408_and_its_connection_goes_on() {
    let (site, mut instance) = site("--listen 127.0.0.1:0,h2c --client-body-timeout 300ms").await;
    let mut client = Http2::open(site.address()).await;
    let upload = request("POST", "/").header("content-length", "100000").body(()).expect("valid");
    let (response, mut body) = client.send(upload, false).await;
    body.send_data(Bytes::from_static(b"the first of it"), false).expect("open");
    let mut upstream = instance.accept().await;
    upstream.head().await;
    let answer = collect(soon("a response", response).await.expect("one")).await.expect("whole");
    assert_eq!(answer.status(), 408, "{}", answer.text());
    upstream.rest().await;
    until_metric(site.balancer.admin, "sluice_requests_total", &["outcome=\"client_stalled\""], 1.0).await;
    site.until_idle().await;
    let (response, _) = client.send(get("/"), true).await;
    answered(&mut instance).await;
    assert_eq!(soon("a response", response).await.expect("one").status(), 200);
}

/// A byte now and then is no progress.
#[tokio::test]
async fn an_upload_that_trickles_is_ended_too() {
    let (site, mut instance) = site("--listen 127.0.0.1:0,h2c --client-body-timeout 400ms").await;
    let mut client = Http2::open(site.address()).await;
    let upload = request("POST", "/").header("content-length", "100000").body(()).expect("valid");
    let (mut response, mut body) = client.send(upload, false).await;
    let mut upstream = instance.accept().await;
    upstream.head().await;
    let trickling = async {
        while body.send_data(Bytes::from_static(b"x"), false).is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        std::future::pending::<()>().await;
    };
    let response = tokio::select! {
        response = soon("a response", &mut response) => response.expect("one"),
        () = trickling => unreachable!("it goes on for ever"),
    };
    assert_eq!(response.status(), 408);
}
