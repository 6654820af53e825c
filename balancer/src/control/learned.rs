//! What a service has learned, as its notices want it.

use std::sync::Arc;

use sluice_proto::InstanceName;

use crate::control::ControlState;
use crate::control::view::ServiceFacts;
use crate::decide::membership::Member;
use crate::decide::notices::overload::LanePressure;
use crate::decide::notices::{Learned, LearnedClass};
use crate::decide::schedule::explain::LaneState;
use crate::decide::schedule::figures::ClassFigures;
use crate::decide::treatment::LanePin;
use crate::pool::{ClassEntry, Service, now};

/// Classes looked at under the service's lock at a time: no request waits for all of them.
const AT_A_TIME: usize = 64;

impl ControlState {
    pub(super) fn learned(&self, service: &Service) -> Learned {
        let facts = ServiceFacts::of(self, service);
        let mut members = self.members_of(&service.name);
        members.sort_by(|a, b| a.0.cmp(&b.0));
        let occupied: Vec<_> = service.look(|scheduler| {
            let known =
                |(name, member): (InstanceName, Arc<Member>)| Some((name, scheduler.occupancy(member.id)?));
            members.into_iter().filter_map(known).collect()
        });
        let slowness = occupied.iter().map(|(name, occupancy)| (name.clone(), occupancy.slowness)).collect();
        let ejected =
            occupied.into_iter().filter_map(|(name, o)| Some((name, o.ejection?.cause.to_string())));
        Learned {
            slowness,
            ejected: ejected.collect(),
            classes: classes(service, &facts),
            homes: facts.figures.homes,
            interference: facts.figures.interference,
            lanes: facts.figures.lanes.iter().map(pressure).collect(),
        }
    }

    /// The large classes of a service that keep the most workers busy, at most `most`.
    pub(super) fn largest_classes(&self, service: &Service, most: usize) -> Vec<String> {
        let busy = |figures: &ClassFigures| figures.rate * figures.held.mean;
        let mut large = class_figures(service);
        large.retain(|(_, figures)| figures.lane.is_large() && busy(figures) > 0.0);
        large.sort_by(|(_, a), (_, b)| busy(b).total_cmp(&busy(a)));
        large.iter().take(most).map(|(entry, _)| entry.name.to_string()).collect()
    }
}

/// What is thought of each class, with its lane as a rule may have it.
fn class_figures(service: &Service) -> Vec<(Arc<ClassEntry>, ClassFigures)> {
    let entries = service.classes.all(now());
    let figures = entries.chunks(AT_A_TIME).flat_map(|some| {
        service.look(|scheduler| {
            let figures = |entry: &Arc<ClassEntry>| {
                scheduler.class_figures(entry.id, entry.treatment.lane.map(LanePin::lane))
            };
            some.iter().map(figures).collect::<Vec<_>>()
        })
    });
    entries.iter().cloned().zip(figures).collect()
}

fn pressure(lane: &LaneState) -> LanePressure {
    LanePressure {
        name: lane.name,
        turned_away: lane.shed.too_late + lane.shed.queue_full,
        waiting: lane.waiting,
        expected_wait_ms: lane.expected_wait_ms,
    }
}

/// Classes of which something is known, but for those whose lane is the operator's word.
fn classes(service: &Service, facts: &ServiceFacts) -> Vec<LearnedClass> {
    let all = class_figures(service).into_iter().filter(|(entry, _)| entry.treatment.lane.is_none());
    let known = all.filter(|(_, figures)| figures.is_known());
    known
        .map(|(entry, figures)| {
            let homes: Vec<_> = figures.homes.iter().map(|id| facts.name(id)).collect();
            LearnedClass {
                name: entry.name.clone(),
                is_large: figures.lane.is_large(),
                goes: facts.goes(&figures, &homes, false),
            }
        })
        .collect()
}
