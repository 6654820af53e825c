//! Versions of the application: who is told apart, decided about, shown and counted.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};

use prometheus::{IntCounterVec, IntGaugeVec, Registry};
use serde::{Deserialize, Serialize};
use sluice_process::metrics::{counters, gauges};
use sluice_proto::ServiceName;

use crate::control::ControlState;
use crate::control::events::Event;
use crate::decide::dispatch::InstanceId;
use crate::decide::membership::{Member, Routing};
use crate::decide::versions::{Assignment, Candidate, Label, VersionPolicy};
use crate::pool::{Service, now};

/// Versions that are counted under their own names in the life of a process, of all services together: agents choose
/// them, and series must not grow without end.
const MOST_LABELS: usize = 200;
/// All others.
const OTHER: &str = "other";

/// The policy of a service and what it came to, as the API shows it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct VersionsView {
    pub policy: String,
    /// Empty: all versions get requests, as if they were one.
    pub shares: Vec<ShareView>,
}

/// A version that gets requests.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ShareView {
    /// Empty: instances of which nobody says which version they are.
    pub version: String,
    /// Of the requests, above 0 to 1.
    pub share: f64,
}

impl VersionsView {
    pub fn new(policy: &VersionPolicy, assignment: &Assignment) -> Self {
        let shares = assignment.shares.iter();
        let shares = shares.map(|(label, share)| ShareView { version: label.to_string(), share: *share });
        Self { policy: policy.to_string(), shares: shares.collect() }
    }
}

/// Counts by version.
pub(super) struct VersionMetrics {
    requests: IntCounterVec,
    instances: IntGaugeVec,
    counted: Mutex<Counted>,
}

/// One instance, and the requests that it was sent until now.
struct Seen {
    service: ServiceName,
    member: Arc<Member>,
    sent: u64,
}

#[derive(Default)]
struct Counted {
    /// Requests of each instance that are in the counters.
    sent: HashMap<InstanceId, u64>,
    labels: HashSet<Label>,
    /// What there is a number of instances for.
    shown: HashSet<(ServiceName, Label)>,
}

impl VersionMetrics {
    pub(super) fn register(registry: &Registry) -> Self {
        let labels = &["service", "version"];
        Self {
            requests: counters(
                registry,
                "sluice_version_requests_total",
                "Requests sent to instances, by the version label that their agents give. Compare with the shares at GET /v1/plan.",
                labels,
            ),
            instances: gauges(
                registry,
                "sluice_version_instances",
                "Instances by version label, whether they get requests or not. Several for long: a rollout that stands still.",
                labels,
            ),
            counted: Mutex::default(),
        }
    }

    /// Brings the counts up to date.
    fn count(&self, seen: &[Seen]) {
        let mut counted = self.counted.lock().expect("no code panics while holding it");
        // Instances, and requests sent since the last time.
        let mut sums: HashMap<(ServiceName, Label), (i64, u64)> = HashMap::new();
        for Seen { service, member, sent } in seen {
            let label = counted.label(member.version());
            let sum = sums.entry((service.clone(), label)).or_default();
            let before = counted.sent.insert(member.id, *sent).unwrap_or(0);
            *sum = (sum.0 + 1, sum.1 + sent.saturating_sub(before));
        }
        if counted.sent.len() > seen.len() {
            let present: HashSet<_> = seen.iter().map(|seen| seen.member.id).collect();
            counted.sent.retain(|id, _| present.contains(id));
        }
        for ((service, label), (instances, sent)) in &sums {
            let names = [service.as_str(), &**label];
            self.instances.with_label_values(&names).set(*instances);
            self.requests.with_label_values(&names).inc_by(*sent);
        }
        for (service, label) in counted.shown.extract_if(|gone| !sums.contains_key(gone)) {
            drop(self.instances.remove_label_values(&[service.as_str(), &*label]));
        }
        counted.shown = sums.into_keys().collect();
    }
}

impl Counted {
    fn label(&mut self, label: &str) -> Label {
        if let Some(known) = self.labels.get(label) {
            return known.clone();
        }
        if self.labels.len() >= MOST_LABELS {
            return OTHER.into();
        }
        let label = Label::from(label);
        self.labels.insert(label.clone());
        label
    }
}

impl ControlState {
    /// Decides which versions get requests, by the instances as they are now.
    pub(super) fn decide_versions(&self) {
        for service in self.directory().iter() {
            // If it does not matter who there is, nobody is asked.
            let members =
                if service.tells_versions_apart() { self.members_of(&service.name) } else { Vec::new() };
            let candidates: Vec<_> = members.iter().map(|(_, member)| candidate(service, member)).collect();
            if let Some(moved) = service.decide_versions(&candidates, now()) {
                self.events.publish(Event::of_service("version-moved", &service.name, moved.text));
            }
        }
    }

    /// Counts by version what was sent since the last time.
    pub(super) fn count_versions(&self) {
        let mut all = Vec::new();
        for service in self.directory().iter() {
            let name = &service.name;
            let members = self.members_of(name);
            service.look(|scheduler| {
                all.extend(members.into_iter().filter_map(|(_, member)| {
                    let sent = scheduler.occupancy(member.id)?.sent;
                    Some(Seen { service: name.clone(), member, sent })
                }));
            });
        }
        self.versions.count(&all);
    }
}

fn candidate(service: &Arc<Service>, member: &Member) -> Candidate {
    let reached = service.occupancy(member.id).is_some_and(|occupancy| occupancy.breaker.is_closed());
    let ready = reached && member.routing() == Routing::Routed;
    Candidate { id: member.id, label: label(member), ready }
}

fn label(member: &Member) -> Label {
    member.version().into()
}

/// Why an instance gets no requests though it could.
pub(super) fn withheld(member: &Member) -> String {
    match member.version() {
        "" => "it has no version label, and another version of the application gets the requests".to_owned(),
        version => format!("another version of the application than {version} gets the requests"),
    }
}
