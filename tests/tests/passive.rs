//! Mode passive: requests go to the instance itself, and the agent learns of them from what the application writes
//! down. What it can not know is told as unknown.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use serde_json::{Value, json};
use sluice_tests::script::Answering;
use sluice_tests::site::{Agent, Balancer};
use sluice_tests::wire::{Conn, Message, get, ok};
use sluice_tests::{PATIENCE, admin, eventually, expect};
use tempfile::TempDir;

/// An instance that writes an access log: 7 ms for each request, whatever it took.
async fn logging(log: PathBuf, time: &'static str) -> Answering {
    Answering::with(move |request| {
        let (start, status) = (&request.head.start, status(request));
        let line =
            format!("127.0.0.1 - - [24/Nov/2026:08:41:53 +0000] \"{start}\" {status} 5 \"-\" \"-\"{time}\n");
        // Opened anew for each line, as servers do after they are told of a rotation.
        let mut file = OpenOptions::new().append(true).create(true).open(&log).expect("it can be opened");
        file.write_all(line.as_bytes()).expect("it can be written");
        answer(status)
    })
    .await
}

fn status(request: &Message) -> u16 {
    if request.head.start.contains("/broken") { 500 } else { 200 }
}

fn answer(status: u16) -> Vec<u8> {
    ok("12345").replace("200 OK", &format!("{status} Such")).into_bytes()
}

struct Site {
    balancer: Balancer,
    agent: Agent,
    instance: Answering,
}

impl Site {
    async fn start(instance: Answering, flags: &str) -> Self {
        let balancer = Balancer::start("");
        let flags = format!("--mode passive --workers 4 {flags}");
        let agent = Agent::start(balancer.admin, instance.address(), &flags);
        admin::until_routed(balancer.admin, 1, PATIENCE).await;
        Self { balancer, agent, instance }
    }

    async fn ask(&self, paths: impl IntoIterator<Item = String>) {
        let mut conn = Conn::open(self.balancer.address).await;
        for path in paths {
            conn.send(get(&path)).await;
            conn.response().await;
        }
    }

    /// The class as the balancer shows it, once its agent has reported on it. Asked for again and again: a report that
    /// is late on a busy machine is skipped, and its figures with it.
    async fn class(&self, name: &str, path: &str) -> Value {
        eventually(name, PATIENCE, async || {
            self.ask([path.to_owned()]).await;
            let Value::Array(classes) = admin::json(self.balancer.admin, "/v1/classes").await else {
                panic!("no list")
            };
            let class = classes.iter().find(|class| class["class"] == name);
            match class {
                Some(class) if class["reported"]["requests"] != 0 => Ok(class.clone()),
                _ => Err(format!("{classes:?}")),
            }
        })
        .await
    }

    /// Waits until the agent has counted so many lines of the log.
    async fn until_taken(&self, lines: u32) {
        admin::until_metric(self.agent.admin, "sluice_agent_log_lines_total", &["taken"], lines.into()).await;
    }

    /// Waits until the balancer shows of the agent's figures what `is_so` looks for.
    async fn until_measured(&self, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        eventually(what, PATIENCE, async || {
            let one = admin::instances(self.balancer.admin).await.remove(0);
            if is_so(&one["measured"]) { Ok(one) } else { Err(one.to_string()) }
        })
        .await
    }
}

fn news(n: u32) -> impl Iterator<Item = String> {
    (0..n).map(|i| format!("/news/{i}"))
}

fn log_in(directory: &TempDir) -> PathBuf {
    directory.path().join("access.log")
}

fn directory() -> TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

fn followed(log: &Path, format: &str) -> String {
    format!("--access-log {} --access-log-format {format}", log.display())
}

#[tokio::test]
async fn the_agent_learns_from_the_access_log_also_while_it_is_rotated() {
    let directory = directory();
    let log = log_in(&directory);
    fs::write(&log, "127.0.0.1 - - [t] \"GET /history HTTP/1.1\" 200 5 \"-\" \"-\" 7000\n").expect("a file");
    let site = Site::start(logging(log.clone(), " 7000").await, &followed(&log, "combined-us")).await;
    let shown = site.until_measured("a log", |measured| measured["by"] == json!(["access-log"])).await;
    assert_eq!(shown["address"], json!(site.instance.address().to_string()));
    assert_eq!(
        shown["measured"],
        json!({
            "by": ["access-log"], "held_us": "estimated", "ttfb_us": "unmeasured", "response_bytes": "measured",
            "errors": "measured", "in_flight": "unmeasured", "heavy_urls": "measured",
        })
    );
    assert_eq!(
        (&shown["mode"], &shown["agent"]),
        (&json!("passive"), &Value::Null),
        "it does not know the present"
    );

    site.ask(news(20)).await;
    site.until_taken(20).await;
    fs::rename(&log, directory.path().join("access.log.1")).expect("it can be renamed");
    site.ask(news(20)).await;
    site.until_taken(40).await;
    let class = site.class("GET /news/{n}", "/news/1").await;
    let reported = &class["reported"];
    assert_eq!((&reported["held_ms"]["mean"], &reported["held_ms"]["max"]), (&json!(7.0), &json!(7.0)));
    assert_eq!((&reported["response_bytes"]["mean"], &reported["errors"]), (&json!(5.0), &json!(0)));
    assert_eq!(reported["ttfb_ms"]["mean"], Value::Null, "no log tells it");
    assert!(class["seen"]["requests"].as_u64() > Some(40), "the same class by the same name: {class}");
    assert_ne!(site.class("GET /broken", "/broken").await["reported"]["errors"], 0);

    let observed = admin::post(site.agent.admin, "/v1/observe", "", "[]").await;
    assert_eq!(observed.status(), 409, "they would be counted twice: {}", observed.text());
    admin::until_metric(site.agent.admin, "sluice_agent_log_files_total", &["rotated"], 1.0).await;
}

