//! Who is out because it fails, and who comes back.

use std::time::Instant;

use super::{Dispatcher, InstanceId, RunId};
use crate::decide::outlier::{Tally, most_out};

impl<W> Dispatcher<W> {
    /// The instance that works on a request.
    pub fn instance_of(&self, run: RunId) -> Option<InstanceId> {
        self.running.get(run).map(|run| run.instance)
    }

    /// An instance answered a request.
    pub fn answered(&mut self, id: InstanceId) {
        if let Some(position) = self.table.position(id) {
            self.table.change(position, |entry| entry.outlier.answered());
        }
    }

    /// An instance failed a request, by its own fault.
    pub fn failed(&mut self, id: InstanceId, now: Instant) {
        let Some(position) = self.table.position(id) else { return };
        let params = self.params.outlier;
        let suspect = self.table.change(position, |entry| {
            entry.outlier.failed();
            entry.outlier.is_suspect(&params)
        });
        if suspect == Some(true) {
            self.try_to_eject(position, self.tally(), now);
        }
    }

    /// A second is over: shares are looked at, and who was out for long enough comes back.
    pub(super) fn tend_outliers(&mut self, now: Instant) {
        let all = self.tally();
        for position in self.table.positions() {
            self.try_to_eject(position, all, now);
            self.table.change(position, |entry| entry.outlier.tick(now));
        }
        let table = &self.table;
        let over = |position: &usize| {
            let ejection = table.get(*position).and_then(|entry| entry.outlier.ejection());
            ejection.is_none_or(|ejection| ejection.until <= now)
        };
        let back: Vec<_> = self.out.iter().copied().filter(over).collect();
        back.into_iter().for_each(|position| self.reinstate(position, now));
        self.keep_enough(now);
    }

    /// Takes back who was out first while too many are: when others can not be reached, one that fails now and then
    /// is better than none.
    pub(super) fn keep_enough(&mut self, now: Instant) {
        while !self.out.is_empty() && self.out.len() > most_out(self.reachable(), &self.params.outlier) {
            self.reinstate(self.out[0], now);
        }
    }

    /// `all`: what all instances did lately.
    fn try_to_eject(&mut self, position: usize, all: Tally, now: Instant) {
        let Some(entry) = self.table.get(position).filter(|entry| entry.is_open()) else { return };
        let own = entry.outlier.tally();
        let others = Tally { answered: all.answered - own.answered, failed: all.failed - own.failed };
        let Some(cause) = entry.outlier.cause(others, &self.params.outlier) else { return };
        if self.out.len() >= most_out(self.reachable(), &self.params.outlier) {
            return;
        }
        self.table.change(position, |entry| entry.outlier.eject(cause, now));
        self.out.push(position);
        self.abandon_home(position);
        self.serve_somebody();
    }

    fn reinstate(&mut self, position: usize, now: Instant) {
        self.out.retain(|out| *out != position);
        let slow_start = self.params.slow_start;
        self.table.change(position, |entry| {
            entry.outlier.reinstate(now);
            entry.fresh_until = now + slow_start;
        });
        self.zone(position, now);
        self.freed.push(position);
    }

    fn tally(&self) -> Tally {
        self.table.iter().map(|(_, entry)| entry.outlier.tally()).sum()
    }

    /// Instances that would get requests if they did not fail.
    fn reachable(&self) -> usize {
        self.table.iter().filter(|(_, entry)| entry.is_reachable() && !entry.withheld).count()
    }
}
