//! An agent's report.

use sluice_proto::{ClassName, ClassReport, Lean, Report, Sketch};

pub(crate) const CLASSES: usize = 20;

/// A second of an instance with twenty classes.
pub(crate) fn report() -> String {
    let classes: Vec<ClassReport> = (0..CLASSES as u64).map(class).collect();
    serde_json::json!({
        "schema": 1, "name": "zope-1", "address": "127.0.0.1:8080", "boot_id": "70c9b6e711c0cab553f76104c137b7f2",
        "seq": 1, "interval_ms": 1000, "window_ms": 1000, "workers": 2, "mode": "inline", "state": "ready",
        "release": {"point": "end", "found": "learned"}, "classes": classes,
        "now": {"in_flight": 1, "streaming": 0, "queued": 0, "spooled_bytes": 0},
    })
    .to_string()
}

/// The same as a balancer gets it that asked for less.
pub(crate) fn lean_report() -> String {
    let report = Report::parse(report().as_bytes()).expect("a valid report");
    serde_json::to_string(&Lean::of(&report)).expect("plain data")
}

/// Fifty requests of one class.
pub(crate) fn class(n: u64) -> ClassReport {
    let mut rng = fastrand::Rng::with_seed(n);
    let mut around = |middle: f64| {
        let mut sketch = Sketch::new();
        (0..50).for_each(|_| sketch.add((middle * (0.5 + rng.f64())) as u64));
        sketch.into()
    };
    ClassReport {
        class: ClassName::parse(&format!("GET /section-{n}/*")).expect("a name"),
        requests: 50,
        errors: 0,
        held_us: around(10_000.0),
        ttfb_us: around(9_000.0),
        response_bytes: around(20_000.0),
    }
}
