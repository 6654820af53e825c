//! How every instance stands when one request is decided about: for people, not for the pick.

#[cfg(test)]
mod tests;

use std::time::Instant;

use serde::Serialize;

use super::choose::may_use;
use super::demand::Demand;
use super::index::{LARGE, Zone};
use super::table::{Entry, Load};
use super::why::{Course, Wait};
use super::{Dispatcher, InstanceId};
use crate::decide::plan::dedicate::Mode;

/// One instance as the pick sees it for one request.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Candidate {
    #[serde(skip)]
    pub id: InstanceId,
    #[serde(flatten)]
    pub load: Load,
    /// It is for large requests first.
    pub dedicated: bool,
    /// It came up a short while ago, and is used after the others.
    pub fresh: bool,
    /// Factor by which it is slower than its fellows; 1: it is not.
    pub slowness: f64,
    /// The request's class is at home there.
    pub home: bool,
    pub standing: Standing,
}

/// What speaks for an instance or against it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// The request goes there.
    Picked,
    /// The request waits for it.
    Awaited,
    /// As good as the one that is picked.
    Equal,
    /// It has a free worker, and others come first.
    Later,
    /// It has a free worker, and is slower than its fellows.
    Slow,
    /// No worker is free; one more short request may be sent ahead when many wait.
    Spare,
    /// No worker is free.
    Held,
    /// Its free worker is for small requests.
    Kept,
    /// It has a free worker, and the lane has as many as it may hold.
    Capped,
    /// It has a free worker, and others wait for one.
    Queue,
    /// It has a free worker, and is not the home that the request waits for.
    Away,
    /// It has a free worker, and its version of the application has had its share.
    Share,
    /// A rule names others.
    NotAllowed,
    /// Another instance has the request's session.
    OtherSession,
    /// It does not accept connections.
    Unreachable,
    /// Its version of the application gets no requests.
    OtherVersion,
    /// It fails, and is left out for a while.
    Ejected,
    /// It gets no requests.
    Excluded,
}

/// Every instance's standing, those that the pick prefers first.
#[derive(Clone, Debug, PartialEq)]
pub struct Standings {
    pub course: Course,
    pub candidates: Vec<Candidate>,
    /// Instances beyond those.
    pub others: usize,
}

impl<W> Dispatcher<W> {
    /// What would become of a request now, and how the `most` best instances stand. Looks at all of
    /// them: not for the path of a request.
    pub fn explain(&self, demand: &Demand, now: Instant, most: usize) -> Standings {
        let course = self.course(demand, now);
        let homes = self.homes_to_be(demand);
        let mut all: Vec<_> = self
            .table
            .iter()
            .map(|(position, entry)| {
                let standing = self.standing(position, entry, demand, course, now);
                (self.preference(entry, demand, standing), position, standing)
            })
            .collect();
        // By position where equal, so that the same question has the same answer.
        all.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        let others = all.len().saturating_sub(most);
        all.truncate(most);
        let shown = all.into_iter().filter_map(|(_, position, standing)| {
            let entry = self.table.get(position)?;
            Some(candidate(entry, homes.contains(&entry.id), standing))
        });
        Standings { course, candidates: shown.collect(), others }
    }

    fn standing(
        &self,
        position: usize,
        entry: &Entry,
        demand: &Demand,
        course: Course,
        now: Instant,
    ) -> Standing {
        match course {
            Course::Sent { instance, .. } if instance == entry.id => return Standing::Picked,
            Course::Waits { at: Some(at), .. } if at == entry.id => return Standing::Awaited,
            _ => {}
        }
        if !entry.routable {
            Standing::Excluded
        } else if !entry.breaker.is_closed() && !may_use(entry, demand, &[], now) {
            Standing::Unreachable
        } else if entry.withheld {
            Standing::OtherVersion
        } else if entry.outlier.ejection().is_some() {
            Standing::Ejected
        } else if demand.only.as_ref().is_some_and(|only| !only.contains(&entry.id)) {
            Standing::NotAllowed
        } else if self.session(demand, &[], now).is_some() {
            Standing::OtherSession
        } else if !entry.load.has_slot() {
            if self.table.is_spare(position) { Standing::Spare } else { Standing::Held }
        } else {
            self.free_standing(position, entry, demand, course)
        }
    }

