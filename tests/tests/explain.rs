//! What Sluice decides can be asked: which class is large, which instance is for large requests, and why.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use serde_json::{Value, json};
use sluice_emulation::instance::{Instance, InstanceConfig, Release};
use sluice_tests::site::Balancer;
use sluice_tests::wire::{Conn, Message, get};
use sluice_tests::{admin, eventually};
use tokio::task::JoinSet;

/// Three seconds until a class is known and an instance is dedicated; on a busy machine, more.
const LEARNED: Duration = Duration::from_secs(60);
const EXPORT_MS: u64 = 600;

struct Site {
    instances: Vec<Instance>,
    balancer: Balancer,
    traffic: JoinSet<()>,
}

impl Site {
    async fn start(flags: &str) -> Self {
        let mut instances = vec![];
        let mut line = flags.to_owned();
        for n in 0..3 {
            let config = InstanceConfig { release: Release::End, ..InstanceConfig::default() };
            let instance = Instance::start(config).await.expect("a free port");
            line += &format!(" --instance {},name=zope-{n},release=end", instance.addr());
            instances.push(instance);
        }
        Self { instances, balancer: Balancer::start(&line), traffic: JoinSet::new() }
    }

    /// Asks for `path` again and again, each costing the worker `ms`, until told to stop.
    fn keep_asking(&mut self, path: &'static str, ms: u64, stop: &Arc<AtomicBool>) {
        let (address, stop) = (self.balancer.address, stop.clone());
        self.traffic.spawn(async move {
            let mut conn = Conn::open(address).await;
            for n in 0.. {
                if stop.load(Relaxed) {
                    return;
                }
                conn.send(request(&format!("{path}/{n}"), ms)).await;
                assert_eq!(conn.response().await.status(), 200);
            }
        });
    }

    async fn explain(&self, query: &str) -> Value {
        admin::json(self.balancer.admin, &format!("/v1/explain?{query}")).await
    }
}

fn request(path: &str, ms: u64) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: h\r\nx-emulate-work-us: {}\r\n\r\n", ms * 1000)
}

async fn ask(address: SocketAddr, path: &str, ms: u64) -> Message {
    sluice_tests::wire::ask(address, request(path, ms)).await
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}"))
}

#[tokio::test]
async fn exports_become_large_get_an_instance_and_everything_says_why() {
    let mut site = Site::start("--reveal server-timing").await;
    let stop = Arc::new(AtomicBool::new(false));
    (0..2).for_each(|_| site.keep_asking("/page", 5, &stop));
    site.keep_asking("/export", EXPORT_MS, &stop);
    let admin = site.balancer.admin;
    let dedicated = eventually("an instance for exports", LEARNED, async || {
        let list = admin::instances(admin).await;
        let found = list.iter().find(|i| i["role"] == "large").cloned();
        found.ok_or_else(|| format!("{list:?}"))
    })
    .await;
    let name = text(&dedicated["name"]).to_owned();
    assert!(dedicated["dedicated_since_ms"].as_u64() > Some(1_600_000_000_000), "{dedicated}");
    assert!(text(&dedicated["reason"]).contains("s each"), "{dedicated}");
    explains(&site, &name).await;
    plans(admin).await;
    classes(admin, &name).await;
    server_timing(&site).await;
    metrics(admin, &name).await;
    stop.store(true, Relaxed);
    site.traffic.join_all().await;
    drop(site.instances);
}

/// Of a request that has never come: its class's cost, lane and way.
async fn explains(site: &Site, dedicated: &str) {
    let told = site.explain("path=/export/123456").await;
    assert_eq!(
        (&told["class"], &told["lane"]["name"]),
        (&json!("GET /export/{n}"), &json!("large")),
        "{told}"
    );
    assert_eq!(told["predicted"]["held_from"], "class");
    let held = told["predicted"]["held_ms"].as_f64().expect("a number");
    assert!((0.5..3.0).contains(&(held / EXPORT_MS as f64)), "{told}");
    assert!(text(&told["lane_reason"]).starts_with("large: "), "{told}");
    let candidates = told["candidates"].as_array().expect("a list");
    assert_eq!(candidates.len(), 3);
    let own = candidates.iter().find(|c| c["instance"] == dedicated).expect("it is one of them");
    assert_eq!(own["dedicated"], true, "{told}");
    assert!(candidates.iter().all(|c| !text(&c["reason"]).is_empty()));
    match text(&told["does"]) {
        "sent" => assert!(text(&told["decision"]).starts_with("sent to zope-"), "{told}"),
        "waits" => assert!(text(&told["decision"]).starts_with("waits"), "{told}"),
        other => panic!("{other}: {told}"),
    }
    let page = site.explain("path=/page/7").await;
    assert_eq!((&page["lane"]["name"], &page["lane"]["by_rule"]), (&json!("small"), &json!(false)), "{page}");
    let range = site.explain("path=/page/7&header=Range:%20bytes=0-9").await;
    assert_eq!(range["class"], "GET /page/{n} [range]");
    assert_eq!(range["predicted"]["held_from"], "extension", "it was never seen: {range}");
}

