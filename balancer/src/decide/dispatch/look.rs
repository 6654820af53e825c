//! What the dispatcher shows of itself.

use std::collections::HashSet;
use std::time::Instant;

use super::index::Zone;
use super::queue::LaneQueue;
use super::rules::{LaneRule, Rules};
use super::{Backlog, Counts, Dispatcher, InstanceId, Lane, Occupancy};

impl<W> Dispatcher<W> {
    pub fn occupancy(&self, id: InstanceId) -> Option<Occupancy> {
        let entry = self.table.by_id(id)?;
        Some(Occupancy {
            load: entry.load,
            limit: entry.load.limit(),
            routable: entry.routable,
            breaker: entry.breaker,
            withheld: entry.withheld,
            sent: entry.sent,
            ejection: entry.outlier.ejection(),
            slowness: entry.slowness,
            dedicated: entry.zone == Zone::Dedicated,
            homes: entry.homes,
        })
    }

    /// Instances whose version of the application gets no requests.
    pub fn withheld(&self) -> HashSet<InstanceId> {
        if !self.versioned {
            return HashSet::new();
        }
        self.table.iter().filter(|(_, entry)| entry.withheld).map(|(_, entry)| entry.id).collect()
    }

    /// Workers that requests may be sent to, of all instances that are to get some.
    pub fn routable_workers(&self) -> u32 {
        self.table.iter().filter(|(_, entry)| entry.routable).map(|(_, entry)| entry.load.limit()).sum()
    }

    pub fn counts(&self) -> Counts {
        self.counts
    }

    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// A lane's rule, if the planner still runs.
    pub fn rule(&self, lane: Lane, now: Instant) -> LaneRule {
        self.rules.lane(lane, now)
    }

    pub fn queued(&self) -> usize {
        self.lanes.iter().map(LaneQueue::len).sum()
    }

    /// Requests of a lane that wait.
    pub fn waiting(&self, lane: Lane) -> usize {
        self.lanes[lane.index()].len()
    }

    /// Workers that a lane may use at most.
    pub fn workers_for(&self, lane: Lane) -> usize {
        let all = self.table.totals().workers as usize;
        if lane.is_large() { all.min(self.rules.lanes[lane.index()].high) } else { all }
    }

    pub fn backlog(&self, lane: Lane, now: Instant) -> Backlog {
        let queue = &self.lanes[lane.index()];
        Backlog {
            waiting: queue.len(),
            running: self.held[lane.index()],
            counted: self.counted()[lane.index()],
            oldest_wait: queue.oldest_wait(now),
        }
    }

    /// Whether some instance would take a request now or once a worker is free.
    pub fn has_instance(&self, now: Instant) -> bool {
        let up = self.table.totals().workers > 0;
        up || self.table.iter().any(|(_, entry)| entry.is_up(now))
    }
}
