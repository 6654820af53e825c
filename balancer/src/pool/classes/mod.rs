//! The bounded table of classes: from a request to its class, and what is known of each.

mod entry;
mod ids;
mod ruled;
#[cfg(test)]
pub(crate) mod tests;
mod upkeep;

use std::collections::HashMap;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Instant;

use arc_swap::ArcSwap;
use sluice_proto::classify::renamed;
use sluice_proto::{ClassName, ClassReport, Classification, Measured, Templates};

pub use entry::{ClassEntry, Observation, Sent};
pub use upkeep::{Freed, Tended};

use crate::decide::classify::{Request, classify};
use crate::decide::ids::ClassId;
use crate::decide::treatment::ServiceRules;
use crate::metrics::RequestMetrics;
use crate::pool::traffic::{Taken, Traffic};

/// Classes of one service. At most `capacity`; what comes later is counted as `other`, or as its
/// rule's own class, until [`ClassTable::tend`] has made room.
#[derive(Debug)]
pub struct ClassTable {
    capacity: usize,
    metrics: RequestMetrics,
    traffic: Arc<Traffic>,
    /// What requests are sorted by now.
    sorting: ArcSwap<Sorting>,
    /// The same for agents that sort by themselves.
    classification: ArcSwap<Classification>,
    index: RwLock<Index>,
    other: Arc<ClassEntry>,
    /// The templates with their ages. The control plane's alone.
    learned: Mutex<Templates>,
}

/// How requests are sorted: the operator's rules before what was learned.
#[derive(Debug)]
pub(super) struct Sorting {
    rules: Arc<ServiceRules>,
    templates: Arc<Templates>,
}

/// Behind the one lock; read by each request, written when a class comes or goes.
#[derive(Debug, Default)]
struct Index {
    by_name: HashMap<ClassName, Arc<ClassEntry>>,
    ids: ids::Ids,
    /// Each rule's own class, so that no request misses its treatment for want of room.
    by_rule: Vec<Arc<ClassEntry>>,
    /// Out of the table, but requests of them are under way.
    leaving: Vec<upkeep::Leaving>,
}

impl ClassTable {
    /// `capacity` is the most classes, those of the rules included.
    pub fn new(capacity: usize, metrics: RequestMetrics, rules: Arc<ServiceRules>, now: Instant) -> Self {
        let mut index = Index::default();
        let (other, traffic) = (ClassName::other(), Arc::<Traffic>::default());
        let (id, handles) = (index.ids.take(), metrics.class(&other));
        let other = ClassEntry::new(id, other, handles, None, traffic.clone(), now);
        let table = Self {
            capacity,
            metrics,
            traffic,
            sorting: ArcSwap::from_pointee(Sorting { rules: Arc::default(), templates: Arc::default() }),
            classification: ArcSwap::from_pointee(Classification::new(&[], &Templates::default())),
            index: RwLock::new(index),
            other,
            learned: Mutex::default(),
        };
        table.set_rules(rules, now);
        table
    }

    /// The class of a request. `scratch` holds its name afterwards.
    pub fn sort(&self, request: &Request<'_>, scratch: &mut String, now: Instant) -> Arc<ClassEntry> {
        let sorting = self.sorting.load();
        classify(request, sorting.rules.rules(), &sorting.templates, scratch);
        let entry = self.entry(scratch, now);
        entry.sorted.fetch_add(1, Relaxed);
        entry
    }

    /// The entry of a class, made if there is room.
    pub fn entry(&self, name: &str, now: Instant) -> Arc<ClassEntry> {
        if let Some(entry) = self.read().by_name.get(name) {
            return entry.clone();
        }
        match ClassName::parse(name) {
            Some(name) => self.entry_within(&name, self.capacity, now),
            None => self.other.clone(),
        }
    }

    /// The number of a class that an earlier process knew, made if there is room.
    pub fn place(&self, name: &str, now: Instant) -> Option<ClassId> {
        let entry = self.entry(name, now);
        (entry.name.as_str() == name).then_some(entry.id)
    }

