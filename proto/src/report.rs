//! The report: what one agent measured over one window, and what its instance is.
//!
//! JSON over `POST /v1/report`. Readers ignore unknown fields, so that a newer agent does not
//! break an older balancer. Everything is checked by [`Report::parse`]; what it returns is sane.

use serde::{Deserialize, Serialize};

use crate::{
    ApplicationLoad, BootId, ClassName, ClassRelease, InstanceName, Measured, SCHEMA, ServiceName,
    SparseSketch, Target,
};

/// The longest report that a reader takes, in bytes.
pub const MAX_BYTES: usize = 1024 * 1024;
/// The most classes in one report; an agent folds the rest into `other`.
pub const MAX_CLASSES: usize = 1000;
/// The most heavy URLs in one report.
pub const MAX_URLS: usize = 100;
/// The longest URL in a report, in bytes; an agent cuts longer ones.
pub const MAX_URL_LEN: usize = 512;
/// The most classification versions in one report: more balancers than anyone runs side by side.
pub const MAX_CLASSIFICATIONS: usize = 64;
const MAX_WORKERS: u32 = 10_000;
const MAX_TEXT: usize = 256;
/// More than there are kinds of them.
const MAX_SOURCES: u64 = 16;
const DAY_US: u64 = 24 * 3600 * 1_000_000;
const PEBIBYTE: u64 = 1 << 50;
/// No instance with few workers finishes more in one window: 10,000 a second for an hour.
const MAX_REQUESTS: u64 = 36_000_000;

/// One agent's word on its instance. Counters and sketches are of the window alone: a lost report
/// loses data but skews no rate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Of the report: [`SCHEMA`].
    pub schema: u32,
    /// Of the instance, unique within its service.
    pub name: InstanceName,
    /// Missing: `default`.
    #[serde(default)]
    pub service: ServiceName,
    /// Where the balancer sends requests: the agent (inline) or the instance itself (passive).
    pub address: Target,
    /// Made anew at each start of the agent.
    pub boot_id: BootId,
    /// Grows with each report of one boot; a reader drops anything not above the last it took.
    pub seq: u64,
    /// Time between regular reports, in milliseconds: 100 to 60,000. Staleness and lease are
    /// multiples of it.
    pub interval_ms: u32,
    /// Time that the counters cover, in milliseconds: 1 to 3,600,000.
    pub window_ms: u32,
    /// Requests that the instance works on at the same time: 1 to 10,000.
    pub workers: u32,
    /// When a worker is free again, of classes that `releases` does not name.
    pub release: Release,
    /// How the agent stands to the traffic.
    pub mode: Mode,
    /// The release of the application that runs, as the operator names it.
    #[serde(default)]
    pub version_label: Option<String>,
    /// Whether the instance is to get requests.
    pub state: State,
    /// Why the instance is in that state, in words.
    #[serde(default)]
    pub reason: Option<String>,
    /// Readings at the moment of the report.
    pub now: Now,
    /// What each class came to in the window; what has no room is in `other`.
    #[serde(default)]
    pub classes: Vec<ClassReport>,
    /// The URLs that made up most of the window's bytes. Missing in short reports.
    #[serde(default)]
    pub heavy_urls: Vec<HeavyUrl>,
    /// Versions of the [`crate::Classification`]s that a passive agent got, one per balancer: they are
    /// not sent again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub classifications: Vec<u64>,
    /// Classes of which the agent knows better than `release` when their workers are free. At most [`MAX_CLASSES`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub releases: Vec<ClassRelease>,
    /// Which of these figures were measured. `None`: an agent that does not say; see [`Report::measured`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measured: Option<Measured>,
    /// What the application says of itself. `None`: nothing, or nothing that still holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub application: Option<ApplicationLoad>,
    /// Workers that the balancer which gets this report may count on, 0 to `workers`, if there are others that share
    /// the instance; the sum over all balancers is at most `workers`. 0: one request at a time, which may have to wait
    /// at the agent. `None`: nobody else is known of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<u32>,
    /// Whether an agent at `address` answers `OPTIONS *` with `x-sluice-probe` by itself, however busy its instance is.
    /// Missing: it is an older one, or there is none at that address.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub answers_probes: bool,
}

/// When the instance's worker is free again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReleasePoint {
    /// With the first byte of the response body: the server streams without the worker.
    FirstByte,
    /// With the last byte that the instance sends. True of every server, if late for some.
    #[default]
    End,
}

/// The release point and how the agent came to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Release {
    /// When a worker is free again.
    pub point: ReleasePoint,
    /// How that is known.
    pub found: ReleaseFound,
}

