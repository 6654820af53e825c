//! Whether a small request goes to its class's home, waits for it, or leaves it. While versions of the application
//! divide the requests nobody waits for a home, which would be of one version.

use std::time::Duration;

use super::demand::Demand;
use super::homes::{first, penalty};
use super::table::Entry;
use super::{Dispatcher, InstanceId};
use crate::decide::learn::affinity::Worth;

/// Where a small request with a home goes.
#[derive(Clone, Copy)]
pub(super) enum Placement {
    Take(usize),
    WaitFor(usize),
    /// Away from home, at the cost of the budget for that.
    Spill,
    /// Any instance will do.
    Anywhere,
}

impl<W> Dispatcher<W> {
    /// Where a small request goes if its class is at home somewhere; its class gets a home, and the
    /// budget for spills is kept.
    pub(super) fn placement(&mut self, demand: &Demand, avoid: &[InstanceId]) -> Placement {
        if !seeks_home(demand, avoid) || self.versions.is_split() {
            return Placement::Anywhere;
        }
        self.homes.assign(demand.class(), &mut self.table);
        if penalty(self.rules.homes).is_some() {
            self.homes.arrived();
        }
        let placement = self.place(demand, avoid, self.homes.of(demand.class()), self.homes.may_spill());
        if matches!(placement, Placement::Spill) {
            self.homes.spill(true);
            self.counts.spills += 1;
        }
        placement
    }

    pub(super) fn place(
        &self,
        demand: &Demand,
        avoid: &[InstanceId],
        homes: &[InstanceId],
        may_spill: bool,
    ) -> Placement {
        let Some(penalty) =
            penalty(self.rules.homes).filter(|_| seeks_home(demand, avoid) && !self.versions.is_split())
        else {
            return Placement::Anywhere;
        };
        match self.idle_home(homes) {
            Some(position) => Placement::Take(position),
            None => self.wait_or_spill(homes, may_spill, penalty),
        }
    }

    /// The homes of a request's class; those that its arrival would give it, if it has none.
    pub(super) fn homes_to_be(&self, demand: &Demand) -> Vec<InstanceId> {
        let homes = self.homes.of(demand.class());
        if homes.is_empty() && self.homes.may_have(demand.class()) && seeks_home(demand, &[]) {
            return first(demand.class(), &self.table).into_iter().collect();
        }
        homes.to_vec()
    }

    /// A home that can serve it at once: the least busy of them.
    fn idle_home(&self, homes: &[InstanceId]) -> Option<usize> {
        let idle = |entry: &&Entry| entry.is_open() && entry.load.has_slot() && entry.own.is_empty();
        let cost = |entry: &Entry| {
            f64::from(entry.load.working) + 3.0 * f64::from(entry.load.large) + 10.0 * (entry.slowness - 1.0)
        };
        let homes = homes.iter().filter_map(|id| self.table.position(*id));
        let entries = homes.filter_map(|position| Some((position, self.table.get(position)?)));
        let best = entries.filter(|(_, entry)| idle(entry)).min_by(|a, b| cost(a.1).total_cmp(&cost(b.1)));
        best.map(|(position, _)| position)
    }

    fn wait_or_spill(&self, homes: &[InstanceId], may_spill: bool, penalty: Duration) -> Placement {
        let homes = homes.iter().filter_map(|id| self.table.position(*id));
        let waits = homes.filter_map(|position| Some((position, self.home_wait(position)?)));
        let Some((position, wait)) = waits.min_by_key(|(_, wait)| *wait) else { return Placement::Anywhere };
        let hot = wait > penalty * 3 && self.has_plenty();
        let stays = wait < penalty || self.table.totals().free == 0 || !(hot || may_spill);
        if stays { Placement::WaitFor(position) } else { Placement::Spill }
    }

    /// Whether so many workers idle that one more cold cache is no matter: a fifth of them, and not
    /// while more small requests wait than there are workers. Then the caches are what is scarce, and
    /// a spill makes it worse.
    pub(super) fn has_plenty(&self) -> bool {
        let totals = self.table.totals();
        totals.free * 5 > totals.workers && self.lanes[0].len() <= totals.workers as usize
    }

    /// How long a request would wait for this instance; `None` if it is no use.
    fn home_wait(&self, position: usize) -> Option<Duration> {
        let Worth::Pays { home, .. } = self.rules.homes else { return None };
        let entry = self.table.get(position).filter(|e| e.is_open())?;
        let workers = entry.load.limit().saturating_sub(entry.load.large);
        let ahead = entry.own.len() as f64 + 1.0;
        (workers > 0).then(|| home.mul_f64(ahead * entry.slowness / f64::from(workers)))
    }
}

/// Whether a request goes to its class's home if that is worth it.
fn seeks_home(demand: &Demand, avoid: &[InstanceId]) -> bool {
    !demand.lane.is_large() && demand.only.is_none() && demand.sticky.is_none() && avoid.is_empty()
}
