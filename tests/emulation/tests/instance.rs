//! What users of an emulated instance rely on.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use sluice_emulation::instance::{Instance, InstanceConfig, Release};
use sluice_emulation::pattern;
use tokio::net::TcpStream;
use tokio::task::{JoinHandle, JoinSet};

/// Longer than any test may run.
const AN_HOUR_US: u64 = 3_600_000_000;
/// More than both kernels buffer for a connection that nobody reads (4 MiB sent, 32 MiB received).
const UNREAD: u64 = 64 << 20;

async fn start(config: InstanceConfig) -> Instance {
    Instance::start(config).await.expect("a free port")
}

async fn connect(addr: SocketAddr) -> SendRequest<Full<Bytes>> {
    let stream = TcpStream::connect(addr).await.expect("the instance accepts");
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.expect("no I/O yet");
    tokio::spawn(async move { drop(connection.await) });
    sender
}

fn request(headers: &[(&str, &str)]) -> Request<Full<Bytes>> {
    let builder = headers.iter().fold(Request::builder(), |b, (k, v)| b.header(*k, *v));
    builder.uri("/page").header("host", "test").body(Full::default()).expect("valid parts")
}

async fn send(addr: SocketAddr, request: Request<Full<Bytes>>) -> Response<Incoming> {
    connect(addr).await.send_request(request).await.expect("a response")
}

/// A request of its own connection; aborting the task closes it.
fn in_background(addr: SocketAddr, work_us: u64) -> JoinHandle<()> {
    tokio::spawn(async move {
        let work = work_us.to_string();
        send(addr, request(&[("x-emulate-work-us", &work)])).await;
    })
}

fn header<'a>(response: &'a Response<Incoming>, name: &str) -> Option<&'a str> {
    response.headers().get(name).and_then(|value| value.to_str().ok())
}

#[tokio::test]
async fn the_response_is_what_the_headers_ask_for() {
    let instance = start(InstanceConfig::default()).await;
    let response = send(instance.addr(), request(&[("x-emulate-bytes", "100000")])).await;
    assert_eq!(response.status(), 200);
    assert_eq!(header(&response, "content-length"), Some("100000"));
    assert_eq!(header(&response, "content-type"), Some("application/octet-stream"));
    let port = instance.addr().port().to_string();
    assert_eq!(header(&response, "x-emulate-instance"), Some(port.as_str()));
    let body = response.into_body().collect().await.expect("a whole body").to_bytes();
    assert!(body.iter().copied().eq((0..100_000).map(pattern::byte_at)));
}

#[tokio::test]
async fn a_request_that_says_nothing_gets_a_kibibyte_and_a_head_request_none() {
    let instance = start(InstanceConfig { name: Some("left".into()), ..Default::default() }).await;
    for (method, expected) in [("GET", 1024), ("HEAD", 0)] {
        let mut request = request(&[]);
        *request.method_mut() = method.parse().expect("a method");
        let response = send(instance.addr(), request).await;
        assert_eq!(header(&response, "content-length"), Some("1024"), "{method}");
        assert_eq!(header(&response, "x-emulate-instance"), Some("left"));
        let body = response.into_body().collect().await.expect("a whole body").to_bytes();
        assert_eq!(body.len(), expected, "{method}");
    }
    assert_eq!(instance.until(|s| s.served == 2).await.cancelled, 0);
}

#[tokio::test]
async fn a_bad_header_is_refused_with_its_name_and_value() {
    let instance = start(InstanceConfig::default()).await;
    let response = send(instance.addr(), request(&[("x-emulate-bytes", "lots")])).await;
    assert_eq!(response.status(), 400);
    let body = response.into_body().collect().await.expect("a whole body").to_bytes();
    let line = String::from_utf8_lossy(&body);
    assert!(line.contains("X-Emulate-Bytes") && line.contains("lots"), "{line}");
    assert_eq!(instance.stats().refused, 1);
}