/// How a release point is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReleaseFound {
    /// The operator said so.
    Configured,
    /// Nothing is known yet: the safe one.
    Assumed,
    /// The agent observed it.
    Learned,
}

/// How the agent stands to the traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Requests go through the agent.
    Inline,
    /// Requests go to the instance; the agent observes.
    Passive,
}

/// What the agent says of its instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Takes requests.
    Ready,
    /// Finishes what it has; wants nothing new.
    Draining,
    /// Does not pass its health checks.
    Down,
}

/// Readings at the moment of the report.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Now {
    /// Requests that hold a worker.
    pub in_flight: u32,
    /// Responses still being sent whose worker is free.
    pub streaming: u32,
    /// Requests waiting at the agent for a worker.
    pub queued: u32,
    /// Bytes of bodies that wait in memory and in files.
    pub spooled_bytes: u64,
}

/// One class over the window.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassReport {
    /// Its name, as `/v1/classes` has it.
    pub class: ClassName,
    /// Requests that ended in the window, whatever their outcome.
    pub requests: u64,
    /// Of these, those that failed: status 500 and above, cut short, or not answered. Zero if nobody knows:
    /// see [`Measured::errors`]. Missing: none.
    #[serde(default)]
    pub errors: u64,
    /// Time that a worker was held, per request, in microseconds.
    #[serde(default)]
    pub held_us: SparseSketch,
    /// Time from the request's start at the instance to the head of its response, in microseconds.
    #[serde(default)]
    pub ttfb_us: SparseSketch,
    /// Body bytes that the instance sent, per request.
    #[serde(default)]
    pub response_bytes: SparseSketch,
}

/// One of the URLs that made up most of the window's bytes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HeavyUrl {
    /// Path and query, cut to [`MAX_URL_LEN`].
    pub url: String,
    /// Requests for it that ended in the window.
    pub requests: u64,
    /// Bytes of all its responses; an upper bound within 1 % of the window's total.
    pub total_bytes: u64,
    /// Bytes of its largest response.
    pub largest_bytes: u64,
}

/// Why a report was refused. Each variant maps to one HTTP status and one metric label.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    #[error("the report is not JSON: {0}")]
    Malformed(#[source] serde_json::Error),
    #[error("{field}: {problem}")]
    Field { field: String, problem: String },
}

impl Report {
    /// Reads and checks a report.
    ///
    /// # Errors
    /// [`ReportError::Malformed`] if the bytes are not JSON, [`ReportError::Field`] for a field
    /// that is missing, of the wrong type, impossible or absurd.
    pub fn parse(bytes: &[u8]) -> Result<Self, ReportError> {
        let report: Self = serde_json::from_slice(bytes).or_else(|_| Self::parse_with_path(bytes))?;
        report.check()?;
        Ok(report)
    }

    /// Names the field at fault, at twice the time: for what was found not to be a report.
    fn parse_with_path(bytes: &[u8]) -> Result<Self, ReportError> {
        let mut reader = serde_json::Deserializer::from_slice(bytes);
        let report: Self = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
            let field = error.path().to_string();
            let inner = error.into_inner();
            match inner.classify() {
                serde_json::error::Category::Data => ReportError::Field { field, problem: inner.to_string() },
                _ => ReportError::Malformed(inner),
            }
        })?;
        reader.end().map_err(ReportError::Malformed)?;
        Ok(report)
    }

    /// Which of the figures say something. What was not measured is unknown, never zero.
    pub fn measured(&self) -> Measured {
        self.measured.clone().unwrap_or_else(|| Measured::by(self.mode))
    }

    fn check(&self) -> Result<(), ReportError> {
        let within = |field: &str, value, least, most| within(|| field.to_owned(), value, least, most);
        within("schema", self.schema.into(), SCHEMA.into(), SCHEMA.into())?;
        within("interval_ms", self.interval_ms.into(), 100, 60_000)?;
        within("window_ms", self.window_ms.into(), 1, 3_600_000)?;
        within("workers", self.workers.into(), 1, MAX_WORKERS.into())?;
        within("grant", self.grant.unwrap_or(0).into(), 0, self.workers.into())?;
        within("now.in_flight", self.now.in_flight.into(), 0, 1_000_000)?;
        within("now.streaming", self.now.streaming.into(), 0, 1_000_000)?;
        within("now.queued", self.now.queued.into(), 0, 1_000_000)?;
        within("now.spooled_bytes", self.now.spooled_bytes, 0, PEBIBYTE)?;
        within("classes.len", self.classes.len() as u64, 0, MAX_CLASSES as u64)?;
        within("heavy_urls.len", self.heavy_urls.len() as u64, 0, MAX_URLS as u64)?;
        within("releases.len", self.releases.len() as u64, 0, MAX_CLASSES as u64)?;
        let versions = self.classifications.len() as u64;
        within("classifications.len", versions, 0, MAX_CLASSIFICATIONS as u64)?;
        let sources = self.measured.as_ref().map_or(0, |measured| measured.by.len());
        within("measured.by.len", sources as u64, 0, MAX_SOURCES)?;
        if self.address.path().is_some() {
            let problem =
                "a Unix socket is of one host alone; such an instance is given to its balancer".to_owned();
            return Err(ReportError::Field { field: "address".to_owned(), problem });
        }
        if let Some(field) = self.application.as_ref().and_then(ApplicationLoad::problem) {
            let problem = "not a number that it may be, or too much".to_owned();
            return Err(ReportError::Field { field: format!("application.{field}"), problem });
        }
        text("version_label", self.version_label.as_deref())?;
        text("reason", self.reason.as_deref())?;
        self.classes.iter().enumerate().try_for_each(|(i, class)| class.check(i))?;
        self.heavy_urls.iter().enumerate().try_for_each(|(i, url)| url.check(i))
    }
}

