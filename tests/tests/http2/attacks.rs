//! Attacks. Each must end the connection or cost nothing, and never disturb others.

use super::*;

/// Nothing of an attack is left, and others are served.
async fn unharmed(site: &Site) {
    let admin = site.balancer.admin;
    until_metric(admin, "sluice_client_connections_open", &[], 0.0).await;
    until_idle(admin).await;
    let answer = ask(site.address(), wire::get("/probe")).await;
    assert_eq!(answer.status(), 200);
}

async fn until_cut(site: &Site, reason: &str) {
    let label = format!("reason=\"{reason}\"");
    until_metric(site.balancer.admin, "sluice_client_connections_cut_total", &[&label], 1.0).await;
}

/// CVE-2023-44487.
#[tokio::test]
async fn rapid_reset() {
    let instance = Answering::named("x").await;
    let site = site_before(instance.address(), H2C).await;
    let client = Frames::open(site.address(), &[]).await;
    client
        .flood(20_000, |n| {
            let stream = 2 * n + 1;
            [frames::get(stream), frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes())].concat()
        })
        .await;
    assert!(instance.served() <= 200, "{}", instance.served());
    unharmed(&site).await;
}

/// The same, with patience: each request is taken back once it is under way.
#[tokio::test]
async fn slow_rapid_reset() {
    let (site, mut instance) = site(H2C).await;
    let mut client = Frames::open(site.address(), &[]).await;
    let mut requests = 0;
    while requests < 400 {
        let stream = 2 * requests + 1;
        if client.try_send(frames::get(stream)).await.is_err() || !client.round_trip().await {
            break;
        }
        let reset = frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes());
        if client.try_send(reset).await.is_err() || !client.round_trip().await {
            break;
        }
        requests += 1;
    }
    // At 100 it is told to end, and no new stream is taken after that.
    assert!((100..=210).contains(&requests) || instance.connections() <= 210, "{requests}");
    drop(client);
    until_metric(site.balancer.admin, "sluice_client_connections_open", &[], 0.0).await;
    until_idle(site.balancer.admin).await;
    assert!(instance.connections() <= 210, "{}", instance.connections());
    while instance.connections() > 0 {
        let mut upstream = instance.accept().await;
        if upstream.try_head().await.is_ok() {
            break;
        }
    }
}

/// CVE-2025-8671: the client makes the server reset what it asked for.
#[tokio::test]
async fn made_you_reset() {
    let instance = Answering::named("x").await;
    let site = site_before(instance.address(), H2C).await;
    let client = Frames::open(site.address(), &[]).await;
    client
        .flood(20_000, |n| {
            let stream = 2 * n + 1;
            // An increment of nothing is an error of the stream alone.
            [frames::get(stream), frame(WINDOW_UPDATE, 0, stream, &[0; 4])].concat()
        })
        .await;
    assert!(instance.served() <= 200, "{}", instance.served());
    unharmed(&site).await;
}

/// VU#421644: a header that never ends.
#[tokio::test]
async fn continuation_flood() {
    let instance = Answering::named("x").await;
    let site = site_before(instance.address(), H2C).await;
    for piece in [block(&[("x", &"y".repeat(1000))]), Vec::new(), block(&[("x", "")])] {
        let client = Frames::open(site.address(), &[]).await;
        client
            .flood(50_000, |n| match n {
                0 => frame(HEADERS, END_STREAM, 1, &block(&pseudo("GET", "/"))),
                _ => frame(CONTINUATION, 0, 1, &piece),
            })
            .await;
    }
    assert_eq!(instance.served(), 0);
    unharmed(&site).await;
}

#[tokio::test]
async fn large_headers() {
    let instance = Answering::named("x").await;
    let site = site_before(instance.address(), H2C).await;
    let mut client = Http2::open(site.address()).await;
    let ask = async |client: &mut Http2, n: usize, length: usize| {
        let value = "v".repeat(length);
        let mut asked = request("GET", "/");
        for i in 0..n {
            asked = asked.header(format!("x-{i}"), &value);
        }
        client.try_ask(asked.body(()).expect("valid")).await.map(|answer| answer.status())
    };
    assert_eq!(ask(&mut client, 90, 100).await.expect("an answer"), 200, "90 fields");
    assert_eq!(ask(&mut client, 1, 60_000).await.expect("an answer"), 200, "60 kB");
    assert_eq!(ask(&mut client, 110, 1).await.expect("an answer"), 431, "110 fields");
    assert_eq!(ask(&mut client, 10, 7000).await.expect("an answer"), 431, "70 kB");
    // A cookie in crumbs is one field (RFC 9113, 8.2.3).
    let mut asked = request("GET", "/");
    for i in 0..200 {
        asked = asked.header("cookie", format!("c{i}=1"));
    }
    assert_eq!(client.ask(asked.body(()).expect("valid")).await.status(), 200, "200 crumbs");
    assert_eq!(instance.served(), 3);
}

