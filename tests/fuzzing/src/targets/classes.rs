//! Classes of requests: names that come over the wire, and names that are made from what clients ask for.

use sluice_proto::classify::{Request, renamed};
use sluice_proto::learn::{LearnParams, learn};
use sluice_proto::{ClassName, Classification, Classifier, Kind, PlanReply, Templates};

/// Method, host and paths, a line each. Whatever is asked for has a class with a valid name.
pub fn class(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let mut lines = text.split('\n');
    let (method, host) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let names: Vec<_> =
        lines.map(|path| name(&Classifier::default(), &Templates::default(), method, host, path)).collect();
    let seen = names.iter().map(|name| (name, 1.0));
    let eager = LearnParams { evidence: 0.0, ..LearnParams::default() };
    let templates = learn(&Templates::default(), seen, &eager);
    for old in &names {
        let new = renamed(old, &templates).unwrap_or_else(|| old.clone());
        assert_eq!(renamed(&new, &templates), None, "{old} became {new}, which has yet another name");
    }
}

fn name(classifier: &Classifier, templates: &Templates, method: &str, host: &str, path: &str) -> ClassName {
    let mut out = String::new();
    let request = Request { method, host, path, kind: Kind::default(), field: &|_| None };
    classifier.classify(&request, &mut out);
    let name = ClassName::parse(&out).unwrap_or_else(|| panic!("{method} {path} gives {out:?}"));
    assert_eq!(renamed(&name, templates), None, "nothing was learned");
    name
}

/// What a balancer answers its agent. A classification that is taken gives every path a name.
pub fn plan_reply(bytes: &[u8]) {
    let Ok(reply) = serde_json::from_slice::<PlanReply>(bytes) else { return };
    let text = serde_json::to_vec(&reply).expect("plain data");
    assert_eq!(serde_json::from_slice::<PlanReply>(&text).expect("it was taken before"), reply);
    let Some(classification) = reply.classification else { return };
    let classification = Classification::clone(&classification);
    let again = Classification::new(&classification.rules, &classification.templates);
    let size = serde_json::to_vec(&again).expect("plain data").len();
    assert!(size <= Classification::MAX_BYTES || again.templates.is_empty(), "{size} bytes");
    let Ok(classifier) = Classifier::try_from(classification) else { return };
    for path in ["/", "/news/2024/a.pdf?q=1", "//", "/a/b/c/d/e/f/g/h/i/j/k/l/m/n/o/p/q/r/s", "*"] {
        let mut out = String::new();
        let request =
            Request { method: "GET", host: "a.example", path, kind: Kind::default(), field: &|_| None };
        classifier.classify(&request, &mut out);
        assert!(ClassName::parse(&out).is_some(), "{path} gives {out:?}");
    }
}
