//! HTTPS: the right certificate for each name, the newest there is, and nothing in the clear.

use std::fs;
use std::time::{Duration, Instant};

use sluice_tests::admin::{metric, until_metric};
use sluice_tests::certs::{Cert, TlsClient, ask_over, certificate_of};
use sluice_tests::http2::{self, Http2};
use sluice_tests::process;
use sluice_tests::script::{Answering, RawInstance};
use sluice_tests::site::Balancer;
use sluice_tests::wire::{Conn, Message, ok, pattern};
use sluice_tests::{PATIENCE, eventually, soon};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::rustls::SupportedProtocolVersion;
use tokio_rustls::rustls::version::{TLS12, TLS13};

static ONLY_TLS12: &[&SupportedProtocolVersion] = &[&TLS12];
static ONLY_TLS13: &[&SupportedProtocolVersion] = &[&TLS13];

const CLOSING: &str = "GET / HTTP/1.1\r\nhost: site.example\r\nconnection: close\r\n\r\n";

fn field(request: &Message, name: &str) -> String {
    request.head.get(name).unwrap_or("-").to_owned()
}

/// Says what it was asked, as far as the connection matters.
async fn telling() -> Answering {
    Answering::with(|request| {
        let told: Vec<_> = ["x-forwarded-proto", "via", "host", "x-forwarded-for"]
            .iter()
            .map(|name| field(request, name))
            .collect();
        ok(&told.join(" | ")).into_bytes()
    })
    .await
}

struct Secure {
    balancer: Balancer,
    cert: Cert,
    dir: TempDir,
    instance: Answering,
}

async fn secure(flags: &str) -> Secure {
    let dir = tempfile::tempdir().expect("a directory");
    let cert = Cert::write(dir.path(), "a", &["site.example"]);
    let instance = telling().await;
    let listen = format!("--listen 127.0.0.1:0,{}", cert.option());
    let balancer = Balancer::start(&format!("{listen} --instance {} {flags}", instance.address()));
    Secure { balancer, cert, dir, instance }
}

impl Secure {
    fn client(&self) -> TlsClient {
        TlsClient::trusting([&self.cert])
    }

    async fn until_failed(&self, reason: &str) {
        let label = format!("reason=\"{reason}\"");
        until_metric(self.balancer.admin, "sluice_tls_handshake_failures_total", &[&label], 1.0).await;
        until_metric(self.balancer.admin, "sluice_client_connections_open", &[], 0.0).await;
    }
}

#[tokio::test]
async fn a_client_gets_http_2_or_http_1_1_as_it_asks() {
    let site = secure("").await;
    let told = |version: &str| format!("https | {version} sluice | site.example | 127.0.0.1");
    for (client, name) in [
        (site.client(), "no ALPN"),
        (site.client().offering(&["http/1.1"]), "HTTP/1.1"),
        (site.client().speaking(ONLY_TLS12), "TLS 1.2"),
        (site.client().speaking(ONLY_TLS13), "TLS 1.3"),
    ] {
        let answer = ask_over(client.connect(site.balancer.address, "site.example").await, CLOSING).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{name}: {answer}");
        assert!(answer.ends_with(&told("1.1")), "{name}: {answer}");
    }
    let stream =
        site.client().offering(&["h2", "http/1.1"]).connect(site.balancer.address, "site.example").await;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let answer = Http2::over(stream).await.ask(http2::get("/")).await;
    assert_eq!((answer.status(), answer.text()), (200, told("2.0")));
    assert_eq!(metric(site.balancer.admin, "sluice_tls_handshakes_total", &[]).await, 5.0);
    assert_eq!(site.instance.served(), 5);
}

#[tokio::test]
async fn long_bodies_arrive_whole() {
    let body = pattern(1_500_000);
    let answer =
        [format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len()).as_bytes(), &body].concat();
    let instance = Answering::with(move |_| answer.clone()).await;
    let dir = tempfile::tempdir().expect("a directory");
    let cert = Cert::write(dir.path(), "a", &["site.example"]);
    let flags = format!("--listen 127.0.0.1:0,{} --instance {}", cert.option(), instance.address());
    let balancer = Balancer::start(&flags);
    let client = TlsClient::trusting([&cert]);
    let mut stream = client.connect(balancer.address, "site.example").await;
    soon("send", stream.write_all(CLOSING.as_bytes())).await.expect("it is there");
    let mut answer = Vec::new();
    soon("read", stream.read_to_end(&mut answer)).await.expect("an end in order");
    assert!(answer.ends_with(&body));
    let stream = client.offering(&["h2"]).connect(balancer.address, "site.example").await;
    let answer = Http2::over(stream).await.ask(http2::get("/")).await;
    assert!(answer.body == body, "{} bytes", answer.body.len());
}

#[tokio::test]
async fn a_websocket_becomes_a_tunnel() {
    let dir = tempfile::tempdir().expect("a directory");
    let cert = Cert::write(dir.path(), "a", &["site.example"]);
    let mut instance = RawInstance::start().await;
    let flags = format!("--listen 127.0.0.1:0,{} --instance {}", cert.option(), instance.address());
    let balancer = Balancer::start(&flags);
    let mut client = TlsClient::trusting([&cert]).connect(balancer.address, "site.example").await;
    let request = "GET /ws HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
    client.write_all(request.as_bytes()).await.expect("sent");
    let mut upstream = instance.accept().await;
    assert_eq!(upstream.request().await.head.get("upgrade"), Some("websocket"));
    upstream
        .send("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\nhi")
        .await;
    let mut came = String::new();
    while !came.ends_with("\r\n\r\nhi") {
        let byte = soon("the tunnel", client.read_u8()).await.expect("open");
        came.push(char::from(byte));
    }
    client.write_all(b"ho").await.expect("sent");
    assert_eq!(upstream.exactly(2).await, b"ho");
}

