//! What a client is told when something is broken, slow, full or missing: a status that says whose fault it is, one
//! line that says what happened, and a metric that counts it. What can be made good by another instance is.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::json;
use sluice_tests::script::{Answering, RawInstance, Refusing};
use sluice_tests::site::{Agent, Balancer, Chain, Settings, Site};
use sluice_tests::wire::{Conn, Message, ask, get, ok};
use sluice_tests::{PATIENCE, admin};

const BOTH: [Chain; 2] = [Chain::Balancer, Chain::Agent];

const POST: &str = "POST /order HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\norder";

/// A status, a line of text, and how soon to come again if that makes sense.
fn assert_failure(response: &Message, status: u16) {
    let text = response.text();
    assert_eq!((response.status(), response.cut), (status, None), "{text}");
    assert!(text.ends_with('\n') && text.trim().len() > 10 && text.lines().count() == 1, "{text:?}");
    let retry = response.head.get("retry-after").map(|seconds| seconds.parse::<u32>());
    assert_eq!(matches!(retry, Some(Ok(1..))), status == 503, "Retry-After: {retry:?}");
    assert_eq!(response.head.get("content-type"), Some("text/plain; charset=utf-8"));
}

/// Exactly one request came to that.
async fn counted(balancer: &Balancer, outcome: &str) {
    let label = format!("outcome=\"{outcome}\"");
    admin::until_metric(balancer.admin, "sluice_requests_total", &[&label], 1.0).await;
    admin::until_idle(balancer.admin).await;
}

#[tokio::test]
async fn no_instance_gives_503_once_the_startup_hold_is_over() {
    let balancer = Balancer::start("--startup-hold 300ms");
    let asked = Instant::now();
    let response = ask(balancer.address, get("/")).await;
    assert_failure(&response, 503);
    assert!(asked.elapsed() >= Duration::from_millis(250), "it was held: {:?}", asked.elapsed());
    counted(&balancer, "no_instance").await;
    // Not once more for the next.
    let asked = Instant::now();
    assert_failure(&ask(balancer.address, get("/")).await, 503);
    assert!(asked.elapsed() < Duration::from_millis(250), "{:?}", asked.elapsed());
}

#[tokio::test]
async fn a_refused_connection_gives_502() {
    let dead = Refusing::start();
    let balancer = Balancer::start(&format!("--instance {}", dead.address()));
    assert_failure(&ask(balancer.address, get("/")).await, 502);
    counted(&balancer, "connect_failed").await;
}

/// Nothing was sent yet, so that a POST is as safe as a GET.
#[tokio::test]
async fn a_refused_connection_is_made_good_by_another_instance() {
    let dead = Refusing::start();
    let alive = Answering::named("alive").await;
    let flags = format!("--instance {},workers=9 --instance {},workers=9", dead.address(), alive.address());
    let balancer = Balancer::start(&flags);
    for request in [get("/"), POST.to_owned()].iter().cycle().take(20) {
        let response = ask(balancer.address, request).await;
        assert_eq!((response.status(), response.text().as_str()), (200, "alive"));
    }
    assert_eq!(alive.served(), 20);
    let retries = admin::metric(balancer.admin, "sluice_retries_total", &[]).await;
    assert!(retries >= 1.0, "one at least was tried at the dead one: {retries}");
}

/// What an agent says that is ready.
fn report(name: &str, instance: SocketAddr, interval_ms: u32) -> String {
    let report = json!({
        "schema": 1, "name": name, "address": instance.to_string(), "boot_id": "b", "seq": 1, "interval_ms": interval_ms,
        "window_ms": 500, "workers": 1, "mode": "inline", "state": "ready",
        "release": {"point": "end", "found": "assumed"}, "now": {"in_flight": 0},
    });
    report.to_string()
}

/// A host that vanished, or a network that swallows packets, says nothing: no connection ends, and none is refused.
#[tokio::test]
async fn a_get_that_waits_for_an_instance_that_vanished_is_sent_elsewhere() {
    let balancer = Balancer::start("");
    let mut vanishing = RawInstance::start().await;
    let told = admin::post(balancer.admin, "/v1/report", "", &report("gone", vanishing.address(), 500)).await;
    assert_eq!(told.status(), 200, "{}", told.text());
    let mut client = Conn::open(balancer.address).await;
    client.send(get("/")).await;
    let held = vanishing.accept().await;
    let alive = Answering::named("alive").await;
    admin::post(balancer.admin, "/v1/report", "", &report("alive", alive.address(), 60_000)).await;
    drop(vanishing);
    let response = client.response().await;
    assert_eq!((response.status(), response.text().as_str()), (200, "alive"));
    drop(held);
    admin::until_idle(balancer.admin).await;
}

