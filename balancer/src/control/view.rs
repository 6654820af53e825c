//! What the API shows: the JSON of `/v1/instances` and `/v1/classes`.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use sluice_proto::report::Release;
use sluice_proto::{ClassSums, Sketch, State};

use crate::control::ControlState;
use crate::decide::breaker::Breaker;
use crate::decide::dispatch::Occupancy;
use crate::decide::membership::{Key, Member};
use crate::pool::{ClassEntry, now};

/// One instance: what it says, what is done with it, and why.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InstanceView {
    pub service: String,
    pub name: String,
    pub address: String,
    /// `agent` or `configuration`.
    pub source: String,
    /// As its agent says; an instance without one counts as ready.
    pub state: State,
    /// Whether it gets requests.
    pub routed: bool,
    /// Why, or why not.
    pub reason: String,
    pub role: String,
    /// `ready`, `drain` or `maintenance`.
    pub operator: String,
    /// `closed`, `open` or `trying`.
    pub breaker: String,
    pub workers: u32,
    /// Workers that requests are sent to: of those that the agent claims, what is believed and what
    /// others do not hold.
    pub limit: u32,
    /// Workers held by this balancer's requests.
    pub working: u32,
    /// Responses of this balancer being sent whose worker is free.
    pub streaming: u32,
    pub release: Release,
    pub mode: Option<String>,
    pub version_label: Option<String>,
    /// `fresh`, `stale` or `unknown`.
    pub knowledge: String,
    pub report_age_ms: Option<u64>,
    pub last_success_age_ms: Option<u64>,
    pub agent: Option<sluice_proto::Now>,
}

/// One class: seen by this balancer, and reported by the agents.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassView {
    pub service: String,
    pub class: String,
    pub seen: Figures,
    pub reported: Figures,
}

/// What a class costs, over the last 30 to 60 seconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// Time that the figures cover, in seconds.
    pub window_s: f64,
    pub requests: u64,
    pub errors: u64,
    pub per_second: f64,
    pub held_ms: Spread,
    pub ttfb_ms: Spread,
    pub response_bytes: Spread,
}

/// A distribution in four numbers; `None` if nothing was measured.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    pub mean: Option<f64>,
    pub p50: Option<f64>,
    pub p99: Option<f64>,
    pub max: Option<f64>,
}

/// All instances, by service and name.
pub fn instances(state: &ControlState) -> Vec<InstanceView> {
    let now = now();
    state.members().iter().map(|(key, member)| instance(state, key, member, now)).collect()
}

/// All classes, by service and name.
pub fn classes(state: &ControlState) -> Vec<ClassView> {
    let now = now();
    let mut views = Vec::new();
    for service in state.directory.iter() {
        let entries = service.classes.all(now);
        views.extend(entries.iter().map(|entry| class(service.name.as_str(), entry, now)));
    }
    views.sort_by(|a, b| (&a.service, &a.class).cmp(&(&b.service, &b.class)));
    views
}

/// The view of one instance.
pub(super) fn instance(state: &ControlState, key: &Key, member: &Member, now: Instant) -> InstanceView {
    let plan = state.plan();
    let entry = plan.entry(&key.0, &key.1);
    let service = state.directory.get(&key.0);
    let occupancy = service.and_then(|service| service.occupancy(member.id));
    let last_success = service.and_then(|s| s.instance(member.id)).and_then(|i| i.last_success());
    let age = |at: Instant| millis(now.saturating_duration_since(at));
    let agent = member.agent.as_ref();
    let load = occupancy.map(|o: Occupancy| o.load);
    InstanceView {
        service: key.0.to_string(),
        name: key.1.to_string(),
        address: member.target.to_string(),
        source: if agent.is_some() { "agent" } else { "configuration" }.to_owned(),
        state: agent.map_or(State::Ready, |agent| agent.state),
        routed: entry.is_some_and(|entry| entry.routed),
        reason: entry.map_or_else(|| "not planned yet".to_owned(), |entry| entry.reason.clone()),
        role: entry.map_or_else(|| "general".to_owned(), |entry| word(&entry.role)),
        operator: word(&member.operator),
        breaker: occupancy.map_or("closed", |o| breaker_word(&o.breaker)).to_owned(),
        workers: member.workers,
        limit: occupancy.map_or(0, |o| o.limit),
        working: load.map_or(0, |load| load.working),
        streaming: load.map_or(0, |load| load.streaming),
        release: member.release.clone(),
        mode: agent.map(|agent| word(&agent.mode)),
        version_label: agent.and_then(|agent| agent.version_label.clone()),
        knowledge: word(&member.knowledge(now)),
        report_age_ms: agent.map(|agent| age(agent.received)),
        last_success_age_ms: last_success.map(age),
        agent: agent.map(|agent| agent.now.clone()),
    }
}

/// The view of one class.
pub(super) fn class(service: &str, entry: &ClassEntry, now: Instant) -> ClassView {
    ClassView {
        service: service.to_owned(),
        class: entry.name.to_string(),
        seen: figures(entry.seen(now)),
        reported: figures(entry.reported(now)),
    }
}

fn figures((sums, window): (ClassSums, Duration)) -> Figures {
    const US_PER_MS: f64 = 1000.0;
    let window_s = window.as_secs_f64();
    Figures {
        window_s,
        requests: sums.requests,
        errors: sums.errors,
        per_second: if window_s > 0.0 { sums.requests as f64 / window_s } else { 0.0 },
        held_ms: spread(&sums.held_us, US_PER_MS),
        ttfb_ms: spread(&sums.ttfb_us, US_PER_MS),
        response_bytes: spread(&sums.response_bytes, 1.0),
    }
}

fn spread(sketch: &Sketch, unit: f64) -> Spread {
    let scaled = |value: Option<u64>| value.map(|value| value as f64 / unit);
    Spread {
        mean: sketch.mean().map(|mean| mean / unit),
        p50: scaled(sketch.quantile(0.5)),
        p99: scaled(sketch.quantile(0.99)),
        max: scaled(sketch.max()),
    }
}

fn breaker_word(breaker: &Breaker) -> &'static str {
    match breaker {
        Breaker::Closed => "closed",
        Breaker::Open { .. } => "open",
        Breaker::Trying { .. } => "trying",
    }
}

/// A unit variant's name as the API spells it.
fn word(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        other => unreachable!("only unit variants are shown as words: {other:?}"),
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
