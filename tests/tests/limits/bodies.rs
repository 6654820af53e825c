//! Requests whose bodies are too large.

use super::*;

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
