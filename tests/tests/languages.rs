//! What HAProxy, httpd and Envoy are told in their own languages, and what applications say in ORCA's.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::Value;
use sluice_tests::http2::{self, Http2};
use sluice_tests::lineage::Lineage;
use sluice_tests::orca::{METHOD, Report, Subscription, call, wanting};
use sluice_tests::process::free_addresses;
use sluice_tests::script::{Answering, RawInstance};
use sluice_tests::site::{Agent, Balancer};
use sluice_tests::wire::{Conn, ask, get, ok};
use sluice_tests::{PATIENCE, admin, eventually, expect, soon};
use tokio::net::{TcpStream, UdpSocket};

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

const OFTEN: Duration = Duration::from_millis(100);

/// Flags of an agent that streams reports, as often as may be.
const STREAMS: &str = "--orca-listen 127.0.0.1:0 --orca-min-interval 100ms";

/// A connection to where reports are streamed.
async fn to_streams(agent: &Agent) -> Http2 {
    Http2::open(agent.orca.expect("it listens")).await
}

#[tokio::test]
async fn a_stream_tells_of_the_load_as_it_changes() {
    let mut instance = RawInstance::start().await;
    let agent = Agent::beside(instance.address(), &format!("--workers 4 {STREAMS}"));
    let (mut one, mut other) = (to_streams(&agent).await, to_streams(&agent).await);
    let mut streams = [
        Subscription::open(&mut one, OFTEN).await,
        Subscription::open(&mut one, OFTEN).await,
        Subscription::open(&mut other, OFTEN).await,
    ];
    let mut held = vec![];
    for _ in 0..3 {
        let mut conn = Conn::open(agent.address).await;
        conn.send(get("/blob")).await;
        let mut asked = instance.accept().await;
        asked.request().await;
        held.push((conn, asked));
    }
    for stream in &mut streams {
        let report = stream.until("three of four are busy", |r| r.application_utilization > 0.5).await;
        assert!(report.application_utilization <= 0.75 + 1e-9, "{report:?}");
        assert_eq!((report.named_metrics["workers"], report.named_metrics["busy_workers"]), (4.0, 3.0));
    }
    for (conn, asked) in &mut held {
        asked.send(ok("done")).await;
        conn.response().await;
    }
    for stream in &mut streams {
        let is_free = |r: &Report| r.application_utilization < 0.3 && r.rps_fractional > 0.0;
        let report = stream.until("free again, with a rate", is_free).await;
        assert!(report.application_utilization > 0.0, "0 would be 'not said': {report:?}");
    }
    let open =
        async |wanted| admin::until_metric(agent.admin, "sluice_agent_orca_streams", &[], wanted).await;
    open(3.0).await;
    drop((streams, one));
    open(0.0).await;
    let told = admin::metric(agent.admin, "sluice_agent_orca_stream_reports_total", &[]).await;
    assert!(told >= 6.0, "{told}");
}

#[tokio::test]
async fn a_stream_tells_what_the_application_said() {
    let instance = telling().await;
    let agent = Agent::beside(instance.address(), STREAMS);
    let mut connection = to_streams(&agent).await;
    let mut stream = Subscription::open(&mut connection, OFTEN).await;
    until_up(&agent).await;
    let answer = ask(agent.address, get("/")).await;
    assert_eq!(answer.head.get("endpoint-load-metrics-bin"), None, "without --orca, responses tell nothing");
    let report = stream.until("its word", |report| report.cpu_utilization == 0.3).await;
    assert_eq!(report.named_metrics["kv"], 2.0);
}

/// Reports may come late, on a busy machine, and never early.
#[tokio::test]
async fn reports_come_no_more_often_than_they_are_wanted_and_may() {
    let instance = Answering::named("zope").await;
    let flags = "--orca-listen 127.0.0.1:0 --orca-min-interval 300ms";
    let agent = Agent::beside(instance.address(), flags);
    for (asked, kept) in [(0, 300), (50, 300), (700, 700)] {
        let mut connection = to_streams(&agent).await;
        let begun = Instant::now();
        let mut stream = Subscription::open(&mut connection, Duration::from_millis(asked)).await;
        for count in 0..3 {
            stream.next().await.expect("it is not cut").expect("a report");
            let passed = begun.elapsed();
            assert!(passed >= count * Duration::from_millis(kept), "{asked} ms, report {count}: {passed:?}");
        }
    }
}

