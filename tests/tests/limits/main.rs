//! Every limit holds, names itself to whoever runs into it, and harms nobody else.

use std::io::Write;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use sluice_tests::admin::{metric, until_metric};
use sluice_tests::certs::Cert;
use sluice_tests::frames::{self, Frames, HEADERS, INITIAL_WINDOW_SIZE, RST_STREAM, WINDOW_UPDATE, frame};
use sluice_tests::http2::{self, Http2};
use sluice_tests::script::{Answering, RawInstance};
use sluice_tests::site::{Balancer, Chain, Settings, Site};
use sluice_tests::wire::{Conn, Ending, Message, ask, chunked, get, ok, pattern};
use sluice_tests::{PATIENCE, eventually, soon};
use tokio::net::TcpSocket;
use tokio::time::sleep;

async fn site(instance: SocketAddr, flags: &'static str) -> Site {
    Site::start(Chain::Balancer, instance, Settings { balancer: flags, ..Settings::default() }).await
}

/// A connection that was served and is kept.
async fn served(address: SocketAddr) -> Conn {
    let mut client = Conn::open(address).await;
    assert_eq!(again(&mut client).await.text(), "x");
    client
}

async fn again(client: &mut Conn) -> Message {
    client.send(get("/")).await;
    client.response().await
}

async fn until_cut(site: &Site, reason: &str) {
    let label = format!("reason=\"{reason}\"");
    until_metric(site.balancer.admin, "sluice_client_connections_cut_total", &[&label], 1.0).await;
}

async fn until_outcome(site: &Site, outcome: &str, count: f64) {
    let label = format!("outcome=\"{outcome}\"");
    until_metric(site.balancer.admin, "sluice_requests_total", &[&label], count).await;
    site.until_idle().await;
}

// Connections.

#[tokio::test]
async fn the_connection_that_idles_for_longest_makes_room_for_another() {
    let instance = Answering::named("x").await;
    let site = site(instance.address(), "--max-connections 3").await;
    let mut first = served(site.address()).await;
    let mut others = [served(site.address()).await, served(site.address()).await];
    // Idle times are in milliseconds: those of the others are to be shorter by more than one.
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(50) {
        for client in &mut others {
            again(client).await;
        }
    }
    let mut last = served(site.address()).await;
    assert_eq!(first.ended().await, Ending::Closed);
    for client in others.iter_mut().chain([&mut last]) {
        assert_eq!(again(client).await.text(), "x");
    }
    until_cut(&site, "made_room").await;
}

/// For longer than a connection idles before its buffers are given back.
const RESTED: Duration = Duration::from_millis(2500);

#[tokio::test]
async fn who_comes_back_after_a_rest_is_served_as_before() {
    let instance = Answering::named("x").await;
    let site = site(instance.address(), "").await;
    let mut silent = Conn::open(site.address()).await;
    let mut clients = Vec::new();
    for _ in 0..4 {
        clients.push(served(site.address()).await);
    }
    let [whole, in_pieces, pipelining, wrong] = &mut clients[..] else { unreachable!("four were made") };
    in_pieces.send("GET / HTTP/1.1\r\nho").await;
    sleep(RESTED).await;
    for client in [&mut silent, whole] {
        assert_eq!(again(client).await.text(), "x");
    }
    in_pieces.send("st: x\r\n\r\n").await;
    assert_eq!(in_pieces.response().await.text(), "x", "what came before is not forgotten");
    pipelining.send([get("/"), get("/")].concat()).await;
    for _ in 0..2 {
        assert_eq!(pipelining.response().await.text(), "x");
    }
    wrong.send("GET / HTTP/1.1\r\n\r\n").await;
    assert_eq!(wrong.response().await.status(), 400);
    assert_eq!(wrong.ended().await, Ending::Closed);
}

#[tokio::test]
async fn a_resting_connection_is_closed_when_it_has_idled_for_long_enough_and_at_a_stop() {
    let instance = Answering::named("x").await;
    for (flags, stopped) in [("--client-keep-alive 3s", false), ("", true)] {
        let site = site(instance.address(), flags).await;
        let mut client = served(site.address()).await;
        if stopped {
            sleep(RESTED).await;
            site.balancer.stop();
        }
        assert_eq!(client.ended().await, Ending::Closed, "stopped: {stopped}");
    }
}

