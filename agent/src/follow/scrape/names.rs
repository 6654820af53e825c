//! Which metrics of a page tell of requests, and how their labels are called.

use std::borrow::Cow;

use super::text::Sample;
use crate::config::ScrapeConfig;

/// Histograms or summaries of how long requests took, the first that is found counts. By exporter:
const DURATIONS: &[&str] = &[
    "flask_http_request_duration_seconds", // prometheus-flask-exporter
    "django_http_requests_latency_seconds_by_view_method", // django-prometheus
    "starlette_request_duration_seconds",  // starlette-exporter
    "starlette_requests_processing_time_seconds", // starlette-prometheus
    "http_request_duration_seconds",       // prometheus-fastapi-instrumentator, and by common usage
    "http_server_request_duration_seconds", // OpenTelemetry, HTTP semantic conventions 1.23 and later
    "http_server_duration_milliseconds",   // OpenTelemetry before that
    "gunicorn_request_duration",           // gunicorn's statsd messages, by statsd-exporter
];

/// Counters of requests, for their status where the durations have none.
const REQUESTS: &[&str] = &[
    "django_http_responses_total_by_status_view_method",
    "starlette_requests",
    "starlette_responses",
    "http_requests",
    "gunicorn_requests",
];

const PATH_LABELS: &[&str] =
    &["path", "handler", "path_template", "http_route", "route", "url_rule", "endpoint", "view"];
const METHOD_LABELS: &[&str] = &["method", "http_request_method", "http_method"];
const STATUS_LABELS: &[&str] =
    &["status", "status_code", "http_response_status_code", "http_status_code", "response_status", "code"];

/// When the process started that wrote the page, by all client libraries.
const STARTED: &str = "process_start_time_seconds";

/// What to look for.
#[derive(Clone, Debug)]
pub(super) struct Names {
    durations: Vec<Cow<'static, str>>,
    requests: Vec<Cow<'static, str>>,
    busy: Option<String>,
    path_labels: Vec<Cow<'static, str>>,
}

/// What a sample says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Role {
    /// Requests of the metric at this place of the list that took at most so long.
    Bucket(usize, f64),
    Count(usize),
    Sum(usize),
    /// Of the counter at this place of the list.
    Requests(usize),
    Busy,
    Started,
}

impl Names {
    pub(super) fn new(config: &ScrapeConfig) -> Self {
        let said_or = |said: &Option<String>, known: &'static [&'static str]| match said {
            Some(name) => vec![Cow::Owned(name.clone())],
            None => known.iter().map(|name| Cow::Borrowed(*name)).collect(),
        };
        Self {
            durations: said_or(&config.durations, DURATIONS),
            requests: said_or(&config.requests, REQUESTS),
            busy: config.busy.clone(),
            path_labels: said_or(&config.path_label, PATH_LABELS),
        }
    }

    pub(super) fn is_wanted(&self, name: &str) -> bool {
        self.part(name).is_some()
    }

    pub(super) fn role(&self, sample: &Sample<'_>) -> Option<Role> {
        Some(match self.part(sample.name)? {
            Role::Bucket(metric, _) => Role::Bucket(metric, sample.label("le")?.parse().ok()?),
            role => role,
        })
    }

    /// The role by the name alone.
    fn part(&self, name: &str) -> Option<Role> {
        if name == STARTED {
            return Some(Role::Started);
        }
        if self.busy.as_deref() == Some(name) {
            return Some(Role::Busy);
        }
        let of = |list: &[Cow<'static, str>], name: &str| list.iter().position(|known| known == name);
        let durations = |suffix| of(&self.durations, name.strip_suffix(suffix)?);
        if let Some(metric) = durations("_bucket") {
            return Some(Role::Bucket(metric, f64::INFINITY));
        }
        if let Some(metric) = durations("_count") {
            return Some(Role::Count(metric));
        }
        if let Some(metric) = durations("_sum") {
            return Some(Role::Sum(metric));
        }
        let plain = name.strip_suffix("_total").unwrap_or(name);
        of(&self.requests, name).or_else(|| of(&self.requests, plain)).map(Role::Requests)
    }

    /// Microseconds in one of the metric's units.
    pub(super) fn unit_us(&self, metric: usize) -> f64 {
        let name = &self.durations[metric];
        if name.ends_with("_milliseconds") || name.ends_with("_ms") { 1e3 } else { 1e6 }
    }

    pub(super) fn path<'a>(&self, sample: &'a Sample<'_>) -> Option<&'a str> {
        self.path_labels.iter().find_map(|name| sample.label(name))
    }
}

pub(super) fn method<'a>(sample: &'a Sample<'_>) -> Option<&'a str> {
    METHOD_LABELS.iter().find_map(|name| sample.label(name))
}

/// Whether the sample is of requests that failed; `None`: it does not say. Some write `5xx`.
pub(super) fn failed(sample: &Sample<'_>) -> Option<bool> {
    let status = STATUS_LABELS.iter().find_map(|name| sample.label(name))?;
    status.starts_with(|c: char| ('1'..='5').contains(&c)).then(|| status.starts_with('5'))
}
