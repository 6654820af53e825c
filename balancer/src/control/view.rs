//! What the API shows: the JSON of `/v1/instances` and `/v1/classes`.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use sluice_proto::report::Release;
use sluice_proto::{
    ApplicationLoad, ClassName, ClassRelease, ClassSums, InstanceName, Measured, Sketch, State, classify,
};

use crate::control::ControlState;
use crate::control::release;
use crate::decide::breaker::Breaker;
use crate::decide::dispatch::{InstanceId, Occupancy};
use crate::decide::learn::affinity::Worth;
use crate::decide::membership::{Key, Member};
use crate::decide::plan::dedicate::Mode;
use crate::decide::schedule::explain::LaneState;
use crate::decide::schedule::figures as decide;
use crate::decide::sender::Sender;
use crate::decide::sources::Standing;
use crate::decide::treatment::LanePin;
use crate::pool::{ClassEntry, Service, now};

/// One instance: what it says, what is done with it, and why.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InstanceView {
    pub service: String,
    pub name: String,
    pub address: String,
    /// `agent`, `configuration`, or who found it: `dns:NAME:PORT`, `srv:NAME`, `kubernetes:NAMESPACE/NAME`.
    pub source: String,
    /// As its agent says, or who found it; an instance of the configuration counts as ready.
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
    /// Of these, by large ones.
    pub large: u32,
    /// Responses of this balancer being sent whose worker is free.
    pub streaming: u32,
    /// Workers held by others' requests, by the agent's word.
    pub foreign: u32,
    /// Workers that this balancer may count on, by the agent's word, if others share the instance.
    #[serde(default)]
    pub granted: Option<u32>,
    /// Factor by which it is slower than its fellows; 1: it is not.
    pub slowness: f64,
    /// Classes that are at home there.
    pub homes: u32,
    /// Unix time in milliseconds since when it is for large requests first; `None`: it is not.
    pub dedicated_since_ms: Option<u64>,
    /// The classes that this is for: the large ones that keep the most workers busy.
    #[serde(default)]
    pub dedicated_to: Vec<String>,
    pub release: Release,
    /// Where the agent knows better, by class.
    #[serde(default)]
    pub releases: Vec<ClassRelease>,
    pub mode: Option<String>,
    pub version_label: Option<String>,
    /// `fresh`, `stale` or `unknown`.
    pub knowledge: String,
    pub report_age_ms: Option<u64>,
    /// Whose the name is: the names in its agent's certificate, or the address that its reports come from.
    #[serde(default)]
    pub bound_to: Option<String>,
    pub last_success_age_ms: Option<u64>,
    /// What its agent reads there now; `None` if it does not know.
    pub agent: Option<sluice_proto::Now>,
    /// Which of its agent's figures were measured.
    #[serde(default)]
    pub measured: Option<Measured>,
    /// What the application says of itself (ORCA).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub application: Option<ApplicationLoad>,
}

/// One class: seen by this balancer, and reported by the agents.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassView {
    pub service: String,
    pub class: String,
    /// `rule` if the operator's rule names it, `learned` if names were replaced by what was learned,
    /// else `path`.
    pub by: String,
    /// Why names were replaced.
    pub reason: Option<String>,
    /// Where its requests are put now, unless their URLs are known by themselves.
    pub lane: String,
    /// Why, and where they go, in words.
    pub goes: String,
    /// How long one is expected to hold a worker, ...
    pub predicted_held_ms: f64,
    /// ... and what that is from: `class`, `extension` or `prior`.
    pub predicted_by: String,
    /// Requests per second of late, as the planner counts them.
    pub rate: f64,
    /// Instances where it is at home.
    pub homes: Vec<String>,
    /// Instances of whose responses it is known when they free their worker, and when, in words.
    #[serde(default)]
    pub releases: Vec<String>,
    pub seen: Figures,
    pub reported: Figures,
    /// From arrival to the last byte that the instance sent: what a client waits, queue included.
    #[serde(default)]
    pub latency_ms: Spread,
}

/// What a class costs, over the last 30 to 60 seconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// Time that the figures cover, in seconds.
    pub window_s: f64,
    pub requests: u64,
    /// `None`: nobody knows which of them failed.
    pub errors: Option<u64>,
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

/// Classes told of for which instances are dedicated.
const DEDICATED_TO: usize = 3;

