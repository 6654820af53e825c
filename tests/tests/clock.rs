//! An agent calls its instance when its clocks say so: through the gate, never twice at once, not while it leaves.

use std::fs;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sluice_tests::admin::{json, metric, until_metric};
use sluice_tests::script::{Answering, RawInstance, Refusing};
use sluice_tests::site::{Agent, Balancer};
use sluice_tests::wire::{Conn, get, ok};
use sluice_tests::{PATIENCE, eventually, expect};
use tempfile::TempDir;

const RUNS: &str = "sluice_agent_clock_runs_total";

/// An agent with one worker and `clocks` in its file; what it needs to live.
async fn agent(instance: SocketAddr, clocks: &str) -> (Agent, Balancer, TempDir) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("agent.toml");
    fs::write(dir.path().join("credentials"), "admin:secret\n").expect("a file");
    fs::write(&path, clocks.replace("DIR", dir.path().to_str().expect("UTF-8"))).expect("a file");
    let balancer = Balancer::start("");
    let agent = Agent::start(balancer.admin, instance, &format!("--config {}", path.display()));
    (agent, balancer, dir)
}

fn outcome(outcome: &str) -> String {
    format!("outcome=\"{outcome}\"")
}

async fn until_at_least(admin: SocketAddr, name: &str, labels: &[&str], least: f64) {
    eventually(&format!("{name}{labels:?} >= {least}"), PATIENCE, async || {
        expect(metric(admin, name, labels).await, |value| *value >= least)
    })
    .await;
}

async fn until_waiting(admin: SocketAddr, wanted: u64) {
    eventually("the queue at the gate", PATIENCE, async || {
        expect(json(admin, "/v1/status").await["now"]["queued"].clone(), |queued| *queued == wanted)
    })
    .await;
}

/// The agent's only worker is busy with a client's request, which the test may answer.
async fn busy(agent: &Agent, instance: &mut RawInstance) -> (Conn, Conn) {
    let mut client = Conn::open(agent.address).await;
    client.send(get("/busy")).await;
    loop {
        let mut server = instance.accept().await;
        if server.request().await.head.start.starts_with("GET /busy ") {
            return (client, server);
        }
        // A clock came first.
        server.send(ok("")).await;
    }
}

#[tokio::test]
async fn the_request_is_as_configured_and_counted_as_its_own_class() {
    let mut instance = RawInstance::start().await;
    let clocks = r#"
        [[clock]]
        name = "pack"
        path = "/Control_Panel/pack?days=7"
        method = "POST"
        every = "1s"
        host = "site.example"
        credentials-file = "DIR/credentials"
        headers = { X-Task = "pack" }
    "#;
    let (agent, _balancer, _dir) = agent(instance.address(), clocks).await;
    let mut server = instance.accept().await;
    let request = server.request().await;
    assert_eq!(request.head.start, "POST /Control_Panel/pack?days=7 HTTP/1.1");
    for (name, value) in [
        ("host", "site.example"),
        ("authorization", "Basic YWRtaW46c2VjcmV0"), // admin:secret
        ("x-task", "pack"),
    ] {
        assert_eq!(request.head.get(name), Some(value), "{name}");
    }
    let now = json(agent.admin, "/v1/status").await["now"].clone();
    assert_eq!(now["in_flight"], 1, "it holds the worker");
    server.send(ok("done")).await;
    until_metric(agent.admin, RUNS, &["clock=\"pack\"", &outcome("ok")], 1.0).await;
    until_metric(agent.admin, "sluice_agent_clock_seconds_count", &["clock=\"pack\""], 1.0).await;
    let labels = ["class=\"clock pack\"", &outcome("ok")];
    until_metric(agent.admin, "sluice_agent_requests_total", &labels, 1.0).await;
    let name = "sluice_agent_clock_last_success_timestamp_seconds";
    let last = metric(agent.admin, name, &["clock=\"pack\""]).await;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs_f64();
    assert!((now - 60.0..=now).contains(&last), "{last}, now {now}");
}

#[tokio::test]
async fn it_waits_for_a_worker_and_is_never_under_way_twice() {
    let mut instance = RawInstance::start().await;
    let clocks = "[[clock]]\nname = 'tick'\npath = '/tick'\nevery = '1s'\n";
    let (agent, _balancer, _dir) = agent(instance.address(), clocks).await;
    let (mut client, mut server) = busy(&agent, &mut instance).await;
    until_waiting(agent.admin, 1).await;
    let seen = instance.connections();
    let overlaps = metric(agent.admin, RUNS, &[&outcome("overlap")]).await;
    until_at_least(agent.admin, RUNS, &[&outcome("overlap")], overlaps + 1.0).await;
    assert_eq!(instance.connections(), seen, "the instance sees nothing of it while its worker is busy");
    until_waiting(agent.admin, 1).await;

    server.send(ok("")).await;
    assert_eq!(client.response().await.status(), 200);
    let mut tick = instance.accept().await;
    assert!(tick.request().await.head.start.starts_with("GET /tick "));
    let overlaps = metric(agent.admin, RUNS, &[&outcome("overlap")]).await;
    until_at_least(agent.admin, RUNS, &[&outcome("overlap")], overlaps + 1.0).await;
    until_waiting(agent.admin, 0).await;
    assert_eq!(instance.connections(), seen + 1, "one at a time");
    let before = metric(agent.admin, RUNS, &[&outcome("ok")]).await;
    tick.send(ok("")).await;
    until_at_least(agent.admin, RUNS, &[&outcome("ok")], before + 1.0).await;
}