    /// Counts what an agent reported of a class, under the name that it has here by now. `measured` is the report's
    /// word on its figures.
    ///
    /// Names that only agents know get no more than half the table: one that makes them up must not
    /// take the place of classes that requests really have. Returns the class that it counts for.
    pub fn report(&self, report: &ClassReport, measured: &Measured, now: Instant) -> Arc<ClassEntry> {
        // Names in the table are as the templates have them: see `merge_renamed`.
        let known = self.get(report.class.as_str());
        let entry = known.unwrap_or_else(|| self.reported_anew(&report.class, now));
        entry.merge(report, measured, now);
        entry
    }

    fn reported_anew(&self, name: &ClassName, now: Instant) -> Arc<ClassEntry> {
        let name = renamed(name, &self.templates()).unwrap_or_else(|| name.clone());
        self.get(name.as_str()).unwrap_or_else(|| self.entry_within(&name, self.capacity / 2, now))
    }

    fn entry_within(&self, name: &ClassName, capacity: usize, now: Instant) -> Arc<ClassEntry> {
        let mut index = self.write();
        if let Some(entry) = index.by_name.get(name) {
            return entry.clone();
        }
        if index.by_name.len() < capacity && name.as_str() != ClassName::OTHER {
            return self.add(&mut index, name.clone(), now);
        }
        let sorting = self.sorting.load();
        let rule = sorting.rules.of_class(name).and_then(|(rule, _)| index.by_rule.get(rule));
        rule.unwrap_or(&self.other).clone()
    }

    fn add(&self, index: &mut Index, name: ClassName, now: Instant) -> Arc<ClassEntry> {
        let id = index.ids.take();
        let entry = self.make(id, name.clone(), &self.sorting.load().rules, now);
        index.by_name.insert(name, entry.clone());
        entry
    }

    fn make(&self, id: ClassId, name: ClassName, rules: &ServiceRules, now: Instant) -> Arc<ClassEntry> {
        let rule = rules.of_class(&name).map(|(rule, treatment)| (rule, treatment.clone()));
        let handles = self.metrics.class(&name);
        ClassEntry::new(id, name, handles, rule, self.traffic.clone(), now)
    }

    /// What the service's clients got since this was asked last.
    pub fn take_traffic(&self) -> Taken {
        self.traffic.take()
    }

    /// An attempt of one of this service's requests is being made again.
    pub fn retried(&self, failure: sluice_relay::Failure) {
        self.metrics.retried(failure);
    }

    /// The class of this name, if it is known.
    pub fn get(&self, name: &str) -> Option<Arc<ClassEntry>> {
        self.read().by_name.get(name).cloned()
    }

    /// Ids and names of all classes, `other` included.
    pub fn names(&self) -> HashMap<ClassId, ClassName> {
        let mut names: HashMap<_, _> = self.ids().into_iter().collect();
        names.insert(self.other.id, self.other.name.clone());
        names
    }

    /// Ids and names of all classes.
    pub fn ids(&self) -> Vec<(ClassId, ClassName)> {
        self.read().by_name.values().map(|entry| (entry.id, entry.name.clone())).collect()
    }

    /// All entries that were used, by name; `other` last.
    pub fn all(&self, now: Instant) -> Vec<Arc<ClassEntry>> {
        let mut all: Vec<_> = self.read().by_name.values().cloned().collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all.push(self.other.clone());
        all.retain(|entry| entry.is_used(now));
        all
    }

    pub fn rules(&self) -> Arc<ServiceRules> {
        self.sorting.load().rules.clone()
    }

    /// What was learned of the service's paths.
    pub fn templates(&self) -> Arc<Templates> {
        self.sorting.load().templates.clone()
    }

    /// What an agent needs to sort requests as this table does.
    pub fn classification(&self) -> Arc<Classification> {
        self.classification.load_full()
    }

    fn read(&self) -> RwLockReadGuard<'_, Index> {
        self.index.read().expect("no code panics while holding it")
    }

    fn write(&self) -> RwLockWriteGuard<'_, Index> {
        self.index.write().expect("no code panics while holding it")
    }
}