/// All instances, by service and name.
pub fn instances(state: &ControlState) -> Vec<InstanceView> {
    let now = now();
    let members = state.members();
    let views = members.iter().map(|(key, member)| instance(state, key, member, now));
    let mut views: Vec<_> = views.collect();
    for service in state.directory().iter() {
        let is_own = |view: &&mut InstanceView| view.service == service.name.as_str();
        let mut dedicated = views.iter_mut().filter(is_own).filter(|v| v.dedicated_since_ms.is_some());
        if let Some(first) = dedicated.next() {
            first.dedicated_to = state.largest_classes(service, DEDICATED_TO);
            let named = first.dedicated_to.clone();
            dedicated.for_each(|view| view.dedicated_to.clone_from(&named));
        }
    }
    views
}

/// All classes, by service and name.
pub fn classes(state: &ControlState) -> Vec<ClassView> {
    let now = now();
    let mut views = Vec::new();
    for service in state.directory().iter() {
        let (entries, facts) = (service.classes.all(now), ServiceFacts::of(state, service));
        views.extend(entries.iter().map(|entry| class(&facts, service, entry, now)));
    }
    views.sort_by(|a, b| (&a.service, &a.class).cmp(&(&b.service, &b.class)));
    views
}

/// The view of one instance, but for what needs a look at all classes.
fn instance(state: &ControlState, key: &Key, member: &Member, now: Instant) -> InstanceView {
    let plan = state.plan();
    let entry = plan.entry(&key.0, &key.1);
    let directory = state.directory();
    let service = directory.get(&key.0);
    let occupancy = service.and_then(|service| service.occupancy(member.id));
    let last_success = service.and_then(|s| s.instance(member.id)).and_then(|i| i.last_success());
    let age = |at: Instant| millis(now.saturating_duration_since(at));
    let agent = member.agent.as_ref();
    let load = occupancy.map(|o: Occupancy| o.load);
    InstanceView {
        service: key.0.to_string(),
        name: key.1.to_string(),
        address: member.target.to_string(),
        source: source(member),
        state: agent.map_or_else(|| standing(member), |agent| agent.state),
        routed: entry.is_some_and(|entry| entry.routed),
        reason: entry.map_or_else(|| "not planned yet".to_owned(), |entry| entry.reason.clone()),
        role: entry.map_or_else(|| "general".to_owned(), |entry| word(&entry.role)),
        operator: word(&member.operator),
        breaker: occupancy.map_or("closed", |o| breaker_word(&o)).to_owned(),
        workers: member.workers,
        limit: occupancy.map_or(0, |o| o.limit),
        working: load.map_or(0, |load| load.working),
        large: load.map_or(0, |load| load.large),
        streaming: load.map_or(0, |load| load.streaming),
        foreign: load.map_or(0, |load| load.foreign),
        granted: load.and_then(|load| load.granted),
        slowness: occupancy.map_or(1.0, |o| o.slowness),
        homes: occupancy.map_or(0, |o| o.homes),
        dedicated_to: Vec::new(),
        dedicated_since_ms: occupancy.filter(|o| o.dedicated).and_then(|_| plan.since(&key.0)),
        release: member.release.clone(),
        releases: member.releases(now).to_vec(),
        mode: agent.map(|agent| word(&agent.mode)),
        version_label: agent.and_then(|agent| agent.version_label.clone()),
        knowledge: word(&member.knowledge(now)),
        report_age_ms: agent.map(|agent| age(agent.received)),
        bound_to: agent.and_then(|agent| agent.sender.as_ref()).map(Sender::to_string),
        last_success_age_ms: last_success.map(age),
        agent: agent.and_then(|agent| agent.now.clone()),
        measured: agent.map(|agent| agent.measured.clone()),
        application: agent.and_then(|agent| agent.application.clone()),
    }
}

/// Who says that it is there.
fn source(member: &Member) -> String {
    match &member.wanted {
        Some(wanted) if member.agent.is_none() => wanted.origin.to_string(),
        _ => "agent".to_owned(),
    }
}

/// The state of an instance without an agent.
fn standing(member: &Member) -> State {
    match member.wanted.as_ref().map(|wanted| wanted.standing) {
        None | Some(Standing::Serving) => State::Ready,
        Some(Standing::NotReady) => State::Down,
        Some(Standing::Terminating) => State::Draining,
    }
}

/// What the views of a service's classes have in common.
pub(super) struct ServiceFacts {
    pub(super) figures: decide::Figures,
    names: HashMap<InstanceId, InstanceName>,
    dedicated: Vec<String>,
    /// By class: who frees its workers when.
    releases: HashMap<ClassName, Vec<String>>,
}