#[tokio::test]
async fn connections_at_work_stay_and_further_ones_wait() {
    let mut instance = RawInstance::start().await;
    let site = site(instance.address(), "--max-connections 2").await;
    let mut clients = [Conn::open(site.address()).await, Conn::open(site.address()).await];
    let mut upstreams = Vec::new();
    for client in &mut clients {
        client.send(get("/")).await;
        let mut upstream = instance.accept().await;
        upstream.request().await;
        upstreams.push(upstream);
    }
    let mut third = Conn::open(site.address()).await;
    third.send(get("/third")).await;
    let pauses = "sluice_accept_pauses_total";
    until_metric(site.balancer.admin, pauses, &["reason=\"max_connections\""], 1.0).await;
    for (client, mut upstream) in clients.iter_mut().zip(upstreams) {
        upstream.send(CLOSING).await;
        assert_eq!(client.response().await.text(), "x");
    }
    drop(clients);
    let mut upstream = instance.accept().await;
    assert_eq!(upstream.request().await.head.start, "GET /third HTTP/1.1");
    upstream.send(CLOSING).await;
    assert_eq!(third.response().await.text(), "x");
}

const CLOSING: &str = "HTTP/1.1 200 OK\r\ncontent-length: 1\r\nconnection: close\r\n\r\nx";

/// Tries until the balancer serves it: those that left are counted until their end was seen.
async fn until_served(from: &str, address: SocketAddr) -> Conn {
    eventually("served again", PATIENCE, async || {
        let mut client = open_from(from, address).await;
        let asked = client.try_send(get("/")).await.map_err(|error| error.to_string());
        asked?;
        client.try_head().await.map_err(|end| format!("{end:?}"))?;
        Ok(client)
    })
    .await
}

async fn open_from(from: &str, address: SocketAddr) -> Conn {
    let socket = TcpSocket::new_v4().expect("a descriptor");
    socket.bind(format!("{from}:0").parse().expect("an address")).expect("an address of this host");
    Conn::new(soon("connect", socket.connect(address)).await.expect("it listens"))
}

const REFUSED: &str = "sluice_client_limit_refused_total";

#[tokio::test]
async fn one_client_gets_no_more_than_its_connections() {
    let instance = Answering::named("x").await;
    let flags = "--max-connections-per-client 2 --trusted-proxy 127.0.0.9/32";
    let site = site(instance.address(), flags).await;
    let address = site.address();
    let mut kept = vec![served(address).await, served(address).await];
    let mut third = Conn::open(address).await;
    third.ended().await;
    until_metric(site.balancer.admin, REFUSED, &[], 1.0).await;
    for from in ["127.0.0.2", "127.0.0.9", "127.0.0.9", "127.0.0.9"] {
        kept.push(until_served(from, address).await);
    }
    assert_eq!(metric(site.balancer.admin, REFUSED, &[]).await, 1.0, "others are not counted with it");
    assert_eq!(again(&mut kept[0]).await.text(), "x");
    kept.remove(0);
    until_served("127.0.0.1", address).await;
}

#[tokio::test]
async fn a_client_is_refused_before_its_handshake() {
    let dir = tempfile::tempdir().expect("a directory");
    let cert = Cert::write(dir.path(), "a", &["site.example"]);
    let flags = format!(
        "--listen 127.0.0.1:0,{} --max-connections-per-client 1 --trusted-proxy 127.0.0.9/32",
        cert.option()
    );
    let balancer = Balancer::start(&flags);
    let _first = Conn::open(balancer.address).await;
    until_metric(balancer.admin, "sluice_client_connections_open", &[], 1.0).await;
    Conn::open(balancer.address).await.ended().await;
    until_metric(balancer.admin, REFUSED, &[], 1.0).await;
    assert_eq!(metric(balancer.admin, "sluice_tls_handshakes_total", &[]).await, 0.0);
}

#[tokio::test]
async fn behind_a_proxy_it_is_the_client_that_counts() {
    let instance = Answering::named("x").await;
    let flags = "--listen 127.0.0.1:0,proxy --max-connections-per-client 1";
    let site = site(instance.address(), flags).await;
    let open = async |source: &str| {
        let mut client = Conn::open(site.address()).await;
        client.send(format!("PROXY TCP6 {source} ::1 5000 443\r\n{}", get("/"))).await;
        client
    };
    let mut first = open("2001:db8::1").await;
    assert_eq!(first.response().await.text(), "x");
    open("2001:db8::2").await.ended().await;
    until_metric(site.balancer.admin, REFUSED, &[], 1.0).await;
    assert_eq!(open("2001:db8:0:1::1").await.response().await.text(), "x", "another /64");
}

// Requests per connection.