/// CVE-2019-9512, -9515, -9513 and their like: frames that cost nothing and ask for nothing.
#[tokio::test]
async fn floods_of_frames_that_serve_no_request() {
    let instance = Answering::named("x").await;
    for (case, make) in [
        ("PING", frame(PING, 0, 0, &[0; 8])),
        ("SETTINGS", frame(SETTINGS, 0, 0, &[])),
        ("PRIORITY", frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 1])),
        ("WINDOW_UPDATE", frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1])),
        ("unknown", frame(0x77, 0, 0, &[0; 100])),
    ] {
        let site = site_before(instance.address(), H2C).await;
        let mut client = Frames::open(site.address(), &[]).await;
        // With a request under way, so that the connection is not idle and stream 1 is not either.
        client.send(frame(HEADERS, END_HEADERS, 1, &block(&pseudo("POST", "/")))).await;
        let many: Vec<u8> = make.repeat(64 * 1024 / make.len());
        client.flood(100, |_| many.clone()).await;
        println!("{case}");
        until_cut(&site, "flood").await;
        unharmed(&site).await;
    }
}

/// CVE-2019-9518, RUSTSEC-2026-0258.
#[tokio::test]
async fn empty_and_tiny_data() {
    let instance = Answering::named("x").await;
    let site = site_before(instance.address(), H2C).await;
    for payload in [&b""[..], b"x"] {
        let client = Frames::open(site.address(), &[]).await;
        client
            .flood(100_000, |n| match n {
                0 => frame(HEADERS, END_HEADERS, 1, &block(&pseudo("POST", "/"))),
                _ => frame(DATA, 0, 1, payload),
            })
            .await;
    }
    assert_eq!(instance.served(), 0);
    unharmed(&site).await;
}

/// CVE-2019-9517: what was asked for is never taken.
#[tokio::test]
async fn windows_that_never_open() {
    let body = pattern(1_000_000);
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
    let answer = [head.as_bytes(), &body].concat();
    let instance = Answering::with(move |_| answer.clone()).await;
    let flags = "--listen 127.0.0.1:0,h2c --client-write-timeout 500ms --client-keep-alive 60s";
    let site = site_before(instance.address(), flags).await;
    let mut client = Frames::open(site.address(), &[(INITIAL_WINDOW_SIZE, 0)]).await;
    for n in 0..20 {
        client.send(frames::get(2 * n + 1)).await;
    }
    until_metric(site.balancer.admin, "sluice_http2_streams_stalled_total", &[], 20.0).await;
    until_idle(site.balancer.admin).await;
    assert!(client.round_trip().await, "the connection goes on");
    // A client that takes what it asked for is not hurried: the window opens now.
    client.send(frames::get(101)).await;
    client.next_of(HEADERS).await.expect("a head");
    client.send(frame(WINDOW_UPDATE, 0, 101, &2_000_000_u32.to_be_bytes())).await;
    client.send(frame(WINDOW_UPDATE, 0, 0, &2_000_000_u32.to_be_bytes())).await;
    let mut came = 0;
    while came < body.len() {
        let data = client.next_of(DATA).await.expect("more");
        assert_eq!(data.stream, 101);
        came += data.payload.len();
    }
}

/// A slow reader holds up its instance, not the relay, and is not cut off while it reads.
#[tokio::test]
async fn a_slow_reader_gets_all_of_it() {
    let body = pattern(400_000);
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
    let answer = [head.as_bytes(), &body].concat();
    let instance = Answering::with(move |_| answer.clone()).await;
    let site = site_before(instance.address(), "--listen 127.0.0.1:0,h2c --client-write-timeout 1s").await;
    let mut client = Http2::open(site.address()).await;
    let (response, _) = client.send(get("/"), true).await;
    let mut stream = soon("a response", response).await.expect("one").into_body();
    let mut came = Vec::new();
    while let Some(chunk) = soon("more", stream.data()).await {
        let chunk = chunk.expect("not cut");
        came.extend_from_slice(&chunk);
        tokio::time::sleep(Duration::from_millis(50)).await;
        stream.flow_control().release_capacity(chunk.len()).expect("open");
    }
    assert!(came == body, "{} bytes", came.len());
}

#[tokio::test]
async fn more_streams_than_allowed_are_refused() {
    let (site, instance) = site(H2C).await;
    let mut client = Frames::open(site.address(), &[]).await;
    for n in 0..101 {
        client.send(frames::get(2 * n + 1)).await;
    }
    let reset = client.next_of(RST_STREAM).await.expect("a refusal");
    assert_eq!((reset.stream, reset.code()), (201, 7), "REFUSED_STREAM");
    assert!(client.round_trip().await);
    drop(client);
    until_idle(site.balancer.admin).await;
    assert!(instance.connections() <= 4, "no more than there are workers");
}
