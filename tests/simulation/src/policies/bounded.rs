//! One queue whose requests give up, in three disciplines: what Sluice's turning away at the door is compared with.

use std::collections::VecDeque;
use std::time::Duration;

use fastrand::Rng;

use super::groups::Group;
use super::placement::Placement;
use crate::policy::{Dispatch, Hold, Job, JobId, OverCommit, Policy, Promise, Setup};

/// The longest wait, and what it is while the queue was not empty for [`INTERVAL`].
const LONGEST: Duration = Duration::from_secs(30);
const TARGET: Duration = Duration::from_millis(1500);
const INTERVAL: Duration = Duration::from_secs(5);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Discipline {
    Fifo,
    /// As in Maurer, "Fail at Scale", 2015: the timeout is short while the queue does not empty.
    ControlledDelay,
    /// From there too: the newest first while the queue does not empty.
    NewestFirst,
}

pub(super) struct Bounded {
    discipline: Discipline,
    queue: VecDeque<(JobId, Duration)>,
    emptied: Duration,
    instances: Group,
    workers: usize,
    placement: Placement,
    away: Vec<JobId>,
    rng: Rng,
}

impl Bounded {
    pub(super) fn new(setup: &Setup, discipline: Discipline) -> Self {
        Self {
            discipline,
            queue: VecDeque::new(),
            emptied: Duration::ZERO,
            instances: Group::new(0..setup.instances.len()),
            workers: setup.workers(),
            placement: Placement::default(),
            away: Vec::new(),
            rng: Rng::with_seed(setup.seed),
        }
    }

    fn drain(&mut self, now: Duration, out: &mut Vec<Dispatch>) {
        let overloaded = now.saturating_sub(self.emptied) > INTERVAL;
        let short = overloaded && self.discipline == Discipline::ControlledDelay;
        self.drop_older(if short { TARGET } else { LONGEST }, now);
        while !self.queue.is_empty()
            && let Some(instance) = self.instances.least(self.workers, &mut self.rng)
        {
            let newest = overloaded && self.discipline == Discipline::NewestFirst;
            let next = if newest { self.queue.pop_back() } else { self.queue.pop_front() };
            let Some((job, _)) = next else { break };
            self.instances.add(instance);
            self.placement.send(now, job, instance, out);
        }
        if self.queue.is_empty() {
            self.emptied = now;
        }
    }

    fn drop_older(&mut self, longest: Duration, now: Duration) {
        while let Some((job, _)) = self.queue.front().filter(|(_, since)| now - *since > longest) {
            self.away.push(*job);
            self.queue.pop_front();
        }
    }
}

impl Policy for Bounded {
    fn arrive(&mut self, now: Duration, job: &Job, out: &mut Vec<Dispatch>) {
        self.queue.push_back((job.id, now));
        self.drain(now, out);
    }

    fn ended(&mut self, now: Duration, job: JobId, out: &mut Vec<Dispatch>) {
        self.instances.remove(self.placement.instance(job));
        self.drain(now, out);
    }

    fn timer(&mut self, now: Duration, out: &mut Vec<Dispatch>) {
        self.drain(now, out);
    }

    fn turned_away(&mut self, away: &mut Vec<JobId>) {
        away.append(&mut self.away);
    }

    fn promise(&self) -> Promise {
        Promise::Slots {
            until: Hold::Ended,
            over: 0,
            over_for: OverCommit::Anyone,
            small_never_waits_beside_a_free_slot: true,
        }
    }
}