#[tokio::test]
async fn what_the_log_does_not_tell_is_unknown() {
    let directory = directory();
    let log = log_in(&directory);
    let site = Site::start(logging(log.clone(), "").await, &followed(&log, "combined")).await;
    let nothing = |measured: &Value| measured["by"] == json!([]) && measured["errors"] == "unmeasured";
    // Before the agent has looked, a log that comes might be one that was there.
    eventually("that there is no log", PATIENCE, async || {
        let from = admin::json(site.agent.admin, "/v1/status").await["learns_from"].to_string();
        expect(from, |from| from.starts_with("\"nothing") && from.contains("access.log"))
    })
    .await;
    site.until_measured("that there is no log", nothing).await;

    site.ask(news(3)).await;
    site.until_taken(3).await;
    let reported = site.class("GET /news/{n}", "/news/1").await["reported"].clone();
    assert_eq!(reported["held_ms"]["mean"], Value::Null, "this format has no time");
    assert_eq!((&reported["response_bytes"]["mean"], &reported["errors"]), (&json!(5.0), &json!(0)));
    let shown = site.until_measured("a log", |measured| measured["by"] == json!(["access-log"])).await;
    assert_eq!(shown["measured"]["held_us"], "unmeasured");

    let noise = "what is this\n".repeat(100);
    let mut file = OpenOptions::new().append(true).open(&log).expect("it is there");
    file.write_all(noise.as_bytes()).expect("it can be written");
    site.until_measured("a log of another format", nothing).await;
    admin::until_metric(site.agent.admin, "sluice_agent_log_lines_total", &["malformed"], 100.0).await;
    site.ask(news(2)).await;
    site.until_measured("a log again", |measured| measured["by"] == json!(["access-log"])).await;
}

/// An instance with a Prometheus endpoint: 7 ms for each request, and three busy workers, the scrape's among them.
async fn exporting() -> Answering {
    let (pages, broken) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let counts = Arc::new((pages, broken));
    Answering::with(move |request| {
        let (pages, broken) = &*counts;
        if !request.head.start.contains("/metrics") {
            let status = status(request);
            (if status == 500 { broken } else { pages }).fetch_add(1, Relaxed);
            return answer(status);
        }
        let (mut text, pages, broken) =
            ("app_busy 3\n".to_owned(), pages.load(Relaxed), broken.load(Relaxed));
        for (path, status, n) in [("/news/{id}", 200, pages), ("/broken", 500, broken)] {
            let labels = format!("method=\"GET\",path=\"{path}\",status=\"{status}\"");
            text += &format!("http_request_duration_seconds_bucket{{le=\"0.1\",{labels}}} {n}\n");
            text += &format!("http_request_duration_seconds_count{{{labels}}} {n}\n");
            text += &format!("http_request_duration_seconds_sum{{{labels}}} {}\n", n as f64 * 0.007);
        }
        ok(&text).into_bytes()
    })
    .await
}

fn metrics_of(instance: SocketAddr) -> String {
    format!("--scrape http://{instance}/metrics --scrape-interval 1s --scrape-busy app_busy")
}

#[tokio::test]
async fn the_agent_learns_from_the_applications_metrics() {
    let instance = exporting().await;
    let flags = metrics_of(instance.address());
    let site = Site::start(instance, &flags).await;
    let shown = site.until_measured("metrics", |measured| measured["by"] == json!(["metrics"])).await;
    let measured = &shown["measured"];
    assert_eq!((&measured["held_us"], &measured["errors"]), (&json!("estimated"), &json!("measured")));
    assert_eq!(
        (&measured["response_bytes"], &measured["ttfb_us"]),
        (&json!("unmeasured"), &json!("unmeasured"))
    );

    let reported = site.class("GET /news/{n}", "/news/1").await["reported"].clone();
    let mean = reported["held_ms"]["mean"].as_f64().expect("it was measured");
    assert!((mean - 7.0).abs() < 0.01, "{mean}");
    assert_eq!((&reported["response_bytes"]["mean"], &reported["errors"]), (&Value::Null, &json!(0)));
    assert_ne!(site.class("GET /broken", "/broken").await["reported"]["errors"], 0);
    let status = admin::json(site.agent.admin, "/v1/status").await;
    assert_eq!(status["now"]["in_flight"], 2, "without the scrape itself: {status}");
}
