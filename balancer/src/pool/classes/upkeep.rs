//! What keeps the table small: learning templates, merging classes that became one, forgetting.
//!
//! Called by the control plane once a second. The data path never waits for more than one step of it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sluice_proto::classify::renamed;
use sluice_proto::learn::{LearnParams, learn};
use sluice_proto::{Classification, Templates};

use super::entry::Usage;
use super::{ClassEntry, ClassTable, Sorting};
use crate::decide::ids::ClassId;

/// A class without a request for so long is forgotten.
const FORGET: Duration = Duration::from_secs(3600);

/// The least time without a request after which a class makes room for others, when there is little.
const MAKES_ROOM: Duration = Duration::from_secs(60);

/// A number that is free from now on; whoever keeps something under it clears it, or adds it to
/// where the class went, before the next call of [`ClassTable::tend`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Freed {
    pub id: ClassId,
    /// The class that its requests belong to from now on. `None`: it was forgotten.
    pub into: Option<ClassId>,
}

/// What [`ClassTable::tend`] did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tended {
    pub freed: Vec<Freed>,
    /// Other templates are in use than before.
    pub learned: bool,
}

/// A class that is out of the table and not free yet.
#[derive(Debug)]
pub(super) struct Leaving {
    entry: Arc<ClassEntry>,
    into: Option<ClassId>,
}

impl ClassTable {
    /// Learns from the requests since the last call, merges the classes that have become one, and
    /// forgets those that are of no use. One caller at a time, about once a second.
    pub fn tend(&self, now: Instant) -> Tended {
        self.write().ids.recycle();
        let aged: Vec<_> = self.entries().into_iter().map(|entry| (entry.age(now), entry)).collect();
        let learned = self.learn(&aged);
        drop(aged);
        self.merge_renamed(now);
        self.forget(now);
        Tended { freed: self.free(), learned }
    }

    fn entries(&self) -> Vec<Arc<ClassEntry>> {
        self.read().by_name.values().cloned().collect()
    }

    /// Returns whether there are new templates. From this balancer's own requests alone: what agents
    /// say must not change how requests are sorted.
    fn learn(&self, aged: &[(Usage, Arc<ClassEntry>)]) -> bool {
        let seen = aged.iter().filter(|(usage, _)| usage.recent > 0.0);
        let seen = seen.map(|(usage, entry)| (&entry.name, usage.recent));
        let mut learned = self.learned.lock().expect("no code panics while holding it");
        *learned = learn(&learned, seen, &LearnParams::default());
        if self.templates().same_as(&learned) {
            return false;
        }
        self.sort_by(learned.clone());
        true
    }

    /// Takes over what an earlier process learned of the service's paths; to be called before any
    /// request comes.
    pub fn adopt(&self, templates: Templates) {
        self.sort_by(templates.clone());
        *self.learned.lock().expect("no code panics while holding it") = templates;
    }

    fn sort_by(&self, templates: Templates) {
        // The lock that rules are set under, so that neither is lost.
        let _index = self.write();
        let (rules, templates) = (self.rules(), Arc::new(templates));
        self.classification.store(Arc::new(Classification::new(rules.rules().specs(), &templates)));
        self.sorting.store(Arc::new(Sorting { rules, templates }));
    }

    /// Also those that came under an old name just now: a request may have been sorted by templates
    /// that were replaced meanwhile.
    fn merge_renamed(&self, now: Instant) {
        let templates = self.templates();
        for entry in self.entries() {
            let Some(name) = renamed(&entry.name, &templates) else { continue };
            let mut index = self.write();
            index.by_name.remove(&entry.name);
            // This list alone holds it, so nothing is under way: its label is for what it becomes.
            if Arc::strong_count(&entry) == 1 {
                entry.metrics.retire();
            }
            let target = match index.by_name.get(&name) {
                Some(target) => target.clone(),
                None => self.add(&mut index, name, now),
            };
            let into = Some(target.id);
            index.leaving.push(Leaving { entry: entry.clone(), into });
            drop(index);
            target.absorb(&entry, now);
        }
    }

    fn forget(&self, now: Instant) {
        let mut idle = self.idle(now);
        let gone = idle.extract_if(.., |(idle, _, _)| *idle >= FORGET).map(|(_, _, entry)| entry);
        let mut gone: Vec<_> = gone.collect();
        let left = self.read().by_name.len() - gone.len();
        // Room for a second's worth of new names, and not only for the next.
        if left > self.capacity - self.capacity / 8 {
            let surplus = left - (self.capacity - self.capacity / 4);
            idle.sort_by(|a, b| a.1.total_cmp(&b.1).then(b.0.cmp(&a.0)));
            gone.extend(idle.into_iter().take(surplus).map(|(_, _, entry)| entry));
        }
        for entry in gone {
            let mut index = self.write();
            index.by_name.remove(&entry.name);
            entry.metrics.retire();
            index.leaving.push(Leaving { entry, into: None });
        }
    }

    /// The classes that may be forgotten: time without a request, recent requests, and which.
    fn idle(&self, now: Instant) -> Vec<(Duration, f64, Arc<ClassEntry>)> {
        let by_rule = self.read().by_rule.clone();
        let idle = |entry: Arc<ClassEntry>| {
            let usage = entry.age(now);
            let idle = now.saturating_duration_since(usage.last);
            // The table and this list hold it; more, and a request of it is under way.
            let under_way = Arc::strong_count(&entry) > 2;
            let is_rules_own = by_rule.iter().any(|own| Arc::ptr_eq(own, &entry));
            (idle >= MAKES_ROOM && !under_way && !is_rules_own).then_some((idle, usage.recent, entry))
        };
        self.entries().into_iter().filter_map(idle).collect()
    }

    /// Gives back the numbers of classes that nothing holds any more. Out of the table, none can get
    /// a new holder.
    fn free(&self) -> Vec<Freed> {
        let mut index = self.write();
        let done = index.leaving.extract_if(.., |leaving| Arc::strong_count(&leaving.entry) == 1);
        let freed: Vec<_> = done.map(|leaving| Freed { id: leaving.entry.id, into: leaving.into }).collect();
        freed.iter().for_each(|freed| index.ids.give_back(freed.id));
        freed
    }
}
