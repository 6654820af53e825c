//! Requests through the agent: what the instance sees of them, what it is spared, what comes back.

use sluice_proto::headers::{CLASS, FAILED, REFUSED};
use tokio::task::{JoinHandle, JoinSet};

use crate::support::{
    Agent, Answer, balancer::FakeBalancer, eventually, instance::FakeInstance, soon, wire::Wire,
};

struct Site {
    instance: FakeInstance,
    balancer: FakeBalancer,
    agent: Agent,
}

async fn site(flags: &str) -> Site {
    let instance = FakeInstance::start().await;
    let balancer = FakeBalancer::start().await;
    let agent = Agent::start(instance.address, &[balancer.address], flags);
    agent.is_ready().await;
    Site { instance, balancer, agent }
}

/// A request in a task of its own.
fn under_way(agent: &Agent, path: &str) -> JoinHandle<Answer> {
    tokio::spawn(Answer::to(agent.get(path)))
}

#[tokio::test]
async fn a_request_arrives_and_its_answer_comes_back_without_anything_of_sluice() {
    let Site { instance, agent, .. } = site("").await;
    let request =
        agent.post("/echo?q=1").header(CLASS, "the balancer's").header("x-forwarded-for", "192.0.2.1");
    let answer = Answer::to(request.body("ping")).await;
    assert_eq!((answer.status, &*answer.body), (200, "ping"));
    let seen = &instance.seen()[0];
    assert_eq!((seen.method.as_str(), &*seen.target), ("POST", "/echo?q=1"));
    assert_eq!(seen.headers["x-forwarded-for"], "192.0.2.1", "the balancer is believed");
    assert!(seen.headers.contains_key("x-request-id"));
    assert!(seen.headers.keys().all(|name| !name.as_str().starts_with("x-sluice")), "{:?}", seen.headers);
    assert_eq!(agent.answer("/page").await.header(REFUSED), None, "an instance can not refuse");
}

