//! From a finished request to spans, by OpenTelemetry's semantic conventions for HTTP (1.27).

use std::time::{Duration, Instant, UNIX_EPOCH};

use http::{HeaderValue, Method, Version};
use serde::Serialize;

use crate::observe::Finished;
use crate::observe::otlp::Recording;
use crate::observe::trail::Attempt;

/// One span in OTLP's JSON: ids in hexadecimal, 64-bit numbers as text.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Span {
    trace_id: String,
    span_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent_span_id: Option<String>,
    name: String,
    kind: u8,
    start_time_unix_nano: String,
    end_time_unix_nano: String,
    attributes: Vec<KeyValue>,
    status: Status,
}

const SERVER: u8 = 2;
const CLIENT: u8 = 3;

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
struct Status {
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<u8>,
}

impl Status {
    const ERROR: u8 = 2;

    fn error_if(failed: bool) -> Self {
        Self { code: failed.then_some(Self::ERROR) }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct KeyValue {
    key: &'static str,
    value: AnyValue,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
enum AnyValue {
    #[serde(rename = "stringValue")]
    Text(String),
    #[serde(rename = "intValue")]
    Count(String),
    #[serde(rename = "doubleValue")]
    Number(f64),
}

/// The longest text in an attribute, in bytes.
const LONGEST: usize = 2048;

/// Attributes that are there if they have a value.
#[derive(Default)]
struct Attributes(Vec<KeyValue>);

impl Attributes {
    fn text(&mut self, key: &'static str, value: Option<&str>) {
        if let Some(value) = value {
            let end = value.floor_char_boundary(LONGEST);
            self.0.push(KeyValue { key, value: AnyValue::Text(value[..end].to_owned()) });
        }
    }

    fn header(&mut self, key: &'static str, value: Option<&HeaderValue>) {
        let text = value.map(|value| String::from_utf8_lossy(value.as_bytes()));
        self.text(key, text.as_deref());
    }

    /// Host and port of an authority such as `site.example:8080` or `[::1]:80`.
    fn server(&mut self, authority: Option<&str>) {
        let Some(authority) = authority else { return };
        let port =
            authority.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse::<u16>().ok()?)));
        let host = port.map_or(authority, |(host, _)| host);
        self.text("server.address", Some(host.trim_matches(['[', ']'])));
        if let Some((_, port)) = port {
            self.count("server.port", port);
        }
    }

    fn count(&mut self, key: &'static str, value: impl Into<u64>) {
        let value = AnyValue::Count(value.into().to_string());
        self.0.push(KeyValue { key, value });
    }

    fn millis(&mut self, key: &'static str, value: Option<Duration>) {
        if let Some(value) = value {
            let value = AnyValue::Number(value.as_secs_f64() * 1e3);
            self.0.push(KeyValue { key, value });
        }
    }
}

/// The request itself, and each time that it was sent to an instance.
pub(super) fn spans(recording: Recording, of: &Finished<'_>) -> Vec<Span> {
    let attempts = of.attempts.iter().enumerate().map(|(n, attempt)| sent(recording, of, n, attempt));
    std::iter::once(served(recording, of)).chain(attempts).collect()
}

fn served(recording: Recording, of: &Finished<'_>) -> Span {
    Span {
        trace_id: trace_id(recording),
        span_id: span_id(recording.context.span),
        parent_span_id: recording.parent.map(span_id),
        // A class is what the conventions want of a name: the method and a route with few values.
        name: of.class.to_owned(),
        kind: SERVER,
        start_time_unix_nano: nanos(of, of.arrived),
        end_time_unix_nano: nanos(of, of.arrived + of.duration),
        attributes: of_request(of),
        status: Status::error_if(of.outcome.is_error()),
    }
}

