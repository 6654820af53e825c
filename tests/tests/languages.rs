//! What HAProxy, httpd and Envoy are told in their own languages, and what applications say in ORCA's.

use std::net::SocketAddr;

use serde_json::Value;
use sluice_tests::script::{Answering, RawInstance};
use sluice_tests::site::{Agent, Balancer};
use sluice_tests::wire::{Conn, ask, get, ok};
use sluice_tests::{PATIENCE, admin, eventually, expect, soon};
use tokio::net::UdpSocket;

/// One `agent-check` of HAProxy's, with something from `agent-send`, which the agent does not read.
async fn checked(address: SocketAddr) -> String {
    let mut conn = Conn::open(address).await;
    conn.send("backend zope\n").await;
    conn.half_close().await;
    let (line, ending) = conn.rest().await;
    format!("{} {ending:?}", String::from_utf8_lossy(&line))
}

async fn until_told(agent: &Agent, wanted: impl Fn(&str) -> bool) {
    let address = agent.agent_check.expect("it listens");
    eventually("agent-check", PATIENCE, async || expect(checked(address).await, |line| wanted(line))).await;
}

#[tokio::test]
async fn haproxy_hears_of_state_and_load() {
    let mut instance = RawInstance::start().await;
    let agent =
        Agent::beside(instance.address(), "--workers 4 --agent-check 127.0.0.1:0 --agent-check-peers 2");
    until_told(&agent, |line| line == "ready up 100% maxconn:2\n Closed").await;
    let mut held = vec![];
    for _ in 0..3 {
        let mut conn = Conn::open(agent.address).await;
        conn.send(get("/blob")).await;
        let mut asked = instance.accept().await;
        asked.request().await;
        held.push((conn, asked));
    }
    until_told(&agent, |line| line.starts_with("ready up 2") && line.contains("% maxconn:2\n")).await;
    for (conn, asked) in &mut held {
        asked.send(ok("done")).await;
        conn.response().await;
    }
    until_told(&agent, |line| line.starts_with("ready up 9") || line.starts_with("ready up 100%")).await;
    admin::post(agent.admin, "/v1/drain", "", "").await;
    until_told(&agent, |line| line == "up drain\n Closed").await;
    let told = admin::metric(agent.admin, "sluice_agent_agent_checks_total", &["state=\"draining\""]).await;
    assert!(told >= 1.0, "{told}");
}

#[tokio::test]
async fn haproxy_hears_why_an_instance_is_down() {
    let nobody = sluice_tests::script::Refusing::start();
    let agent = Agent::beside(nobody.address(), "--agent-check 127.0.0.1:0");
    until_told(&agent, |line| line == "down #it does not accept connections\n Closed").await;
}

#[tokio::test]
async fn httpd_hears_of_free_workers() {
    let heard = UdpSocket::bind("127.0.0.1:0").await.expect("a free port");
    let instance = Answering::named("zope").await;
    let to = heard.local_addr().expect("bound");
    let agent = Agent::beside(instance.address(), &format!("--workers 3 --heartbeat {to}"));
    let wanted = format!("v=1&ready=3&busy=0&port={}", agent.address.port());
    eventually("a heartbeat", 3 * PATIENCE, async || {
        let mut datagram = [0; 200];
        let length = soon("a datagram", heard.recv(&mut datagram)).await.expect("it can be read");
        expect(String::from_utf8_lossy(&datagram[..length]).into_owned(), |text| *text == wanted)
    })
    .await;
}

/// An application that tells its load with each page.
async fn telling() -> Answering {
    let fields = "endpoint-load-metrics: TEXT cpu_utilization=0.3,named_metrics.kv=2\r\n\
                  endpoint-load-metrics-bin: CQAAAAAAAOA/\r\n";
    Answering::with(move |_| format!("HTTP/1.1 200 OK\r\n{fields}content-length: 2\r\n\r\nok").into_bytes())
        .await
}

async fn until_up(agent: &Agent) {
    admin::until_metric(agent.admin, "sluice_agent_instance_up", &[], 1.0).await;
}

#[tokio::test]
async fn what_an_application_says_is_heard_and_goes_no_further() {
    let instance = telling().await;
    let balancer = Balancer::start("");
    let agent = Agent::start(balancer.admin, instance.address(), "");
    until_up(&agent).await;
    let answer = ask(agent.address, get("/")).await;
    assert_eq!(answer.text(), "ok");
    assert_eq!(answer.head.get("endpoint-load-metrics"), None);
    assert_eq!(answer.head.get("endpoint-load-metrics-bin"), None);
    let application = admin::json(agent.admin, "/v1/status").await["application"].clone();
    assert_eq!(
        (&application["cpu_utilization"], &application["named_metrics"]["kv"]),
        (&0.3.into(), &2.0.into())
    );
    let load = admin::metric(agent.admin, "sluice_agent_application_load", &["cpu_utilization"]).await;
    assert!((load - 0.3).abs() < 1e-9, "{load}");
    let taken = admin::metric(agent.admin, "sluice_agent_orca_reports_total", &["taken"]).await;
    assert!(taken >= 1.0, "{taken}");
    eventually("the balancer hears of it", PATIENCE, async || {
        let application =
            admin::instances(balancer.admin).await.first().map(|one| one["application"].clone());
        expect(application, |said| said.as_ref().is_some_and(|said| said["cpu_utilization"] == 0.3))
    })
    .await;
}

#[tokio::test]
async fn envoy_hears_what_the_agent_knows_and_the_application_says() {
    let instance = telling().await;
    let agent = Agent::beside(instance.address(), "--workers 3 --orca json");
    until_up(&agent).await;
    eventually("a report with a rate", PATIENCE, async || {
        let answer = ask(agent.address, get("/")).await;
        let field = answer.head.get("endpoint-load-metrics").expect("it is asked for").to_owned();
        let report: Value =
            serde_json::from_str(field.strip_prefix("JSON ").expect("the form")).expect("JSON");
        assert_eq!((&report["cpu_utilization"], &report["named_metrics"]["kv"]), (&0.3.into(), &2.0.into()));
        assert_eq!(answer.head.get("endpoint-load-metrics-bin"), None, "told once");
        let rate = report["rps_fractional"].as_f64().unwrap_or_default();
        let workers = &report["named_metrics"]["workers"];
        if rate > 0.0 && *workers == 3.0 { Ok(()) } else { Err(field) }
    })
    .await;
}
