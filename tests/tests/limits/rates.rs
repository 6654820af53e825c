//! Clients that send or read too slowly.

use super::*;

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