#[tokio::test]
async fn a_request_body_is_received_whole() {
    let instance = start(InstanceConfig::default()).await;
    let body = Full::from(vec![7; 300_000]);
    let request = Request::post("/upload").header("host", "test").body(body).expect("valid");
    let response = send(instance.addr(), request).await;
    assert_eq!(header(&response, "x-emulate-received"), Some("300000"));
    assert_eq!(instance.stats().request_bytes, 300_000);
}

#[tokio::test]
async fn never_more_are_worked_on_than_there_are_workers() {
    let instance = start(InstanceConfig { workers: 2, ..Default::default() }).await;
    let mut clients = JoinSet::new();
    for _ in 0..20 {
        let addr = instance.addr();
        clients.spawn(async move { send(addr, request(&[("x-emulate-work-us", "5000")])).await });
    }
    assert_eq!(clients.join_all().await.len(), 20);
    let stats = instance.until(|s| s.served == 20).await;
    assert_eq!((stats.peak_busy, stats.busy, stats.queued), (2, 0, 0));
}

#[tokio::test]
async fn clients_that_leave_give_back_their_worker_and_their_place() {
    let instance = start(InstanceConfig { workers: 2, ..Default::default() }).await;
    let clients: Vec<_> = (0..5).map(|_| in_background(instance.addr(), AN_HOUR_US)).collect();
    instance.until(|s| s.busy == 2 && s.queued == 3).await;
    // Health needs no worker.
    let health = Request::get("/health").header("host", "test").body(Full::default());
    assert_eq!(send(instance.addr(), health.expect("valid parts")).await.status(), 200);
    clients.iter().for_each(JoinHandle::abort);
    let stats = instance.until(|s| s.busy == 0 && s.queued == 0).await;
    assert_eq!((stats.cancelled, stats.served), (5, 0));
    assert_eq!(send(instance.addr(), request(&[])).await.status(), 200);
}

#[tokio::test]
async fn requests_get_a_worker_in_the_order_they_came() {
    let instance = start(InstanceConfig::default()).await;
    let blocker = in_background(instance.addr(), AN_HOUR_US);
    instance.until(|s| s.busy == 1).await;
    let (order, mut finished) = tokio::sync::mpsc::unbounded_channel();
    for (place, work) in [(1, "3000"), (2, "2000"), (3, "1000")] {
        let (addr, order) = (instance.addr(), order.clone());
        tokio::spawn(async move {
            send(addr, request(&[("x-emulate-work-us", work)])).await;
            order.send(place).expect("the test waits");
        });
        instance.until(|s| s.queued == place).await;
    }
    blocker.abort();
    for place in 1..=3 {
        assert_eq!(finished.recv().await, Some(place));
    }
}

/// One worker, and a client that took the head of a large response and reads no further.
async fn with_slow_reader(release: Release) -> (Instance, Response<Incoming>) {
    let instance = start(InstanceConfig { release, ..Default::default() }).await;
    let bytes = UNREAD.to_string();
    let slow = send(instance.addr(), request(&[("x-emulate-bytes", &bytes)])).await;
    instance.until(|s| s.streaming == 1).await;
    (instance, slow)
}

#[tokio::test]
async fn release_at_the_first_byte_frees_the_worker_from_a_slow_reader() {
    let (instance, _slow) = with_slow_reader(Release::FirstByte).await;
    assert_eq!(instance.stats().busy, 0);
    assert_eq!(send(instance.addr(), request(&[])).await.status(), 200);
    assert_eq!(instance.stats().streaming, 1);
}

#[tokio::test]
async fn release_at_the_end_leaves_the_worker_with_a_slow_reader() {
    let (instance, slow) = with_slow_reader(Release::End).await;
    assert_eq!(instance.stats().busy, 1);
    let next = in_background(instance.addr(), 0);
    instance.until(|s| s.queued == 1).await;
    drop(slow); // the client goes away in the middle
    next.await.expect("answered once the worker is free");
    let stats = instance.until(|s| s.served == 1).await;
    assert_eq!((stats.cancelled, stats.busy, stats.streaming), (1, 0, 0));
}

