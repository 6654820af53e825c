//! What Envoy is told of an instance: a pure function of what is known of it.

use std::net::SocketAddr;

use sluice_proto::{Role, State};

use crate::decide::lease::Knowledge;
use crate::decide::membership::Word;
use crate::xds::messages::HealthStatus;

/// Weight of one worker of ordinary speed: fine enough to tell speeds apart.
const WORKER: f64 = 100.0;
/// Ten thousand instances of the largest weight still add up to 32 bits, as Envoy demands.
const MOST: f64 = 400_000.0;
/// Envoy rebuilds its tables for each other weight: it moves only by more than this share.
const TOLERANCE: f64 = 0.05;
/// Workers that large requests keep busy, in Erlang, from which on instances are for them alone, and below which no
/// more. The balancer's own requests use what the others leave free; Envoy's subsets do not, and an instance is much for
/// an export an hour.
const APART: f64 = 0.1;
const TOGETHER: f64 = 0.02;

/// One instance, as the pool knows it.
#[derive(Clone, Debug, PartialEq)]
pub struct Standing {
    pub name: String,
    pub address: SocketAddr,
    pub version: Option<String>,
    /// By the plan.
    pub role: Role,
    pub workers: u32,
    /// Worker-held time here over that elsewhere, 1 or more.
    pub slowness: f64,
    pub operator: Word,
    /// What its agent says; `None` for one that has no agent.
    pub agent: Option<(State, Knowledge)>,
    /// Connections are made to it, and it does not fail while others serve, as far as the balancer has tried itself.
    pub reachable: bool,
    /// Its version of the application is to get nothing.
    pub withheld: bool,
}

/// What an instance serves, for subset selectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Serves {
    /// Everything: no instance is dedicated.
    Mixed,
    Small,
    Large,
    /// Nothing new. A role of its own, as a subset of which most are down would be served by those that are down.
    Out,
}

impl Serves {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Mixed => "mixed",
            Self::Small => "small",
            Self::Large => "large",
            Self::Out => "out",
        }
    }
}

/// One endpoint of a cluster.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    pub name: String,
    pub address: SocketAddr,
    pub version: Option<String>,
    pub health: HealthStatus,
    pub serves: Serves,
    /// 1 or more; only ratios between instances mean anything.
    pub weight: u32,
}

/// What Envoy is told of a service's instances, in the order of their names. `large`: workers that large requests keep
/// busy, in Erlang. `before`: what this gave the last time.
///
/// All that went silent together are as good as before: if nobody is known any more, the last ones are kept, as the
/// way between them and the balancer is what is more likely to be broken, and Envoy sees for itself who answers.
pub fn tell(standings: &[Standing], large: f64, before: &[Told]) -> Vec<Told> {
    if standings.is_empty() {
        return before.to_vec();
    }
    let is_dedicated = |s: &Standing| s.role == Role::Large && is_served(health(s));
    let were_apart = before.iter().any(|told| told.serves == Serves::Large);
    let dedicated = large >= if were_apart { TOGETHER } else { APART } && standings.iter().any(is_dedicated);
    let told = |standing: &Standing| {
        let last = before.binary_search_by(|told| told.name.cmp(&standing.name)).ok();
        one(standing, dedicated, last.map(|at| &before[at]))
    };
    let mut all: Vec<_> = standings.iter().map(told).collect();
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all
}

fn one(standing: &Standing, dedicated: bool, last: Option<&Told>) -> Told {
    let health = health(standing);
    let serves = match (is_served(health), dedicated, &standing.role) {
        (false, ..) => Serves::Out,
        (true, false, _) => Serves::Mixed,
        (true, true, Role::General) => Serves::Small,
        (true, true, Role::Large) => Serves::Large,
    };
    Told {
        name: standing.name.clone(),
        address: standing.address,
        version: standing.version.clone(),
        health,
        serves,
        weight: weight(standing, last.map(|told| told.weight)),
    }
}

/// Down and draining come before what merely is not known: an agent's word holds until it says otherwise.
fn health(standing: &Standing) -> HealthStatus {
    match (&standing.agent, standing.operator) {
        (Some((State::Down, _)), _) => HealthStatus::Unhealthy,
        (_, Word::Drain | Word::Maintenance) | (Some((State::Draining, _)), _) => HealthStatus::Draining,
        _ if !standing.reachable => HealthStatus::Unhealthy,
        (Some((State::Ready, Knowledge::Stale | Knowledge::Unknown)), _) => HealthStatus::Degraded,
        _ if standing.withheld => HealthStatus::Degraded,
        (Some((State::Ready, Knowledge::Fresh)) | None, Word::Ready) => HealthStatus::Healthy,
    }
}

fn is_served(health: HealthStatus) -> bool {
    matches!(health, HealthStatus::Healthy | HealthStatus::Degraded)
}

/// Workers at ordinary speed; as it was unless that is far off.
fn weight(standing: &Standing, last: Option<u32>) -> u32 {
    let exact = WORKER * f64::from(standing.workers.max(1)) / standing.slowness.max(1.0);
    let exact = exact.clamp(1.0, MOST).round();
    match last {
        Some(last) if (exact - f64::from(last)).abs() <= TOLERANCE * f64::from(last) => last,
        _ => exact as u32,
    }
}

#[cfg(test)]
mod tests;
