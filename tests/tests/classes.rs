//! Requests are told apart by what they cost: by the operator's rules, by kind, and by what is learned.

use std::io::Write;

use serde_json::{Value, json};
use sluice_tests::script::Answering;
use sluice_tests::site::{Balancer, Chain, Settings, Site};
use sluice_tests::wire::{Conn, ask, get};
use sluice_tests::{PATIENCE, admin, eventually};
use tempfile::NamedTempFile;

fn file(text: &str) -> NamedTempFile {
    let mut file = NamedTempFile::new().expect("a temporary file");
    file.write_all(text.as_bytes()).expect("it can be written");
    file
}

/// Words, which no rule for numbers or hashes replaces.
fn words(n: u8) -> impl Iterator<Item = String> {
    (0..n).map(|i| format!("{}{}", char::from(b'g' + i / 16), char::from(b'g' + i % 16)))
}

async fn class_names(balancer: &Balancer) -> Vec<String> {
    let Value::Array(classes) = admin::json(balancer.admin, "/v1/classes").await else { panic!("no list") };
    classes.iter().map(|class| class["class"].as_str().expect("text").to_owned()).collect()
}

#[tokio::test]
async fn names_too_many_to_tell_apart_become_one_class_and_explain_says_why() {
    let instance = Answering::named("a").await;
    let site = Site::start(Chain::Agent, instance.address(), Settings::default()).await;
    let mut conn = Conn::open(site.address()).await;
    for word in words(57) {
        conn.send(get(&format!("/docs/{word}.pdf"))).await;
        assert_eq!(conn.response().await.status(), 200);
    }
    let told = eventually("a learned class", PATIENCE, async || {
        let told = admin::json(site.balancer.admin, "/v1/explain?path=/docs/never-asked-for.pdf").await;
        if told["class"] == "GET /docs/*.pdf" { Ok(told) } else { Err(told.to_string()) }
    })
    .await;
    assert_eq!(told["class_by"], "learned", "{told}");
    // As many as had been asked for when it was learned.
    let because = told["class_reason"].as_str().expect("a reason");
    let names = because.strip_suffix(" different names under /docs, none above 5 % of its requests");
    assert!(names.is_some_and(|count| (2..=57).contains(&count.parse().unwrap_or(0))), "{told}");
    eventually("one class of all, also as the agent reports it", PATIENCE, async || {
        let Value::Array(classes) = admin::json(site.balancer.admin, "/v1/classes").await else {
            panic!("no list")
        };
        let all = classes.len() == 1
            && ["seen", "reported"].iter().all(|who| classes[0][who]["requests"] == 57)
            && classes[0]["reason"] == because;
        if all { Ok(()) } else { Err(format!("{classes:?}")) }
    })
    .await;
}

#[tokio::test]
async fn ranges_conditional_requests_and_heads_are_classes_of_their_own() {
    let instance = Answering::with(|request| {
        let body = if request.head.start.starts_with("HEAD") { "" } else { "a" };
        format!("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n{body}").into_bytes()
    })
    .await;
    let site = Site::start(Chain::Balancer, instance.address(), Settings::default()).await;
    for fields in ["", "range: bytes=0-0\r\n", "if-none-match: \"x\"\r\n"] {
        let request = format!("GET /site/a/7 HTTP/1.1\r\nhost: h\r\n{fields}\r\n");
        assert_eq!(ask(site.address(), request).await.status(), 200);
    }
    let mut conn = Conn::open(site.address()).await;
    conn.send("HEAD /site/a/7 HTTP/1.1\r\nhost: h\r\n\r\n").await;
    conn.head().await;
    site.until_idle().await;
    let names = class_names(&site.balancer).await;
    let wanted =
        ["GET /site/a/{n}", "GET /site/a/{n} [conditional]", "GET /site/a/{n} [range]", "HEAD /site/a/{n}"];
    assert_eq!(names, wanted);
}

const RULES: &str = r#"
[[rule]]
name = "cart"
path = "^/cart"
lane = "small"
sticky = { cookie = "SLUICE" }

[[rule]]
name = "report"
path = "^/report/(?P<year>[0-9]{4})"
"#;