fn of_request(of: &Finished<'_>) -> Vec<KeyValue> {
    let asked = of.asked;
    let mut all = Attributes::default();
    method(&mut all, &asked.method);
    all.text("url.scheme", Some(asked.scheme));
    all.text("url.path", Some(asked.target.path()));
    all.text("url.query", asked.target.query());
    all.text("network.protocol.version", Some(version(asked.version)));
    all.text("client.address", Some(&asked.client.to_string()));
    all.server(asked.host.as_ref().and_then(|host| host.to_str().ok()));
    all.header("user_agent.original", asked.user_agent.as_ref());
    all.count("http.response.status_code", of.status);
    all.count("http.request.body.size", of.request_bytes);
    all.count("http.response.body.size", of.response_bytes);
    let status = of.status.to_string();
    all.text("error.type", of.failure().or((of.status >= 500).then_some(&status)));
    all.header("sluice.request_id", asked.request_id.as_ref());
    all.text("sluice.service", Some(of.service));
    all.text("sluice.class", Some(of.class));
    all.text("sluice.lane", of.lane);
    all.text("sluice.instance", of.instance());
    all.millis("sluice.queue_ms", Some(of.queue));
    all.millis("sluice.predicted_ms", of.predicted);
    all.count("sluice.attempts", of.attempts.len() as u64);
    all.0
}

/// One attempt. What the instance records of it is this span's child.
fn sent(recording: Recording, of: &Finished<'_>, number: usize, attempt: &Attempt) -> Span {
    let lost = attempt.lost.map(|(failure, _)| failure.label());
    let status = of.answered.filter(|_| lost.is_none());
    let error = status.filter(|status| *status >= 400).map(|status| status.to_string());
    let mut all = Attributes::default();
    method(&mut all, &of.asked.method);
    all.server(Some(attempt.instance.target.as_str()));
    if let Some(status) = status {
        all.count("http.response.status_code", status);
    }
    if number > 0 {
        all.count("http.request.resend_count", number as u64);
    }
    all.text("error.type", lost.or(error.as_deref()));
    all.text("sluice.instance", Some(attempt.instance.name.as_str()));
    all.text("sluice.why", Some(attempt.why.as_str()));
    all.millis("sluice.ttfb_ms", of.ttfb.filter(|_| lost.is_none()));
    Span {
        trace_id: trace_id(recording),
        span_id: span_id(attempt.span),
        parent_span_id: Some(span_id(recording.context.span)),
        name: of.asked.method.to_string(),
        kind: CLIENT,
        start_time_unix_nano: nanos(of, attempt.sent),
        end_time_unix_nano: nanos(of, attempt.lost.map_or(of.arrived + of.duration, |(_, at)| at)),
        attributes: all.0,
        status: Status::error_if(lost.is_some() || error.is_some()),
    }
}

/// "HTTP request method value SHOULD be known to the instrumentation", others are `_OTHER`.
fn method(all: &mut Attributes, method: &Method) {
    const KNOWN: [Method; 9] = [
        Method::GET,
        Method::HEAD,
        Method::POST,
        Method::PUT,
        Method::DELETE,
        Method::CONNECT,
        Method::OPTIONS,
        Method::TRACE,
        Method::PATCH,
    ];
    if KNOWN.contains(method) {
        all.text("http.request.method", Some(method.as_str()));
    } else {
        all.text("http.request.method", Some("_OTHER"));
        all.text("http.request.method_original", Some(method.as_str()));
    }
}

fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "1.0",
        Version::HTTP_2 => "2",
        Version::HTTP_3 => "3",
        _ => "1.1",
    }
}

fn trace_id(recording: Recording) -> String {
    format!("{:032x}", recording.context.trace)
}

fn span_id(id: u64) -> String {
    format!("{id:016x}")
}

/// A moment on the wall clock, as of the request's arrival: whatever the clock does meanwhile, no span is negative.
fn nanos(of: &Finished<'_>, at: Instant) -> String {
    let arrived = of.asked.arrived.duration_since(UNIX_EPOCH).unwrap_or_default();
    (arrived + at.saturating_duration_since(of.arrived)).as_nanos().to_string()
}