    /// Of an instance that has a free worker and may serve the request.
    fn free_standing(&self, position: usize, entry: &Entry, demand: &Demand, course: Course) -> Standing {
        match course {
            Course::Sent { instance, .. } => {
                let picked = self.table.position(instance);
                if picked.is_some_and(|picked| self.table.equal(picked, position)) {
                    Standing::Equal
                } else if self.is_kept(entry, demand) {
                    Standing::Kept
                } else if entry.slowness > 1.0 {
                    Standing::Slow
                } else {
                    Standing::Later
                }
            }
            Course::Waits { why: Wait::Cap, .. } => Standing::Capped,
            Course::Waits { why: Wait::Home, .. } => Standing::Away,
            Course::Waits { why: Wait::Version, .. } => Standing::Share,
            Course::Waits { why: Wait::Kept, .. } if self.is_kept(entry, demand) => Standing::Kept,
            Course::Waits { why: Wait::Slower | Wait::Kept, .. } => Standing::Slow,
            Course::Waits { .. } | Course::Refused { .. } => Standing::Queue,
        }
    }

    /// Whether large requests leave its free workers to small ones.
    fn is_kept(&self, entry: &Entry, demand: &Demand) -> bool {
        let general = entry.zone != Zone::Dedicated && !self.rules.dedicated.is_empty();
        let last = entry.load.large + 1 >= entry.load.limit().max(2);
        demand.lane.is_large()
            && match self.rules.mode {
                Mode::Pack => false,
                Mode::Separate => general,
                Mode::Spread => last,
            }
    }

    /// The smaller, the sooner it is picked.
    fn preference(&self, entry: &Entry, demand: &Demand, standing: Standing) -> f64 {
        let share = f64::from(entry.load.working) / f64::from(entry.load.limit());
        let tier = match standing {
            Standing::Picked | Standing::Awaited => 0.0,
            Standing::Equal => 1.0,
            Standing::Later | Standing::Capped | Standing::Queue | Standing::Away | Standing::Share => 2.0,
            Standing::Slow => 3.0,
            Standing::Spare => 4.0,
            Standing::Held | Standing::Kept => 5.0,
            Standing::NotAllowed | Standing::OtherSession => 6.0,
            Standing::Unreachable | Standing::Ejected | Standing::OtherVersion => 7.0,
            Standing::Excluded => 8.0,
        };
        tier * 1000.0 + 10.0 * self.group(entry, demand) + share.min(9.0)
    }

    /// The place of an instance's group in the order in which the pick looks at them: see
    /// `choose.rs`.
    fn group(&self, entry: &Entry, demand: &Demand) -> f64 {
        let large = f64::from(entry.load.large.min(LARGE as u32 - 1));
        let most = LARGE as f64;
        let zone = |order: [Zone; 3]| order.iter().position(|z| *z == entry.zone).unwrap_or(0) as f64;
        match (demand.lane.is_large(), self.rules.mode) {
            (false, _) => large * 3.0 + zone([Zone::General, Zone::Dedicated, Zone::Fresh]),
            (true, Mode::Spread) => large * 3.0 + zone(Zone::ALL),
            (true, Mode::Pack | Mode::Separate) => {
                let general = f64::from(u8::from(entry.zone != Zone::Dedicated)) * most * 3.0;
                general + (most - large) * 3.0 + zone([Zone::Dedicated, Zone::General, Zone::Fresh])
            }
        }
    }
}

fn candidate(entry: &Entry, home: bool, standing: Standing) -> Candidate {
    Candidate {
        id: entry.id,
        load: entry.load,
        dedicated: entry.zone == Zone::Dedicated,
        fresh: entry.zone == Zone::Fresh,
        slowness: entry.slowness,
        home,
        standing,
    }
}