/// An agent that is busy is another matter than one that is stopped: a GET that waits for it goes on waiting.
#[tokio::test]
async fn a_get_that_waits_for_a_silent_agent_stays_there_as_long_as_the_agent_answers() {
    let balancer = Balancer::start("");
    let mut busy = RawInstance::start().await;
    let mut word: serde_json::Value =
        serde_json::from_str(&report("busy", busy.address(), 100)).expect("valid");
    word["answers_probes"] = true.into();
    let told = admin::post(balancer.admin, "/v1/report", "", &word.to_string()).await;
    assert_eq!(told.status(), 200, "{}", told.text());
    let mut client = Conn::open(balancer.address).await;
    client.send(get("/")).await;
    let mut held = busy.accept().await;
    held.request().await;
    let alive = Answering::named("alive").await;
    admin::post(balancer.admin, "/v1/report", "", &report("alive", alive.address(), 60_000)).await;
    let mut asked = busy.accept().await;
    let question = asked.request().await;
    assert_eq!(question.head.start, "OPTIONS * HTTP/1.1");
    assert_eq!(question.head.get("x-sluice-probe"), Some("alive"));
    asked.send("HTTP/1.1 204 No Content\r\n\r\n").await;
    asked.ended().await; // that is all there is to it
    held.send(ok("busy")).await;
    assert_eq!(client.response().await.text(), "busy");
}

#[tokio::test]
async fn an_instance_that_does_not_answer_in_time_gives_504() {
    let by_balancer = Settings { balancer: "--response-timeout 300ms", ..Settings::default() };
    let by_agent = Settings { agent: "--response-timeout 300ms", ..Settings::default() };
    for (chain, settings, outcome) in [
        (Chain::Balancer, by_balancer, "response_timeout"),
        (Chain::Agent, by_balancer, "response_timeout"),
        (Chain::Agent, by_agent, "response_timeout"),
    ] {
        let mut instance = RawInstance::start().await;
        let site = Site::start(chain, instance.address(), settings).await;
        let mut client = Conn::open(site.address()).await;
        let asked = Instant::now();
        client.send(POST).await;
        let mut upstream = instance.accept().await;
        assert_failure(&client.response().await, 504);
        let took = asked.elapsed();
        assert!((Duration::from_millis(300)..Duration::from_secs(3)).contains(&took), "{took:?}");
        upstream.request().await;
        upstream.ended().await; // nobody waits for it any more, and it learns that
        counted(&site.balancer, outcome).await;
        site.until_idle().await;
    }
}

#[tokio::test]
async fn garbage_and_silence_give_502() {
    for (chain, bytes, outcome) in [
        (Chain::Balancer, "SSH-2.0-OpenSSH_9.9\r\n\r\n", "invalid_response"),
        (Chain::Agent, "SSH-2.0-OpenSSH_9.9\r\n\r\n", "invalid_response"),
        (Chain::Balancer, "", "closed_early"),
        (Chain::Agent, "", "closed_early"),
        (
            Chain::Balancer,
            "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
            "invalid_response",
        ),
        (
            Chain::Agent,
            "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
            "invalid_response",
        ),
        (
            Chain::Balancer,
            "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
            "invalid_response",
        ),
        (
            Chain::Agent,
            "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
            "invalid_response",
        ),
    ] {
        let instance = Answering::with(move |_| bytes.into()).await;
        let site = Site::start(chain, instance.address(), Settings::default()).await;
        let response = ask(site.address(), POST).await;
        assert_failure(&response, 502);
        assert_eq!(instance.served(), 1, "a POST is sent once: {chain:?} {bytes:?}");
        counted(&site.balancer, outcome).await;
        site.until_idle().await;
    }
}

