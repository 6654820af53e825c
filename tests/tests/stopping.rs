//! An agent that is stopped (SIGSTOP, a debugger, a frozen container or virtual machine) goes on accepting connections by
//! its kernel, and says nothing: no connection ends, and none is refused.

use sluice_tests::process::{Process, free_addresses};
use sluice_tests::script::{Answering, RawInstance};
use sluice_tests::site::{Agent, Balancer};
use sluice_tests::wire::{Conn, ask, get, ok};
use sluice_tests::{PATIENCE, admin};

/// What may be sent twice is sent elsewhere once the agent has been silent for two intervals and does not answer a
/// question of the balancer's; when it goes on, it gets requests again.
#[tokio::test]
async fn a_get_that_waits_for_a_stopped_agent_is_sent_elsewhere() {
    let balancer = Balancer::start("");
    let mut instance = RawInstance::start().await;
    let [data, own_admin] = free_addresses();
    let flags = format!(
        "--balancer http://{} --instance {} --listen {data} --admin {own_admin} --name stopped --interval 100ms",
        balancer.admin,
        instance.address()
    );
    let stopped = Process::start("sluice-agent", &flags);
    admin::until_routed(balancer.admin, 1, PATIENCE).await;
    let mut client = Conn::open(balancer.address).await;
    client.send(get("/")).await;
    let mut held = instance.accept().await;
    held.request().await;
    stopped.signal("STOP");

    let other = Answering::named("alive").await;
    let alive = Agent::start(balancer.admin, other.address(), "--name alive");
    let response = client.response().await;
    assert_eq!((response.status(), response.text().as_str()), (200, "alive"));
    let asked = ask(balancer.address, get("/")).await;
    assert_eq!(asked.text(), "alive", "nothing more is sent to the one that is stopped");

    stopped.signal("CONT");
    drop(held);
    admin::until_routed(balancer.admin, 2, PATIENCE).await;
    alive.stop();
    admin::until_routed(balancer.admin, 1, PATIENCE).await;
    client.send(get("/again")).await;
    tokio::select! {
        response = client.response() => assert_eq!(response.text(), "gone on"),
        () = answer_all(&mut instance) => unreachable!("it goes on for ever"),
    }
}

/// Also what the agent found in its sockets when it went on.
async fn answer_all(instance: &mut RawInstance) {
    let mut answered = Vec::new();
    loop {
        let mut conn = instance.accept().await;
        if conn.try_head().await.is_ok() && conn.try_send(ok("gone on")).await.is_ok() {
            answered.push(conn);
        }
    }
}
