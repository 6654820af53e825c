//! Where jobs are.

use std::time::Duration;

use crate::policy::{Dispatch, JobId};

/// By job index: the instance it was sent to, and when.
#[derive(Debug, Default)]
pub(super) struct Placement {
    jobs: Vec<(usize, Duration)>,
}

impl Placement {
    /// Sends `job` to `instance`.
    pub(super) fn send(&mut self, now: Duration, job: JobId, instance: usize, out: &mut Vec<Dispatch>) {
        if self.jobs.len() <= job.index() {
            self.jobs.resize(job.index() + 1, (0, Duration::ZERO));
        }
        self.jobs[job.index()] = (instance, now);
        out.push(Dispatch { job, instance });
    }

    /// Of a job that was sent and has not ended.
    pub(super) fn instance(&self, job: JobId) -> usize {
        self.jobs[job.index()].0
    }

    pub(super) fn sent_at(&self, job: JobId) -> Duration {
        self.jobs[job.index()].1
    }
}
