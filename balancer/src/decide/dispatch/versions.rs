//! Instances whose version of the application gets no requests, and shares of those that do.

use std::time::{Duration, Instant};

use super::shares::{PATIENCE, Shares};
use super::{Dispatcher, InstanceId, Lane};
use crate::decide::versions::Assignment;

impl<W> Dispatcher<W> {
    /// Sends requests to these versions from now on. What is under way elsewhere is finished there.
    pub fn set_versions(&mut self, assignment: &Assignment) {
        if assignment.shares.is_empty() && !self.versioned {
            return; // as it was: no need to look at every instance
        }
        let shares: Vec<_> = assignment.shares.iter().map(|(_, share)| *share).collect();
        let same = self.versions.len() == shares.len().max(1)
            && shares.iter().enumerate().all(|(cohort, share)| self.versions.share(cohort) == *share);
        if !same {
            self.versions = Shares::new(&shares);
            self.table.divide(self.versions.len());
        }
        self.versioned = !shares.is_empty();
        for position in self.table.positions() {
            let Some(id) = self.table.get(position).map(|entry| entry.id) else { continue };
            let cohort = assignment.cohorts.get(&id).copied();
            self.admit(position, !self.versioned || cohort.is_some(), cohort.unwrap_or(0));
        }
        if self.versions.is_split() {
            // Whoever waits for a home would overtake, or be overtaken by, the version that is due.
            std::mem::take(&mut self.awaited).into_iter().for_each(|position| self.abandon_home(position));
        }
        self.serve_somebody();
    }

    fn admit(&mut self, position: usize, served: bool, cohort: usize) {
        let changed = self.table.change(position, |entry| {
            let changed = entry.withheld == served || entry.cohort != cohort;
            (entry.withheld, entry.cohort) = (!served, cohort);
            changed
        });
        if changed == Some(true) {
            self.freed.push(position);
            if !served {
                self.abandon_home(position);
            }
        }
    }

    /// Lets every version serve if none that should has an instance left: until the versions are set anew.
    pub(super) fn serve_somebody(&mut self) {
        if !self.versioned || self.table.totals().workers > 0 {
            return;
        }
        for position in self.table.positions() {
            self.admit(position, true, self.table.get(position).map_or(0, |entry| entry.cohort));
        }
    }

    /// The share of all sessions that should be an instance's: its version's, divided among the instances of that.
    pub fn session_weight(&self, id: InstanceId) -> f64 {
        let Some(entry) = self.table.by_id(id) else { return 0.0 };
        self.versions.share(entry.cohort) / self.table.open(entry.cohort).max(1) as f64
    }

    /// The pick, of the version that is due most among those that have a worker for the request.
    pub(super) fn pick_by_share(
        &self,
        lane: Lane,
        homes: &[InstanceId],
        waiting: usize,
        waited: Duration,
        now: Instant,
        rng: &mut fastrand::Rng,
    ) -> Option<usize> {
        let mut pick = |cohort| {
            if lane.is_large() {
                self.view(now).of(cohort).large(waiting, rng)
            } else {
                self.small_near_home(cohort, homes, waiting, now, rng)
            }
        };
        if !self.versions.is_split() {
            return pick(0);
        }
        self.versions.order(|cohort| self.table.open(cohort) > 0, waited >= PATIENCE).find_map(pick)
    }
}
