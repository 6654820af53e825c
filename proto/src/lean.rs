//! The report without what its reader has no use for.

use serde::Serialize;

use crate::report::{Mode, Now, Release, State};
use crate::sparse::Compact;
use crate::{
    ApplicationLoad, BootId, ClassName, ClassRelease, ClassReport, InstanceName, Measured, Report,
    ServiceName, SparseSketch, Target,
};

/// A report as it is written for a balancer that said `"lean": true` in its answer to the one before: half as long, and
/// read in a fraction of the time.
///
/// Left out is what a reader of schema 1 takes for granted (no errors, nothing recorded in a sketch, figures measured as
/// the mode has it), and the heavy URLs, which such a balancer does not look at. Sketches are texts.
#[derive(Serialize)]
pub struct Lean<'a> {
    schema: u32,
    name: &'a InstanceName,
    service: &'a ServiceName,
    address: &'a Target,
    boot_id: &'a BootId,
    seq: u64,
    interval_ms: u32,
    window_ms: u32,
    workers: u32,
    release: &'a Release,
    mode: Mode,
    #[serde(skip_serializing_if = "Option::is_none")]
    version_label: Option<&'a str>,
    state: State,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    now: &'a Now,
    classes: Vec<LeanClass<'a>>,
    #[serde(skip_serializing_if = "<[u64]>::is_empty")]
    classifications: &'a [u64],
    #[serde(skip_serializing_if = "<[ClassRelease]>::is_empty")]
    releases: &'a [ClassRelease],
    #[serde(skip_serializing_if = "Option::is_none")]
    measured: Option<&'a Measured>,
    #[serde(skip_serializing_if = "Option::is_none")]
    application: Option<&'a ApplicationLoad>,
    // Last, as in the report itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    grant: Option<u32>,
}

#[derive(Serialize)]
struct LeanClass<'a> {
    class: &'a ClassName,
    requests: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    errors: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    held_us: Option<Compact<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ttfb_us: Option<Compact<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_bytes: Option<Compact<'a>>,
}

impl<'a> Lean<'a> {
    pub fn of(report: &'a Report) -> Self {
        // All of them by name: of a new field, one must say what becomes of it here.
        let Report {
            schema,
            name,
            service,
            address,
            boot_id,
            seq,
            interval_ms,
            window_ms,
            workers,
            release,
            mode,
            version_label,
            state,
            reason,
            now,
            classes,
            heavy_urls: _,
            classifications,
            releases,
            measured,
            application,
            grant,
        } = report;
        let taken_for_granted = Measured::by(*mode);
        Self {
            schema: *schema,
            name,
            service,
            address,
            boot_id,
            seq: *seq,
            interval_ms: *interval_ms,
            window_ms: *window_ms,
            workers: *workers,
            release,
            mode: *mode,
            version_label: version_label.as_deref(),
            state: *state,
            reason: reason.as_deref(),
            now,
            classes: classes.iter().map(LeanClass::of).collect(),
            classifications,
            releases,
            measured: measured.as_ref().filter(|measured| **measured != taken_for_granted),
            application: application.as_ref(),
            grant: *grant,
        }
    }
}

impl<'a> LeanClass<'a> {
    fn of(report: &'a ClassReport) -> Self {
        let ClassReport { class, requests, errors, held_us, ttfb_us, response_bytes } = report;
        let told = |sketch: &'a SparseSketch| (sketch.count() > 0).then_some(Compact(sketch));
        Self {
            class,
            requests: *requests,
            errors: Some(*errors).filter(|errors| *errors > 0),
            held_us: told(held_us),
            ttfb_us: told(ttfb_us),
            response_bytes: told(response_bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_left_out_is_only_what_nobody_misses() {
        let sketch = json!({"bins": [[481, 2], [498, 1]], "min": 15000, "max": 21000, "sum": 51001});
        let full = json!({
            "schema": 1, "name": "zope-1", "service": "shop", "address": "10.0.0.7:8081",
            "boot_id": "b1", "seq": 7, "interval_ms": 1000, "window_ms": 1003, "workers": 2,
            "release": {"point": "first-byte", "found": "learned"}, "mode": "passive", "state": "draining",
            "reason": "asked to", "version_label": "v2",
            "now": {"in_flight": 1, "streaming": 2, "queued": 3, "spooled_bytes": 4},
            "classes": [
                {"class": "GET /a", "requests": 3, "errors": 1, "held_us": sketch, "ttfb_us": sketch, "response_bytes": sketch},
                {"class": "GET /b", "requests": 3, "errors": 0, "held_us": sketch},
            ],
            "application": {"cpu_utilization": 0.5}, "classifications": [9],
            "heavy_urls": [{"url": "/a", "requests": 1, "total_bytes": 10, "largest_bytes": 10}],
            "releases": [{"class": "GET /a", "point": "first-byte", "found": "learned", "up_to_bytes": 9}],
            "measured": {"by": ["access-log"], "held_us": "estimated"}, "grant": 1,
        });
        let mut report = Report::parse(full.to_string().as_bytes()).expect("valid");
        let lean = serde_json::to_vec(&Lean::of(&report)).expect("plain data");
        report.heavy_urls.clear();
        assert_eq!(Report::parse(&lean).expect("valid"), report);
    }

    #[test]
    fn what_the_mode_says_of_figures_is_not_said_again() {
        for (mode, measured, is_said) in [
            ("inline", Measured::by_agent(), false),
            ("passive", Measured::by_application(), false),
            ("passive", Measured::by_agent(), true),
            ("inline", Measured::nothing(), true),
        ] {
            let report = json!({
                "schema": 1, "name": "zope-1", "address": "10.0.0.7:8081", "boot_id": "b1", "seq": 7,
                "interval_ms": 1000, "window_ms": 1003, "workers": 2, "mode": mode, "state": "ready",
                "release": {"point": "end", "found": "learned"}, "now": {}, "measured": measured,
            });
            let report = Report::parse(report.to_string().as_bytes()).expect("valid");
            let lean = serde_json::to_vec(&Lean::of(&report)).expect("plain data");
            let read = Report::parse(&lean).expect("valid");
            assert_eq!((read.measured.is_some(), read.measured()), (is_said, measured), "{mode}");
        }
    }
}
