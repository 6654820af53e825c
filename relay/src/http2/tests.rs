//! Limits that no flag shortens.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;
use http::{Request, Response};
use prometheus::Registry;
use sluice_process::Shutdown;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, LocalSet};
use tokio::time::timeout;

use crate::limits::{ClientLimits, Http2Limits};
use crate::listen::{Listener, Protocol, Socket};
use crate::metrics::RelayMetrics;
use crate::server::{Handler, Server};
use crate::{Client, ClientBody, Doors, ReplyBody};

/// Longer than anything takes that works.
const PATIENCE: Duration = Duration::from_secs(20);

struct Hello;

impl Handler for Hello {
    type Observer = ();

    async fn handle(self: Rc<Self>, _: Request<ClientBody>, _: Client) -> Response<ReplyBody<()>> {
        Response::new(ReplyBody::text("hello".to_owned()))
    }
}

/// Serves with these limits for as long as `test` runs.
async fn serve(http2: Http2Limits, test: impl AsyncFnOnce(SocketAddr, RelayMetrics)) {
    serve_with(ClientLimits { http2, ..ClientLimits::default() }, test).await;
}

async fn serve_with(limits: ClientLimits, test: impl AsyncFnOnce(SocketAddr, RelayMetrics)) {
    let served = async {
        let shutdown = Shutdown::new();
        let metrics = RelayMetrics::register(&Registry::new());
        let doors = Doors::new(&limits, Vec::new());
        let server = Server::new(Rc::new(Hello), limits, doors, metrics.clone(), shutdown.watch());
        let socket = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = socket.local_addr().expect("bound");
        let socket = Socket::Tcp(socket.into_std().expect("a socket"));
        let protocol = Protocol { h2c: true, ..Protocol::default() };
        tokio::task::spawn_local(server.listen(Listener { socket, protocol }, shutdown.watch()));
        test(address, metrics).await;
    };
    timeout(PATIENCE, LocalSet::new().run_until(served)).await.expect("in time");
}

type Driver = JoinHandle<Result<(), h2::Error>>;

async fn connect(address: SocketAddr) -> (SendRequest<Bytes>, Driver) {
    let tcp = TcpStream::connect(address).await.expect("accepted");
    let (sender, connection) = h2::client::handshake(tcp).await.expect("HTTP/2");
    (sender, tokio::spawn(connection))
}

async fn ask(sender: &mut SendRequest<Bytes>) -> Result<String, h2::Error> {
    std::future::poll_fn(|cx| sender.poll_ready(cx)).await?;
    let request = Request::get("http://a/").body(()).expect("valid");
    let mut body = sender.send_request(request, true)?.0.await?.into_body();
    let text = body.data().await.expect("a body")?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

#[tokio::test]
async fn a_connection_that_had_its_requests_is_told_to_end_and_loses_none() {
    let limits = ClientLimits { requests: 10, ..ClientLimits::default() };
    serve_with(limits, async |address, _| {
        let (mut sender, driver) = connect(address).await;
        let mut answered = 0;
        while let Ok(text) = ask(&mut sender).await {
            assert_eq!(text, "hello");
            answered += 1;
        }
        assert!((10..20).contains(&answered), "{answered}");
        driver.await.expect("no panic").expect("an end in order");
    })
    .await;
}

#[tokio::test]
async fn a_connection_ends_at_its_age() {
    let limits = Http2Limits { age: Duration::from_millis(200), ..Http2Limits::default() };
    serve(limits, async |address, _| {
        let (sender, driver) = connect(address).await;
        driver.await.expect("no panic").expect("an end in order");
        drop(sender);
    })
    .await;
}

#[tokio::test]
async fn a_client_that_answers_no_ping_is_taken_for_gone() {
    let http2 = Http2Limits { ping: Duration::from_millis(100), ..Http2Limits::default() };
    let limits = ClientLimits { http2, write_stall: Duration::from_millis(100), ..ClientLimits::default() };
    serve_with(limits, async |address, _| {
        let mut tcp = TcpStream::connect(address).await.expect("accepted");
        // The preface and an empty SETTINGS frame, and then nothing more.
        tcp.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.expect("sent");
        let mut frames = Vec::new();
        tcp.read_to_end(&mut frames).await.expect("an end in order");
        let ping = b"\0\0\x08\x06\0\0\0\0\0";
        assert!(frames.windows(ping.len()).any(|window| window == ping), "{frames:?}");
    })
    .await;
}

#[tokio::test]
async fn http_1_is_served_at_the_same_address() {
    serve(Http2Limits::default(), async |address, metrics| {
        let mut tcp = TcpStream::connect(address).await.expect("accepted");
        tcp.write_all(b"P").await.expect("sent");
        tokio::task::yield_now().await;
        tcp.write_all(b"OST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            .await
            .expect("sent");
        let mut answer = String::new();
        tcp.read_to_string(&mut answer).await.expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("hello"), "{answer}");
        assert_eq!(metrics.http2_connections.get(), 0);
    })
    .await;
}
