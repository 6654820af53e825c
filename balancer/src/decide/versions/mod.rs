//! Which release of the application gets a service's requests, while instances of several are up.
//!
//! Agents say with `--version-label` what runs beside them; instances of which nobody says anything have a label of
//! their own, the empty one. A policy turns labels into an [`Assignment`]: which instances get nothing, and in which
//! shares the others get the requests. The dispatcher keeps to it, and lets everybody serve again if none is left.

mod majority;
mod policy;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Instant;

pub use majority::{Majority, SETTLE};
pub use policy::{MOST_SHARES, PolicyError, VersionPolicy};

use crate::decide::ids::InstanceId;

/// What an agent calls the release that it stands beside; empty where nobody says.
pub type Label = Arc<str>;

/// One instance of the service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    pub id: InstanceId,
    pub label: Label,
    /// Requests may be sent there, and connections to it are made.
    pub ready: bool,
}

/// Who gets requests.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Assignment {
    /// The labels that get requests, with their shares, which add up to 1. Empty: all get them, in no shares.
    pub shares: Vec<(Label, f64)>,
    /// The cohort of each instance that is served, as a place in `shares`. Those that are not in it get nothing,
    /// unless `shares` is empty.
    pub cohorts: HashMap<InstanceId, usize>,
}

/// What became of the policy, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moved {
    pub text: String,
}

/// The policy at work: what was decided before matters.
#[derive(Clone, Debug, Default)]
pub struct Versions {
    majority: Majority,
    /// The labels that got requests, and in which shares, in words.
    last: Option<String>,
}

impl Versions {
    /// Decides anew. What is told is worth an event; `None`: nothing that people have not been told.
    pub fn decide(
        &mut self,
        policy: &VersionPolicy,
        candidates: &[Candidate],
        now: Instant,
    ) -> (Assignment, Option<Moved>) {
        let assignment = match policy {
            VersionPolicy::Any => {
                *self = Self::default();
                return (Assignment::default(), None);
            }
            VersionPolicy::Majority => {
                self.majority.choose(&ready(candidates), now).map(|label| vec![(label, 1.0)])
            }
            VersionPolicy::Shares(shares) => present(shares, candidates),
        };
        let Some(shares) = assignment else {
            return (Assignment::default(), self.note(fallback(policy, candidates)));
        };
        let words = words(&shares);
        let cohort = |c: &Candidate| Some((c.id, shares.iter().position(|(label, _)| *label == c.label)?));
        let cohorts = candidates.iter().filter_map(cohort).collect();
        (Assignment { shares, cohorts }, self.note(Some(words)))
    }

    /// Tells what differs from the last time.
    fn note(&mut self, words: Option<String>) -> Option<Moved> {
        let words = words?;
        let is_new = self.last.as_ref() != Some(&words);
        is_new.then(|| {
            self.last = Some(words.clone());
            Moved { text: words }
        })
    }
}

/// Instances that are ready, by label.
fn ready(candidates: &[Candidate]) -> BTreeMap<Label, usize> {
    let mut counts = BTreeMap::new();
    for candidate in candidates.iter().filter(|candidate| candidate.ready) {
        *counts.entry(candidate.label.clone()).or_default() += 1;
    }
    counts
}

/// The shares of the labels that have an instance, ready or not, adding up to 1; `None` if no ready instance has one
/// of them. What an absent label would have gets goes to the others in proportion.
fn present(shares: &[(Label, f64)], candidates: &[Candidate]) -> Option<Vec<(Label, f64)>> {
    let up: BTreeSet<_> = ready(candidates).into_keys().collect();
    let all: BTreeSet<_> = candidates.iter().map(|candidate| &candidate.label).collect();
    if !shares.iter().any(|(label, share)| *share > 0.0 && up.contains(label)) {
        return None;
    }
    let known: Vec<_> =
        shares.iter().filter(|(label, share)| *share > 0.0 && all.contains(label)).cloned().collect();
    let sum: f64 = known.iter().map(|(_, share)| share).sum();
    Some(known.into_iter().map(|(label, share)| (label, share / sum)).collect())
}

fn fallback(policy: &VersionPolicy, candidates: &[Candidate]) -> Option<String> {
    let any = candidates.iter().any(|candidate| candidate.ready);
    any.then(|| format!("every version gets requests: no instance of those that should, by {policy}, is up"))
}

fn words(shares: &[(Label, f64)]) -> String {
    match shares {
        [(label, _)] => format!("{} gets the requests", shown(label)),
        _ => {
            let each = shares.iter().map(|(label, share)| format!("{} {:.1} %", shown(label), share * 100.0));
            format!("requests are divided: {}", each.collect::<Vec<_>>().join(", "))
        }
    }
}

/// A label in a sentence.
pub fn shown(label: &str) -> String {
    if label.is_empty() { "what has no version label".to_owned() } else { format!("version {label}") }
}