#[tokio::test]
async fn release_at_the_end_frees_the_worker_when_all_is_read() {
    let (instance, slow) = with_slow_reader(Release::End).await;
    let body = slow.into_body().collect().await.expect("a whole body").to_bytes();
    assert_eq!(body.len() as u64, UNREAD);
    let stats = instance.until(|s| s.served == 1).await;
    assert_eq!((stats.busy, stats.streaming, stats.cancelled), (0, 0, 0));
}

#[tokio::test]
async fn a_section_is_missed_once_and_again_after_it_was_pushed_out() {
    let instance = start(InstanceConfig { cache: Some(2), ..Default::default() }).await;
    let mut client = connect(instance.addr()).await;
    let asked = [("a", "miss"), ("a", "hit"), ("b", "miss"), ("c", "miss"), ("a", "miss"), ("c", "hit")];
    for (object, expected) in asked {
        let request = request(&[("x-emulate-object", object), ("x-emulate-miss-us", "100")]);
        let response = client.send_request(request).await.expect("a response");
        assert_eq!(header(&response, "x-emulate-cache"), Some(expected), "{object}");
        response.into_body().collect().await.expect("a whole body");
        client.ready().await.expect("kept alive");
    }
    let stats = instance.stats();
    assert_eq!((stats.cache_hits, stats.cache_misses), (2, 4));
}

#[tokio::test]
async fn a_miss_holds_the_worker_for_its_cost() {
    let instance = start(InstanceConfig { cache: Some(2), ..Default::default() }).await;
    let miss_us = AN_HOUR_US.to_string();
    let request = request(&[("x-emulate-object", "a"), ("x-emulate-miss-us", &miss_us)]);
    let addr = instance.addr();
    let client = tokio::spawn(async move { send(addr, request).await });
    instance.until(|s| s.busy == 1 && s.cache_misses == 1).await;
    assert!(!client.is_finished());
    client.abort();
    instance.until(|s| s.cancelled == 1).await;
}

#[tokio::test]
async fn stopping_answers_what_was_accepted_and_closes_the_port() {
    let instance = start(InstanceConfig::default()).await;
    let addr = instance.addr();
    let _idle = connect(addr).await;
    let client = tokio::spawn(async move { send(addr, request(&[("x-emulate-work-us", "50000")])).await });
    instance.until(|s| s.busy == 1).await;
    assert_eq!(instance.stop().await.served, 1);
    assert_eq!(client.await.expect("no panic").status(), 200);
    assert!(TcpStream::connect(addr).await.is_err());
}

#[tokio::test]
async fn dropping_breaks_off_what_is_in_flight() {
    let instance = start(InstanceConfig::default()).await;
    let mut client = connect(instance.addr()).await;
    let work = AN_HOUR_US.to_string();
    let answer = client.send_request(request(&[("x-emulate-work-us", &work)]));
    let answer = tokio::spawn(answer);
    instance.until(|s| s.busy == 1).await;
    drop(instance);
    assert!(answer.await.expect("no panic").is_err());
}

#[tokio::test]
async fn a_configuration_that_can_not_work_is_refused() {
    let cases = [
        InstanceConfig { workers: 0, ..Default::default() },
        InstanceConfig { speed: 0.0, ..Default::default() },
        InstanceConfig { speed: f64::NAN, ..Default::default() },
        InstanceConfig { cache: Some(0), ..Default::default() },
        InstanceConfig { write_chunk: 0, ..Default::default() },
        InstanceConfig { name: Some("two\nlines".into()), ..Default::default() },
    ];
    for config in cases {
        let error = Instance::start(config.clone()).await.expect_err("refused");
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput, "{config:?}");
    }
    let first = start(InstanceConfig::default()).await;
    let taken = InstanceConfig { listen: first.addr(), ..Default::default() };
    assert!(Instance::start(taken).await.is_err());
}
