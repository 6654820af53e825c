//! What a service has learned, as its notices want it.

use crate::control::ControlState;
use crate::control::view::ServiceFacts;
use crate::decide::membership::{Key, Member};
use crate::decide::notices::{Learned, LearnedClass};
use crate::decide::schedule::figures::ClassFigures;
use crate::pool::{Service, now};

/// Classes looked at under the service's lock at a time: no request waits for all of them.
const AT_A_TIME: usize = 64;

impl ControlState {
    pub(super) fn learned(&self, service: &Service) -> Learned {
        let facts = ServiceFacts::of(self, service);
        let members = self.members();
        let own = members.iter().filter(|(key, _)| key.0 == service.name);
        let occupied: Vec<_> = service.look(|scheduler| {
            let known =
                |(key, member): &(Key, Member)| Some((key.1.clone(), scheduler.occupancy(member.id)?));
            own.filter_map(known).collect()
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
        }
    }
}

/// Classes of which something is known, but for those whose lane is the operator's word.
fn classes(service: &Service, facts: &ServiceFacts) -> Vec<LearnedClass> {
    let entries = service.classes.all(now());
    let all: Vec<_> = entries.iter().filter(|entry| entry.treatment.lane.is_none()).collect();
    let figures = all.chunks(AT_A_TIME).flat_map(|some| {
        service.look(|scheduler| {
            some.iter().map(|entry| scheduler.class_figures(entry.id, None)).collect::<Vec<ClassFigures>>()
        })
    });
    let known = all.iter().zip(figures).filter(|(_, figures)| figures.is_known());
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