#[tokio::test]
async fn only_streams_of_load_reports_are_had_there() {
    let instance = Answering::named("zope").await;
    let agent = Agent::beside(instance.address(), STREAMS);
    let mut connection = to_streams(&agent).await;
    let good = wanting(OFTEN);
    let two = [&good[..], &good].concat();
    let compressed = [&[1], &good[1..]].concat();
    let long = [0; 5000];
    for (method, body, status) in [
        ("/grpc.health.v1.Health/Watch", &good[..], "12"),
        ("/xds.service.orca.v3.OpenRcaService/Other", &good, "12"),
        (METHOD, &compressed, "12"),
        (METHOD, &two, "3"),
        (METHOD, b"", "3"),
        (METHOD, &long, "3"),
    ] {
        let response = call(&mut connection, method, body).await;
        assert_eq!(response.headers()["grpc-status"], status, "{method}: {response:?}");
        assert_eq!(response.headers()["content-type"], "application/grpc", "{method}: {response:?}");
        assert!(response.body().is_end_stream(), "{method}: {response:?}");
    }
    assert_eq!(connection.ask(http2::get(METHOD)).await.status(), 415);
    assert_eq!(ask(agent.orca.expect("it listens"), get(METHOD)).await.status(), 505);
    // None of it has ended the connection.
    Subscription::open(&mut connection, OFTEN).await.next().await.expect("it is not cut").expect("a report");
    for (reason, times) in [("unimplemented", 3.0), ("malformed", 3.0), ("not-grpc", 1.0), ("http1", 1.0)] {
        let counted = admin::metric(agent.admin, "sluice_agent_orca_streams_refused_total", &[reason]).await;
        assert_eq!(counted, times, "{reason}");
    }
}

#[tokio::test]
async fn streams_end_in_order_when_the_agent_leaves() {
    let instance = Answering::named("zope").await;
    let agent = Agent::beside(instance.address(), &format!("{STREAMS} --orca-on-listen on"));
    let mut connections = [to_streams(&agent).await, Http2::open(agent.address).await];
    let mut streams = Vec::new();
    for connection in &mut connections {
        // The first report comes at once, and the next would in an hour.
        let mut stream = Subscription::open(connection, Duration::from_secs(3600)).await;
        stream.next().await.expect("it is not cut").expect("a report");
        streams.push(stream);
    }
    agent.stop();
    for (mut stream, connection) in streams.into_iter().zip(connections) {
        assert_eq!(stream.next().await.expect("it is not cut"), None);
        let trailers = stream.trailers().await.expect("it is not cut").expect("trailers");
        assert_eq!(trailers["grpc-status"], "14", "{trailers:?}");
        connection.ended().await.expect("an end in order");
    }
    agent.ended().await;
}

/// Envoy comes back as soon as its stream has ended, and must find somebody: a refused connection costs it a pause that
/// doubles.
#[tokio::test]
async fn streams_begin_anew_at_a_successor() {
    let instance = Answering::named("zope").await;
    let [data, admin_address, orca] = free_addresses();
    let flags = format!(
        "--instance {} --listen {data} --admin {admin_address} --orca-listen {orca}",
        instance.address()
    );
    let agent = Lineage::start("sluice-agent", &flags);
    eventually("it listens", 3 * PATIENCE, async || {
        TcpStream::connect(orca).await.map_err(|error| error.to_string())
    })
    .await;
    for generation in [1, 2] {
        let mut connection = Http2::open(orca).await;
        let mut stream = Subscription::open(&mut connection, Duration::from_secs(1)).await;
        stream.next().await.expect("it is not cut").expect("a report");
        agent.upgrade(admin_address, generation).await;
        while stream.next().await.expect("it is not cut").is_some() {}
        let trailers = stream.trailers().await.expect("it is not cut").expect("trailers");
        assert_eq!(trailers["grpc-status"], "14");
        connection.ended().await.expect("an end in order");
    }
    let mut connection = Http2::open(orca).await;
    let mut stream = Subscription::open(&mut connection, Duration::from_secs(1)).await;
    stream.next().await.expect("it is not cut").expect("a report");
}

#[tokio::test]
async fn the_data_listener_serves_streams_if_it_is_to() {
    let instance = Answering::named("zope").await;
    let agent = Agent::beside(instance.address(), "--orca-on-listen on --workers 3");
    until_up(&agent).await;
    let mut connection = Http2::open(agent.address).await;
    let mut stream = Subscription::open(&mut connection, OFTEN).await;
    let report = stream.next().await.expect("it is not cut").expect("a report");
    assert_eq!(report.named_metrics["workers"], 3.0);
    assert_eq!(ask(agent.address, get("/")).await.status(), 200, "requests come as before");
    let before = instance.served();
    let refused = call(&mut connection, "/some.Service/Method", b"").await;
    assert_eq!(refused.headers()["grpc-status"], "12");
    assert_eq!(connection.ask(http2::get("/page")).await.status(), 415);
    assert_eq!(instance.served(), before, "nothing else by HTTP/2");

    let without = Agent::beside(instance.address(), STREAMS);
    let page = Http2::open(without.address).await.try_ask(http2::get("/")).await;
    assert!(page.is_err(), "{page:?}");
}

#[tokio::test]
async fn a_passive_agent_streams_what_it_knows() {
    let instance = Answering::named("zope").await;
    let agent = Agent::beside(instance.address(), &format!("--mode passive --workers 2 {STREAMS}"));
    let mut connection = to_streams(&agent).await;
    let mut stream = Subscription::open(&mut connection, OFTEN).await;
    let report = stream.next().await.expect("it is not cut").expect("a report");
    assert_eq!(report.named_metrics["workers"], 2.0);
    agent.stop();
    while stream.next().await.expect("it is not cut").is_some() {}
    let trailers = stream.trailers().await.expect("it is not cut").expect("trailers");
    assert_eq!(trailers["grpc-status"], "14");
    agent.ended().await;
}
