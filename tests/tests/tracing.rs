//! Requests are parts of traces: a collector gets spans, and instances get the context to go on with.

use std::sync::{Arc, Mutex};

use serde_json::Value;
use sluice_tests::script::{Answering, Refusing};
use sluice_tests::site::{Balancer, Chain, Settings, Site};
use sluice_tests::wire::{ask, get, ok};
use sluice_tests::{PATIENCE, admin, eventually, expect};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

/// Records what is sent to it.
struct Collector {
    server: Answering,
    bodies: Arc<Mutex<Vec<Value>>>,
}

impl Collector {
    /// Answers with `first` once, then takes everything.
    async fn start(first: Option<&'static str>) -> Self {
        let bodies = Arc::new(Mutex::new(Vec::new()));
        let (taken, first) = (bodies.clone(), Mutex::new(first));
        let server = Answering::with(move |message| {
            if let Some(refusal) = first.lock().expect("unpoisoned").take() {
                return refusal.as_bytes().to_vec();
            }
            assert_eq!(message.head.start, "POST /v1/traces HTTP/1.1");
            assert_eq!(message.head.get("content-type"), Some("application/json"));
            taken.lock().expect("unpoisoned").push(serde_json::from_slice(&message.body).expect("JSON"));
            ok("{\"partialSuccess\":{}}").into_bytes()
        })
        .await;
        Self { server, bodies }
    }

    fn flags(&self) -> String {
        format!("--otlp-endpoint http://{}/", self.server.address())
    }

    fn spans(&self) -> Vec<Value> {
        let bodies = self.bodies.lock().expect("unpoisoned");
        let of = |body: &Value| {
            let resource = &body["resourceSpans"][0];
            assert_eq!(resource["resource"]["attributes"][0]["value"]["stringValue"], "sluice-balancer");
            resource["scopeSpans"][0]["spans"].as_array().expect("a list").clone()
        };
        bodies.iter().flat_map(of).collect()
    }

    async fn until_spans(&self, wanted: usize) -> Vec<Value> {
        eventually("spans", PATIENCE, async || expect(self.spans(), |spans| spans.len() == wanted)).await
    }
}

/// The value of an attribute as text.
fn attribute(span: &Value, key: &str) -> Option<String> {
    let all = span["attributes"].as_array().expect("a list");
    let value = &all.iter().find(|attribute| attribute["key"] == key)?["value"];
    let number = || value["doubleValue"].as_f64().map(|n| n.to_string());
    let text = value["stringValue"].as_str().or_else(|| value["intValue"].as_str()).map(str::to_owned);
    text.or_else(number)
}

/// An instance that keeps the `traceparent` and `tracestate` of each request.
async fn recording_instance() -> (Answering, Arc<Mutex<Vec<(String, Option<String>)>>>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let kept = seen.clone();
    let instance = Answering::with(move |message| {
        let field = |name| message.head.get(name).map(str::to_owned);
        let context = (field("traceparent").unwrap_or_default(), field("tracestate"));
        kept.lock().expect("unpoisoned").push(context);
        ok("hello").into_bytes()
    })
    .await;
    (instance, seen)
}

fn traced(path: &str, flags: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nhost: site.example:81\r\ntraceparent: 00-{TRACE}-{PARENT}-{flags}\r\n\
         tracestate: congo=t61\r\n\r\n"
    )
}

#[tokio::test]
async fn a_sampled_request_becomes_spans_and_its_instance_goes_on_with_them() {
    let collector = Collector::start(None).await;
    let (instance, seen) = recording_instance().await;
    for chain in [Chain::Balancer, Chain::Agent] {
        collector.bodies.lock().expect("unpoisoned").clear();
        let balancer = collector.flags().leak();
        let site = Site::start(chain, instance.address(), Settings { balancer, ..Settings::default() }).await;
        assert_eq!(ask(site.address(), traced("/docs/17?a=b", "01")).await.status(), 200);
        let spans = collector.until_spans(2).await;
        let (server, client) = (&spans[0], &spans[1]);
        assert_eq!((&server["traceId"], &client["traceId"]), (&TRACE.into(), &TRACE.into()));
        assert_eq!((&server["parentSpanId"], &client["parentSpanId"]), (&PARENT.into(), &server["spanId"]));
        assert_eq!(
            (&server["name"], &server["kind"], &client["kind"]),
            (&"GET /docs/{n}".into(), &2.into(), &3.into())
        );
        for (key, wanted) in [
            ("http.request.method", "GET"),
            ("url.path", "/docs/17"),
            ("url.query", "a=b"),
            ("server.address", "site.example"),
            ("server.port", "81"),
            ("client.address", "127.0.0.1"),
            ("http.response.status_code", "200"),
            ("http.response.body.size", "5"),
            ("sluice.class", "GET /docs/{n}"),
            ("sluice.lane", "small"),
            ("sluice.attempts", "1"),
        ] {
            assert_eq!(attribute(server, key).as_deref(), Some(wanted), "{key}: {server}");
        }
        assert!(attribute(server, "sluice.queue_ms").is_some(), "{server}");
        assert_eq!(attribute(server, "error.type"), None);
        let nanos =
            |span: &Value, end: &str| span[end].as_str().expect("text").parse::<u128>().expect("a number");
        assert!(nanos(server, "startTimeUnixNano") <= nanos(client, "startTimeUnixNano"));
        assert!(nanos(client, "endTimeUnixNano") <= nanos(server, "endTimeUnixNano"));
        let (context, state) = seen.lock().expect("unpoisoned").last().expect("a request").clone();
        let id = client["spanId"].as_str().expect("text");
        assert_eq!((context, state.as_deref()), (format!("00-{TRACE}-{id}-01"), Some("congo=t61")));
    }
}

