//! What the dashboard shows at one moment: `GET /v1/live` sends one each second.

use std::collections::HashMap;
use std::time::Instant;

use serde::Serialize;

use crate::control::ControlState;
use crate::control::health::{self, Health};
use crate::control::history::{Columns, brief};
use crate::control::planning::{ServiceView, unix_ms};
use crate::control::view::{self, ClassView, InstanceView, ServiceFacts};
use crate::decide::flows::Flow;
use crate::pool::{ClassEntry, Service, now};

/// Classes sent: those that keep the most workers busy.
const CLASSES: usize = 500;
/// Flows sent: the broadest. A picture has room for fewer.
const FLOWS: usize = 400;
/// Steps of the history in each snapshot: more than one, so that a reader may miss some.
const STEPS: usize = 3;

#[derive(Debug, Serialize)]
pub(super) struct Snapshot {
    at_ms: u64,
    /// The balancer's.
    version: &'static str,
    health: Health,
    services: Vec<LiveService>,
    instances: Vec<LiveInstance>,
    classes: Vec<LiveClass>,
    /// Of which those are the busiest.
    classes_total: usize,
    flows: Vec<LiveFlow>,
}

#[derive(Debug, Serialize)]
struct LiveService {
    #[serde(flatten)]
    plan: ServiceView,
    /// The newest steps of its history.
    steps: Columns,
}

#[derive(Debug, Serialize)]
struct LiveInstance {
    #[serde(flatten)]
    view: InstanceView,
    /// Requests per second that ended there in the last 10 to 20 seconds, ...
    per_second: f64,
    /// ... and workers that they held on average.
    busy: f64,
}

/// A class in the figures that are shown, to three digits.
#[derive(Debug, Serialize)]
struct LiveClass {
    service: String,
    class: String,
    by: String,
    reason: Option<String>,
    lane: String,
    goes: String,
    homes: Vec<String>,
    predicted_ms: f64,
    predicted_by: String,
    per_second: f64,
    /// Workers that its requests hold, on average.
    busy: f64,
    requests: u64,
    errors: u64,
    held_p50_ms: Option<f64>,
    held_p99_ms: Option<f64>,
    latency_p50_ms: Option<f64>,
    latency_p99_ms: Option<f64>,
    bytes_p50: Option<f64>,
    bytes_p99: Option<f64>,
}

/// Traffic of one class to one instance.
#[derive(Debug, Serialize)]
struct LiveFlow {
    service: String,
    class: String,
    instance: String,
    per_second: f64,
    busy: f64,
    bytes_per_second: f64,
}

/// The site as it is now.
pub(super) fn of(state: &ControlState) -> Snapshot {
    let (now, plan) = (now(), state.plan());
    let (mut classes, mut flows) = (Vec::new(), Vec::new());
    for service in state.directory().iter() {
        let facts = ServiceFacts::of(state, service);
        for entry in service.classes.all(now) {
            classes.push(LiveClass::of(view::class(&facts, service, &entry, now)));
            flows.extend(LiveFlow::all(service, &facts, &entry, now));
        }
    }
    let instances = instances(state, &flows);
    let views = instances.iter().map(|instance| &instance.view);
    let health = health::judge(&views.cloned().collect::<Vec<_>>(), &state.service_facts());
    let classes_total = classes.len();
    classes.sort_by(|a, b| b.weight().total_cmp(&a.weight()));
    classes.truncate(CLASSES);
    flows.sort_by(|a, b| b.weight().total_cmp(&a.weight()));
    flows.truncate(FLOWS);
    let services = plan.services.iter().cloned();
    Snapshot {
        at_ms: unix_ms(),
        version: env!("CARGO_PKG_VERSION"),
        health,
        services: services
            .map(|plan| LiveService { steps: state.steps(&plan.service, STEPS), plan })
            .collect(),
        instances,
        classes,
        classes_total,
        flows,
    }
}

/// All instances, with what flows to each.
fn instances(state: &ControlState, flows: &[LiveFlow]) -> Vec<LiveInstance> {
    let mut sums = HashMap::<(&str, &str), (f64, f64)>::new();
    for flow in flows {
        let (per_second, busy) = sums.entry((&flow.service, &flow.instance)).or_default();
        *per_second += flow.per_second;
        *busy += flow.busy;
    }
    let live = |view: InstanceView| {
        let sum = sums.get(&(view.service.as_str(), view.name.as_str())).copied();
        let (per_second, busy) = sum.unwrap_or_default();
        LiveInstance { view, per_second: brief(per_second), busy: brief(busy) }
    };
    view::instances(state).into_iter().map(live).collect()
}

/// By this the most important are chosen: a worker that is held counts as much as this many requests
/// per second.
const WORKER: f64 = 100.0;

impl LiveClass {
    fn of(view: ClassView) -> Self {
        let ClassView { seen, latency_ms, .. } = view;
        let brief_or_none = |value: Option<f64>| value.map(brief);
        Self {
            service: view.service,
            class: view.class,
            by: view.by,
            reason: view.reason,
            lane: view.lane,
            goes: view.goes,
            homes: view.homes,
            predicted_ms: brief(view.predicted_held_ms),
            predicted_by: view.predicted_by,
            per_second: brief(seen.per_second),
            busy: brief(seen.per_second * seen.held_ms.mean.unwrap_or(0.0) / 1e3),
            requests: seen.requests,
            errors: seen.errors.unwrap_or(0),
            held_p50_ms: brief_or_none(seen.held_ms.p50),
            held_p99_ms: brief_or_none(seen.held_ms.p99),
            latency_p50_ms: brief_or_none(latency_ms.p50),
            latency_p99_ms: brief_or_none(latency_ms.p99),
            bytes_p50: brief_or_none(seen.response_bytes.p50),
            bytes_p99: brief_or_none(seen.response_bytes.p99),
        }
    }

    fn weight(&self) -> f64 {
        self.busy * WORKER + self.per_second
    }
}

impl LiveFlow {
    /// Where the requests of a class went.
    fn all(service: &Service, facts: &ServiceFacts, entry: &ClassEntry, now: Instant) -> Vec<Self> {
        let (flows, window) = entry.flows(now);
        let seconds = window.as_secs_f64().max(1.0);
        let flow = |(id, flow): (_, Flow)| Self {
            service: service.name.to_string(),
            class: entry.name.to_string(),
            instance: facts.name(&id),
            per_second: brief(flow.requests as f64 / seconds),
            busy: brief(flow.held.as_secs_f64() / seconds),
            bytes_per_second: brief(flow.bytes as f64 / seconds),
        };
        flows.iter().map(flow).collect()
    }

    fn weight(&self) -> f64 {
        self.busy * WORKER + self.per_second
    }
}
