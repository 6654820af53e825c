//! The dashboard's files and its stream: who opens it has the last hour at once, and what happens as it happens.

use std::collections::HashSet;
use std::net::SocketAddr;

use serde_json::Value;
use sluice_emulation::instance::{Instance, InstanceConfig};
use sluice_tests::site::Balancer;
use sluice_tests::wire::{Conn, ask, get};
use sluice_tests::{admin, soon};

/// A reader of `GET /v1/live`.
struct Reader(Conn);

impl Reader {
    async fn open(admin: SocketAddr) -> Self {
        let mut conn = Conn::open(admin).await;
        conn.send(format!("GET /v1/live HTTP/1.1\r\nhost: {admin}\r\n\r\n")).await;
        let head = conn.head().await;
        assert_eq!((head.status(), head.get("content-type")), (200, Some("text/event-stream")));
        Self(conn)
    }

    /// The data of the next event of that kind.
    async fn next(&mut self, kind: &str) -> Value {
        self.0.until(&format!("event: {kind}\ndata: ")).await;
        let data = self.0.until("\n\n").await;
        serde_json::from_str(data.trim()).unwrap_or_else(|e| panic!("{kind}: {e}: {data}"))
    }

    /// The next snapshot of which `wanted` is true.
    async fn until(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        loop {
            let snapshot = self.next("snapshot").await;
            if wanted(&snapshot) {
                return snapshot;
            }
        }
    }
}

#[tokio::test]
async fn the_page_names_only_files_that_are_there_and_lets_nothing_else_in() {
    let balancer = Balancer::start("");
    let page = admin::get(balancer.admin, "/").await;
    let policy = page.head.get("content-security-policy").expect("a policy").to_owned();
    assert!(policy.contains("default-src 'none'") && policy.contains("script-src 'self'"), "{policy}");
    let mut wanted: Vec<String> = quoted(&page.text(), "/dashboard/");
    let mut seen = HashSet::new();
    while let Some(name) = wanted.pop() {
        if !seen.insert(name.clone()) {
            continue;
        }
        let file = admin::get(balancer.admin, &format!("/dashboard/{name}")).await;
        assert_eq!(file.status(), 200, "{name}");
        let kind = file.head.get("content-type").expect("a type").to_owned();
        let right = [(".js", "text/javascript"), (".css", "text/css"), (".svg", "image/svg+xml")];
        assert!(right.iter().any(|(end, of)| name.ends_with(end) && kind == *of), "{name}: {kind}");
        wanted.extend(quoted(&file.text(), "from \"./").into_iter());
    }
    assert!(seen.contains("app.js") && seen.contains("flow.js"), "{seen:?}");
    assert_eq!(admin::get(balancer.admin, "/dashboard/nothing").await.status(), 404);
}

/// What follows `before`, up to the next quote.
fn quoted(text: &str, before: &str) -> Vec<String> {
    text.split(before).skip(1).filter_map(|rest| rest.split('"').next()).map(str::to_owned).collect()
}

#[tokio::test]
async fn a_reader_gets_the_hour_then_snapshots_and_events() {
    let instance = Instance::start(InstanceConfig::default()).await.expect("a free port");
    let balancer = Balancer::start(&format!("--instance {},name=zope", instance.addr()));
    let mut reader = Reader::open(balancer.admin).await;
    assert_eq!(reader.next("history").await["default"]["step_ms"], 5000);
    assert_eq!(ask(balancer.address, get("/page/7")).await.status(), 200);
    let shown = |s: &Value| s["flows"].as_array().is_some_and(|flows| !flows.is_empty());
    let snapshot = soon("its flow", reader.until(shown)).await;
    let flow = &snapshot["flows"][0];
    assert_eq!((&flow["class"], &flow["instance"]), (&"GET /page/{n}".into(), &"zope".into()));
    assert_eq!(snapshot["health"]["level"], "good", "{snapshot}");
    assert_eq!(snapshot["classes"][0]["requests"], 1);
    assert!(snapshot["classes"][0]["latency_p99_ms"].as_f64().is_some_and(|ms| ms > 0.0), "{snapshot}");
    admin::post(balancer.admin, "/v1/instances/zope/drain", "", "").await;
    let event = soon("the operator's word", reader.next("event")).await;
    assert!(event["at_ms"].as_u64().is_some(), "{event}");
    let drained = |s: &Value| s["instances"][0]["operator"] == "drain";
    let snapshot = soon("it drained", reader.until(drained)).await;
    assert_eq!(snapshot["health"]["level"], "bad", "no instance is left: {snapshot}");
    // Who comes later has what ended in the step before.
    let history = soon("a step", async {
        loop {
            let history = Reader::open(balancer.admin).await.next("history").await;
            if history["default"]["small"]["p99_ms"].as_array().is_some_and(|steps| !steps.is_empty()) {
                return history;
            }
        }
    });
    let history = history.await;
    let known = |step: &Value| step.as_f64().is_some_and(|ms| ms > 0.0);
    let of = |side: &str| history["default"][side]["p99_ms"].as_array().cloned().unwrap_or_default();
    assert!(of("small").iter().chain(&of("large")).any(known), "{history}");
}
