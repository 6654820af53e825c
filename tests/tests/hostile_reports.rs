//! Reports that are forged, replayed, malformed or too many change nothing but counters, and hold up nobody.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use serde_json::{Map, Value, json};
use sluice_tests::script::Answering;
use sluice_tests::site::{Agent, Balancer};
use sluice_tests::wire::{Conn, Message, ask, get};
use sluice_tests::{PATIENCE, admin, soon};
use tokio::net::TcpSocket;

const OWNER: Ipv4Addr = Ipv4Addr::LOCALHOST;
/// Another host, as far as the balancer can tell.
const STRANGER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

async fn from(host: Ipv4Addr, admin: SocketAddr) -> Conn {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind((host, 0).into()).expect("all of 127/8 is this machine");
    Conn::new(soon("connect", socket.connect(admin)).await.expect("the balancer listens"))
}

fn message(body: &str) -> String {
    format!(
        "POST /v1/report HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

async fn post(host: Ipv4Addr, admin: SocketAddr, body: &str) -> Message {
    let mut conn = from(host, admin).await;
    // What is too large is refused before all of it has come.
    let _cut_short = conn.try_send(message(body)).await;
    conn.response().await
}

/// What two of the site's agents say. A lease that does not end within the test.
fn report(name: &str, address: SocketAddr, seq: u64) -> Value {
    json!({
        "schema": 1, "name": name, "address": address.to_string(), "boot_id": "b", "seq": seq,
        "interval_ms": 60_000, "window_ms": 1000, "workers": 2, "mode": "passive", "state": "ready",
        "release": {"point": "end", "found": "assumed"}, "now": {"in_flight": 0},
        "classes": [{"class": "GET /", "requests": 1, "errors": 0,
                     "held_us": {"bins": [[0, 1]], "min": 1, "max": 1, "sum": 1}}],
    })
}

fn with(report: &Value, pointer: &str, value: Value) -> String {
    let mut report = report.clone();
    match report.pointer_mut(pointer) {
        Some(slot) => *slot = value,
        None => report[&pointer[1..]] = value,
    }
    report.to_string()
}

/// With text where JSON has no value for it, such as `NaN`.
fn raw(report: &Value, pointer: &str, text: &str) -> String {
    with(report, pointer, json!("RAW")).replace("\"RAW\"", text)
}

fn nested(levels: usize) -> String {
    "[".repeat(levels) + &"]".repeat(levels)
}

struct Case {
    what: &'static str,
    host: Ipv4Addr,
    body: String,
    status: u16,
    outcome: &'static str,
}

/// Reports after `zope-1` at `a` and `zope-2` at `b` have sent their report 5.
fn cases(a: SocketAddr, b: SocketAddr) -> Vec<Case> {
    let own = report("zope-1", a, 6);
    let class = |class: &str| json!([{"class": class, "requests": 1, "errors": 0}]);
    let many_keys: Map<_, _> = (0..50_000).map(|n| (format!("key-{n}"), json!(n))).collect();
    let case = |what, host, body: String, status, outcome| Case { what, host, body, status, outcome };
    let own_fault = |what, body: String| case(what, OWNER, body, 422, "invalid_field");
    let no_json = |what, body: String| case(what, OWNER, body, 400, "malformed");
    vec![
        // Forged.
        case("another's name", STRANGER, with(&own, "/workers", json!(1)), 403, "other_sender"),
        case(
            "another's name, as if restarted",
            STRANGER,
            with(&own, "/boot_id", json!("c")),
            403,
            "other_sender",
        ),
        case(
            "another's name, to be down",
            STRANGER,
            with(&own, "/state", json!("down")),
            403,
            "other_sender",
        ),
        case(
            "another's traffic, by name",
            STRANGER,
            with(&own, "/address", json!("127.0.0.9:1")),
            403,
            "other_sender",
        ),
        case(
            "another's traffic, by address",
            STRANGER,
            report("zope-3", a, 1).to_string(),
            403,
            "other_instance",
        ),
        case(
            "a fellow's address",
            OWNER,
            with(&own, "/address", json!(b.to_string())),
            403,
            "other_instance",
        ),
        case("another service", OWNER, with(&own, "/service", json!("shop")), 422, "unknown_service"),
        // Replayed, reordered.
        case("the same again", OWNER, report("zope-1", a, 5).to_string(), 409, "old_sequence"),
        case("an older one", OWNER, report("zope-1", a, 1).to_string(), 409, "old_sequence"),
        case(
            "the same again from elsewhere",
            STRANGER,
            report("zope-1", a, 5).to_string(),
            403,
            "other_sender",
        ),
        // Oversized, deep, many-keyed.
        case("1 MiB and a byte", OWNER, " ".repeat(1024 * 1024 + 1), 413, "too_large"),
        own_fault("deep", nested(100_000)),
        own_fault("deep within a field", raw(&own, "/now", &nested(100_000))),
        no_json("deep and without an end", raw(&own, "/later", &"[".repeat(100_000))),
        case(
            "deep within a field that nobody reads, and old",
            OWNER,
            raw(&report("zope-1", a, 5), "/later", &nested(100_000)),
            409,
            "old_sequence",
        ),
        own_fault("many keys and nothing else", Value::Object(many_keys).to_string()),
        own_fault(
            "too many classes",
            with(&own, "/classes", (0..1001).map(|n| class(&format!("GET /{n}"))[0].clone()).collect()),
        ),
        // Not what a number is.
        no_json("NaN", raw(&own, "/workers", "NaN")),
        no_json("Infinity", raw(&own, "/seq", "Infinity")),
        no_json("beyond what a number can be", raw(&own, "/seq", "1e999")),
        own_fault("1e308", raw(&own, "/seq", "1e308")),
        own_fault("negative", with(&own, "/seq", json!(-1))),
        own_fault("null", with(&own, "/seq", Value::Null)),
        own_fault("text", with(&own, "/seq", json!("6"))),
        own_fault("a number that wraps", raw(&own, "/workers", "4294967298")),
        own_fault("a thousand times a thousand workers", with(&own, "/workers", json!(1_000_000))),
        own_fault("a negative sum", with(&own, "/classes/0/held_us/sum", json!(-5))),
        own_fault("a figure larger than a day", with(&own, "/classes/0/held_us/max", json!(u64::MAX))),
        own_fault("more errors than requests", with(&own, "/classes/0/errors", json!(2))),
        own_fault("a window from the future", with(&own, "/window_ms", json!(4_000_000_000_u32))),
        own_fault("an interval that keeps it for ever", with(&own, "/interval_ms", json!(u32::MAX))),
        own_fault("a later schema", with(&own, "/schema", json!(2))),
        own_fault("a class that is none", with(&own, "/classes", class("GET /\u{1b}[2J"))),
        own_fault("words that are a line of their own", with(&own, "/reason", json!("a\nb"))),
        own_fault("a socket of the balancer's host", with(&own, "/address", json!("unix:/run/x.sock"))),
        own_fault("no name", with(&own, "/name", json!(""))),
        own_fault("a name that is markup", with(&own, "/name", json!("<script>"))),
        no_json("two reports", format!("{own}{own}")),
        no_json("nothing", String::new()),
    ]
}

/// All that reports can change, without what changes by itself.
async fn picture(admin: SocketAddr) -> Value {
    let mut instances = admin::instances(admin).await;
    for instance in &mut instances {
        for field in ["report_age_ms", "last_success_age_ms", "limit", "slowness", "homes", "reason"] {
            instance.as_object_mut().expect("an object").remove(field);
        }
    }
    let classes = admin::json(admin, "/v1/classes").await;
    let names: Vec<_> =
        classes.as_array().expect("a list").iter().map(|class| class["class"].clone()).collect();
    // Roles and who is routed are what the plan says; its version also grows with what the traffic teaches.
    json!({ "instances": instances, "classes": names })
}

#[tokio::test]
async fn hostile_reports_change_nothing_but_counters() {
    let (a, b) = (Answering::named("a").await, Answering::named("b").await);
    let balancer = Balancer::start("");
    for (name, instance) in [("zope-1", &a), ("zope-2", &b)] {
        let answer = post(OWNER, balancer.admin, &report(name, instance.address(), 5).to_string()).await;
        assert_eq!(answer.status(), 200, "{}", answer.text());
    }
    admin::until_routed(balancer.admin, 2, PATIENCE).await;
    ask(balancer.address, get("/")).await;
    admin::until_idle(balancer.admin).await;
    let before = picture(balancer.admin).await;
    for case in cases(a.address(), b.address()) {
        let counted = async || {
            let label = format!("\"{}\"", case.outcome);
            admin::metric(balancer.admin, "sluice_reports_total", &[&label]).await
        };
        let count = counted().await;
        let answer = post(case.host, balancer.admin, &case.body).await;
        let text = answer.text();
        assert_eq!(answer.status(), case.status, "{}: {text}", case.what);
        assert!(text.len() < 1000 && text.lines().count() == 1, "{}: {text}", case.what);
        assert_eq!(counted().await, count + 1.0, "{}: not counted as {}", case.what, case.outcome);
        assert_eq!(ask(balancer.address, get("/")).await.status(), 200, "{}", case.what);
    }
    admin::until_idle(balancer.admin).await;
    assert_eq!(picture(balancer.admin).await, before);
}

/// A name that its agent gave up is free at once; one that is still held, by the operator's word.
#[tokio::test]
async fn a_name_moves_with_its_agents_or_the_operators_word() {
    let (a, b) = (Answering::named("a").await, Answering::named("b").await);
    let balancer = Balancer::start("");
    let send = async |host, instance: &Answering, boot: &str, state: &str| {
        let report = with(&report("zope-1", instance.address(), 1), "/boot_id", json!(boot));
        let report = with(&serde_json::from_str(&report).expect("JSON"), "/state", json!(state));
        post(host, balancer.admin, &report).await
    };
    assert_eq!(send(OWNER, &a, "b1", "ready").await.status(), 200);
    let answer = send(STRANGER, &b, "b2", "ready").await;
    assert_eq!(answer.status(), 403);
    for part in ["other_sender", "127.0.0.1", "127.0.0.2", "/v1/instances/zope-1/unbind"] {
        assert!(answer.text().contains(part), "{}", answer.text());
    }
    let bound_to = async || admin::instances(balancer.admin).await[0]["bound_to"].clone();
    assert_eq!(bound_to().await, "127.0.0.1");

    let unbound = admin::post(balancer.admin, "/v1/instances/zope-1/unbind", "", "").await;
    assert_eq!(unbound.status(), 200, "{}", unbound.text());
    assert_eq!(send(STRANGER, &b, "b2", "ready").await.status(), 200);
    assert_eq!(bound_to().await, "127.0.0.2");
    assert_eq!(ask(balancer.address, get("/")).await.text(), "b");

    assert_eq!(send(OWNER, &a, "b3", "ready").await.status(), 403, "it is the other's now");
    assert_eq!(send(STRANGER, &b, "b4", "down").await.status(), 200);
    assert_eq!(send(OWNER, &a, "b5", "ready").await.status(), 200, "its agent has left");
    assert_eq!(ask(balancer.address, get("/")).await.text(), "a");
}

/// Two agents with one name, by mistake: the second is told, and goes on trying.
#[tokio::test]
async fn an_agent_is_told_that_its_name_or_address_is_taken() {
    let (a, b) = (Answering::named("a").await, Answering::named("b").await);
    let balancer = Balancer::start("");
    let held = report("zope-1", a.address(), 1);
    assert_eq!(post(STRANGER, balancer.admin, &held.to_string()).await.status(), 200);
    let same_name = Agent::start(balancer.admin, b.address(), "--name zope-1");
    let flags = format!("--name zope-2 --advertise {}", a.address());
    let same_address = Agent::start(balancer.admin, b.address(), &flags);
    for (agent, word) in [(&same_name, "other_sender"), (&same_address, "other_instance")] {
        let labels = ["outcome=\"misplaced\""];
        let told = async || admin::metric(agent.admin, "sluice_agent_reports_total", &labels).await;
        sluice_tests::eventually("refusals counted by the agent", PATIENCE, async || {
            sluice_tests::expect(told().await, |count| *count >= 2.0)
        })
        .await;
        let status = admin::json(agent.admin, "/v1/status").await;
        let detail = status["balancers"][0]["detail"].as_str().unwrap_or_default().to_owned();
        assert!(detail.contains(word), "{status}");
    }
    assert_eq!(ask(balancer.address, get("/")).await.text(), "a");
}

/// Many connections, each as fast as it is answered: what is too much is refused, and requests do not notice.
#[tokio::test]
async fn a_flood_of_reports_is_refused_and_holds_up_no_request() {
    const CONNECTIONS: u64 = 64;
    let instance = Answering::named("a").await;
    let balancer = Balancer::start("--report-rate 50");
    let own = report("zope-1", instance.address(), 1).to_string();
    assert_eq!(post(STRANGER, balancer.admin, &own).await.status(), 200);
    admin::until_routed(balancer.admin, 1, PATIENCE).await;

    let (stop, refused) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let flood = |n: u64| {
        let (admin, stop, refused) = (balancer.admin, stop.clone(), refused.clone());
        let address = SocketAddr::from(([127, 0, 0, 9], 1));
        tokio::spawn(async move {
            let mut conn = from(OWNER, admin).await;
            let mut seq = 0;
            while !stop.load(Ordering::Relaxed) {
                seq += 1;
                // Draining: it is counted as a member, and gets no request.
                let report = with(&report(&format!("flood-{n}"), address, seq), "/state", json!("draining"));
                conn.send(message(&report)).await;
                let answer = conn.response().await;
                if answer.status() == 429 {
                    assert!(
                        answer
                            .head
                            .get("retry-after")
                            .is_some_and(|wait| wait.parse::<u64>().is_ok_and(|s| s >= 1))
                    );
                    refused.fetch_add(1, Ordering::Relaxed);
                }
            }
        })
    };
    let flooding: Vec<_> = (0..CONNECTIONS).map(flood).collect();
    let mut answered = 0;
    // Until there was a flood, and traffic beside it.
    soon("a flood and requests beside it", async {
        while answered < 200 || refused.load(Ordering::Relaxed) < 500 {
            assert_eq!(ask(balancer.address, get("/")).await.text(), "a");
            answered += 1;
        }
    })
    .await;
    let accepted =
        post(STRANGER, balancer.admin, &with(&serde_json::from_str(&own).expect("JSON"), "/seq", json!(2)))
            .await;
    assert_eq!(accepted.status(), 200, "another sender's reports are taken: {}", accepted.text());
    stop.store(true, Ordering::Relaxed);
    for connection in flooding {
        soon("the flood's end", connection).await.expect("each was answered");
    }
    let counted = admin::metric(balancer.admin, "sluice_reports_total", &["\"too_many\""]).await;
    assert_eq!(counted as u64, refused.load(Ordering::Relaxed), "each refusal is counted");
}