#[tokio::test]
async fn a_full_queue_gives_503_at_once() {
    for chain in BOTH {
        let mut instance = RawInstance::start().await;
        let settings = Settings { workers: 1, balancer: "--queue-length 1", agent: "" };
        let site = Site::start(chain, instance.address(), settings).await;
        let mut first = Conn::open(site.address()).await;
        first.send(get("/first")).await;
        let mut upstream = instance.accept().await;
        upstream.request().await;
        let mut second = Conn::open(site.address()).await;
        second.send(get("/second")).await;
        admin::until_queued(site.balancer.admin, 1).await;
        assert_failure(&ask(site.address(), get("/third")).await, 503);
        upstream.send(ok("first")).await;
        assert_eq!(first.response().await.text(), "first");
        upstream.request().await;
        upstream.send(ok("second")).await;
        assert_eq!(second.response().await.text(), "second");
        counted(&site.balancer, "queue_full").await;
    }
}

#[tokio::test]
async fn who_waits_too_long_gets_503() {
    for chain in BOTH {
        let mut instance = RawInstance::start().await;
        let settings = Settings { workers: 1, balancer: "--queue-timeout 200ms", agent: "" };
        let site = Site::start(chain, instance.address(), settings).await;
        let mut first = Conn::open(site.address()).await;
        first.send(get("/first")).await;
        let mut upstream = instance.accept().await;
        upstream.request().await;
        let asked = Instant::now();
        assert_failure(&ask(site.address(), get("/second")).await, 503);
        assert!(asked.elapsed() >= Duration::from_millis(200), "{:?}", asked.elapsed());
        upstream.send(ok("first")).await;
        assert_eq!(first.response().await.text(), "first");
        counted(&site.balancer, "queue_timeout").await;
    }
}

/// Classes of their own: the home of one alone may be the sound instance, and then the other is never asked.
const SECTIONS: [&str; 20] = [
    "/",
    "/news",
    "/events",
    "/about",
    "/people",
    "/jobs",
    "/press",
    "/contact",
    "/search",
    "/sitemap",
    "/login",
    "/help",
    "/terms",
    "/research",
    "/teaching",
    "/library",
    "/museum",
    "/sports",
    "/clubs",
    "/alumni",
];

/// Two instances that take a request and hang up: whoever had a POST may have executed it, so nobody gets it again,
/// with a body of whatever framing or none.
#[tokio::test]
async fn a_post_that_was_sent_is_not_sent_again() {
    let (one, other) = (Answering::with(|_| Vec::new()).await, Answering::with(|_| Vec::new()).await);
    let balancer = Balancer::start(&format!("--instance {} --instance {}", one.address(), other.address()));
    let bodies = [
        POST,
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
    ];
    for (n, request) in bodies.iter().enumerate() {
        assert_failure(&ask(balancer.address, request).await, 502);
        assert_eq!(one.served() + other.served(), n + 1, "{request}");
    }
    assert_eq!(admin::metric(balancer.admin, "sluice_retries_total", &[]).await, 0.0);
}

/// The same with a GET: it fails only if every instance fails it, and each is asked at most once.
#[tokio::test]
async fn a_get_that_failed_is_sent_again_elsewhere() {
    let (broken, sound) = (Answering::with(|_| Vec::new()).await, Answering::named("sound").await);
    let instances = format!("--instance {} --instance {}", broken.address(), sound.address());
    let balancer = Balancer::start(&instances);
    for section in SECTIONS {
        assert_eq!(ask(balancer.address, get(section)).await.text(), "sound");
    }
    assert_eq!(sound.served(), SECTIONS.len());
    assert!(broken.served() > 0);
    let retries = admin::metric(balancer.admin, "sluice_retries_total", &[]).await;
    assert_eq!(retries, broken.served() as f64);
    let answered = SECTIONS.len() as f64;
    admin::until_metric(balancer.admin, "sluice_requests_total", &["outcome=\"2xx\""], answered).await;

    let (one, other) = (Answering::with(|_| Vec::new()).await, Answering::with(|_| Vec::new()).await);
    let balancer = Balancer::start(&format!("--instance {} --instance {}", one.address(), other.address()));
    assert_failure(&ask(balancer.address, get("/")).await, 502);
    assert_eq!((one.served(), other.served()), (1, 1));
}

