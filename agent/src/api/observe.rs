//! What an application says of its own requests, in mode passive: checked here, counted like what the agent sees.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use sluice_proto::{ClassName, Classifier, Kind, classify::Request};

use crate::{
    measure::Observation,
    metrics::{AgentMetrics, Outcome},
};

/// As in the report: a day, and more bytes than any response has.
const LONGEST_US: u64 = 24 * 3600 * 1_000_000;
const LARGEST: u64 = 1 << 50;

/// One request as the application tells it. Unknown fields are ignored, as in all that goes over the wire.
#[derive(Debug, Deserialize)]
struct Raw {
    /// Else by `method` and `path`.
    class: Option<ClassName>,
    method: Option<String>,
    /// With or without the query.
    path: Option<String>,
    /// For rules that look at it.
    host: Option<String>,
    /// Of the request, for rules that look at them, and to tell ranges and conditional requests.
    #[serde(default)]
    headers: BTreeMap<String, String>,
    status: u16,
    /// Time that it held a worker, in microseconds. Left out: not measured.
    held_us: Option<u64>,
    /// Until the head of the response, in microseconds.
    ttfb_us: Option<u64>,
    /// Of the response's body. Left out: not measured.
    bytes: Option<u64>,
}

/// One that can be counted.
#[derive(Debug)]
pub(super) struct Checked {
    class: ClassName,
    url: Option<String>,
    outcome: Outcome,
    held: Option<Duration>,
    ttfb: Option<Duration>,
    bytes: Option<u64>,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum ObserveError {
    #[error("this is not JSON: {0}")]
    Malformed(serde_json::Error),
    #[error("{field}: {problem}")]
    Field { field: String, problem: String },
}

/// Reads one observation or a list of them; all are good, or none is taken.
pub(super) fn parse(body: &[u8], classifier: &Classifier) -> Result<Vec<Checked>, ObserveError> {
    // Untagged enums lose the name of the field that is wrong, so the shape is told apart by hand.
    match serde_json::from_slice(body).map_err(ObserveError::Malformed)? {
        Value::Array(list) => list
            .into_iter()
            .enumerate()
            .map(|(i, one)| Checked::read(one, &format!("[{i}]."), classifier))
            .collect(),
        one => Ok(vec![Checked::read(one, "", classifier)?]),
    }
}

impl Checked {
    fn read(value: Value, prefix: &str, classifier: &Classifier) -> Result<Self, ObserveError> {
        let raw: Raw = typed(value, prefix)?;
        let within = |name: &str, value: u64, least: u64, most: u64| {
            if (least..=most).contains(&value) {
                return Ok(value);
            }
            let problem = format!("{value} is outside {least} to {most}");
            Err(ObserveError::Field { field: format!("{prefix}{name}"), problem })
        };
        within("status", raw.status.into(), 100, 599)?;
        let held = raw.held_us.map(|held| within("held_us", held, 0, LONGEST_US)).transpose()?;
        let ttfb = raw.ttfb_us.map(|ttfb| within("ttfb_us", ttfb, 0, LONGEST_US)).transpose()?;
        let bytes = raw.bytes.map(|bytes| within("bytes", bytes, 0, LARGEST)).transpose()?;
        Ok(Self {
            class: class(&raw, prefix, classifier)?,
            url: raw.path.filter(|path| path.starts_with('/')),
            outcome: Outcome::of_status(raw.status),
            held: held.map(Duration::from_micros),
            ttfb: ttfb.map(Duration::from_micros),
            bytes,
        })
    }

    pub(super) fn observation(&self) -> Observation<'_> {
        Observation {
            class: &self.class,
            url: self.url.as_deref(),
            failed: self.outcome.is_error(),
            held: self.held,
            ttfb: self.ttfb,
            bytes: self.bytes,
        }
    }

    /// The same into the agent's own metrics.
    pub(super) fn count(&self, metrics: &AgentMetrics) {
        metrics.observed(&metrics.class(&self.class), self.outcome, &self.observation());
    }
}

