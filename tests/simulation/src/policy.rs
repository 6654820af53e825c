//! What a balancer decides, as the simulation sees it.
//!
//! A policy hears of a job in this order, all times as the *balancer* learns them, half a round trip after
//! the instance knows:
//!
//! ```text
//!  arrive ─► (dispatched, by this or any later call) ─► head ─► released ─► ended
//! ```
//!
//! `released` means that the worker is free again. A job that holds its worker to the end is released and
//! ended at the same instant; one that streams from a buffer is ended when the client has it all.

use std::time::Duration;

use crate::scenario::Kind;

pub use crate::model::report::{ClassWindow, InstanceReport};

/// A job of this run. Never used again for another, though [`JobId::index`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct JobId {
    pub(crate) generation: u32,
    pub(crate) index: u32,
}

impl JobId {
    /// Small number, unique among the jobs that have not ended: an index for a policy's own table.
    pub fn index(self) -> usize {
        self.index as usize
    }
}

/// A request as the balancer sees it: nothing here tells what it will cost.
#[derive(Clone, Copy, Debug)]
pub struct Job {
    pub id: JobId,
    /// Index into [`Setup::classes`]: what its URL looks like. A request of unknown kind looks like the first
    /// class (scenario `mis`).
    pub class: usize,
    /// The section of the site that it asks for, if the scenario has caches.
    pub site: Option<u32>,
    /// Hash of its URL: the same URL, the same number.
    pub url: u64,
}

/// The word to send a job to an instance, now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dispatch {
    pub job: JobId,
    /// Index into [`Setup::instances`].
    pub instance: usize,
}

/// What a response's head says.
#[derive(Clone, Copy, Debug)]
pub struct Head {
    /// `Content-Length`, in bytes.
    pub bytes: u64,
}

/// What a policy may know when it is made.
#[derive(Clone, Debug)]
pub struct Setup {
    pub instances: Vec<InstanceInfo>,
    pub classes: Vec<ClassInfo>,
    /// From balancer to instance and back.
    pub round_trip: Duration,
    /// For the policy's own dice.
    pub seed: u64,
}

impl Setup {
    /// Worker slots of all instances.
    pub fn slots(&self) -> usize {
        self.instances.iter().map(|i| i.workers).sum()
    }

    /// The class of `job` as a balancer that tells sections apart would name it.
    pub fn class_name(&self, job: &Job) -> String {
        let name = &self.classes[job.class].name;
        job.site.map_or_else(|| name.clone(), |site| name.replace("{section}", &site.to_string()))
    }

    /// Workers of each instance. Every scenario has the same number everywhere.
    pub fn workers(&self) -> usize {
        self.instances.first().map_or(1, |i| i.workers)
    }
}

#[derive(Clone, Debug)]
pub struct InstanceInfo {
    pub workers: usize,
    /// Known to an oracle only: its speed at the start, 1 is nominal.
    pub speed: f64,
}

#[derive(Clone, Debug)]
pub struct ClassInfo {
    /// Method and path template, like `GET /export/{n}`. In scenarios with caches `{section}` stands for
    /// [`Job::site`].
    pub name: String,
    pub oracle: ClassTruth,
}

/// What an oracle knows of a class. Baselines are told, as their authors' results assume; a policy that
/// claims to learn must not look.
#[derive(Clone, Copy, Debug)]
pub struct ClassTruth {
    pub kind: Kind,
    /// Worker-held time offered per second at the start of the run.
    pub offered: f64,
}

/// What a policy promises about the jobs that it has at instances: checked from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Promise {
    /// Sends everything at once.
    Nothing,
    /// Has a queue, and holds at most `workers + over` jobs at an instance.
    Slots {
        /// When a slot counts as free again.
        until: Hold,
        /// Jobs at an instance above its workers.
        over: usize,
        over_for: OverCommit,
        /// A small job waits only while no slot is free anywhere (I8).
        small_never_waits_beside_a_free_slot: bool,
    },
}

/// What ends a job's hold on a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// [`Policy::released`].
    Released,
    /// [`Policy::ended`]: the policy counts connections.
    Ended,
}

/// Who may be sent where all workers are busy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OverCommit {
    Anyone,
    /// Only jobs of small classes, and only where no job of a large class is; judged by what classes look like,
    /// from `after` on: a policy that learns them has until then.
    SmallBesideSmall {
        after: Duration,
    },
}

/// What the checker knows after an event, for a policy to compare with its own books.
#[derive(Clone, Copy, Debug)]
pub struct World<'a> {
    pub now: Duration,
    /// Jobs that arrived and were not dispatched.
    pub queued: usize,
    /// By instance: dispatched and not `released`.
    pub held: &'a [usize],
    /// By instance: dispatched and not `ended`.
    pub connections: &'a [usize],
}

/// A balancer's decisions. Calls that give `out` may dispatch any queued jobs through it.
pub trait Policy {
    fn arrive(&mut self, now: Duration, job: &Job, out: &mut Vec<Dispatch>);

    /// The response's head is here. With a body that streams from a buffer the worker is free, and
    /// `released` follows at once.
    fn head(&mut self, _now: Duration, _job: JobId, _head: Head) {}

    /// The worker is free.
    fn released(&mut self, _now: Duration, _job: JobId, _out: &mut Vec<Dispatch>) {}

    /// The response is over.
    fn ended(&mut self, now: Duration, job: JobId, out: &mut Vec<Dispatch>);

    /// Each 250 ms, starting at 250 ms. Every fourth is a whole second.
    fn timer(&mut self, _now: Duration, _out: &mut Vec<Dispatch>) {}

    /// What agents say, once a second; may be late, lost or untrue, as the scenario has it.
    fn report(&mut self, _now: Duration, _reports: &[InstanceReport]) {}

    /// Adds the queued jobs that were turned away by the call before to `away`.
    fn turned_away(&mut self, _away: &mut Vec<JobId>) {}

    fn promise(&self) -> Promise {
        Promise::Nothing
    }

    /// Compares its own books with the world's after every event, when checks are on.
    fn check(&self, _world: &World<'_>) -> Result<(), String> {
        Ok(())
    }
}