impl ClassReport {
    fn check(&self, index: usize) -> Result<(), ReportError> {
        let within = |name: &str, value, least, most| {
            let field = || format!("classes[{index}].{name}");
            within(field, value, least, most)
        };
        within("requests", self.requests, 0, MAX_REQUESTS)?;
        within("errors", self.errors, 0, self.requests)?;
        within("held_us.count", self.held_us.count(), 0, self.requests)?;
        within("held_us.max", self.held_us.max().unwrap_or(0), 0, DAY_US)?;
        within("ttfb_us.count", self.ttfb_us.count(), 0, self.requests)?;
        within("ttfb_us.max", self.ttfb_us.max().unwrap_or(0), 0, DAY_US)?;
        within("response_bytes.count", self.response_bytes.count(), 0, self.requests)?;
        within("response_bytes.max", self.response_bytes.max().unwrap_or(0), 0, PEBIBYTE)
    }
}

impl HeavyUrl {
    fn check(&self, index: usize) -> Result<(), ReportError> {
        let within = |name: &str, value, least, most| {
            let field = || format!("heavy_urls[{index}].{name}");
            within(field, value, least, most)
        };
        within("url.len", self.url.len() as u64, 1, MAX_URL_LEN as u64)?;
        within("requests", self.requests, 0, MAX_REQUESTS)?;
        within("total_bytes", self.total_bytes, 0, PEBIBYTE)?;
        within("largest_bytes", self.largest_bytes, 0, self.total_bytes)
    }
}

/// `field` is asked for its name only if it is at fault: there are hundreds of them in a report.
fn within(field: impl FnOnce() -> String, value: u64, least: u64, most: u64) -> Result<(), ReportError> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(ReportError::Field { field: field(), problem: format!("{value} is outside {least} to {most}") })
}

