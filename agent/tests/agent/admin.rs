//! The admin endpoints, and mode passive, which is fed through one of them.

use serde_json::json;
use sluice_proto::{Mode, State};

use crate::support::{Agent, Answer, balancer::FakeBalancer, eventually, instance::FakeInstance};

#[tokio::test]
async fn passive_counts_what_the_application_tells() {
    let instance = FakeInstance::start().await;
    let mut balancer = FakeBalancer::start().await;
    let agent = Agent::start(instance.address, &[balancer.address], "--mode passive --interval 200ms");
    let first = balancer.report_with("ready", |report| report.state == State::Ready).await;
    assert_eq!((first.mode, first.address.as_str()), (Mode::Passive, &*instance.address.to_string()));

    let page = json!({"method": "GET", "path": "/news/7", "status": 200, "held_us": 900, "ttfb_us": 500, "bytes": 5});
    let export = json!({"class": "export", "status": 500, "held_us": 1_500_000, "bytes": 0});
    let answer = agent.admin_post("/v1/observe", json!([page, export]).to_string()).await;
    assert_eq!((answer.status, &answer.json()["taken"]), (200, &2.into()), "{}", answer.body);
    let report = balancer.report_with("classes", |report| !report.classes.is_empty()).await;
    let mut classes: Vec<_> =
        report.classes.iter().map(|c| (c.class.as_str(), c.requests, c.errors, c.held_us.sum())).collect();
    classes.sort();
    assert_eq!(classes, [("GET /news/{n}", 1, 0, 900), ("export", 1, 1, 1_500_000)]);
    assert_eq!(report.heavy_urls[0].url, "/news/7");

    let mut bad = page.clone();
    bad["held_us"] = json!(-1);
    let answer = agent.admin_post("/v1/observe", json!([page, bad]).to_string()).await;
    assert_eq!(answer.status, 422);
    assert!(answer.body.starts_with("[1].held_us: "), "{}", answer.body);
    assert_eq!(agent.admin_post("/v1/observe", "{").await.status, 400);

    let address = instance.kill().await;
    let _instance = FakeInstance::start_at(address).await;
    agent.is_ready().await;
    agent.stop();
    assert_eq!(balancer.report_with("down", |report| report.state == State::Down).await.mode, Mode::Passive);
    agent.ended().await;
}

#[tokio::test]
async fn passive_classifies_as_its_balancer_does() {
    let instance = FakeInstance::start().await;
    let mut balancer = FakeBalancer::start().await;
    let classification = json!({
        "version": 7,
        "rules": [{"name": "exports", "path": "^/export/(?P<kind>.*)"}],
        "templates": [{"path": "/docs", "names": 57, "share": 5, "extensions": true, "keep": {}}],
    });
    balancer.set_classification(serde_json::from_value(classification).expect("a classification"));
    let agent = Agent::start(instance.address, &[balancer.address], "--mode passive --interval 200ms");
    balancer.report_with("the version that it got", |report| report.classifications == [7]).await;
    let told = |path: &str, headers| json!({"method": "GET", "path": path, "headers": headers, "status": 200, "held_us": 1, "bytes": 5});
    let body = json!([told("/docs/a.pdf", json!({"Range": "bytes=0-1"})), told("/export/xml", json!({}))]);
    assert_eq!(agent.admin_post("/v1/observe", body.to_string()).await.status, 200);
    let report = balancer.report_with("classes", |report| !report.classes.is_empty()).await;
    let mut classes: Vec<_> = report.classes.iter().map(|class| class.class.as_str()).collect();
    classes.sort_unstable();
    assert_eq!(classes, ["GET /docs/*.pdf [range]", "exports kind=xml"]);
}

#[tokio::test]
async fn inline_sees_the_requests_itself() {
    let instance = FakeInstance::start().await;
    let balancer = FakeBalancer::start().await;
    let agent = Agent::start(instance.address, &[balancer.address], "");
    let answer = agent.admin_post("/v1/observe", "[]").await;
    assert_eq!(answer.status, 409);
    assert!(answer.body.contains("--mode passive"), "{}", answer.body);
}

#[tokio::test]
async fn the_status_tells_the_last_window_in_figures() {
    let instance = FakeInstance::start().await;
    let balancer = FakeBalancer::start().await;
    let agent = Agent::start(instance.address, &[balancer.address], "--name a1 --interval 300ms");
    agent.is_ready().await;
    agent.answer("/news/7").await;
    let mut status = json!(null);
    eventually("the window with the request", async || {
        status = agent.status().await;
        status["window"]["classes"][0]["class"] == "GET /news/{n}"
    })
    .await;
    assert_eq!(
        (&status["name"], &status["state"], &status["mode"]),
        (&json!("a1"), &json!("ready"), &json!("inline"))
    );
    let class = &status["window"]["classes"][0];
    assert_eq!((&class["requests"], &class["response_bytes"]["p99"]), (&json!(1), &json!(5)));
    assert!(class["held_us"]["p50"].as_u64().is_some_and(|us| us > 0), "{class}");
}

