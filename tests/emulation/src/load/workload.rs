//! What a run asks for: classes of requests, each with its rate, paths and costs.

use std::time::Duration;

use http::Method;
use serde::{Deserialize, Serialize};

use super::rate::Rate;
use crate::dist::{Dist, OutOfRange, not_negative, positive};

/// Everything that a run depends on besides its target: same workload, same requests.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Workload {
    pub name: String,
    pub seed: u64,
    /// Arrivals are scheduled in this time, in seconds in a file (`secs`); answers may come later.
    #[serde(rename = "secs", with = "seconds")]
    pub duration: Duration,
    pub classes: Vec<ClassLoad>,
}

/// One class of requests.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClassLoad {
    pub name: String,
    pub rate: Rate,
    #[serde(default, with = "method")]
    pub method: Method,
    pub path: PathPattern,
    /// Worker time in milliseconds at speed 1, drawn for each request.
    pub work_ms: Dist,
    /// Additional worker time in milliseconds when the section is not in the instance's cache.
    /// Means nothing without `path.sections`.
    #[serde(default)]
    pub miss_ms: f64,
    /// Length of the response body in bytes.
    pub bytes: Dist,
    #[serde(default)]
    pub sizes: Sizes,
    /// Bytes per second at which the client reads; `None`: as fast as they come.
    #[serde(default)]
    pub client_rate: Option<u64>,
    /// Length of the request body in bytes.
    #[serde(default)]
    pub request_bytes: u64,
}

/// Which URL a request asks for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PathPattern {
    /// `{n}` stands for a number `0..keys`, `{section}` for one of `sections`.
    pub template: String,
    /// Distinct values of `{n}`, uniformly drawn; at least 1, which is the default.
    #[serde(default = "one")]
    pub keys: u64,
    /// Cache objects that the paths are spread over; `None`: requests need no object.
    #[serde(default)]
    pub sections: Option<Sections>,
}

/// Objects that instances cache, named `section-0`, `section-1`, ...
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sections {
    /// At least 1.
    pub count: usize,
    #[serde(default)]
    pub pick: Pick,
}

/// How often each section is asked for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pick {
    #[default]
    Uniform,
    /// Section `k` in proportion to `1 / (k + 1)^exponent`.
    Zipf(f64),
}

/// What the size of a response depends on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sizes {
    /// A URL has one size for the whole run, as a file does. Needs a template with many URLs.
    #[default]
    ByUrl,
    /// Each response is drawn anew, as of a search.
    ByRequest,
}

/// Why a workload is refused.
#[derive(Debug, thiserror::Error)]
pub enum WorkloadError {
    #[error("not a workload: {0}")]
    Malformed(#[from] serde_json::Error),
    #[error("secs must be above 0")]
    NoDuration,
    #[error("a workload needs at least one class")]
    NoClasses,
    #[error("class {class:?}: {source}")]
    OutOfRange { class: String, source: OutOfRange },
    #[error("class {class:?}: path {path:?} must start with / and be a valid URL path")]
    BadPath { class: String, path: String },
}

impl Workload {
    /// Reads and checks a JSON workload; unknown fields are refused.
    pub fn from_json(text: &str) -> Result<Self, WorkloadError> {
        let workload: Self = serde_json::from_str(text)?;
        workload.check()?;
        Ok(workload)
    }

    /// Refuses what can not be meant. A run of an unchecked workload never panics, but may be empty.
    pub fn check(&self) -> Result<(), WorkloadError> {
        if self.duration.is_zero() {
            return Err(WorkloadError::NoDuration);
        }
        if self.classes.is_empty() {
            return Err(WorkloadError::NoClasses);
        }
        self.classes.iter().try_for_each(ClassLoad::check)
    }

    /// Worker time that arrives per second at speed 1 if nothing misses: 1.0 keeps one worker busy.
    pub fn offered_workers(&self) -> f64 {
        self.classes.iter().map(|c| c.rate.mean(self.duration) * c.work_ms.mean() / 1e3).sum()
    }
}

impl ClassLoad {
    /// `GET /NAME/{n}` with 1000 URLs, 10 ms of work and 8 KiB each, `per_s` times a second.
    pub fn new(name: &str, per_s: f64) -> Self {
        Self {
            name: name.to_owned(),
            rate: Rate::Constant(per_s),
            method: Method::GET,
            path: PathPattern::new(&format!("/{name}/{{n}}"), 1000),
            work_ms: Dist::Constant(10.0),
            miss_ms: 0.0,
            bytes: Dist::Constant(8192.0),
            sizes: Sizes::ByUrl,
            client_rate: None,
            request_bytes: 0,
        }
    }