#[tokio::test]
async fn none_begins_once_the_agent_leaves() {
    let mut instance = RawInstance::start().await;
    let clocks = "[[clock]]\nname = 'tick'\npath = '/tick'\nevery = '1s'\n";
    let (agent, _balancer, _dir) = agent(instance.address(), clocks).await;
    let (mut client, mut server) = busy(&agent, &mut instance).await;
    until_waiting(agent.admin, 1).await;
    let seen = instance.connections();
    agent.stop();
    // One that waits gives up, and the next one that is due does not begin.
    until_at_least(agent.admin, RUNS, &[&outcome("draining")], 2.0).await;
    until_waiting(agent.admin, 0).await;
    server.send(ok("")).await;
    assert_eq!(client.response().await.status(), 200);
    agent.ended().await;
    assert_eq!(instance.connections(), seen);
}

#[tokio::test]
async fn one_that_runs_is_finished_before_the_agent_ends() {
    let mut instance = RawInstance::start().await;
    let clocks = "[[clock]]\nname = 'tick'\npath = '/tick'\nevery = '1s'\n";
    let (agent, balancer, _dir) = agent(instance.address(), clocks).await;
    let mut server = instance.accept().await;
    server.request().await;
    agent.stop();
    eventually("the balancer's word of the drain", PATIENCE, async || {
        let list = sluice_tests::admin::instances(balancer.admin).await;
        if list.iter().any(|i| i["state"] == "draining") { Ok(()) } else { Err(format!("{list:?}")) }
    })
    .await;
    let now = json(agent.admin, "/v1/status").await["now"].clone();
    assert_eq!(now["in_flight"], 1, "it is waited for");
    server.send(ok("done")).await;
    agent.ended().await;
}

#[tokio::test]
async fn what_became_of_it_is_told_by_status() {
    let instance = Answering::with(|request| {
        let path = request.head.start.split(' ').nth(1).unwrap_or_default();
        match path {
            "/moved" => b"HTTP/1.1 302 Found\r\nlocation: /ok\r\ncontent-length: 0\r\n\r\n".to_vec(),
            "/missing" => b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n".to_vec(),
            "/error" => b"HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n".to_vec(),
            "/garbage" => b"garbage\r\n\r\n".to_vec(),
            "/slow" => b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n".to_vec(),
            _ => ok("").into_bytes(),
        }
    })
    .await;
    let cases = [
        ("/ok", "ok"),
        ("/moved", "redirect"),
        ("/missing", "client_error"),
        ("/error", "server_error"),
        ("/garbage", "no_answer"),
        ("/slow", "timeout"),
    ];
    let entry = |(path, _): &(&str, &str)| {
        let timeout = if *path == "/slow" { "300ms" } else { "10s" };
        format!("[[clock]]\nname = '{path}'\npath = '{path}'\nevery = '1s'\ntimeout = '{timeout}'\n")
    };
    let clocks: String = cases.iter().map(entry).collect();
    let (agent, _balancer, _dir) = agent(instance.address(), &clocks).await;
    for (path, wanted) in cases {
        until_at_least(agent.admin, RUNS, &[&format!("clock=\"{path}\""), &outcome(wanted)], 1.0).await;
    }
    assert_eq!(metric(agent.admin, RUNS, &["clock=\"/moved\"", &outcome("ok")]).await, 0.0, "not followed");
}

#[tokio::test]
async fn an_instance_that_is_down_is_left_alone() {
    let clocks = "[[clock]]\nname = 'tick'\npath = '/tick'\nevery = '1s'\n";
    let dead = Refusing::start();
    let (agent, _balancer, _dir) = agent(dead.address(), clocks).await;
    until_at_least(agent.admin, RUNS, &[&outcome("down")], 1.0).await;
    assert_eq!(metric(agent.admin, RUNS, &[&outcome("no_answer")]).await, 0.0);
}

#[tokio::test]
async fn jitter_puts_a_run_off_and_holds_nothing_meanwhile() {
    let instance = Answering::named("a").await;
    let clocks = "[[clock]]\nname = 'tick'\npath = '/tick'\nevery = '1s'\njitter = '1s'\n";
    let (agent, _balancer, _dir) = agent(instance.address(), clocks).await;
    until_at_least(agent.admin, RUNS, &[&outcome("ok")], 2.0).await;
    agent.stop();
    tokio::time::timeout(Duration::from_secs(10), agent.ended()).await.expect("nothing holds it up");
}