/// What the balancer asks when it hears nothing: it must not wait for a worker, nor be taken for traffic.
#[tokio::test]
async fn the_question_whether_it_runs_is_the_agents_own_to_answer() {
    let Site { instance, agent, .. } = site("").await;
    let held = under_way(&agent, "/hold");
    agent.occupancy_is(1, 0).await;
    let mut client = Wire::connect(agent.data()).await;
    client.send("OPTIONS * HTTP/1.1\r\nhost: \r\nx-sluice-probe: alive\r\nconnection: close\r\n\r\n").await;
    let (answer, in_order) = client.read_to_end().await;
    assert!(answer.starts_with("HTTP/1.1 204 ") && in_order, "{answer}");
    assert!(!answer.to_lowercase().contains("sluice"), "it tells nothing else: {answer}");
    instance.let_go(1);
    assert_eq!(held.await.expect("no panic").status, 200);
    let mut client = Wire::connect(agent.data()).await;
    client.send("OPTIONS * HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
    client.read_to_end().await;
    let seen: Vec<_> =
        instance.seen().iter().map(|seen| format!("{} {}", seen.method, seen.target)).collect();
    assert_eq!(seen, ["GET /hold", "OPTIONS *"], "anybody else's is the instance's");
}

#[tokio::test]
async fn never_more_at_the_instance_than_it_has_workers() {
    let Site { instance, agent, .. } = site("--workers 3 --queue-length 100").await;
    let mut answers = JoinSet::new();
    for _ in 0..40 {
        answers.spawn(Answer::to(agent.get("/hold")));
    }
    agent.occupancy_is(3, 37).await;
    eventually("three at the instance", async || instance.inside() == 3).await;
    instance.let_go(40);
    while let Some(answer) = answers.join_next().await {
        assert_eq!(answer.expect("no panic").status, 200);
    }
    assert_eq!(instance.most_inside(), 3);
    agent.occupancy_is(0, 0).await;
}

#[tokio::test]
async fn a_full_queue_refuses_so_that_the_balancer_may_send_it_elsewhere() {
    let Site { instance, agent, .. } = site("--queue-length 1").await;
    let first = under_way(&agent, "/hold");
    agent.occupancy_is(1, 0).await;
    let second = under_way(&agent, "/hold");
    agent.occupancy_is(1, 1).await;
    let third = Answer::to(agent.post("/hold")).await;
    assert_eq!((third.status, third.header(REFUSED)), (503, Some("queue_full")));
    assert!(third.header("retry-after").is_some());
    instance.let_go(2);
    assert_eq!(first.await.expect("no panic").status, 200);
    assert_eq!(second.await.expect("no panic").status, 200);
    assert_eq!(instance.seen().len(), 2, "the refused one was not seen");
    assert!(agent.metrics().await.contains(r#"sluice_agent_failures_total{reason="queue_full"} 1"#));
}

#[tokio::test]
async fn waiting_too_long_is_a_refusal_as_well() {
    let Site { instance, agent, .. } = site("--queue-timeout 20ms").await;
    let first = under_way(&agent, "/hold");
    agent.occupancy_is(1, 0).await;
    let second = agent.answer("/page").await;
    assert_eq!((second.status, second.header(REFUSED)), (503, Some("queue_timeout")));
    instance.let_go(1);
    assert_eq!(first.await.expect("no panic").status, 200);
}

#[tokio::test]
async fn who_leaves_gives_back_the_place_and_the_worker() {
    let Site { instance, agent, .. } = site("--queue-length 1").await;
    let request = "GET /hold HTTP/1.1\r\nhost: a\r\n\r\n";
    let mut at_work = Wire::connect(agent.data()).await;
    at_work.send(request).await;
    agent.occupancy_is(1, 0).await;
    let mut waits = Wire::connect(agent.data()).await;
    waits.send(request).await;
    agent.occupancy_is(1, 1).await;

    waits.reset();
    agent.occupancy_is(1, 0).await;
    drop(at_work); // an end in order, after which nothing is taken
    agent.occupancy_is(0, 0).await;
    eventually("the instance to hear of it", async || instance.inside() == 0).await;
    assert_eq!(instance.seen().len(), 1);
    let counted = r#"sluice_agent_requests_total{class="GET /hold",outcome="client_gone"} 1"#;
    assert!(agent.metrics().await.contains(counted));
}

#[tokio::test]
async fn the_worker_is_free_at_the_point_that_is_configured() {
    for (release, busy, streaming) in [("first-byte", 0, 1), ("end", 1, 0), ("auto", 1, 0)] {
        let Site { instance, agent, .. } = site(&format!("--release {release}")).await;
        let mut client = Wire::connect(agent.data()).await;
        client.send("GET /trickle HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
        client.read_until("1\r\nx\r\n").await;
        let now = agent.status().await["now"].clone();
        assert_eq!((&now["in_flight"], &now["streaming"]), (&busy.into(), &streaming.into()), "{release}");
        instance.let_go(1);
        client.read_to_end().await;
        eventually("the end of the stream", async || agent.status().await["now"]["streaming"] == 0).await;
        agent.occupancy_is(0, 0).await;
    }
}

#[tokio::test]
async fn nobody_listening_is_told_at_once_to_client_and_balancer() {
    // An hour: what comes sooner was not found by the timers.
    let Site { instance, mut balancer, agent } = site("--interval 1m --health-interval 1h").await;
    balancer.report_with("ready", |report| report.state == sluice_proto::State::Ready).await;
    let address = instance.kill().await;
    let answer = Answer::to(agent.post("/page")).await;
    assert_eq!((answer.status, answer.header(REFUSED)), (502, Some("connect_failed")));
    let report = balancer.report_with("down", |report| report.state == sluice_proto::State::Down).await;
    assert_eq!(report.reason.as_deref(), Some("it does not accept connections"));
    assert_eq!(agent.admin_get("/readyz").await.status, 503);

    let instance = FakeInstance::start_at(address).await;
    balancer.report_with("ready again", |report| report.state == sluice_proto::State::Ready).await;
    assert_eq!(agent.answer("/page").await.status, 200);
    assert_eq!(instance.seen().len(), 1);
}

#[tokio::test]
async fn a_connection_that_the_instance_closed_meanwhile_costs_nothing() {
    let Site { instance, agent, .. } = site("").await;
    for _ in 0..20 {
        assert_eq!(agent.answer("/once").await.status, 200);
    }
    assert_eq!(instance.seen().len(), 20);
}

#[tokio::test]
async fn a_response_that_breaks_off_is_seen_to_break_off() {
    let Site { mut balancer, agent, .. } = site("").await;
    let mut client = Wire::connect(agent.data()).await;
    client.send("GET /cut HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let head = client.read_until("\r\n\r\n").await;
    assert!(head.to_lowercase().contains("content-length: 1000"), "{head}");
    let (body, _) = client.read_to_end().await;
    assert!(body.len() < 1000, "{}", body.len());
    let report = balancer.report_with("a class", |report| !report.classes.is_empty()).await;
    let class = &report.classes[0];
    assert_eq!((class.class.as_str(), class.requests, class.errors), ("GET /cut", 1, 1));
}

#[tokio::test]
async fn no_answer_from_an_instance_that_was_asked_is_told_apart_from_a_refusal() {
    let Site { instance, mut balancer, agent } = site("").await;
    let answer = Answer::to(agent.post("/vanish")).await;
    assert_eq!((answer.status, answer.header(REFUSED)), (502, None), "it may have been executed");
    assert_eq!(answer.header(FAILED), Some("closed_early"));
    assert_eq!(instance.seen().len(), 1, "and was not made again");
    let report = balancer.report_with("a class", |report| !report.classes.is_empty()).await;
    let class = &report.classes[0];
    assert_eq!((class.class.as_str(), class.requests, class.errors), ("POST /vanish", 1, 1));
    assert_eq!((class.held_us.count(), class.ttfb_us.count()), (1, 0));
}

#[tokio::test]
async fn a_websocket_passes_and_holds_its_worker() {
    let Site { mut balancer, agent, .. } = site("").await;
    let mut client = Wire::connect(agent.data()).await;
    client.send("GET /ws HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n").await;
    let head = client.read_until("\r\n\r\n").await.to_lowercase();
    assert!(head.starts_with("http/1.1 101 ") && head.contains("upgrade: websocket"), "{head}");
    for word in ["ping", "pong"] {
        client.send(word).await;
        assert_eq!(client.read_until(word).await, word);
    }
    agent.occupancy_is(1, 0).await;
    drop(client);
    agent.occupancy_is(0, 0).await;
    let report = balancer.report_with("a class", |report| !report.classes.is_empty()).await;
    let class = &report.classes[0];
    assert_eq!((class.requests, class.errors, class.response_bytes.sum()), (1, 0, 8));
}

#[tokio::test]
async fn a_bad_request_is_bad_everywhere() {
    let Site { instance, agent, .. } = site("").await;
    let mut client = Wire::connect(agent.data()).await;
    client.send("GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n").await;
    let (answer, _) = client.read_to_end().await;
    assert!(answer.starts_with("HTTP/1.1 400 ") && !answer.to_lowercase().contains(REFUSED), "{answer}");
    assert!(instance.seen().is_empty());
}

#[tokio::test]
async fn a_taken_port_is_named() {
    let Site { instance, balancer, agent } = site("").await;
    let options = sluice_agent::Options {
        balancer: vec![format!("http://{}", balancer.address).parse().expect("a URL")],
        instance: Some(instance.address.into()),
        listen: Some(agent.data().to_string().parse().expect("an address")),
        admin: Some("127.0.0.1:0".parse().expect("an address")),
        ..Default::default()
    };
    let config = sluice_agent::Config::load(options).expect("a configuration");
    let started = sluice_agent::start(config, sluice_process::Shutdown::new());
    let error = started.map(|_| ()).expect_err("taken").to_string();
    assert!(error.contains(&agent.data().to_string()), "{error}");
    soon("the first to go on", agent.answer("/page")).await;
}
