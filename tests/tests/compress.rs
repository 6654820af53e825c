//! Responses are compressed by the agent, for whom it may be, with a head that tells the truth; all others pass as
//! they are.

use std::io::{Read, Write};

use sluice_tests::admin::{metric, until_agent_holds, until_metric};
use sluice_tests::script::{Answering, RawInstance};
use sluice_tests::site::{Chain, Settings, Site};
use sluice_tests::wire::{Conn, Head, Message, ask, ok};

const ON: Settings = Settings { workers: 1, balancer: "", agent: "--compress zstd,br,gzip" };

/// 20 kB of HTML.
fn page() -> String {
    "<tr><td>row</td><td>value</td></tr>\n".repeat(560)
}

/// A response with a length, `fields` that end each in `\r\n`, and `body`.
fn response(status: &str, fields: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\n{fields}content-length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

fn request(method: &str, fields: &str) -> String {
    format!("{method} / HTTP/1.1\r\nhost: site.example\r\n{fields}\r\n")
}

fn decode(encoding: &str, bytes: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::new();
    match encoding {
        "gzip" => flate2::read::GzDecoder::new(bytes).read_to_end(&mut decoded).map(drop),
        "br" => brotli::Decompressor::new(bytes, 4096).read_to_end(&mut decoded).map(drop),
        "zstd" => zstd::stream::copy_decode(bytes, &mut decoded),
        other => panic!("nobody asked for {other}"),
    }
    .unwrap_or_else(|error| panic!("{encoding}: {error}"));
    decoded
}

async fn site(answer: impl Fn(&Message) -> Vec<u8> + Send + Sync + 'static) -> (Site, Answering) {
    let instance = Answering::with(answer).await;
    (Site::start(Chain::Agent, instance.address(), ON).await, instance)
}

fn agent(site: &Site) -> std::net::SocketAddr {
    site.agent.as_ref().expect("a chain with one").admin
}

#[tokio::test]
async fn clients_get_the_best_that_they_take_and_a_head_that_is_true() {
    const FIELDS: &str =
        "content-type: text/html\r\nvary: Cookie\r\netag: \"v1\"\r\naccept-ranges: bytes\r\n";
    let (site, _instance) = site(|_| response("200 OK", FIELDS, &page())).await;
    for (accept, encoding) in [
        ("gzip, deflate, br, zstd", Some("zstd")),
        ("gzip, deflate, br", Some("br")),
        ("gzip", Some("gzip")),
        ("br;q=0.5, gzip;q=0.6, *;q=0", Some("gzip")),
        ("gzip;q=0", None),
        ("identity", None),
        ("deflate", None),
    ] {
        let fields = format!("accept-encoding: {accept}\r\n");
        let answer = ask(site.address(), request("GET", &fields)).await;
        assert_eq!((answer.status(), answer.cut), (200, None), "{accept}");
        let [got, etag, vary, length, ranges] =
            ["content-encoding", "etag", "vary", "content-length", "accept-ranges"]
                .map(|name| answer.head.get(name));
        assert_eq!((got, vary), (encoding, Some("Cookie, Accept-Encoding")), "{accept}");
        match encoding {
            Some(encoding) => {
                assert_eq!((etag, length, ranges), (Some("W/\"v1\""), None, None), "{accept}");
                assert!(answer.body.len() < page().len() / 5, "{accept}: {} bytes", answer.body.len());
                assert!(decode(encoding, &answer.body) == page().as_bytes(), "{accept}: something else");
            }
            None => {
                assert_eq!((etag, ranges), (Some("\"v1\""), Some("bytes")), "{accept}");
                assert_eq!(answer.text(), page(), "{accept}");
            }
        }
    }
    let of = |encoding: &str, side: &str| [format!("encoding=\"{encoding}\""), format!("side=\"{side}\"")];
    for (encoding, count) in [("gzip", 2.0), ("br", 1.0), ("zstd", 1.0)] {
        let [label, read] = of(encoding, "in");
        let [_, written] = of(encoding, "out");
        let name = "sluice_agent_compressed_responses_total";
        assert_eq!(metric(agent(&site), name, &[&label]).await, count, "{encoding}");
        let name = "sluice_agent_compressed_bytes_total";
        let total = count * page().len() as f64;
        assert_eq!(metric(agent(&site), name, &[&label, &read]).await, total, "{encoding}");
        let out = metric(agent(&site), name, &[&label, &written]).await;
        assert!(out > 0.0 && out < total / 5.0, "{encoding}: {out} of {total}");
    }
}

#[tokio::test]
async fn everything_else_passes_as_it_is() {
    const GZIP: &str = "accept-encoding: gzip\r\n";
    const HTML: &str = "content-type: text/html\r\n";
    let html = |more: &str| response("200 OK", &format!("{HTML}{more}"), &page());
    let varies = Some("Accept-Encoding");
    let cases = [
        ("not_accepted", "", html(""), varies),
        (
            "not_accepted",
            "accept-encoding: gzip;q=0, *;q=0\r\n",
            html("vary: accept-encoding\r\n"),
            Some("accept-encoding"),
        ),
        ("no_transform", "accept-encoding: gzip\r\ncache-control: no-transform\r\n", html(""), varies),
        ("no_transform", GZIP, html("cache-control: max-age=60, no-transform\r\n"), None),
        ("no_transform", GZIP, html("content-digest: sha-256=:x:\r\n"), None),
        ("encoded", GZIP, html("content-encoding: br\r\n"), None),
        ("small", GZIP, response("200 OK", HTML, &page()[..1023]), None),
        ("type", GZIP, response("200 OK", "content-type: image/png\r\n", &page()), None),
        ("type", GZIP, response("200 OK", "", &page()), None),
        ("stream", GZIP, response("200 OK", "content-type: text/event-stream\r\n", &page()), None),
        ("stream", GZIP, html("x-accel-buffering: no\r\n"), None),
        (
            "status",
            "accept-encoding: gzip\r\nrange: bytes=0-19999\r\n",
            response(
                "206 Partial Content",
                "content-type: text/html\r\ncontent-range: bytes 0-20159/90000\r\n",
                &page(),
            ),
            varies,
        ),
        ("status", GZIP, b"HTTP/1.1 204 No Content\r\n\r\n".to_vec(), None),
    ];
    let answers: Vec<_> = cases.iter().map(|(_, _, answer, _)| answer.clone()).collect();
    let number = |message: &Message| message.head.get("x-case").and_then(|n| n.parse::<usize>().ok());
    let (site, _instance) =
        site(move |message| number(message).map_or_else(|| ok("").into(), |n| answers[n].clone())).await;
    for (n, (reason, fields, answer, vary)) in cases.iter().enumerate() {
        let label = format!("reason=\"{reason}\"");
        let name = "sluice_agent_uncompressed_responses_total";
        let before = metric(agent(&site), name, &[&label]).await;
        let got = ask(site.address(), request("GET", &format!("{fields}x-case: {n}\r\n"))).await;
        let case = format!("case {n}, {reason}");
        let encoded = (*reason == "encoded").then_some("br");
        assert_eq!((got.head.get("content-encoding"), got.cut), (encoded, None), "{case}");
        assert_eq!(got.head.get("vary"), *vary, "{case}");
        assert!(answer.ends_with(&got.body), "{case}: another body");
        assert!(got.status() == 204 || got.body.len() >= 1023, "{case}: {}", got.body.len());
        until_metric(agent(&site), name, &[&label], before + 1.0).await;
    }
    assert_eq!(metric(agent(&site), "sluice_agent_compressed_responses_total", &[]).await, 0.0);
}

#[tokio::test]
async fn head_tells_the_length_of_the_plain_response() {
    let answer = |message: &Message| {
        let body = if message.head.start.starts_with("HEAD") { String::new() } else { page() };
        let length = page().len();
        let fields = "content-type: text/html\r\netag: \"v1\"\r\n";
        format!("HTTP/1.1 200 OK\r\n{fields}content-length: {length}\r\n\r\n{body}").into_bytes()
    };
    let (site, _instance) = site(answer).await;
    let mut client = Conn::open(site.address()).await;
    client.send(request("HEAD", "accept-encoding: gzip\r\n")).await;
    let head = client.head().await;
    let [encoding, vary, etag] = ["content-encoding", "vary", "etag"].map(|name| head.get(name));
    assert_eq!((encoding, vary, etag), (None, Some("Accept-Encoding"), Some("W/\"v1\"")));
    assert_eq!(head.get("content-length"), Some(page().len().to_string().as_str()));
    // Nothing follows it: the next response on the connection is understood.
    client.send(request("GET", "accept-encoding: gzip\r\n")).await;
    assert!(decode("gzip", &client.response().await.body) == page().as_bytes());
}

/// As applications do that compare entity tags as RFC 9110, 13.1.2 demands.
fn answer_unless_known(message: &Message) -> Vec<u8> {
    let known = message.head.get("if-none-match").unwrap_or_default().split(',');
    if known.map(|tag| tag.trim().trim_start_matches("W/")).any(|tag| tag == "\"v1\"") {
        return b"HTTP/1.1 304 Not Modified\r\netag: \"v1\"\r\n\r\n".to_vec();
    }
    response("200 OK", "content-type: text/html\r\netag: \"v1\"\r\n", &page())
}

#[tokio::test]
async fn a_client_that_comes_back_with_the_tag_is_answered_304() {
    let (site, instance) = site(answer_unless_known).await;
    for (accept, tag) in [("gzip", "W/\"v1\""), ("identity", "\"v1\"")] {
        let fields = format!("accept-encoding: {accept}\r\n");
        let first = ask(site.address(), request("GET", &fields)).await;
        assert_eq!(first.head.get("etag"), Some(tag), "{accept}");
        let fields = format!("{fields}if-none-match: \"v0\", {tag}\r\n");
        let again = ask(site.address(), request("GET", &fields)).await;
        assert_eq!((again.status(), again.head.get("etag")), (304, Some(tag)), "{accept}");
        assert_eq!(again.body, b"", "{accept}");
    }
    assert_eq!(instance.served(), 4);
}

/// The next chunk of a chunked body.
async fn chunk(conn: &mut Conn) -> Vec<u8> {
    let size = conn.until("\r\n").await;
    let size = usize::from_str_radix(size.trim(), 16).unwrap_or_else(|_| panic!("chunk size {size:?}"));
    let mut bytes = conn.exactly(size + 2).await;
    bytes.truncate(size);
    bytes
}

async fn raw_site() -> (Site, RawInstance) {
    let instance = RawInstance::start().await;
    (Site::start(Chain::Agent, instance.address(), ON).await, instance)
}

/// Sends a request through `site` and the head of a chunked response, as far as the client.
async fn stream(site: &Site, instance: &mut RawInstance, kind: &str) -> (Conn, Conn, Head) {
    let mut client = Conn::open(site.address()).await;
    client.send(request("GET", "accept-encoding: gzip\r\n")).await;
    let mut server = instance.accept().await;
    server.request().await;
    server
        .send(format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ntransfer-encoding: chunked\r\n\r\n"))
        .await;
    let head = client.head().await;
    (client, server, head)
}

#[tokio::test]
async fn each_part_of_a_stream_arrives_when_it_was_sent() {
    let (site, mut instance) = raw_site().await;
    let (mut client, mut server, head) = stream(&site, &mut instance, "text/html").await;
    assert_eq!(head.get("content-encoding"), Some("gzip"));
    let mut decoder = flate2::write::GzDecoder::new(Vec::new());
    let mut sent = String::new();
    for part in ["first", "second", "third"] {
        sent.push_str(part);
        server.send(format!("{:x}\r\n{part}\r\n", part.len())).await;
        while decoder.get_ref() != sent.as_bytes() {
            decoder.write_all(&chunk(&mut client).await).and_then(|()| decoder.flush()).expect("gzip");
        }
    }
    server.send("0\r\n\r\n").await;
    loop {
        match chunk(&mut client).await {
            end if end.is_empty() => break,
            rest => decoder.write_all(&rest).expect("gzip"),
        }
    }
    assert_eq!(decoder.finish().expect("a whole body"), sent.as_bytes());
    until_agent_holds(agent(&site), 0).await;
}

#[tokio::test]
async fn events_are_left_alone() {
    let (site, mut instance) = raw_site().await;
    let (mut client, mut server, head) = stream(&site, &mut instance, "text/event-stream").await;
    assert_eq!((head.get("content-encoding"), head.get("vary")), (None, None));
    for event in ["data: 1\n\n", "data: 2\n\n"] {
        server.send(format!("{:x}\r\n{event}\r\n", event.len())).await;
        assert_eq!(String::from_utf8_lossy(&chunk(&mut client).await), event);
    }
}

#[tokio::test]
async fn the_worker_is_free_while_the_client_takes_nothing() {
    // Noise, so that the compressed response is as long as the plain one.
    let mut rng = fastrand::Rng::with_seed(7);
    let body: String = std::iter::repeat_with(|| rng.alphanumeric()).take(900_000).collect();
    let (site, instance) = site(move |_| response("200 OK", "content-type: text/plain\r\n", &body)).await;
    let agent_address = site.agent.as_ref().expect("a chain with one").address;
    let mut stalled = Conn::open(agent_address).await;
    stalled.send(request("GET", "accept-encoding: br\r\n")).await;
    let head = stalled.head().await;
    assert_eq!(head.get("content-encoding"), Some("br"));
    until_agent_holds(agent(&site), 0).await;
    // The only worker serves somebody else.
    let other = ask(agent_address, request("GET", "accept-encoding: gzip\r\n")).await;
    assert_eq!((other.status(), other.cut, instance.served()), (200, None, 2));
    let late = stalled.body(head, None).await;
    assert!(late.cut.is_none() && decode("br", &late.body) == decode("gzip", &other.body));
}

#[tokio::test]
async fn what_came_of_a_response_that_breaks_off_is_passed_on() {
    let (site, mut instance) = raw_site().await;
    let (mut client, mut server, head) = stream(&site, &mut instance, "text/html").await;
    server.send("5\r\nfirst\r\n").await;
    server.reset();
    let rest = client.body(head, None).await;
    assert!(rest.cut.is_some(), "{rest:?}");
    let mut decoder = flate2::write::GzDecoder::new(Vec::new());
    decoder.write_all(&rest.body).and_then(|()| decoder.flush()).expect("gzip");
    assert_eq!(decoder.get_ref(), b"first");
    until_agent_holds(agent(&site), 0).await;
}

#[tokio::test]
async fn a_client_that_leaves_ends_the_response_at_the_instance() {
    let (site, mut instance) = raw_site().await;
    let (client, mut server, _head) = stream(&site, &mut instance, "text/html").await;
    server.send("5\r\nfirst\r\n").await;
    client.reset();
    // Returns once the connection has ended.
    server.rest().await;
    until_agent_holds(agent(&site), 0).await;
}

#[tokio::test]
async fn without_the_flag_nothing_is_compressed() {
    let instance = Answering::with(|_| response("200 OK", "content-type: text/html\r\n", &page())).await;
    let site = Site::start(Chain::Agent, instance.address(), Settings::default()).await;
    let answer = ask(site.address(), request("GET", "accept-encoding: gzip\r\n")).await;
    assert_eq!((answer.head.get("content-encoding"), answer.head.get("vary")), (None, None));
    assert_eq!(answer.text(), page());
}

/// Many at once, more than the threads take on: whoever is not compressed is whole.
#[tokio::test]
async fn under_load_every_response_is_whole() {
    let settings = Settings { workers: 64, ..ON };
    let body = page().repeat(10);
    let sent = body.clone();
    let instance = Answering::with(move |_| response("200 OK", "content-type: text/html\r\n", &sent)).await;
    let site = Site::start(Chain::Agent, instance.address(), settings).await;
    let address = site.agent.as_ref().expect("a chain with one").address;
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..100 {
        clients.spawn(async move { ask(address, request("GET", "accept-encoding: br\r\n")).await });
    }
    let mut compressed = 0.0;
    while let Some(answer) = clients.join_next().await {
        let answer = answer.expect("no panic");
        assert_eq!((answer.status(), answer.cut), (200, None));
        if let Some(encoding) = answer.head.get("content-encoding") {
            assert!(decode(encoding, &answer.body) == body.as_bytes());
            compressed += 1.0;
        } else {
            assert_eq!(answer.head.get("vary"), Some("Accept-Encoding"));
            assert!(answer.body == body.as_bytes());
        }
    }
    let done = metric(agent(&site), "sluice_agent_compressed_responses_total", &[]).await;
    let busy = metric(agent(&site), "sluice_agent_uncompressed_responses_total", &["reason=\"busy\""]).await;
    assert_eq!((done, done + busy), (compressed, 100.0));
}