#[tokio::test]
async fn a_connection_ends_with_its_last_request() {
    let instance = Answering::named("x").await;
    for (chain, balancer, agent) in [
        (Chain::Balancer, "--max-requests-per-connection 3", ""),
        (Chain::Agent, "", "--max-requests-per-connection 3"),
    ] {
        let site =
            Site::start(chain, instance.address(), Settings { balancer, agent, ..Settings::default() }).await;
        let address = site.agent.as_ref().map_or(site.address(), |agent| agent.address);
        let mut client = Conn::open(address).await;
        for n in 1..=3 {
            let answer = again(&mut client).await;
            assert_eq!((answer.status(), answer.text().as_str()), (200, "x"));
            assert_eq!(answer.head.get("connection"), (n == 3).then_some("close"), "{chain:?}: {n}");
        }
        assert_eq!(client.ended().await, Ending::Closed);
        // A balancer makes a new connection, and nobody notices.
        for _ in 0..10 {
            assert_eq!(ask(site.address(), get("/")).await.text(), "x");
        }
    }
}

#[tokio::test]
async fn an_http_2_connection_ends_with_its_last_request() {
    let instance = Answering::named("x").await;
    let site = site(instance.address(), "--listen 127.0.0.1:0,h2c --max-requests-per-connection 3").await;
    let mut client = Http2::open(site.address()).await;
    let mut answered = 0;
    while let Ok(answer) = client.try_ask(http2::get("/")).await {
        assert_eq!(answer.text(), "x");
        answered += 1;
    }
    assert!(answered >= 3, "{answered}");
    client.ended().await.expect("an end in order");
}

#[tokio::test]
async fn streams_beyond_the_limit_are_refused() {
    let instance = RawInstance::start().await;
    let site = site(instance.address(), "--listen 127.0.0.1:0,h2c --http2-max-streams 2").await;
    let mut client = Frames::open(site.address(), &[]).await;
    for stream in [1, 3, 5] {
        client.send(frames::get(stream)).await;
    }
    let reset = client.next_of(RST_STREAM).await.expect("a refusal");
    assert_eq!((reset.stream, reset.code()), (5, 7), "REFUSED_STREAM");
}

// Rates.

const UPLOAD: &str = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000\r\n\r\n";

/// Sends `piece` every 20 ms, for ever or until the other side is gone.
async fn trickle(client: &mut tokio::net::tcp::OwnedWriteHalf, piece: &[u8]) {
    use tokio::io::AsyncWriteExt;
    while client.write_all(piece).await.is_ok() {
        sleep(Duration::from_millis(20)).await;
    }
}

/// What comes while `piece` is sent every 20 ms.
async fn answer_to_a_trickle(address: SocketAddr, piece: &[u8]) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let tcp = tokio::net::TcpStream::connect(address).await.expect("it listens");
    let (mut reader, mut writer) = tcp.into_split();
    writer.write_all(UPLOAD.as_bytes()).await.expect("it is there");
    let mut answer = vec![0; 4096];
    let read = tokio::select! {
        read = soon("an answer", reader.read(&mut answer)) => read.expect("no reset before the answer"),
        () = trickle(&mut writer, piece) => 0,
    };
    String::from_utf8_lossy(&answer[..read]).into_owned()
}

#[tokio::test]
async fn an_upload_below_the_rate_is_answered_408_and_cancelled() {
    let mut instance = RawInstance::start().await;
    let site = site(instance.address(), "--client-body-timeout 3s --min-upload-rate 10000").await;
    let answer = answer_to_a_trickle(site.address(), b"x");
    let upstream = async {
        let mut upstream = instance.accept().await;
        upstream.head().await;
        upstream.rest().await;
    };
    let (answer, ()) = tokio::join!(answer, upstream);
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer:?}");
    assert!(answer.contains("\r\nconnection: close\r\n") && answer.ends_with("too slowly\n"), "{answer:?}");
    until_cut(&site, "slow_request").await;
    site.until_idle().await;
}

#[tokio::test]
async fn over_http_2_it_is_answered_408_too() {
    let mut instance = RawInstance::start().await;
    let flags = "--listen 127.0.0.1:0,h2c --client-body-timeout 3s --min-upload-rate 10000";
    let site = site(instance.address(), flags).await;
    let mut client = Http2::open(site.address()).await;
    let upload = http2::request("POST", "/").header("content-length", "100000").body(()).expect("valid");
    let (response, mut body) = client.send(upload, false).await;
    let mut upstream = instance.accept().await;
    upstream.head().await;
    let trickling = async {
        while body.send_data(Bytes::from_static(b"x"), false).is_ok() {
            sleep(Duration::from_millis(20)).await;
        }
        std::future::pending::<()>().await;
    };
    let response = tokio::select! {
        response = soon("a response", response) => response.expect("one"),
        () = trickling => unreachable!("it goes on for ever"),
    };
    let answer = http2::collect(response).await.expect("whole");
    assert_eq!((answer.status(), answer.text().as_str()), (408, "the request arrived too slowly\n"));
    until_outcome(&site, "client_slow", 1.0).await;
}