impl ServiceFacts {
    pub(super) fn of(state: &ControlState, service: &Service) -> Self {
        let now = now();
        let figures = service.look(|scheduler| scheduler.figures(now));
        let mut members = state.members_of(&service.name);
        members.sort_by(|a, b| a.0.cmp(&b.0));
        let mut releases = HashMap::<_, Vec<_>>::new();
        for (name, member) in &members {
            for claim in member.releases(now) {
                let words = format!("{name}: {}", release::words(claim));
                releases.entry(claim.class.clone()).or_default().push(words);
            }
        }
        let names: HashMap<_, _> = members.into_iter().map(|(name, member)| (member.id, name)).collect();
        let mut dedicated: Vec<_> =
            figures.dedicated.iter().filter_map(|id| names.get(id)).map(InstanceName::to_string).collect();
        dedicated.sort();
        Self { figures, names, dedicated, releases }
    }

    pub(super) fn name(&self, id: &InstanceId) -> String {
        self.names.get(id).map_or_else(|| "gone".to_owned(), InstanceName::to_string)
    }

    /// Why a class is in its lane, and where its requests go.
    pub(super) fn goes(&self, class: &decide::ClassFigures, homes: &[String], by_rule: bool) -> String {
        let lane = self.figures.lanes.get(class.lane.index()).or(self.figures.lanes.last());
        let lane = lane.map(|lane| LaneState { by_rule, ..*lane }.words(class.held.mean * 1e3));
        let to = if class.lane.is_large() { self.large_go() } else { self.small_go(homes) };
        format!("{}; {to}", lane.unwrap_or_default())
    }

    fn large_go(&self) -> String {
        let dedicated = self.dedicated.join(", ");
        match (self.figures.mode, self.dedicated.is_empty()) {
            (Mode::Spread, _) => {
                "spread, so that every instance keeps a worker for small requests".to_owned()
            }
            (_, true) => "packed onto as few instances as their cap allows".to_owned(),
            (Mode::Separate, false) => format!("only to {dedicated}, as they slow small ones beside them"),
            (Mode::Pack, false) => format!("to {dedicated} first"),
        }
    }

    fn small_go(&self, homes: &[String]) -> String {
        let at = homes.join(", ");
        match (self.figures.homes, homes.is_empty()) {
            (Worth::Pays { .. }, false) => format!("to {at} at home: {}", self.figures.homes.words()),
            (Worth::Unknown, false) => format!("to the least busy instance, to {at} if that is as good"),
            _ if self.dedicated.is_empty() => "to the least busy instance".to_owned(),
            _ => format!("to the least busy instance, {} last", self.dedicated.join(", ")),
        }
    }
}

/// The view of one class.
pub(super) fn class(facts: &ServiceFacts, service: &Service, entry: &ClassEntry, now: Instant) -> ClassView {
    let (by, reason) = origin(service, &entry.name);
    let pinned = entry.treatment.lane.map(LanePin::lane);
    let figures_of = service.look(|scheduler| scheduler.class_figures(entry.id, pinned));
    let homes: Vec<_> = figures_of.homes.iter().map(|id| facts.name(id)).collect();
    ClassView {
        service: service.name.to_string(),
        class: entry.name.to_string(),
        by: by.to_owned(),
        reason,
        lane: figures_of.lane.name().to_owned(),
        goes: facts.goes(&figures_of, &homes, pinned.is_some()),
        predicted_held_ms: figures_of.held.mean * 1e3,
        predicted_by: figures_of.held.from.as_str().to_owned(),
        rate: figures_of.rate,
        homes,
        releases: facts.releases.get(&entry.name).cloned().unwrap_or_default(),
        seen: figures(entry.seen(now)),
        reported: figures(entry.reported(now)),
        latency_ms: spread(&entry.latency_us(now), US_PER_MS),
    }
}

/// Where the name of a class comes from, and why what was learned is in it.
pub(super) fn origin(service: &Service, class: &ClassName) -> (&'static str, Option<String>) {
    let reason = classify::reason(class, &service.classes.templates());
    let by = match service.classes.rules().of_class(class) {
        Some(_) => "rule",
        None if reason.is_some() => "learned",
        None => "path",
    };
    (by, reason)
}

const US_PER_MS: f64 = 1000.0;

fn figures((sums, window): (ClassSums, Duration)) -> Figures {
    let window_s = window.as_secs_f64();
    Figures {
        window_s,
        requests: sums.requests,
        errors: sums.known_errors(),
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

pub(super) fn breaker_word(occupancy: &Occupancy) -> &'static str {
    match occupancy.breaker {
        Breaker::Closed if occupancy.ejection.is_some() => "ejected",
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

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
