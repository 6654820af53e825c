//! From what the control plane knows to what is served.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use sluice_process::Watch;
use sluice_proto::Role;
use tokio::sync::watch;

use crate::control::ControlState;
use crate::control::planning::Plan;
use crate::decide::breaker::Breaker;
use crate::decide::dispatch::Occupancy;
use crate::decide::membership::{Key, Member};
use crate::pool::{Service, now};
use crate::xds::endpoint::{Standing, Told, tell};
use crate::xds::metrics::XdsMetrics;
use crate::xds::resource::Assignment;
use crate::xds::table::Table;

/// One service, as the pool knows it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct State {
    /// Workers that large requests keep busy, in Erlang.
    pub(super) large: f64,
    pub(super) instances: Vec<Standing>,
}

/// What was told last, by service.
#[derive(Debug)]
pub struct Teller {
    told: BTreeMap<String, Vec<Told>>,
    /// Until then agents may not have reported yet.
    settles: Instant,
}

impl Teller {
    /// `settles`: when every agent that lives has reported. Until then nothing is told, as it could be half of it, and
    /// an Envoy that knows all from before is better off with that.
    pub fn new(settles: Instant) -> Self {
        Self { told: BTreeMap::new(), settles }
    }

    /// What is to be served now, by service. One of which no instance is known yet is not told of.
    pub(super) fn look(&mut self, services: BTreeMap<String, State>, now: Instant) -> Table {
        let before = std::mem::take(&mut self.told);
        let mut table = Table::default();
        for (service, State { large, instances }) in services {
            let last = before.get(&service).map_or(&[][..], Vec::as_slice);
            let told = if now < self.settles { Vec::new() } else { tell(&instances, large, last) };
            let assignment = (!told.is_empty()).then(|| Arc::new(Assignment::new(told.clone())));
            self.told.insert(service.clone(), told);
            table.services.insert(service, assignment);
        }
        table
    }
}

/// Keeps `tables` at what the control plane knows, until the stop is requested.
pub async fn follow(
    state: Arc<ControlState>,
    mut teller: Teller,
    tables: watch::Sender<Arc<Table>>,
    metrics: XdsMetrics,
    stop: Watch,
) {
    let mut published = state.published.subscribe();
    loop {
        let table = teller.look(states(&state, &metrics), now());
        metrics.tell(table.services.values().flatten().flat_map(|assignment| &assignment.told));
        tables.send_if_modified(|served| {
            let differs = **served != table;
            if differs {
                *served = Arc::new(table);
            }
            differs
        });
        tokio::select! {
            // The sender is in `state`.
            _ = published.changed() => {}
            () = stop.requested() => return,
        }
    }
}

/// Every service with its instances; those whose address Envoy could not use are counted instead.
fn states(state: &ControlState, metrics: &XdsMetrics) -> BTreeMap<String, State> {
    let (directory, plan, now) = (state.directory(), state.plan(), now());
    let empty = |service: &Arc<Service>| {
        let large = service.look(|scheduler| scheduler.large_load());
        (service.name.to_string(), State { large, instances: Vec::new() })
    };
    let mut all: BTreeMap<_, _> = directory.iter().map(empty).collect();
    let mut nameless = 0;
    for (key, member) in state.members() {
        let Some(service) = directory.get(&key.0) else { continue };
        match standing(&key, &member, service, &plan, now) {
            Some(standing) => all.entry(key.0.to_string()).or_default().instances.push(standing),
            None => nameless += 1,
        }
    }
    metrics.nameless.set(nameless);
    all
}

/// `None`: discovery has IP addresses only, and one that is none would make Envoy refuse all of them.
fn standing(key: &Key, member: &Member, service: &Service, plan: &Plan, now: Instant) -> Option<Standing> {
    let occupancy = service.occupancy(member.id);
    let is_tried = |o: Occupancy| o.breaker == Breaker::Closed && o.ejection.is_none();
    Some(Standing {
        name: key.1.to_string(),
        address: member.target.literal()?,
        version: member.agent.as_ref().and_then(|agent| agent.version_label.clone()),
        role: plan.entry(&key.0, &key.1).map_or(Role::General, |entry| entry.role.clone()),
        workers: member.workers,
        slowness: occupancy.map_or(1.0, |o| o.slowness),
        operator: member.operator,
        agent: member.agent.as_ref().map(|agent| (agent.state, member.knowledge(now))),
        reachable: occupancy.is_none_or(is_tried),
        withheld: occupancy.is_some_and(|o| o.withheld),
    })
}