/// Longer than the patience in all, with pauses; and the instance takes its time.
#[tokio::test]
async fn an_upload_above_the_rate_has_all_the_time_it_needs() {
    let mut instance = RawInstance::start().await;
    let site = site(instance.address(), "--client-body-timeout 1500ms --min-upload-rate 1000").await;
    let body = pattern(4_000_000);
    let mut client = Conn::open(site.address()).await;
    client.send(format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n", body.len())).await;
    let (slow, rest) = body.split_at(400_000);
    let sending = async {
        for piece in slow.chunks(10_000) {
            client.send(piece).await;
            sleep(Duration::from_millis(50)).await;
        }
        client.send(rest).await;
    };
    let taking = async {
        let mut upstream = instance.accept().await;
        let head = upstream.head().await;
        let mut came = upstream.exactly(slow.len()).await;
        // The instance is what is waited for: longer than any client would be.
        sleep(Duration::from_secs(2)).await;
        came.extend(upstream.exactly(rest.len()).await);
        upstream.send(ok("done")).await;
        (head, came)
    };
    let ((), (_, came)) = tokio::join!(sending, taking);
    assert!(came == body, "other bytes than sent");
    assert_eq!(client.response().await.text(), "done");
}

/// A client with a small window that reads so much every 20 ms, until the end.
async fn read_slowly(address: SocketAddr, piece: usize) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let socket = TcpSocket::new_v4().expect("a descriptor");
    socket.set_recv_buffer_size(32 * 1024).expect("a socket takes the option");
    let mut tcp = socket.connect(address).await.expect("it listens");
    tcp.write_all(get("/").as_bytes()).await.expect("it is there");
    let mut scratch = vec![0; piece];
    while matches!(tcp.read(&mut scratch).await, Ok(1..)) {
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_response_that_is_taken_below_the_rate_is_cut_off_and_its_worker_freed() {
    let mut instance = RawInstance::start().await;
    let site = site(instance.address(), "--client-write-timeout 5s --min-download-rate 1000000000").await;
    let reading = tokio::spawn(read_slowly(site.address(), 64 * 1024));
    let mut upstream = instance.accept().await;
    upstream.request().await;
    upstream.send("HTTP/1.1 200 OK\r\ncontent-length: 100000000000\r\n\r\n").await;
    let block = pattern(1_000_000);
    // Ends by the relay closing the connection.
    while upstream.try_send(&block).await.is_ok() {}
    until_cut(&site, "slow_response").await;
    site.until_idle().await;
    reading.abort();
}

#[tokio::test]
async fn a_stream_that_is_taken_below_the_rate_is_given_up() {
    let body = pattern(10_000_000);
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
    let answer = [head.as_bytes(), &body].concat();
    let instance = Answering::with(move |_| answer.clone()).await;
    let flags = "--listen 127.0.0.1:0,h2c --client-write-timeout 3s --min-download-rate 1000000";
    let site = site(instance.address(), flags).await;
    let mut client = Frames::open(site.address(), &[(INITIAL_WINDOW_SIZE, 16_384)]).await;
    client.send(frames::get(1)).await;
    client.next_of(HEADERS).await.expect("a head");
    // 50 kB/s, of which the connection has enough.
    client.send(frame(WINDOW_UPDATE, 0, 0, &20_000_000_u32.to_be_bytes())).await;
    let opening = async {
        while client.try_send(frame(WINDOW_UPDATE, 0, 1, &1000_u32.to_be_bytes())).await.is_ok() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        () = opening => unreachable!("the connection goes on"),
        () = until_metric(site.balancer.admin, "sluice_http2_streams_stalled_total", &[], 1.0) => {}
    }
    site.until_idle().await;
}

// Bodies.

fn post(path: &str, length: usize, fields: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nhost: a\r\n{fields}content-length: {length}\r\n\r\n")
}

const TOO_LARGE: &str = "the request's body is larger than 1KiB\n";

#[tokio::test]
async fn a_body_that_says_it_is_too_large_reaches_nobody() {
    let instance = RawInstance::start().await;
    let site = site(instance.address(), "--max-body-size 1KiB").await;
    for (n, fields) in [(1.0, ""), (2.0, "expect: 100-continue\r\n")] {
        let mut client = Conn::open(site.address()).await;
        client.send(post("/", 1025, fields)).await;
        let head = client.head().await;
        assert_eq!(
            (head.status(), head.get("connection")),
            (413, Some("close")),
            "{fields}: and nothing before"
        );
        assert_eq!(client.body(head, None).await.text(), TOO_LARGE);
        drop(client);
        until_outcome(&site, "body_too_large", n).await;
    }
    assert_eq!(instance.connections(), 0);
}

#[tokio::test]
async fn a_body_that_turns_out_too_large_is_cut_and_its_request_cancelled() {
    let mut instance = RawInstance::start().await;
    let site = site(instance.address(), "--max-body-size 1KiB").await;
    let head = "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
    let mut client = Conn::open(site.address()).await;
    client.send(head).await;
    client.send(format!("200\r\n{}\r\n", "x".repeat(512))).await;
    let mut upstream = instance.accept().await;
    upstream.until(&"x".repeat(512)).await;
    client.send(format!("201\r\n{}\r\n", "x".repeat(513))).await;
    let answer = client.response().await;
    assert_eq!((answer.status(), answer.text().as_str()), (413, TOO_LARGE));
    assert_eq!(answer.head.get("connection"), Some("close"));
    let (rest, _) = upstream.rest().await;
    assert!(!String::from_utf8_lossy(&rest).contains("0\r\n\r\n"), "it must not look whole");
    until_outcome(&site, "body_too_large", 1.0).await;

    // What just fits is served.
    let mut client = Conn::open(site.address()).await;
    client.send([head.as_bytes(), &chunked(&pattern(1024), 100), b"\r\n"].concat()).await;
    let mut upstream = instance.accept().await;
    assert!(upstream.request().await.body == pattern(1024));
    upstream.send(ok("x")).await;
    assert_eq!(client.response().await.text(), "x");
}

#[tokio::test]
async fn a_rule_says_how_large_the_bodies_of_its_class_may_be() {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    write!(
        file,
        "max-body-size = \"1KiB\"\n\
         [[rule]]\nname = \"upload\"\npath = \"^/upload\"\nmax-body-size = \"1MiB\"\n\
         [[rule]]\nname = \"any\"\npath = \"^/any\"\nmax-body-size = \"0\"\n"
    )
    .expect("written");
    let instance = Answering::named("x").await;
    let flags = format!("--config {} --instance {}", file.path().display(), instance.address());
    let balancer = Balancer::start(&flags);
    for (path, length, status) in [
        ("/page", 1024, 200),
        ("/page", 1025, 413),
        ("/upload", 1024 * 1024, 200),
        ("/upload", 1024 * 1024 + 1, 413),
        ("/any", 2 * 1024 * 1024, 200),
    ] {
        let mut client = Conn::open(balancer.address).await;
        client.send(post(path, length, "")).await;
        if status == 200 {
            client.send(pattern(length)).await;
        }
        assert_eq!(client.response().await.status(), status, "{path} {length}");
    }
}

#[tokio::test]
async fn over_http_2_the_connection_goes_on_after_a_body_that_is_too_large() {
    let instance = Answering::named("x").await;
    let site = site(instance.address(), "--listen 127.0.0.1:0,h2c --max-body-size 1KiB").await;
    let mut client = Http2::open(site.address()).await;
    let upload = http2::request("POST", "/").body(()).expect("valid");
    let (response, mut body) = client.send(upload, false).await;
    body.send_data(vec![b'x'; 1025].into(), false).expect("open");
    let answer = http2::collect(soon("a response", response).await.expect("one")).await.expect("whole");
    assert_eq!((answer.status(), answer.text().as_str()), (413, TOO_LARGE));
    assert_eq!(client.ask(http2::get("/")).await.text(), "x");
}

/// Whether it takes bodies in before or passes them on.
#[tokio::test]
async fn an_agent_has_a_limit_of_its_own() {
    for (agent, seen) in [("--max-body-size 1KiB", 0), ("--max-body-size 1KiB --upload-buffering off", 1)] {
        let instance = Answering::named("x").await;
        let settings = Settings { agent, ..Settings::default() };
        let site = Site::start(Chain::Agent, instance.address(), settings).await;
        for request in [
            [post("/", 1025, "").into_bytes(), pattern(1025)].concat(),
            [
                b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n".as_slice(),
                &chunked(&pattern(2000), 100),
                b"\r\n",
            ]
            .concat(),
        ] {
            let answer = ask(site.address(), request).await;
            assert_eq!((answer.status(), answer.text().as_str()), (413, TOO_LARGE), "{agent}");
        }
        // Of what is passed on it sees that it breaks off.
        assert!(instance.served() <= seen, "{agent}");
        assert_eq!(ask(site.address(), get("/")).await.text(), "x");
        site.until_idle().await;
    }
}
