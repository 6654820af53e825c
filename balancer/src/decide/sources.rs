//! Which instances there should be, by the configuration and by what its sources found, and what that changes.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sluice_proto::report::ReleasePoint;
use sluice_proto::{InstanceName, Target};

use crate::decide::membership::Key;

/// Who says that an instance is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    Configuration,
    /// A source, as it is written.
    Source(Arc<str>),
}

/// Whether requests may be sent there, by the word of whoever found it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    #[default]
    Serving,
    NotReady,
    /// Finishes what it has, and goes.
    Terminating,
}

/// What a source found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    pub name: InstanceName,
    pub target: Target,
    pub standing: Standing,
}

impl Endpoint {
    /// Called by its address, unless it has a name.
    pub fn new(ip: IpAddr, port: u16, name: Option<InstanceName>, standing: Standing) -> Self {
        let address = SocketAddr::new(ip, port);
        let by_address =
            || address.to_string().parse().expect("an address has no other characters than a name");
        Self { name: name.unwrap_or_else(by_address), target: address.into(), standing }
    }
}

/// An instance that there should be, and what is known of it without an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    pub target: Target,
    pub workers: u32,
    pub release: ReleasePoint,
    pub origin: Origin,
    pub standing: Standing,
}

/// What is to be done about one instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Adds it, or changes what is known of it.
    Set(Key, Wanted),
    /// Nothing new is sent there; what it has is finished.
    Drop(Key, Origin),
}

/// The least that brings `known` to `wanted`. The same again changes nothing more.
pub fn reconcile<'a>(
    known: impl Iterator<Item = (&'a Key, &'a Wanted)>,
    wanted: BTreeMap<Key, Wanted>,
) -> Vec<Change> {
    let known: HashMap<_, _> = known.collect();
    let dropped = known.iter().filter(|(key, _)| !wanted.contains_key(key));
    let mut changes: Vec<_> =
        dropped.map(|(key, was)| Change::Drop((*key).clone(), was.origin.clone())).collect();
    let set = wanted.into_iter().filter(|(key, wanted)| known.get(key) != Some(&wanted));
    changes.extend(set.map(|(key, wanted)| Change::Set(key, wanted)));
    changes
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Configuration => f.write_str("configuration"),
            Self::Source(source) => f.write_str(source),
        }
    }
}

#[cfg(test)]
mod tests {
    use sluice_proto::ServiceName;

    use super::*;

    fn key(name: &str) -> Key {
        (ServiceName::default(), name.parse().expect("a name"))
    }

    fn wanted(source: &str, workers: u32, standing: Standing) -> Wanted {
        let target = "10.0.0.1:80".parse().expect("a target");
        let origin = Origin::Source(source.into());
        Wanted { target, workers, release: ReleasePoint::End, origin, standing }
    }

    fn told(change: &Change) -> String {
        match change {
            Change::Set(key, wanted) => format!("set {} {:?}", key.1, wanted.standing),
            Change::Drop(key, origin) => format!("drop {} of {origin}", key.1),
        }
    }

    #[test]
    fn the_least_is_changed_and_nothing_the_second_time() {
        use Standing::{NotReady, Serving, Terminating};
        let mut known: BTreeMap<Key, Wanted> = BTreeMap::new();
        for (case, instances, expected) in [
            (
                "those that come",
                vec![("a", "dns:x:80", 1, Serving), ("b", "dns:x:80", 1, NotReady)],
                vec!["set a Serving", "set b NotReady"],
            ),
            ("nothing new", vec![("a", "dns:x:80", 1, Serving), ("b", "dns:x:80", 1, NotReady)], vec![]),
            (
                "one that is ready, and one that ends",
                vec![("a", "dns:x:80", 1, Terminating), ("b", "dns:x:80", 1, Serving)],
                vec!["set a Terminating", "set b Serving"],
            ),
            ("one that is gone", vec![("b", "dns:x:80", 1, Serving)], vec!["drop a of dns:x:80"]),
            ("more workers", vec![("b", "dns:x:80", 2, Serving)], vec!["set b Serving"]),
            ("another source", vec![("b", "dns:y:80", 2, Serving)], vec!["set b Serving"]),
            ("none", vec![], vec!["drop b of dns:y:80"]),
        ] {
            let next: BTreeMap<_, _> =
                instances.into_iter().map(|(n, s, w, standing)| (key(n), wanted(s, w, standing))).collect();
            let changes = reconcile(known.iter(), next.clone());
            assert_eq!(changes.iter().map(told).collect::<Vec<_>>(), expected, "{case}");
            for change in changes {
                match change {
                    Change::Set(key, wanted) => drop(known.insert(key, wanted)),
                    Change::Drop(key, _) => drop(known.remove(&key)),
                }
            }
            assert_eq!(known, next, "{case}");
            assert!(reconcile(known.iter(), next).is_empty(), "{case}, again");
        }
    }
}
