//! What is exported about release points.

use std::sync::Arc;

use prometheus::{IntCounter, IntCounterVec, Registry};
use sluice_process::metrics::counters;
use sluice_proto::ReleasePoint;

use super::{ProbeOutcome, learner::News};
use crate::{metrics::ReadAtScrape, shared::Shared};

#[derive(Clone)]
pub(super) struct ReleaseMetrics {
    probes: IntCounterVec,
    contradictions: IntCounter,
}

impl ReleaseMetrics {
    pub(super) fn register(registry: &Registry) -> Self {
        let probes = counters(
            registry,
            "sluice_agent_release_probes_total",
            "Requests let in beside a response to see whether its worker is free, by outcome. Mostly unclear: responses end too soon to tell.",
            &["outcome"],
        );
        let outcomes = [ProbeOutcome::Answered, ProbeOutcome::Waited, ProbeOutcome::Unclear];
        outcomes.iter().for_each(|outcome| drop(probes.with_label_values(&[label(*outcome)])));
        let contradictions = counters(
            registry,
            "sluice_agent_release_contradictions_total",
            "Times that a class was found to hold its workers though it was taken for free. Growing: give --release end.",
            &[],
        );
        Self { probes, contradictions: contradictions.with_label_values::<&str>(&[]) }
    }

    pub(super) fn count(&self, news: &News) {
        match news {
            News::Probed(outcome) => self.probes.with_label_values(&[label(*outcome)]).inc(),
            News::Learned(_) => {}
            News::Withdrawn(_) => self.contradictions.inc(),
        }
    }
}

fn label(outcome: ProbeOutcome) -> &'static str {
    match outcome {
        ProbeOutcome::Answered => "answered",
        ProbeOutcome::Waited => "waited",
        ProbeOutcome::Unclear => "unclear",
    }
}

/// Registers the gauge that is read from `shared` when somebody asks.
pub fn register_gauges(shared: &Arc<Shared>, registry: &Registry) {
    let shared = shared.clone();
    ReadAtScrape::register(
        registry,
        "sluice_agent_release_classes",
        "Classes whose release point was learned, by that point.",
        &["point"],
        move |gauges| {
            let claims = shared.releases.claims();
            for (label, point) in [("first-byte", ReleasePoint::FirstByte), ("end", ReleasePoint::End)] {
                let of_it = claims.iter().filter(|claim| claim.point == point).count();
                gauges.with_label_values(&[label]).set(of_it as f64);
            }
        },
    );
}