fn class(raw: &Raw, prefix: &str, classifier: &Classifier) -> Result<ClassName, ObserveError> {
    let missing = |name: &str| ObserveError::Field {
        field: format!("{prefix}{name}"),
        problem: "is missing: give class, or method and path".to_owned(),
    };
    if let Some(class) = &raw.class {
        return Ok(class.clone());
    }
    let method = raw.method.as_deref().ok_or_else(|| missing("method"))?;
    let path = raw.path.as_deref().ok_or_else(|| missing("path"))?;
    // Applications write field names in whatever case.
    let field = |name: &str| {
        raw.headers
            .iter()
            .find(|(given, _)| given.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    };
    let kind = Kind::of(method, |name| field(name).is_some());
    let host = raw.host.as_deref().unwrap_or_default();
    let mut name = String::new();
    classifier.classify(&Request { method, host, path, kind, field: &field }, &mut name);
    Ok(ClassName::parse(&name).unwrap_or_else(ClassName::other))
}

fn typed<T: DeserializeOwned>(value: Value, prefix: &str) -> Result<T, ObserveError> {
    serde_path_to_error::deserialize(value).map_err(|error| ObserveError::Field {
        field: format!("{prefix}{}", error.path()),
        problem: error.inner().to_string(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(value: &Value) -> Result<Vec<Checked>, ObserveError> {
        parse(value.to_string().as_bytes(), &Classifier::default())
    }

    fn valid() -> Value {
        json!({"method": "GET", "path": "/news/7?page=2", "status": 200, "held_us": 10, "bytes": 5})
    }

    #[test]
    fn one_or_many_are_read() {
        let one = read(&valid()).expect("valid");
        assert_eq!(
            (one.len(), one[0].class.as_str(), one[0].url.as_deref()),
            (1, "GET /news/{n}", Some("/news/7?page=2"))
        );
        let named =
            json!({"class": "export", "status": 500, "held_us": 1, "ttfb_us": 1, "bytes": 0, "more": 1});
        let many = read(&json!([valid(), named])).expect("valid");
        assert_eq!((many.len(), many[1].class.as_str()), (2, "export"));
        assert!(many[1].observation().failed && !many[0].observation().failed);
        assert!(read(&json!([])).expect("nothing is fine").is_empty());
        let least = read(&json!({"class": "export", "status": 200})).expect("what is not known is left out");
        let observation = least[0].observation();
        assert_eq!((observation.held, observation.ttfb, observation.bytes), (None, None, None));
    }

    #[test]
    fn what_the_balancer_says_of_classes_holds_here() {
        let classification = json!({
            "version": 1,
            "rules": [{"name": "reports", "hosts": ["intra.example"], "header": {"name": "x-batch"}}],
            "templates": [{"path": "/docs", "names": 57, "share": 5, "extensions": true, "keep": {}}],
        });
        let classification: sluice_proto::Classification =
            serde_json::from_value(classification).expect("a classification");
        let classifier = Classifier::try_from(classification).expect("usable");
        for (extra, class) in [
            (json!({}), "GET /docs/*.pdf"),
            (json!({"headers": {"If-None-Match": "x"}}), "GET /docs/*.pdf [conditional]"),
            (json!({"headers": {"Range": "bytes=0-9"}}), "GET /docs/*.pdf [range]"),
            (json!({"host": "intra.example:80", "headers": {"X-Batch": "1"}}), "reports"),
            (json!({"host": "intra.example"}), "GET /docs/*.pdf"),
        ] {
            let mut value =
                json!({"method": "GET", "path": "/docs/a.pdf", "status": 200, "held_us": 1, "bytes": 5});
            value.as_object_mut().expect("an object").extend(extra.as_object().cloned().expect("an object"));
            let read = parse(value.to_string().as_bytes(), &classifier).expect("valid");
            assert_eq!(read[0].class.as_str(), class, "{extra}");
        }
    }

    #[test]
    fn what_cannot_be_is_refused_and_the_field_is_named() {
        for (key, bad, named) in [
            ("status", json!(99), "status"),
            ("status", json!(600), "status"),
            ("status", json!("200"), "status"),
            ("status", json!(-1), "status"),
            ("held_us", json!(-1), "held_us"),
            ("held_us", json!(1.5), "held_us"),
            ("held_us", json!(LONGEST_US + 1), "held_us"),
            ("ttfb_us", json!(LONGEST_US + 1), "ttfb_us"),
            ("bytes", json!(1e300), "bytes"),
            ("bytes", json!(LARGEST + 1), "bytes"),
            ("class", json!("caf\u{e9}"), "class"),
            ("method", json!(null), "method"),
            ("path", json!(null), "path"),
        ] {
            let mut value = valid();
            value[key] = bad.clone();
            for (value, named) in
                [(value.clone(), named.to_owned()), (json!([valid(), value]), format!("[1].{named}"))]
            {
                match read(&value) {
                    Err(ObserveError::Field { field, .. }) => assert_eq!(field, named, "{key} = {bad}"),
                    other => panic!("{key} = {bad}: {other:?}"),
                }
            }
        }
    }

    #[test]
    fn what_is_not_json_is_malformed() {
        for text in ["", "{", "NaN"] {
            assert!(
                matches!(parse(text.as_bytes(), &Classifier::default()), Err(ObserveError::Malformed(_))),
                "{text}"
            );
        }
        assert!(matches!(read(&json!(7)), Err(ObserveError::Field { .. })));
    }
}
