//! Instances come, go, change, fail, and are judged; plans tell what they are for.

use std::time::{Duration, Instant};

use super::index::Zone;
use super::rules::Rules;
use super::trust::Workers;
use super::{Dispatcher, InstanceId};
use crate::decide::learn::affinity::Worth;
use crate::decide::plan::homes::HomeMove;

impl<W> Dispatcher<W> {
    /// The instance accepted a connection, or spoke for itself.
    pub fn reached(&mut self, id: InstanceId) {
        if let Some(position) = self.table.position(id) {
            self.table.change(position, |entry| entry.breaker.on_reached());
            self.down.retain(|down| *down != position);
            self.freed.push(position);
        }
    }

    /// Instances to which a connection ought to be tried. Requests wait for what comes of it: [`Self::reached`] or
    /// [`Self::unreachable`].
    pub fn due(&mut self, now: Instant) -> Vec<InstanceId> {
        let table = &mut self.table;
        let due = |position: &usize| {
            let entry = table.get(*position).filter(|entry| entry.routable && entry.breaker.is_due(now))?;
            let id = entry.id;
            table.change(*position, |entry| entry.breaker.on_send(now));
            Some(id)
        };
        self.down.iter().filter_map(due).collect()
    }

    /// The instance did not accept a connection.
    pub fn unreachable(&mut self, id: InstanceId, now: Instant) {
        if let Some(position) = self.table.position(id) {
            self.table.change(position, |entry| entry.breaker.on_unreachable(now));
            if !self.down.contains(&position) {
                self.down.push(position);
            }
            self.abandon_home(position);
            self.keep_enough(now);
            self.serve_somebody();
        }
    }

    /// Adds an instance, or changes one. What it holds stays counted. A plain number of workers is the
    /// operator's word.
    pub fn set_instance(
        &mut self,
        id: InstanceId,
        workers: impl Into<Workers>,
        routable: bool,
        now: Instant,
    ) {
        let workers = workers.into();
        let known = self.table.position(id);
        let position = known.unwrap_or_else(|| {
            let slow_start = if self.table.len() > 0 { self.slow_start(now) } else { Duration::ZERO };
            self.table.add(id, workers, routable, now + slow_start)
        });
        if known.is_none() && self.versioned {
            // Until it is known which versions get requests, now that it is there.
            self.table.change(position, |entry| entry.withheld = true);
        }
        let slow_start = self.slow_start(now);
        self.table.change(position, |entry| {
            if routable && !entry.routable {
                entry.fresh_until = now + slow_start;
            }
            entry.claim(workers);
            entry.routable = routable;
        });
        self.zone(position, now);
        self.freed.push(position);
        if !routable {
            self.abandon_home(position);
            self.keep_enough(now);
        }
        self.serve_somebody();
    }

    /// For how long an instance that comes now is used after the others. Those that are there when the balancer
    /// starts have nobody to be used after, and often say first that they have not checked their instance yet.
    fn slow_start(&self, now: Instant) -> Duration {
        let starting = now.saturating_duration_since(self.started) <= self.params.slow_start;
        if starting { Duration::ZERO } else { self.params.slow_start }
    }

    /// Forgets an instance. Requests that it still works on end uncounted.
    pub fn remove_instance(&mut self, id: InstanceId) {
        let Some(position) = self.table.position(id) else { return };
        self.abandon_home(position);
        self.table.remove(position);
        self.down.retain(|down| *down != position);
        self.out.retain(|out| *out != position);
        self.freed.retain(|freed| *freed != position);
        self.serve_somebody();
    }

    /// Workers of an instance that others hold.
    pub fn set_foreign(&mut self, id: InstanceId, workers: u32) {
        if let Some(position) = self.table.position(id) {
            self.table.change(position, |entry| entry.load.foreign = workers);
            self.freed.push(position);
        }
    }

    /// Workers of an instance that this balancer may count on, by its agent's word; `None`: all that others do not hold.
    pub fn set_granted(&mut self, id: InstanceId, workers: Option<u32>) {
        if let Some(position) = self.table.position(id) {
            self.table.change(position, |entry| entry.load.granted = workers);
            self.freed.push(position);
        }
    }

    /// A request took `ratio` times as long on an instance as was expected.
    pub fn judge(&mut self, id: InstanceId, ratio: f64, now: Instant) {
        if let Some(position) = self.table.position(id) {
            self.table.change(position, |entry| {
                entry.speed.add(ratio, now);
                entry.trust.served(ratio);
                entry.slowness = entry.speed.slowness_at(now);
            });
        }
    }

    /// Ends a second of finding out how many workers instances have, and which of them fail.
    pub fn tick(&mut self, now: Instant) {
        for position in self.table.positions() {
            self.table.change(position, |entry| {
                entry.trust.tick();
                entry.load.believed = entry.trust.believed();
            });
        }
        self.look_at_queues(now);
        self.tend_outliers(now);
    }

    /// Puts a new plan in force. `late_after`: how long a small request may hold a worker.
    pub fn follow(&mut self, rules: Rules, late_after: Duration, moves: &[HomeMove], now: Instant) {
        self.dedicated = rules.dedicated.iter().copied().collect();
        let paid = matches!(self.rules.homes, Worth::Pays { .. });
        if paid && !matches!(rules.homes, Worth::Pays { .. }) {
            // Whoever waits for a home would wait on beside free workers.
            std::mem::take(&mut self.awaited).into_iter().for_each(|position| self.abandon_home(position));
        }
        self.rules = rules;
        self.late_after = late_after;
        moves.iter().for_each(|change| self.homes.apply(change, &mut self.table));
        for position in self.table.positions() {
            self.table.change(position, |entry| entry.slowness = entry.speed.slowness_at(now));
            self.zone(position, now);
        }
    }

    pub(super) fn zone(&mut self, position: usize, now: Instant) {
        let dedicated = &self.dedicated;
        self.table.change(position, |entry| {
            entry.zone = if dedicated.contains(&entry.id) {
                Zone::Dedicated
            } else if now < entry.fresh_until {
                Zone::Fresh
            } else {
                Zone::General
            };
        });
    }

    /// Nobody waits for this instance as for a home any more.
    pub(super) fn abandon_home(&mut self, position: usize) {
        let own = self.table.change(position, |entry| std::mem::take(&mut entry.own)).unwrap_or_default();
        own.into_iter().for_each(|order| self.lanes[0].release_from_home(order));
        self.awaited.remove(&position);
    }
}