/// As above with an agent before each instance, which says that the answer is its own and not its instance's.
#[tokio::test]
async fn a_get_that_failed_behind_an_agent_is_sent_again_elsewhere_and_a_post_is_not() {
    let (broken, sound) = (Answering::with(|_| Vec::new()).await, Answering::named("sound").await);
    let balancer = Balancer::start("");
    let _agents = [&broken, &sound].map(|i| Agent::start(balancer.admin, i.address(), "--workers 4"));
    admin::until_routed(balancer.admin, 2, PATIENCE).await;
    for section in SECTIONS {
        let response = ask(balancer.address, get(section)).await;
        assert_eq!((response.status(), response.text().as_str()), (200, "sound"));
    }
    assert!(broken.served() > 0);
    for request in [POST, "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n"] {
        for _ in 0..20 {
            let before = (broken.served(), sound.served());
            let response = ask(balancer.address, request).await;
            assert_eq!(response.head.get("x-sluice-failed"), None);
            let asked = (broken.served() - before.0, sound.served() - before.1);
            match asked {
                (1, 0) => assert_failure(&response, 502),
                (0, 1) => assert_eq!(response.text(), "sound"),
                _ => panic!("sent twice: {asked:?}"),
            }
        }
    }
    admin::until_metric(balancer.admin, "sluice_requests_total", &["outcome=\"5xx\""], 0.0).await;
}

/// Servers close kept connections when they like, some right after a response that did not say so.
#[tokio::test]
async fn an_instance_that_closes_kept_connections_fails_no_get() {
    for chain in BOTH {
        let mut instance = RawInstance::start().await;
        let site = Site::start(chain, instance.address(), Settings::default()).await;
        let serving = tokio::spawn(async move {
            loop {
                let mut conn = instance.accept().await;
                conn.request().await;
                conn.send(ok("once")).await;
            }
        });
        let mut client = Conn::open(site.address()).await;
        for n in 0..100 {
            client.send(get("/")).await;
            let response = client.response().await;
            assert_eq!((response.status(), response.text().as_str()), (200, "once"), "{chain:?} {n}");
        }
        serving.abort();
    }
}

/// All connections that are kept to an instance are closed with the next request on them: another attempt takes a new one.
#[tokio::test]
async fn an_instance_that_closed_all_its_kept_connections_fails_no_get() {
    for chain in BOTH {
        let mut instance = RawInstance::start().await;
        let settings = Settings { workers: 3, ..Settings::default() };
        let site = Site::start(chain, instance.address(), settings).await;
        let mut clients = Vec::new();
        let mut conns = Vec::new();
        for _ in 0..3 {
            let mut client = Conn::open(site.address()).await;
            client.send(get("/")).await;
            let mut conn = instance.accept().await;
            conn.request().await;
            clients.push(client);
            conns.push(conn);
        }
        for (client, conn) in clients.iter_mut().zip(&mut conns) {
            conn.send(ok("first")).await;
            assert_eq!(client.response().await.text(), "first", "{chain:?}");
        }
        // Each hangs up as soon as it is asked again.
        for mut conn in conns {
            tokio::spawn(async move { conn.try_head().await.is_ok() });
        }
        clients[0].send(get("/again")).await;
        let mut conn = instance.accept().await;
        conn.request().await;
        conn.send(ok("again")).await;
        let response = clients[0].response().await;
        assert_eq!((response.status(), response.text().as_str()), (200, "again"), "{chain:?}");
    }
}

/// An instance that answers everything with 500, and so is always free, soon gets nothing; the other's failures with the
/// same requests would have kept it in.
#[tokio::test]
async fn an_instance_that_fails_is_left_out() {
    let broken = Answering::with(|_| b"HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n".to_vec()).await;
    let sound = Answering::named("sound").await;
    let instances = format!("--instance {},name=broken --instance {}", broken.address(), sound.address());
    let balancer = Balancer::start(&instances);
    let mut failed = 0;
    for section in SECTIONS.iter().cycle().take(200) {
        failed += usize::from(ask(balancer.address, get(section)).await.status() == 500);
    }
    // Five in a row, and one for each pause that passed meanwhile, on a machine that is slow.
    assert!((5..10).contains(&failed), "{failed} failed");
    assert_eq!((broken.served(), sound.served()), (failed, 200 - failed));
    let told = admin::get(balancer.admin, "/v1/instances").await.text();
    assert!(told.contains("\"ejected\""), "{told}");

    let both = Answering::with(|_| b"HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n".to_vec()).await;
    let balancer = Balancer::start(&format!("--instance {} --instance {}", broken.address(), both.address()));
    for section in SECTIONS {
        assert_eq!(ask(balancer.address, get(section)).await.status(), 500);
    }
    let told = admin::get(balancer.admin, "/v1/instances").await.text();
    assert!(!told.contains("\"ejected\""), "{told}");
}
