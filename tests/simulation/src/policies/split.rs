//! An expert's rules in HAProxy: large classes go to one instance of their own, all others share the rest,
//! leastconn with maxconn = workers in both; an instance known to be slow is taken out by hand.

use std::time::Duration;

use fastrand::Rng;

use super::central::Backend;
use super::groups::Group;
use super::placement::Placement;
use crate::policy::{Dispatch, Hold, Job, JobId, OverCommit, Policy, Promise, Setup};
use crate::scenario::Kind;

pub(super) struct Split {
    /// By class: which backend serves it.
    backend_of: Vec<usize>,
    /// For small and medium classes, and for large ones.
    backends: [Backend; 2],
    placement: Placement,
    rng: Rng,
}

impl Split {
    pub(super) fn new(setup: &Setup) -> Self {
        // Slow instances are at one end of every scenario's row, so what is left is a range.
        let healthy = |&i: &usize| setup.instances[i].speed >= 1.0;
        let all = 0..setup.instances.len();
        let first = all.clone().find(healthy).unwrap_or(0);
        let end = all.rev().find(healthy).unwrap_or(0) + 1;
        let is_large: Vec<bool> = setup.classes.iter().map(|c| c.oracle.kind == Kind::Large).collect();
        let mixed = is_large.contains(&true) && is_large.contains(&false) && end - first > 1;
        let border = if mixed { end - 1 } else { end };
        let backend = |instances| Backend::new(Group::new(instances), setup.workers());
        Self {
            backend_of: is_large.iter().map(|&large| usize::from(large && mixed)).collect(),
            backends: [backend(first..border), backend(border..end)],
            placement: Placement::default(),
            rng: Rng::with_seed(setup.seed),
        }
    }

    fn drain(&mut self, now: Duration, out: &mut Vec<Dispatch>) {
        let Self { backends, placement, rng, .. } = self;
        for backend in backends {
            backend.drain(rng, |job, instance| placement.send(now, job, instance, out));
        }
    }
}

impl Policy for Split {
    fn arrive(&mut self, now: Duration, job: &Job, out: &mut Vec<Dispatch>) {
        self.backends[self.backend_of[job.class]].push(job.id);
        self.drain(now, out);
    }

    fn ended(&mut self, now: Duration, job: JobId, out: &mut Vec<Dispatch>) {
        let instance = self.placement.instance(job);
        self.backends.iter_mut().for_each(|backend| backend.ended(instance));
        self.drain(now, out);
    }

    fn promise(&self) -> Promise {
        Promise::Slots {
            until: Hold::Ended,
            over: 0,
            over_for: OverCommit::Anyone,
            small_never_waits_beside_a_free_slot: false,
        }
    }
}
