//! The bounded table of classes, and what was observed of each.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, RwLock};
use std::time::{Duration, Instant};

use sluice_proto::{ClassName, ClassReport, ClassSums};

use crate::decide::ids::ClassId;
use crate::decide::window::Recent;
use crate::metrics::{ClassMetrics, RequestMetrics};

/// Classes of one service. At most `capacity`; what comes later is counted as `other`.
#[derive(Debug)]
pub struct ClassTable {
    capacity: usize,
    metrics: RequestMetrics,
    entries: RwLock<HashMap<ClassName, Arc<ClassEntry>>>,
    other: Arc<ClassEntry>,
}

/// One class.
#[derive(Debug)]
pub struct ClassEntry {
    pub id: ClassId,
    pub name: ClassName,
    pub metrics: ClassMetrics,
    seen: Mutex<Recent>,
    reported: Mutex<Recent>,
}

/// What one request of a class came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Observation {
    /// Status 500 and above, cut short, or no answer.
    pub error: bool,
    /// From the slot's being taken to its release.
    pub held: Duration,
    /// From sending to the head of the response.
    pub ttfb: Option<Duration>,
    /// Body bytes that the instance sent.
    pub response_bytes: Option<u64>,
}

impl ClassTable {
    pub fn new(capacity: usize, metrics: RequestMetrics, now: Instant) -> Self {
        let other = ClassEntry::new(ClassId(0), ClassName::other(), &metrics, now);
        Self { capacity, metrics, entries: RwLock::default(), other }
    }

    /// The entry of a class, made if there is room.
    pub fn entry(&self, name: &str, now: Instant) -> Arc<ClassEntry> {
        if let Some(entry) = self.entries.read().expect("no code panics while holding it").get(name) {
            return entry.clone();
        }
        let Some(name) = ClassName::parse(name) else { return self.other.clone() };
        let mut entries = self.entries.write().expect("no code panics while holding it");
        if entries.len() >= self.capacity && !entries.contains_key(&name) {
            return self.other.clone();
        }
        let id = ClassId(u32::try_from(entries.len() + 1).expect("a bounded table"));
        let make = || ClassEntry::new(id, name.clone(), &self.metrics, now);
        entries.entry(name.clone()).or_insert_with(make).clone()
    }

    /// An attempt of one of this service's requests is being made again.
    pub fn retried(&self, failure: sluice_relay::Failure) {
        self.metrics.retried(failure);
    }

    /// Whether a request of this class was seen before.
    pub fn get(&self, name: &str) -> Option<Arc<ClassEntry>> {
        self.entries.read().expect("no code panics while holding it").get(name).cloned()
    }

    /// Ids and names of all classes.
    pub fn ids(&self) -> Vec<(ClassId, ClassName)> {
        let entries = self.entries.read().expect("no code panics while holding it");
        entries.values().map(|entry| (entry.id, entry.name.clone())).collect()
    }

    /// All entries, by name; `other` last, if it was used.
    pub fn all(&self, now: Instant) -> Vec<Arc<ClassEntry>> {
        let mut all: Vec<_> =
            self.entries.read().expect("no code panics while holding it").values().cloned().collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        if self.other.seen(now).0.requests > 0 {
            all.push(self.other.clone());
        }
        all
    }
}

impl ClassEntry {
    fn new(id: ClassId, name: ClassName, metrics: &RequestMetrics, now: Instant) -> Arc<Self> {
        let metrics = metrics.class(&name);
        Arc::new(Self {
            id,
            name,
            metrics,
            seen: Mutex::new(Recent::new(now)),
            reported: Mutex::new(Recent::new(now)),
        })
    }

    /// Records what the balancer saw itself.
    pub fn observe(&self, what: Observation, now: Instant) {
        let mut recent = self.seen.lock().expect("no code panics while holding it");
        recent.at(now).record(what.error, micros(what.held), what.ttfb.map(micros), what.response_bytes);
    }

    /// Merges what an agent reported.
    pub fn merge(&self, report: &ClassReport, now: Instant) {
        let mut recent = self.reported.lock().expect("no code panics while holding it");
        recent.at(now).merge(&ClassSums::from(report));
    }

    /// What the balancer saw lately, and the time that covers.
    pub fn seen(&self, now: Instant) -> (ClassSums, Duration) {
        self.seen.lock().expect("no code panics while holding it").value_at(now)
    }

    /// What agents reported lately, and the time that covers.
    pub fn reported(&self, now: Instant) -> (ClassSums, Duration) {
        self.reported.lock().expect("no code panics while holding it").value_at(now)
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn table() -> ClassTable {
        let registry = prometheus::Registry::new();
        let metrics = RequestMetrics::register(&registry, 2).for_service("default");
        ClassTable::new(2, metrics, Instant::now())
    }

    #[test]
    fn the_table_is_bounded_and_the_rest_is_other() {
        let (table, now) = (table(), Instant::now());
        for name in ["GET /a", "GET /b", "GET /c", "GET /a", "bad\nname"] {
            let observation = Observation {
                error: false,
                held: Duration::from_millis(1),
                ttfb: None,
                response_bytes: Some(7),
            };
            table.entry(name, now).observe(observation, now);
        }
        let counts: Vec<_> =
            table.all(now).iter().map(|e| (e.name.to_string(), e.seen(now).0.requests)).collect();
        assert_eq!(counts, [("GET /a".into(), 2), ("GET /b".into(), 1), ("other".into(), 2)]);
    }
}
