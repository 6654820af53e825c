//! From an entry to its class, counted as if the agent had seen the request.

use std::{borrow::Cow, collections::HashMap, sync::Arc};

use sluice_proto::{ClassName, Classifier, Kind, classify::Request, report::MAX_CLASSES};

use super::{Entry, Format, OwnRequests};
use crate::{
    measure::{Observation, Recorder},
    metrics::{AgentMetrics, ClassMetrics, Outcome},
};

/// Names and counts.
pub struct Tally {
    classifier: Arc<Classifier>,
    /// The classes seen, at most [`MAX_CLASSES`].
    known: HashMap<ClassName, ClassMetrics>,
    scratch: String,
    metrics: AgentMetrics,
    own: Arc<OwnRequests>,
    /// Where the log does not have the header fields that tell it.
    infers: Infers,
}

/// What has to be told from the status.
#[derive(Clone, Copy, Debug)]
struct Infers {
    /// That part of a file was asked for: by 206.
    range: bool,
    /// That it was asked whether something had changed: by 304. Those where it had are taken for others.
    conditional: bool,
}

/// What became of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    Counted,
    /// The agent's own request: no client's.
    Own,
}

impl Tally {
    /// For the lines of `format`.
    pub fn new(format: &Format, own: Arc<OwnRequests>, metrics: AgentMetrics) -> Self {
        let infers = Infers {
            range: !format.tells("range"),
            conditional: !format.tells("if-none-match") && !format.tells("if-modified-since"),
        };
        Self {
            classifier: Arc::default(),
            known: HashMap::new(),
            scratch: String::new(),
            metrics,
            own,
            infers,
        }
    }

    /// How requests are classified from now on.
    pub fn classify_by(&mut self, classifier: Arc<Classifier>) {
        self.classifier = classifier;
    }

    pub fn take(&mut self, entry: &Entry<'_>, recorder: &Recorder) -> Taken {
        if self.own.found(&entry.path) {
            return Taken::Own;
        }
        classify(&self.classifier, entry, self.infers, &mut self.scratch);
        if !self.known.contains_key(self.scratch.as_str()) {
            self.get_to_know();
        }
        let (class, of_class) = self.known.get_key_value(self.scratch.as_str()).expect("it was put there");
        let outcome = Outcome::of_status(entry.status);
        let observation = Observation {
            class,
            url: Some(&entry.path),
            failed: outcome.is_error(),
            held: entry.took,
            ttfb: entry.first_byte,
            bytes: entry.bytes,
        };
        recorder.record(&observation);
        self.metrics.observed(of_class, outcome, &observation);
        Taken::Counted
    }

    /// Puts the class in `scratch` among the known, by its name or as `other`.
    fn get_to_know(&mut self) {
        let class = ClassName::parse(&self.scratch).unwrap_or_else(|| {
            self.scratch.replace_range(.., ClassName::OTHER);
            ClassName::other()
        });
        // What the balancer learns gives classes new names: those that are in use come back at once.
        if self.known.len() >= MAX_CLASSES {
            self.known.clear();
        }
        let metrics = self.metrics.class(&class);
        self.known.insert(class, metrics);
    }
}

fn classify(classifier: &Classifier, entry: &Entry<'_>, infers: Infers, out: &mut String) {
    let field =
        |name: &str| entry.headers.iter().find(|(given, _)| *given == name).map(|(_, value)| value.as_ref());
    let has = |name: &'static str| match name {
        "range" if infers.range => entry.status == 206,
        "if-none-match" if infers.conditional => entry.status == 304,
        name => field(name).is_some(),
    };
    let request = Request {
        method: &entry.method,
        host: entry.host.as_ref().map_or("", Cow::as_ref),
        path: &entry.path,
        kind: Kind::of(&entry.method, has),
        field: &field,
    };
    classifier.classify(&request, out);
}

#[cfg(test)]
mod tests {
    use prometheus::Registry;
    use serde_json::json;
    use tokio::time::Instant;

    use super::*;

    const PLAIN: &str = "$host $request_method $request_uri $status $request_time";
    const WITH_FIELDS: &str = r#"$host $request_method $request_uri $status "$http_range" "$http_if_none_match" "$http_x_batch" $request_time"#;

    fn classes(format: &str, lines: &[&str]) -> Vec<String> {
        let format: Format = format.parse().expect("a format");
        let own = Arc::new(OwnRequests::default());
        own.made("/healthz");
        let mut tally = Tally::new(&format, own, AgentMetrics::register(&Registry::new()));
        let classification = json!({
            "version": 1,
            "rules": [{"name": "batch", "hosts": ["intra.example"], "header": {"name": "x-batch"}}],
            "templates": [{"path": "/docs", "names": 57, "share": 5, "extensions": true, "keep": {}}],
        });
        let classification: sluice_proto::Classification =
            serde_json::from_value(classification).expect("a classification");
        tally.classify_by(Arc::new(Classifier::try_from(classification).expect("usable")));
        let recorder = Recorder::new(Instant::now());
        for line in lines {
            tally.take(&format.read(line).expect(line), &recorder);
        }
        let mut names: Vec<_> =
            recorder.cut(Instant::now()).classes.into_keys().map(|class| class.to_string()).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn classes_are_the_balancers() {
        for (format, line, class) in [
            (PLAIN, "- GET /docs/a.pdf 200 1", "GET /docs/*.pdf"),
            (PLAIN, "- GET /docs/a.pdf 206 1", "GET /docs/*.pdf [range]"),
            (PLAIN, "- GET /docs/a.pdf 304 1", "GET /docs/*.pdf [conditional]"),
            (PLAIN, "- HEAD /docs/a.pdf 200 1", "HEAD /docs/*.pdf"),
            (PLAIN, "- POST /news/7?x=1 200 1", "POST /news/{n}"),
            (WITH_FIELDS, r#"- GET /docs/a.pdf 206 "-" "-" "-" 1"#, "GET /docs/*.pdf"),
            (WITH_FIELDS, r#"- GET /docs/a.pdf 200 "bytes=0-" "-" "-" 1"#, "GET /docs/*.pdf [range]"),
            (WITH_FIELDS, r#"- GET /docs/a.pdf 200 "-" "\x22e\x22" "-" 1"#, "GET /docs/*.pdf [conditional]"),
            (WITH_FIELDS, r#"intra.example GET /a 200 "-" "-" "1" 1"#, "batch"),
            (WITH_FIELDS, r#"www.example GET /a 200 "-" "-" "1" 1"#, "GET /a"),
        ] {
            assert_eq!(classes(format, &[line]), [class], "{line}");
        }
    }

    #[test]
    fn the_agents_own_requests_are_not_counted() {
        let (check, page) = ("- GET /healthz 200 1", "- GET /page 200 1");
        assert_eq!(classes(PLAIN, &[check, page]), ["GET /page"]);
        assert_eq!(
            classes(PLAIN, &[check, check]),
            ["GET /healthz"],
            "one was made, the other is a client's"
        );
    }
}