#[tokio::test]
async fn nobody_is_recorded_who_did_not_ask_for_it() {
    let collector = Collector::start(None).await;
    let (instance, seen) = recording_instance().await;
    let flags = format!("--instance {} --otlp-sample 0 {}", instance.address(), collector.flags());
    let balancer = Balancer::start(&flags);
    assert_eq!(ask(balancer.address, traced("/not-sampled", "00")).await.status(), 200);
    assert_eq!(ask(balancer.address, get("/no-context")).await.status(), 200);
    assert_eq!(ask(balancer.address, traced("/sampled", "01")).await.status(), 200);
    let spans = collector.until_spans(2).await;
    assert_eq!(attribute(&spans[0], "url.path").as_deref(), Some("/sampled"));
    let seen = seen.lock().expect("unpoisoned");
    assert_eq!(seen[0].0, format!("00-{TRACE}-{PARENT}-00"), "passed on as it came");
    assert!(seen[1].0.ends_with("-00"), "a new trace, not sampled: {}", seen[1].0);
}

#[tokio::test]
async fn every_attempt_is_a_span_and_all_are_sent_before_the_end() {
    // A collector that is busy at first: nothing is lost.
    let collector = Collector::start(Some("HTTP/1.1 503 x\r\ncontent-length: 0\r\n\r\n")).await;
    let (refusing, instance) = (Refusing::start(), Answering::named("here").await);
    let balancer = Balancer::start(&format!(
        "--instance {},name=gone --instance {},name=there --otlp-sample 1 {}",
        refusing.address(),
        instance.address(),
        collector.flags()
    ));
    let mut asked = 0;
    eventually("one that is sent to nobody first", PATIENCE, async || {
        asked += 1;
        assert_eq!(ask(balancer.address, get("/")).await.status(), 200);
        expect(admin::metric(balancer.admin, "sluice_retries_total", &[]).await, |retries| *retries >= 1.0)
    })
    .await;
    balancer.stop();
    balancer.ended().await;
    let spans = collector.spans();
    assert_eq!(spans.iter().filter(|span| span["kind"] == 2).count(), asked);
    let lost: Vec<_> = spans.iter().filter(|span| span["kind"] == 3 && span["status"]["code"] == 2).collect();
    let first = lost.first().unwrap_or_else(|| panic!("one that was sent to nobody: {spans:?}"));
    assert_eq!(attribute(first, "error.type").as_deref(), Some("connect_failed"));
    assert_eq!(attribute(first, "sluice.instance").as_deref(), Some("gone"));
    let of_it: Vec<_> = spans.iter().filter(|span| span["parentSpanId"] == first["parentSpanId"]).collect();
    assert_eq!(of_it.len(), 2, "both attempts of one request");
    assert_eq!(attribute(of_it[1], "http.request.resend_count").as_deref(), Some("1"));
}

#[tokio::test]
async fn a_collector_that_refuses_costs_spans_and_no_request() {
    let refusing = Answering::with(|_| b"HTTP/1.1 400 x\r\ncontent-length: 0\r\n\r\n".to_vec()).await;
    let instance = Answering::named("here").await;
    let endpoint = format!("http://{}", refusing.address());
    let flags = format!("--instance {} --otlp-sample 1 --otlp-endpoint {endpoint}", instance.address());
    let balancer = Balancer::start(&flags);
    assert_eq!(ask(balancer.address, get("/")).await.status(), 200);
    admin::until_metric(balancer.admin, "sluice_spans_dropped_total", &["reason=\"failed\""], 2.0).await;
    assert_eq!(admin::metric(balancer.admin, "sluice_spans_exported_total", &[]).await, 0.0);
}
