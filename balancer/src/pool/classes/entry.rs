//! One class, and what was observed of it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use sluice_proto::{ClassName, ClassReport, ClassSums, Measured};

use crate::decide::ids::ClassId;
use crate::decide::treatment::Treatment;
use crate::decide::window::Recent;
use crate::metrics::ClassMetrics;

/// Time in which a count of requests loses half its weight: long enough to know a site's rare pages,
/// short enough to follow a day.
const HALF_LIFE: Duration = Duration::from_secs(600);

/// One class.
#[derive(Debug)]
pub struct ClassEntry {
    pub id: ClassId,
    pub name: ClassName,
    pub metrics: ClassMetrics,
    /// The rule that names it, by its place.
    pub rule: Option<usize>,
    /// What that rule asks for.
    pub treatment: Arc<Treatment>,
    /// Requests that were sorted into it, ever.
    pub(super) sorted: AtomicU64,
    /// An agent reported on it since [`ClassEntry::age`].
    reported_on: AtomicBool,
    usage: Mutex<Usage>,
    seen: Mutex<Recent>,
    reported: Mutex<Recent>,
}

/// How much a class is in use. Brought up to date by the control plane.
#[derive(Clone, Copy, Debug)]
pub(super) struct Usage {
    /// Of [`ClassEntry::sorted`], what is in `recent`.
    counted: u64,
    /// Requests, each with a weight that halves in [`HALF_LIFE`].
    pub(super) recent: f64,
    aged: Instant,
    pub(super) last: Instant,
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

impl ClassEntry {
    pub(super) fn new(
        id: ClassId,
        name: ClassName,
        metrics: ClassMetrics,
        rule: Option<(usize, Arc<Treatment>)>,
        now: Instant,
    ) -> Arc<Self> {
        let (rule, treatment) = rule.unzip();
        Arc::new(Self {
            id,
            name,
            metrics,
            rule,
            treatment: treatment.unwrap_or_default(),
            sorted: AtomicU64::new(0),
            reported_on: AtomicBool::new(false),
            usage: Mutex::new(Usage { counted: 0, recent: 0.0, aged: now, last: now }),
            seen: Mutex::new(Recent::new(now)),
            reported: Mutex::new(Recent::new(now)),
        })
    }

    /// Records what the balancer saw itself.
    pub fn observe(&self, what: Observation, now: Instant) {
        let mut recent = self.seen.lock().expect("no code panics while holding it");
        recent.at(now).record(
            what.error,
            Some(micros(what.held)),
            what.ttfb.map(micros),
            what.response_bytes,
        );
    }

    /// Merges what an agent reported, whose figures are as good as `measured` says.
    pub fn merge(&self, report: &ClassReport, measured: &Measured, now: Instant) {
        self.reported_on.store(true, Relaxed);
        let mut recent = self.reported.lock().expect("no code panics while holding it");
        recent.at(now).merge(&ClassSums::reported(report, measured));
    }

    /// What the balancer saw lately, and the time that covers.
    pub fn seen(&self, now: Instant) -> (ClassSums, Duration) {
        self.seen.lock().expect("no code panics while holding it").value_at(now)
    }

    /// What agents reported lately, and the time that covers.
    pub fn reported(&self, now: Instant) -> (ClassSums, Duration) {
        self.reported.lock().expect("no code panics while holding it").value_at(now)
    }

    /// Whether the balancer or an agent has had a request of it, ever.
    pub(super) fn is_used(&self, now: Instant) -> bool {
        self.sorted.load(Relaxed) > 0 || self.seen(now).0.requests > 0 || self.reported(now).0.requests > 0
    }

    /// Brings the usage up to `now`.
    pub(super) fn age(&self, now: Instant) -> Usage {
        let mut usage = self.usage.lock().expect("no code panics while holding it");
        let sorted = self.sorted.load(Relaxed);
        let halves = now.saturating_duration_since(usage.aged).div_duration_f64(HALF_LIFE);
        let fresh = sorted.saturating_sub(usage.counted);
        usage.recent = usage.recent * 0.5_f64.powf(halves) + fresh as f64;
        (usage.counted, usage.aged) = (sorted, now);
        if fresh > 0 || self.reported_on.swap(false, Relaxed) {
            usage.last = now;
        }
        *usage
    }

    /// Takes over what another class was seen to be, which is part of this one from now on.
    pub(super) fn absorb(&self, other: &Self, now: Instant) {
        let (seen, reported, theirs) = (other.seen(now).0, other.reported(now).0, other.age(now));
        self.age(now);
        self.seen.lock().expect("no code panics while holding it").at(now).merge(&seen);
        self.reported.lock().expect("no code panics while holding it").at(now).merge(&reported);
        let mut usage = self.usage.lock().expect("no code panics while holding it");
        usage.recent += theirs.recent;
        usage.last = usage.last.max(theirs.last);
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
