//! A listener that says `proxy` believes the proxy in front about who the client is, and nobody who comes past it.

use std::net::SocketAddr;

use sluice_tests::admin::until_metric;
use sluice_tests::certs::{Cert, TlsClient, ask_over};
use sluice_tests::frames::{self, Frames};
use sluice_tests::script::RawInstance;
use sluice_tests::site::{Balancer, Chain, Settings, Site};
use sluice_tests::wire::{Conn, Ending, Message, get, ok};
use tokio::net::TcpStream;

const V1: &str = "PROXY TCP4 192.0.2.7 192.0.2.1 5000 443\r\n";

/// Version 2: 2001:db8::7, with something appended that is skipped.
fn v2() -> Vec<u8> {
    let source = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7];
    let tlv = [4, 0, 2, 0xff, 0xff];
    let rest = [&source[..], &[0; 15], &[1], &[0x13, 0x88, 1, 0xbb], &tlv].concat();
    let length = u8::try_from(rest.len()).expect("short");
    [&b"\r\n\r\n\0\r\nQUIT\n"[..], &[0x21, 0x21, 0, length], &rest].concat()
}

async fn site() -> (Site, RawInstance) {
    let instance = RawInstance::start().await;
    let settings = Settings {
        balancer: "--listen 127.0.0.1:0,proxy --client-head-timeout 500ms",
        ..Settings::default()
    };
    (Site::start(Chain::Balancer, instance.address(), settings).await, instance)
}

/// What the instance is asked when a client has sent `pieces`, one after the other.
async fn asked(site: &Site, instance: &mut RawInstance, pieces: &[&[u8]]) -> Message {
    let mut client = Conn::open(site.address()).await;
    for piece in pieces {
        client.send(piece).await;
    }
    let mut upstream = instance.accept().await;
    let request = upstream.request().await;
    upstream.send(ok("x").replace("\r\n\r\n", "\r\nconnection: close\r\n\r\n")).await;
    assert_eq!(client.response().await.text(), "x");
    request
}

#[tokio::test]
async fn the_header_says_who_the_client_is() {
    let (site, mut instance) = site().await;
    let request = get("/");
    let v2 = v2();
    let local = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0".to_vec();
    let at_once = [V1.as_bytes(), request.as_bytes()].concat();
    let (first, second) = v2.split_at(9);
    for (case, pieces, address) in [
        ("version 1", vec![V1.as_bytes(), request.as_bytes()], "192.0.2.7"),
        ("with the request", vec![&at_once[..]], "192.0.2.7"),
        ("unknown", vec![b"PROXY UNKNOWN\r\n", request.as_bytes()], "127.0.0.1"),
        ("version 2", vec![&v2, request.as_bytes()], "2001:db8::7"),
        ("in two pieces", vec![first, second, request.as_bytes()], "2001:db8::7"),
        ("the proxy itself", vec![&local, request.as_bytes()], "127.0.0.1"),
    ] {
        let request = asked(&site, &mut instance, &pieces).await;
        assert_eq!(request.head.get("x-forwarded-for"), Some(address), "{case}");
    }
    site.until_idle().await;
}

#[tokio::test]
async fn a_connection_without_a_header_is_closed_and_counted() {
    let (site, instance) = site().await;
    let refused = async |bytes: &[u8], reason: &str| {
        let mut client = Conn::open(site.address()).await;
        client.send(bytes).await;
        client.ended().await;
        let label = format!("reason=\"{reason}\"");
        until_metric(site.balancer.admin, "sluice_proxy_refused_total", &[&label], 1.0).await;
    };
    refused(get("/").as_bytes(), "no_header").await;
    refused(b"PROXY TCP4 nobody 192.0.2.1 1 2\r\n", "malformed").await;
    refused(&[b'P'; 1], "timeout").await;
    refused(b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff", "too_long").await;
    refused(b"\r\n\r\n\0\r\nQUIT\n\x31\x11\0\x0c", "unknown_version").await;
    drop(Conn::open(site.address()).await);
    until_metric(site.balancer.admin, "sluice_proxy_refused_total", &["reason=\"closed\""], 1.0).await;
    until_metric(site.balancer.admin, "sluice_client_connections_open", &[], 0.0).await;
    assert_eq!(instance.connections(), 0, "nothing was passed on");
}

#[tokio::test]
async fn a_listener_that_does_not_say_so_takes_no_header() {
    let instance = RawInstance::start().await;
    let site = Site::start(Chain::Balancer, instance.address(), Settings::default()).await;
    let mut client = Conn::open(site.address()).await;
    client.send(V1.to_owned() + &get("/")).await;
    assert_eq!(client.response().await.status(), 400);
    assert_eq!(client.ended().await, Ending::Closed);
    assert_eq!(instance.connections(), 0);
}

#[tokio::test]
async fn tls_and_http_2_follow_the_header() {
    let dir = tempfile::tempdir().expect("a directory");
    let cert = Cert::write(dir.path(), "a", &["site.example"]);
    let mut instance = RawInstance::start().await;
    let flags = format!(
        "--listen 127.0.0.1:0,proxy,{} --listen 127.0.0.1:0,proxy,h2c --instance {}",
        cert.option(),
        instance.address()
    );
    let balancer = Balancer::start(&flags);
    let asked = async |instance: &mut RawInstance| {
        let mut upstream = instance.accept().await;
        let request = upstream.request().await;
        upstream.send("HTTP/1.1 200 OK\r\ncontent-length: 1\r\nconnection: close\r\n\r\nx").await;
        let fields =
            ["x-forwarded-for", "x-forwarded-proto"].map(|name| request.head.get(name).map(str::to_owned));
        fields.map(Option::unwrap_or_default)
    };
    let secure = async |address: SocketAddr| {
        use tokio::io::AsyncWriteExt;
        let mut tcp = TcpStream::connect(address).await.expect("accepted");
        tcp.write_all(V1.as_bytes()).await.expect("sent");
        let tls = TlsClient::trusting([&cert]).over(tcp, "site.example").await.expect("a handshake");
        ask_over(tls, "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await
    };
    let (answer, seen) = tokio::join!(secure(balancer.address), asked(&mut instance));
    assert!(answer.ends_with("\r\n\r\nx"), "{answer}");
    assert_eq!(seen, ["192.0.2.7", "https"]);

    let mut client = Frames::raw(balancer.listening(1)).await;
    client.send([V1.as_bytes(), b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"].concat()).await;
    client.send([frames::frame(frames::SETTINGS, 0, 0, &[]), frames::get(1)].concat()).await;
    assert_eq!(asked(&mut instance).await, ["192.0.2.7", "http"]);
    let data = client.next_of(frames::DATA).await.expect("an answer");
    assert_eq!(data.payload, b"x");
}