async fn plans(admin: SocketAddr) {
    let plan = admin::json(admin, "/v1/plan").await;
    let service = &plan["services"][0];
    assert!(["pack", "separate"].contains(&text(&service["mode"])), "{plan}");
    assert!(!text(&service["homes"]).is_empty(), "{plan}");
    let lanes = service["lanes"].as_array().expect("a list");
    let bound = lanes[1]["from_s"].as_f64().expect("a number");
    assert!(bound > 0.005 && bound < 0.6, "between pages and exports: {plan}");
    assert_eq!(lanes[0]["to_s"].as_f64(), Some(bound), "{plan}");
    assert!(lanes[1]["high"].as_u64() >= Some(1) && text(&lanes[1]["reason"]).contains("s each"), "{plan}");
}

async fn classes(admin: SocketAddr, dedicated: &str) {
    let Value::Array(classes) = admin::json(admin, "/v1/classes").await else { panic!("no list") };
    let export = classes.iter().find(|c| c["class"] == "GET /export/{n}").expect("it was asked for");
    assert_eq!((&export["lane"], &export["predicted_by"]), (&json!("large"), &json!("class")), "{export}");
    let goes = text(&export["goes"]);
    assert!(goes.starts_with("large: ") && goes.contains(dedicated), "{export}");
}

async fn server_timing(site: &Site) {
    let answer = ask(site.balancer.address, "/export/654321", 1).await;
    let timing = answer.head.get("server-timing").expect("it is revealed").to_owned();
    for part in ["queue;dur=", ", app;dur=", ", class;desc=\"GET /export/{n}\"", ", lane;desc=\"large\""] {
        assert!(timing.contains(part), "{part}: {timing}");
    }
    assert!(timing.contains(";desc=\"class, ") && timing.contains("instance;desc=\"zope-"), "{timing}");
}

async fn metrics(admin: SocketAddr, dedicated: &str) {
    let metric = async |name: &str, labels: &[&str]| admin::metric(admin, name, labels).await;
    assert!(metric("sluice_lane_requests_total", &["lane=\"small\""]).await > 10.0);
    assert!(metric("sluice_lane_requests_total", &["lane=\"large\""]).await > 1.0);
    let own = format!("instance_name=\"{dedicated}\"");
    assert_eq!(metric("sluice_instance_dedicated", &[&own]).await, 1.0);
    assert!(metric("sluice_prediction_ratio_count", &["source=\"class\""]).await > 10.0);
    assert!(metric("sluice_reclassified_total", &["reason=\"late\""]).await >= 1.0, "the first export");
    assert!(metric("sluice_classes", &[]).await >= 2.0);
    assert_eq!(metric("sluice_plan_mode", &[]).await, 1.0, "one mode at a time");
}

#[tokio::test]
async fn events_tell_that_a_class_became_large() {
    let mut site = Site::start("").await;
    let mut events = Conn::open(site.balancer.admin).await;
    events.send(get("/v1/events")).await;
    assert_eq!(events.head().await.status(), 200);
    let stop = Arc::new(AtomicBool::new(false));
    site.keep_asking("/page", 5, &stop);
    site.keep_asking("/export", EXPORT_MS, &stop);
    let told = events.until("event: class-large\n").await + &events.until("\n\n").await;
    assert!(told.contains("GET /export/{n} is now large: "), "{told}");
    stop.store(true, Relaxed);
    site.traffic.join_all().await;
}

#[tokio::test]
async fn nobody_is_told_unless_the_operator_wants_it() {
    let site = Site::start("").await;
    let answer = ask(site.balancer.address, "/page/1", 1).await;
    assert_eq!((answer.status(), answer.head.get("server-timing")), (200, None));
}
