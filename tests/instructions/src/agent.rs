//! What the agent does for one request, besides passing its bytes on.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, SystemTime};

use http::{Method, Request, Response, request, response};
use prometheus::Registry;
use sluice_agent::files::{Asked, Offload, offload};
use sluice_agent::gate::Gate;
use sluice_agent::measure::{Observation, Recorder};
use sluice_agent::metrics::{AgentMetrics, ClassMetrics, Outcome};
use sluice_agent::release::Releases;
use sluice_proto::ClassName;
use sluice_relay::head::{Origin, Position, prepare_request, prepare_response, strip_internal};
use tokio::time::Instant;

const WORKERS: u32 = 4;
const BYTES: u64 = 1024;

struct Agent {
    gate: Gate,
    releases: Releases,
    recorder: Recorder,
    metrics: AgentMetrics,
    class: ClassName,
    of_class: ClassMetrics,
    rng: fastrand::Rng,
}

impl Agent {
    fn new() -> Self {
        let registry = Registry::new();
        let metrics = AgentMetrics::register(&registry);
        let class = ClassName::parse("GET /news/{n}").expect("a name");
        Self {
            gate: Gate::new(WORKERS, 10, Duration::from_secs(1)),
            releases: Releases::learned(WORKERS, &registry),
            recorder: Recorder::new(Instant::now()),
            of_class: metrics.class(&class),
            metrics,
            class,
            rng: fastrand::Rng::with_seed(1),
        }
    }

    /// The request becomes the instance's; what of it matters to a file is kept.
    fn prepare(&mut self, parts: &mut request::Parts) -> Asked {
        let peer = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let origin = Origin { peer, scheme: "http", arrived: SystemTime::now() };
        prepare_request(parts, &Position::Inner, origin, &mut self.rng).expect("nothing to refuse");
        strip_internal(&mut parts.headers);
        offload::hide_from_instance(&mut parts.headers);
        Asked::of(parts)
    }

    /// It takes a worker, is answered and ends; all that counts such things hears of it.
    fn pass(&self, url: &str, answer: &mut response::Parts) {
        let permit = self.gate.try_enter().expect("open").expect("a worker is free");
        self.metrics.queued.observe(permit.waited().as_secs_f64());
        let started = permit.since();
        let run = self.releases.begin(&self.class, permit.is_extra(), started);
        let answered = Instant::now();
        let ttfb = answered - started;
        self.releases.answered(run, answered);
        self.metrics.ttfb.observe(ttfb.as_secs_f64());
        prepare_response(answer).expect("one meaning");
        assert_eq!(Offload::take(answer), None);
        assert!(!self.releases.first_byte(run, Some(BYTES)), "nothing was learned");
        let now = Instant::now();
        self.releases.ended(run, now);
        permit.give_back(now);
        self.of_class.ended(Outcome::Ok);
        self.of_class.held.observe((now - started).as_secs_f64());
        self.metrics.response_bytes.observe(BYTES as f64);
        self.recorder.record(&Observation {
            class: &self.class,
            url: Some(url),
            failed: false,
            held: Some(now - started),
            ttfb: Some(ttfb),
            bytes: Some(BYTES),
        });
    }
}

/// A page that the balancer sent, answered as nginx would.
pub(crate) fn requests(times: u64) {
    let mut agent = Agent::new();
    let (request, answer) = (from_balancer(), from_instance());
    for _ in 0..times {
        let (mut parts, mut answer) = (request.clone(), answer.clone());
        std::hint::black_box(agent.prepare(&mut parts));
        agent.pass(parts.uri.path(), &mut answer);
    }
}

fn from_balancer() -> request::Parts {
    let request = Request::builder()
        .method(Method::GET)
        .uri("/news/17")
        .header("host", "www.example.org")
        .header("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0")
        .header("accept", "text/html,application/xhtml+xml")
        .header("accept-encoding", "gzip, deflate, br, zstd")
        .header("via", "1.1 sluice")
        .header("x-forwarded-for", "192.0.2.17")
        .header("x-forwarded-proto", "https")
        .header("x-forwarded-host", "www.example.org")
        .header("x-request-start", "t=1700000000000001")
        .header("x-request-id", "4bf92f3577b34da6a3ce929d0e0e4736")
        .header("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00")
        .header("x-sluice-class", "GET /news/{n}");
    request.body(()).expect("a valid request").into_parts().0
}

fn from_instance() -> response::Parts {
    let response = Response::builder()
        .header("server", "nginx")
        .header("date", "Mon, 24 Nov 2025 10:00:00 GMT")
        .header("content-type", "text/html; charset=utf-8")
        .header("content-length", BYTES)
        .header("connection", "keep-alive");
    response.body(()).expect("a valid response").into_parts().0
}