#[tokio::test]
async fn metrics_count_what_happened() {
    let instance = FakeInstance::start().await;
    let balancer = FakeBalancer::start().await;
    let agent = Agent::start(instance.address, &[balancer.address], "--workers 3");
    agent.is_ready().await;
    agent.answer("/page").await;
    agent.answer("/status/500").await;
    let reported = format!(
        r#"sluice_agent_reports_total{{balancer="http://{}",outcome="acknowledged"}} 0"#,
        balancer.address
    );
    eventually("a report", async || !agent.metrics().await.contains(&reported)).await;
    let metrics = agent.metrics().await;
    for line in [
        r#"sluice_agent_requests_total{class="GET /page",outcome="ok"} 1"#,
        r#"sluice_agent_requests_total{class="GET /status/{n}",outcome="error"} 1"#,
        r#"sluice_agent_held_seconds_count{class="GET /page"} 1"#,
        "sluice_agent_first_byte_seconds_count 2",
        "sluice_agent_queue_seconds_count 2",
        "sluice_agent_response_bytes_sum 16",
        "sluice_agent_workers 3",
        "sluice_agent_workers_busy 0",
        "sluice_agent_queued 0",
        "sluice_agent_instance_up 1",
        r#"sluice_agent_failures_total{reason="connect_failed"} 0"#,
    ] {
        assert!(metrics.lines().any(|have| have == line), "{line} is not in:\n{metrics}");
    }
    assert!(metrics.contains("sluice_agent_report_age_seconds{balancer="), "{metrics}");
}

#[tokio::test]
async fn a_health_path_is_asked_and_its_status_counts() {
    let instance = FakeInstance::start().await;
    let mut balancer = FakeBalancer::start().await;
    let flags = "--health-path /status/500 --health-interval 100ms";
    let sick = Agent::start(instance.address, &[balancer.address], flags);
    let report =
        balancer.report_with("a verdict", |report| report.reason.as_deref() != Some("not checked yet")).await;
    assert_eq!(report.state, State::Down);
    assert_eq!(report.reason.as_deref(), Some("GET /status/500 is answered with 500"));
    assert_eq!(sick.admin_get("/readyz").await.status, 503);

    let well = Agent::start(instance.address, &[balancer.address], "--health-path /status/404");
    well.is_ready().await;
}

/// One worker that works for long does not answer a check either: that is no reason to take it out.
#[tokio::test]
async fn a_busy_instance_is_not_a_sick_one() {
    let instance = FakeInstance::start().await;
    let balancer = FakeBalancer::start().await;
    let flags = "--health-path /health --health-interval 100ms --health-timeout 50ms";
    let agent = Agent::start(instance.address, &[balancer.address], flags);
    agent.is_ready().await;
    let request = tokio::spawn(Answer::to(agent.get("/trickle")));
    agent.occupancy_is(1, 0).await;
    instance.set_stuck(true);
    let busy = |n: u32| format!(r#"sluice_agent_health_checks_total{{outcome="busy"}} {n}"#);
    eventually("some checks", async || {
        let metrics = agent.metrics().await;
        (0..5).all(|n| !metrics.contains(&busy(n)))
    })
    .await;
    assert_eq!(agent.admin_get("/readyz").await.status, 200);
    // Free again, and still without an answer: now it is one.
    instance.let_go(1);
    request.await.expect("no panic");
    eventually("a verdict", async || agent.admin_get("/readyz").await.status == 503).await;
}

/// It does not know whether the workers are busy, and must not guess that they are idle.
#[tokio::test]
async fn a_passive_agent_does_not_take_a_busy_instance_for_a_sick_one() {
    let instance = FakeInstance::start().await;
    let balancer = FakeBalancer::start().await;
    let flags = "--mode passive --health-path /health --health-interval 100ms --health-timeout 50ms";
    let agent = Agent::start(instance.address, &[balancer.address], flags);
    agent.is_ready().await;
    assert!(agent.metrics().await.contains("sluice_agent_workers_busy NaN"), "nobody knows");
    instance.set_stuck(true);
    let none_busy = r#"sluice_agent_health_checks_total{outcome="busy"} 0"#;
    eventually("a check without an answer", async || !agent.metrics().await.contains(none_busy)).await;
    assert_eq!(agent.admin_get("/readyz").await.status, 200);
}