#[tokio::test]
async fn the_operators_rules_go_first_and_a_client_is_told_where_its_session_is() {
    let config = file(RULES);
    let instance = Answering::named("a").await;
    let flags = format!("--config {} --instance {},name=zope-1", config.path().display(), instance.address());
    let balancer = Balancer::start(&flags);
    let first =
        ask(balancer.address, "GET /cart/7 HTTP/1.1\r\nhost: h\r\nx-forwarded-proto: https\r\n\r\n").await;
    let cookie = first.head.get("set-cookie").expect("a session").to_owned();
    let (pair, attributes) = cookie.split_once("; ").expect("attributes");
    assert!(pair.starts_with("SLUICE=") && !pair.contains("zope-1"), "{cookie}");
    assert_eq!(attributes, "Path=/; HttpOnly; SameSite=Lax; Secure");
    let again = format!("GET /cart/8 HTTP/1.1\r\nhost: h\r\ncookie: a=b; {pair}\r\n\r\n");
    assert_eq!(ask(balancer.address, again).await.head.get("set-cookie"), None, "it knows");
    assert_eq!(ask(balancer.address, get("/report/2024/x")).await.head.get("set-cookie"), None);
    assert_eq!(class_names(&balancer).await, ["cart", "report year=2024"]);
    let told = admin::json(balancer.admin, "/v1/explain?path=/cart/9").await;
    assert_eq!((&told["class"], &told["class_by"]), (&json!("cart"), &json!("rule")));
    assert_eq!(told["class_reason"], "the operator's rule, lane small, sticky by cookie SLUICE");
}

#[tokio::test]
async fn rules_decide_which_instance_serves() {
    let config = file(
        r#"
        [[rule]]
        name = "only-b"
        path = "^/only-b"
        instances = "b"

        [[rule]]
        name = "own"
        path = "^/own"
        sticky = { cookie = "S" }

        [[rule]]
        name = "session"
        path = "^/session"
        sticky = { cookie = "__ac", set = false }
        "#,
    );
    let (a, b) = (Answering::named("a").await, Answering::named("b").await);
    let flags = format!("--instance {},name=a --instance {},name=b", a.address(), b.address());
    let balancer = Balancer::start(&format!("--config {} {flags}", config.path().display()));
    let act = async |name: &str, word: &str| {
        let answer = admin::post(balancer.admin, &format!("/v1/instances/{name}/{word}"), "", "").await;
        assert_eq!(answer.status(), 200, "{}", answer.text());
    };
    let asked = async |path: &str, cookie: &str| {
        let request = format!("GET {path} HTTP/1.1\r\nhost: h\r\ncookie: {cookie}\r\n\r\n");
        ask(balancer.address, request).await
    };
    for _ in 0..10 {
        assert_eq!(asked("/only-b", "").await.text(), "b");
    }
    for (name, other) in [("a", "b"), ("b", "a")] {
        act(other, "drain").await;
        let first = asked("/own", "").await;
        assert_eq!(first.text(), name);
        let set = first.head.get("set-cookie").expect("a session").to_owned();
        act(other, "ready").await;
        for _ in 0..10 {
            let again = asked("/own", set.split(';').next().expect("a pair")).await;
            assert_eq!((again.text().as_str(), again.head.get("set-cookie")), (name, None));
        }
    }
    let mut homes = std::collections::HashSet::new();
    for user in 0..20 {
        let cookie = format!("__ac=user-{user}");
        let home = asked("/session", &cookie).await.text();
        assert_eq!(asked("/session", &cookie).await.text(), home, "{cookie}");
        homes.insert(home);
    }
    assert_eq!(homes.len(), 2, "sessions spread");
    act("b", "drain").await;
    assert_eq!(asked("/only-b", "").await.status(), 503, "nobody else may serve it");
    assert_eq!(asked("/session", "__ac=user-1").await.text(), "a");
}

#[tokio::test]
async fn a_passive_agent_is_told_once_how_requests_are_classified() {
    let config = file(RULES);
    let balancer = Balancer::start(&format!("--config {}", config.path().display()));
    let report = |seq: u64, mode: &str, versions: Value| {
        json!({
            "schema": 1, "name": "zope-1", "address": "127.0.0.1:1", "boot_id": "b", "seq": seq,
            "interval_ms": 1000, "window_ms": 1000, "workers": 2, "mode": mode, "state": "ready",
            "release": {"point": "end", "found": "assumed"}, "now": {}, "classifications": versions,
        })
    };
    let reply = async |report: Value| -> Value {
        let answer = admin::post(balancer.admin, "/v1/report", "", &report.to_string()).await;
        assert_eq!(answer.status(), 200, "{}", answer.text());
        serde_json::from_slice(&answer.body).expect("JSON")
    };
    assert_eq!(reply(report(1, "inline", json!([]))).await["classification"], Value::Null);
    let told = reply(report(2, "passive", json!([1]))).await["classification"].clone();
    assert_eq!((&told["rules"][0]["name"], &told["rules"][1]["name"]), (&json!("cart"), &json!("report")));
    let has_it = json!([1, told["version"]]);
    assert_eq!(reply(report(3, "passive", has_it)).await["classification"], Value::Null);
}