    fn check(&self) -> Result<(), WorkloadError> {
        let class = || self.name.clone();
        self.check_numbers().map_err(|source| WorkloadError::OutOfRange { class: class(), source })?;
        let path = self.path.fill(0, 0);
        let valid = path.starts_with('/') && path.parse::<http::uri::PathAndQuery>().is_ok();
        if valid { Ok(()) } else { Err(WorkloadError::BadPath { class: class(), path }) }
    }

    fn check_numbers(&self) -> Result<(), OutOfRange> {
        self.rate.check()?;
        self.work_ms.check()?;
        self.bytes.check()?;
        not_negative("miss_ms", self.miss_ms)?;
        positive("keys", self.path.keys as f64)?;
        if let Some(rate) = self.client_rate {
            positive("client_rate", rate as f64)?;
        }
        let Some(sections) = &self.path.sections else { return Ok(()) };
        positive("sections.count", sections.count as f64)?;
        match sections.pick {
            Pick::Uniform => Ok(()),
            Pick::Zipf(exponent) => not_negative("zipf", exponent),
        }
    }
}

impl PathPattern {
    /// `keys` URLs of one shape, no cache objects.
    pub fn new(template: &str, keys: u64) -> Self {
        Self { template: template.to_owned(), keys, sections: None }
    }

    /// The path of one draw.
    pub(super) fn fill(&self, n: u64, section: usize) -> String {
        let path = self.template.replace("{n}", &n.to_string());
        path.replace("{section}", &section.to_string())
    }
}

fn one() -> u64 {
    1
}

/// A [`Duration`] as seconds with a fraction.
mod seconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(value: &Duration, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_f64(value.as_secs_f64())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Duration, D::Error> {
        Duration::try_from_secs_f64(f64::deserialize(d)?).map_err(D::Error::custom)
    }
}

/// A [`Method`] by name.
mod method {
    use std::borrow::Cow;

    use http::Method;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(value: &Method, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(value.as_str())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Method, D::Error> {
        Cow::<'_, str>::deserialize(d)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"{
        "name": "mine", "seed": 3, "secs": 2.5,
        "classes": [
            {"name": "pages", "rate": {"constant": 100}, "path": {"template": "/page/{n}", "keys": 50},
             "work_ms": {"lognormal": {"mean": 10, "cv": 1}}, "bytes": {"constant": 4096}},
            {"name": "put", "rate": {"bursts": {"per_s": 4, "on_s": 2, "every_s": 8}}, "method": "PUT",
             "path": {"template": "/{section}", "sections": {"count": 8, "pick": {"zipf": 1.0}}},
             "work_ms": {"constant": 1}, "bytes": {"constant": 0}, "request_bytes": 1000}
        ]
    }"#;

    #[test]
    fn a_file_is_read_and_written_back_the_same() {
        let read = Workload::from_json(FILE).expect("a valid file");
        assert_eq!(read.duration, Duration::from_millis(2500));
        assert_eq!((&read.classes[0].method, &read.classes[1].method), (&Method::GET, &Method::PUT));
        let written = serde_json::to_string(&read).expect("plain data");
        assert_eq!(Workload::from_json(&written).expect("our own output"), read);
    }

    #[test]
    fn what_can_not_be_meant_is_refused_with_its_name() {
        let cases = [
            ("2.5", "0", "secs"),
            ("2.5", "-1", "negative"),
            (r#""keys": 50"#, r#""keys": 0"#, "keys"),
            (r#""mean": 10"#, r#""mean": -1"#, "mean = -1"),
            (r#""on_s": 2"#, r#""on_s": 9"#, "every_s - on_s"),
            ("/page/{n}", "page", "must start with /"),
            (r#""seed""#, r#""sead""#, "sead"),
            (r#""zipf": 1.0"#, r#""zipf": -1.0"#, "zipf"),
        ];
        for (from, to, expected) in cases {
            let error = Workload::from_json(&FILE.replace(from, to)).expect_err(to).to_string();
            assert!(error.contains(expected), "{to}: {error}");
        }
    }

    #[test]
    fn offered_workers_averages_over_the_run() {
        let mut pages = ClassLoad::new("pages", 200.0); // 200/s of 10 ms = 2 workers
        pages.rate = Rate::Window { per_s: 200.0, from_s: 6.0, until_s: None }; // half of 12 s
        let duration = Duration::from_secs(12);
        let workload = Workload { name: "w".into(), seed: 1, duration, classes: vec![pages] };
        assert!((workload.offered_workers() - 1.0).abs() < 1e-9);
    }
}
