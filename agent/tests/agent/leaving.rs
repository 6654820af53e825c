//! The drain: told first, finished next, gone last.

use sluice_proto::{Report, State, headers::REFUSED};

use crate::support::{
    Agent, Answer,
    balancer::{FakeBalancer, Manner},
    instance::FakeInstance,
    wire::Wire,
};

/// An hour between reports: what comes was not sent by the timer.
async fn site(flags: &str) -> (FakeInstance, FakeBalancer, Agent) {
    let instance = FakeInstance::start().await;
    let mut balancer = FakeBalancer::start().await;
    let agent = Agent::start(instance.address, &[balancer.address], &format!("--interval 1m {flags}"));
    balancer.report_with("ready", |report| report.state == State::Ready).await;
    (instance, balancer, agent)
}

fn word(report: &Report) -> (State, Option<&str>) {
    (report.state, report.reason.as_deref())
}

#[tokio::test]
async fn told_first_finished_next_gone_last() {
    let (instance, mut balancer, agent) = site("--queue-length 4").await;
    let at_work = tokio::spawn(Answer::to(agent.get("/hold")));
    agent.occupancy_is(1, 0).await;
    let waiting = tokio::spawn(Answer::to(agent.get("/hold")));
    agent.occupancy_is(1, 1).await;

    agent.stop();
    let draining = balancer.report().await;
    assert_eq!(word(&draining), (State::Draining, Some("asked to stop")));
    assert_eq!((draining.now.in_flight, draining.now.queued), (1, 1));
    // A request that was on its way when the balancer heard of it is served like any other.
    let late = tokio::spawn(Answer::to(agent.post("/hold")));
    agent.occupancy_is(1, 2).await;
    assert_eq!(agent.admin_get("/readyz").await.status, 503);
    assert_eq!(agent.admin_get("/healthz").await.status, 200);
    instance.let_go(3);
    for request in [at_work, waiting, late] {
        assert_eq!(request.await.expect("no panic").status, 200);
    }

    let last = balancer.report().await;
    assert_eq!(word(&last), (State::Down, Some("stopped")));
    assert_eq!(last.classes.iter().map(|class| class.requests).sum::<u64>(), 3, "nothing is left untold");
    let address = agent.data();
    agent.ended().await;
    assert!(balancer.left().is_empty());
    assert!(tokio::net::TcpStream::connect(address).await.is_err(), "nobody listens any more");
}

#[tokio::test]
async fn a_tunnel_is_waited_for() {
    let (_instance, mut balancer, agent) = site("").await;
    let mut client = Wire::connect(agent.data()).await;
    client.send("GET /ws HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n").await;
    client.read_until("\r\n\r\n").await;
    agent.stop();
    assert_eq!(balancer.report().await.state, State::Draining);
    client.send("still here?").await;
    assert_eq!(client.read_until("?").await, "still here?");
    drop(client);
    assert_eq!(balancer.report().await.state, State::Down);
    agent.ended().await;
}

#[tokio::test]
async fn what_does_not_end_in_time_is_cut_and_what_waits_is_refused() {
    let (_instance, mut balancer, agent) = site("--drain-timeout 50ms").await;
    let mut at_work = Wire::connect(agent.data()).await;
    at_work.send("GET /trickle HTTP/1.1\r\nhost: a\r\n\r\n").await;
    at_work.read_until("1\r\nx\r\n").await;
    let waiting = tokio::spawn(Answer::to(agent.post("/page")));
    agent.occupancy_is(1, 1).await;
    agent.stop();
    let refused = waiting.await.expect("no panic");
    assert_eq!((refused.status, refused.header(REFUSED)), (503, Some("stopping")));
    let (rest, _) = at_work.read_to_end().await;
    assert!(!rest.contains("0\r\n\r\n"), "it must not look complete: {rest:?}");
    assert_eq!(balancer.report().await.state, State::Draining);
    assert_eq!(balancer.report().await.state, State::Down);
    agent.ended().await;
}

#[tokio::test]
async fn asked_twice_it_ends_at_once() {
    let (_instance, mut balancer, agent) = site("--drain-timeout 1h").await;
    let mut client = Wire::connect(agent.data()).await;
    client.send("GET /hold HTTP/1.1\r\nhost: a\r\n\r\n").await;
    agent.occupancy_is(1, 0).await;
    agent.stop();
    assert_eq!(balancer.report().await.state, State::Draining);
    agent.stop_now();
    client.read_to_end().await;
    assert_eq!(word(&balancer.report().await), (State::Down, Some("stopped")));
    agent.ended().await;
}

#[tokio::test]
async fn an_operators_drain_tells_the_balancer_and_stays() {
    let (_instance, mut balancer, agent) = site("").await;
    let answer = agent.admin_post("/v1/drain", "").await;
    assert_eq!((answer.status, &answer.json()["state"]), (200, &"draining".into()));
    assert_eq!(word(&balancer.report().await), (State::Draining, Some("drained by POST /v1/drain")));
    assert_eq!(agent.admin_get("/readyz").await.body, "drain: drained by POST /v1/drain\n");
    assert_eq!(agent.answer("/page").await.status, 200, "what still comes is served");
    agent.stop();
    assert_eq!(word(&balancer.report().await), (State::Down, Some("stopped")));
    agent.ended().await;
}

#[tokio::test]
async fn balancers_that_do_not_listen_are_not_waited_for_long() {
    let (_instance, balancer, agent) = site("").await;
    balancer.set_manner(Manner::Silence);
    agent.stop();
    agent.ended().await; // 3 s at most, which `ended` would not let grow to a minute

    let (_instance, balancer, agent) = site("").await;
    balancer.kill().await;
    agent.stop();
    agent.ended().await;
}
