//! Baselines, one file each, and the table of their names.
//!
//! They are told the true kind of each class ([`crate::policy::ClassTruth`]) where their authors' results
//! assume as much, and count connections until the response is over, as their originals do.

mod bounded;
mod central;
mod darc;
mod groups;
mod least_connections;
mod ncq;
mod ncq_invariants;
mod p2c;
mod peak_ewma;
mod placement;
mod priority;
mod random;
mod resume;
mod round_robin;
mod sita;
mod split;

use std::time::Duration;

use sluice_balancer::decide::schedule::Settings;

use crate::policy::{Policy, Setup};

/// Makes a policy for one run.
pub type Factory = fn(&Setup) -> Box<dyn Policy>;

/// A policy by name.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    pub name: &'static str,
    /// In a line.
    pub about: &'static str,
    pub make: Factory,
}

/// Every policy that needs no tuning. To add one: implement [`Policy`], add a line here.
pub const ALL: [Entry; 15] = [
    entry("random", "any instance, at once", |s| Box::new(random::Random::new(s))),
    entry("rr", "round robin", |s| Box::new(round_robin::RoundRobin::new(s))),
    entry("p2c", "fewer connections of two random instances", |s| Box::new(p2c::TwoChoices::new(s))),
    entry("lc", "fewest connections, at once", |s| Box::new(least_connections::LeastConnections::new(s))),
    entry("ewma", "Peak EWMA of two random instances", |s| Box::new(peak_ewma::PeakEwma::new(s))),
    entry("resume", "zc.resumelb", |s| Box::new(resume::Resume::new(s))),
    entry("central", "one FIFO, one job per worker (HAProxy, maxconn = workers)", |s| {
        Box::new(central::Central::new(s, 0))
    }),
    entry("central+1", "the same with one more job per instance", |s| Box::new(central::Central::new(s, 1))),
    entry("prio", "central queue, small first, told the kinds", |s| Box::new(priority::Priority::new(s))),
    entry("split", "an expert's static split in HAProxy", |s| Box::new(split::Split::new(s))),
    entry("sita-e", "instances split by load, told the kinds", |s| Box::new(sita::Sita::new(s, false))),
    entry("sita-cs", "the same, and small jobs may steal", |s| Box::new(sita::Sita::new(s, true))),
    entry("darc", "workers reserved by measured demand, told the kinds", |s| Box::new(darc::Darc::new(s))),
    entry("ncq", "Sluice: the balancer's own code, which learns the kinds", |s| {
        Box::new(ncq::Ncq::new(s, settings(), ncq::Label::Learned))
    }),
    entry("ncq-oracle", "the same, told the kinds", |s| {
        Box::new(ncq::Ncq::new(s, settings(), ncq::Label::Oracle))
    }),
];

/// As the balancer's, but nobody is turned away: what a policy does to a backlog must show.
fn settings() -> Settings {
    let unbounded = Duration::MAX;
    Settings { queue_length: usize::MAX, small_wait: unbounded, large_wait: unbounded, ..Settings::default() }
}

/// Static caps on the slots of all that is not small: with the right number, chosen by hand for a scenario of 16
/// slots, the best that is possible without preemption (algorithms.md, part 4). Not among [`ALL`].
pub const CAPS: [Entry; 5] = [
    entry("cap8", "small first, all else in 8 slots at most", |s| Box::new(darc::Darc::fixed(s, 8))),
    entry("cap9", "the same with 9", |s| Box::new(darc::Darc::fixed(s, 9))),
    entry("cap10", "the same with 10", |s| Box::new(darc::Darc::fixed(s, 10))),
    entry("cap11", "the same with 11", |s| Box::new(darc::Darc::fixed(s, 11))),
    entry("cap12", "the same with 12", |s| Box::new(darc::Darc::fixed(s, 12))),
];

/// Policies that turn requests away when there is too much to do: compared in `tests/overload.rs`. Not among [`ALL`],
/// whose backlogs show what they do.
pub const BOUNDED: [Entry; 4] = [
    entry("ncq-bounded", "Sluice with its own limits", |s| {
        Box::new(ncq::Ncq::new(
            s,
            Settings { queue_length: 100_000, ..Settings::default() },
            ncq::Label::Learned,
        ))
    }),
    entry("timeout", "one FIFO, and who has waited for 30 s is turned away", |s| {
        Box::new(bounded::Bounded::new(s, bounded::Discipline::Fifo))
    }),
    entry("codel", "the same after 1.5 s while the queue was not empty for 5 s", |s| {
        Box::new(bounded::Bounded::new(s, bounded::Discipline::ControlledDelay))
    }),
    entry("lifo", "the same as timeout, and the newest first while the queue was not empty for 5 s", |s| {
        Box::new(bounded::Bounded::new(s, bounded::Discipline::NewestFirst))
    }),
];

const fn entry(name: &'static str, about: &'static str, make: Factory) -> Entry {
    Entry { name, about, make }
}

/// The policy of that name; `None`: there is none.
pub fn named(name: &str) -> Option<Entry> {
    ALL.into_iter().chain(CAPS).chain(BOUNDED).find(|entry| entry.name == name)
}