#[tokio::test]
async fn the_name_chooses_the_certificate() {
    let dir = tempfile::tempdir().expect("a directory");
    let certs =
        [Cert::write(dir.path(), "a", &["a.example"]), Cert::write(dir.path(), "b", &["*.b.example"])];
    let balancer =
        Balancer::start(&format!("--listen 127.0.0.1:0,{},{}", certs[0].option(), certs[1].option()));
    for (name, index) in [("a.example", 0), ("x.b.example", 1)] {
        let stream = TlsClient::trusting(&certs).connect(balancer.address, name).await;
        assert!(certificate_of(&stream) == certs[index].der, "{name}");
    }
    // Another name gets the first, which is not for it: the client's own affair.
    let error = TlsClient::trusting(&certs).try_connect(balancer.address, "c.example").await.map(drop);
    assert!(error.as_ref().is_err_and(|text| text.contains("not valid for name")), "{error:?}");
}

#[tokio::test]
async fn new_files_are_used_and_bad_ones_are_not() {
    let mut site = secure("").await;
    let path = site.cert.cert.display().to_string();
    let expiry = ["certificate=\"", &path, "\""].concat();
    let expiry =
        metric(site.balancer.admin, "sluice_tls_certificate_expiry_timestamp_seconds", &[&expiry]).await;
    assert!(expiry > 1.7e9, "{expiry}");

    fs::write(&site.cert.key, "not a key").expect("written");
    let failed =
        async || metric(site.balancer.admin, "sluice_tls_certificate_reloads_total", &["failed"]).await;
    eventually("the bad key noticed", 2 * PATIENCE, async || {
        if failed().await == 1.0 { Ok(()) } else { Err(String::new()) }
    })
    .await;
    ask_over(site.client().connect(site.balancer.address, "site.example").await, CLOSING).await;

    site.cert = Cert::write(site.dir.path(), "a", &["site.example"]);
    eventually("the new certificate", 2 * PATIENCE, async || {
        site.client().try_connect(site.balancer.address, "site.example").await.map(drop)
    })
    .await;
}

#[tokio::test]
async fn failed_handshakes_are_counted_by_what_failed() {
    let site = secure("--client-head-timeout 400ms").await;
    let address = site.balancer.address;

    let since = Instant::now();
    let mut silent = Conn::open(address).await;
    silent.send([0x16, 3, 1]).await;
    silent.ended().await;
    assert!(since.elapsed() >= Duration::from_millis(350), "{:?}", since.elapsed());
    site.until_failed("timeout").await;

    let mut plain = Conn::open(address).await;
    plain.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let (answer, _) = plain.rest().await;
    assert!(!answer.starts_with(b"HTTP"), "nothing in the clear");
    site.until_failed("not_tls").await;

    let stranger = TlsClient::trusting([]);
    stranger.try_connect(address, "site.example").await.map(drop).expect_err("not trusted");
    site.until_failed("refused_by_client").await;

    let other = site.client().offering(&["spdy/3"]);
    other.try_connect(address, "site.example").await.map(drop).expect_err("no protocol in common");
    site.until_failed("no_common_protocol").await;

    drop(Conn::open(address).await);
    site.until_failed("closed").await;
    assert_eq!(site.instance.served(), 0);
}

/// An idle connection is closed in order, a request that is under way is finished.
#[tokio::test]
async fn a_stop_ends_connections_in_order() {
    let dir = tempfile::tempdir().expect("a directory");
    let cert = Cert::write(dir.path(), "a", &["site.example"]);
    let mut instance = RawInstance::start().await;
    let flags = format!("--listen 127.0.0.1:0,{} --instance {}", cert.option(), instance.address());
    let balancer = Balancer::start(&flags);
    let client = TlsClient::trusting([&cert]);
    let mut busy = client.connect(balancer.address, "site.example").await;
    busy.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.expect("sent");
    let mut upstream = instance.accept().await;
    upstream.request().await;
    let mut idle = client.connect(balancer.address, "site.example").await;
    until_metric(balancer.admin, "sluice_tls_handshakes_total", &[], 2.0).await;
    balancer.stop();
    let mut rest = Vec::new();
    soon("the idle connection's end", idle.read_to_end(&mut rest)).await.expect("closed in order");
    upstream.send(ok("done")).await;
    soon("the response", busy.read_to_end(&mut rest)).await.expect("closed in order");
    assert!(rest.ends_with(b"done"));
    balancer.ended().await;
}

#[test]
fn a_certificate_that_can_not_be_used_is_told_at_the_start() {
    let dir = tempfile::tempdir().expect("a directory");
    let (one, other) = (Cert::write(dir.path(), "one", &["a"]), Cert::write(dir.path(), "other", &["a"]));
    let listen = format!("127.0.0.1:0,tls={}:{}", one.cert.display(), other.key.display());
    let output = process::run("sluice-balancer", &format!("check --listen {listen}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("does not belong") && said.contains("other.key"), "{said}");
}