/// Free text is shown to people: short, and without control characters.
fn text(field: &str, value: Option<&str>) -> Result<(), ReportError> {
    match value {
        Some(text) if text.len() > MAX_TEXT || text.chars().any(char::is_control) => {
            Err(ReportError::Field {
                field: field.to_owned(),
                problem: format!("must be at most {MAX_TEXT} bytes without control characters"),
            })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn valid() -> Value {
        json!({
            "schema": 1, "name": "zope-1", "service": "default", "address": "10.0.0.7:8081",
            "boot_id": "b1", "seq": 7, "interval_ms": 1000, "window_ms": 1003, "workers": 2,
            "release": {"point": "end", "found": "assumed"}, "mode": "inline", "state": "ready",
            "now": {"in_flight": 1, "streaming": 0, "queued": 0, "spooled_bytes": 0},
            "classes": [{
                "class": "GET /news/{n}", "requests": 2, "errors": 1,
                "held_us": {"bins": [[0, 2]], "min": 1, "max": 1, "sum": 2},
            }],
            "application": {"cpu_utilization": 0.5, "named_metrics": {"queue": 3}},
            "heavy_urls": [{"url": "/a", "requests": 1, "total_bytes": 10, "largest_bytes": 10}],
            "releases": [{"class": "GET /a", "point": "first-byte", "found": "learned", "up_to_bytes": 9}],
            "grant": 1,
        })
    }

    fn parse(value: &Value) -> Result<Report, ReportError> {
        Report::parse(value.to_string().as_bytes())
    }

    #[test]
    fn a_report_survives_the_wire() {
        let report = parse(&valid()).expect("valid");
        assert_eq!(report.classes[0].held_us.count(), 2);
        let again = Report::parse(&serde_json::to_vec(&report).expect("plain data")).expect("valid");
        assert_eq!(again, report);
    }

    #[test]
    fn unknown_fields_are_ignored_and_optional_ones_may_be_missing() {
        let mut value = valid();
        value["from_the_future"] = json!({"a": [1]});
        for key in ["service", "classes", "heavy_urls", "reason", "releases", "grant"] {
            value.as_object_mut().expect("an object").remove(key);
        }
        let report = parse(&value).expect("valid");
        assert_eq!(report.service, ServiceName::default());
    }

    #[test]
    fn a_report_says_which_figures_were_measured() {
        use crate::{Quality, Source};
        let measured = |mode: &str, measured: Value| {
            let mut value = valid();
            (value["mode"], value["measured"]) = (json!(mode), measured);
            parse(&value).expect("valid").measured()
        };
        assert_eq!(measured("inline", json!(null)), Measured::by_agent(), "of agents that do not say");
        assert_eq!(measured("passive", json!(null)).in_flight, Quality::Unmeasured);
        let said = json!({"by": ["access-log", "a-newer-source"], "held_us": "estimated", "ttfb_us": "a-newer-word"});
        let said = measured("passive", said);
        assert_eq!(said.by, [Source::AccessLog, Source::Other]);
        assert_eq!(
            (said.held_us, said.ttfb_us, said.errors),
            (Quality::Estimated, Quality::Unmeasured, Quality::Unmeasured),
            "what is not known is not believed"
        );
    }

    #[test]
    fn what_cannot_be_is_refused_and_the_field_is_named() {
        for (pointer, bad, named) in [
            ("/schema", json!(2), "schema"),
            ("/name", json!("a b"), "name"),
            ("/address", json!("nowhere"), "address"),
            ("/address", json!("unix:/run/docker.sock"), "address"),
            ("/seq", json!(-1), "seq"),
            ("/seq", json!(1.5), "seq"),
            ("/seq", json!("7"), "seq"),
            ("/interval_ms", json!(0), "interval_ms"),
            ("/application/cpu_utilization", json!(-1), "application.cpu_utilization"),
            ("/window_ms", json!(0), "window_ms"),
            ("/workers", json!(0), "workers"),
            ("/workers", json!(1_000_000), "workers"),
            ("/workers", json!(null), "workers"),
            ("/state", json!("idle"), "state"),
            ("/release/point", json!("never"), "release.point"),
            ("/grant", json!(3), "grant"),
            ("/now/in_flight", json!(-3), "now.in_flight"),
            ("/now/queued", json!(4_000_000), "now.queued"),
            ("/version_label", json!("a\nb"), "version_label"),
            ("/classes/0/class", json!("caf\u{e9}"), "classes[0].class"),
            ("/classes/0/errors", json!(3), "classes[0].errors"),
            ("/classes/0/requests", json!(1e300), "classes[0].requests"),
            ("/classes/0/requests", json!(1), "classes[0].held_us.count"),
            ("/classes/0/held_us/max", json!(5), "classes[0].held_us"),
            ("/heavy_urls/0/largest_bytes", json!(11), "heavy_urls[0].largest_bytes"),
            ("/releases/0/up_to_bytes", json!(-1), "releases[0].up_to_bytes"),
            ("/releases/0/point", json!("sometimes"), "releases[0].point"),
        ] {
            let mut value = valid();
            match value.pointer_mut(pointer) {
                Some(slot) => *slot = bad.clone(),
                None => value[&pointer[1..]] = bad.clone(),
            }
            match parse(&value) {
                Err(ReportError::Field { field, .. }) => assert_eq!(field, named, "{pointer} = {bad}"),
                other => panic!("{pointer} = {bad}: {other:?}"),
            }
        }
    }

    #[test]
    fn what_is_not_json_is_malformed() {
        for text in ["", "{", "NaN", r#"{"schema":NaN}"#, r#"{"schema":1"#] {
            assert!(matches!(Report::parse(text.as_bytes()), Err(ReportError::Malformed(_))), "{text}");
        }
        let trailing = format!("{} x", valid());
        assert!(matches!(Report::parse(trailing.as_bytes()), Err(ReportError::Malformed(_))));
    }
}
