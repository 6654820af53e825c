//! One class, and what was observed of it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use sluice_proto::{ClassName, ClassReport, ClassSums, Measured, Sketch};

use crate::decide::flows::Flows;
use crate::decide::ids::{ClassId, InstanceId, Lane};
use crate::decide::treatment::Treatment;
use crate::decide::window::Recent;
use crate::metrics::ClassMetrics;
use crate::pool::traffic::Traffic;

/// Time in which a count of requests loses half its weight: long enough to know a site's rare pages,
/// short enough to follow a day.
const HALF_LIFE: Duration = Duration::from_secs(600);
/// Two of them are shown of what a class costs: long enough for a quantile of a rare class, short
/// enough to follow a change of the mix.
const WINDOW: Duration = Duration::from_secs(30);
/// The same of where its requests went, which people watch as it changes.
const FLOW_WINDOW: Duration = Duration::from_secs(10);

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
    seen: Mutex<Seen>,
    reported: Mutex<Recent<ClassSums>>,
    /// Of its service.
    traffic: Arc<Traffic>,
}

/// What the balancer saw of a class itself.
#[derive(Debug)]
struct Seen {
    sums: Recent<ClassSums>,
    /// From arrival to the last byte, in microseconds.
    latency_us: Recent<Sketch>,
    flows: Recent<Flows>,
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
    /// From arrival to the last byte that the instance sent; `None`: there is no whole response.
    pub latency: Option<Duration>,
    /// `None`: it was sent nowhere.
    pub sent: Option<Sent>,
}

/// How a request got its worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// The last one, if several were tried.
    pub instance: InstanceId,
    pub lane: Lane,
    pub queued: Duration,
}

impl ClassEntry {
    pub(super) fn new(
        id: ClassId,
        name: ClassName,
        metrics: ClassMetrics,
        rule: Option<(usize, Arc<Treatment>)>,
        traffic: Arc<Traffic>,
        now: Instant,
    ) -> Arc<Self> {
        let (rule, treatment) = rule.unzip();
        let seen = Seen {
            sums: Recent::new(WINDOW, now),
            latency_us: Recent::new(WINDOW, now),
            flows: Recent::new(FLOW_WINDOW, now),
        };
        Arc::new(Self {
            id,
            name,
            metrics,
            rule,
            treatment: treatment.unwrap_or_default(),
            sorted: AtomicU64::new(0),
            reported_on: AtomicBool::new(false),
            usage: Mutex::new(Usage { counted: 0, recent: 0.0, aged: now, last: now }),
            seen: Mutex::new(seen),
            reported: Mutex::new(Recent::new(WINDOW, now)),
            traffic,
        })
    }

    /// Records what the balancer saw itself.
    pub fn observe(&self, what: Observation, now: Instant) {
        self.traffic.ended(&what);
        let Seen { sums, latency_us, flows } = &mut *self.lock_seen();
        sums.at(now).record(what.error, Some(micros(what.held)), what.ttfb.map(micros), what.response_bytes);
        what.latency.into_iter().for_each(|latency| latency_us.at(now).add(micros(latency)));
        if let Some(Sent { instance, .. }) = what.sent {
            flows.at(now).record(instance, what.held, what.response_bytes.unwrap_or(0));
        }
    }

    /// Requests of it that others sent count as sorted into it: names are learned from them as well.
    pub fn count(&self, requests: u64) {
        self.sorted.fetch_add(requests, Relaxed);
    }

    /// Merges what an agent reported, whose figures are as good as `measured` says.
    pub fn merge(&self, report: &ClassReport, measured: &Measured, now: Instant) {
        self.reported_on.store(true, Relaxed);
        let mut recent = self.reported.lock().expect("no code panics while holding it");
        recent.at(now).add_report(report, measured);
    }

    /// What the balancer saw lately, and the time that covers.
    pub fn seen(&self, now: Instant) -> (ClassSums, Duration) {
        self.lock_seen().sums.value_at(now)
    }

    /// From arrival to the last byte, in microseconds, of late.
    pub fn latency_us(&self, now: Instant) -> Sketch {
        self.lock_seen().latency_us.value_at(now).0
    }

    /// Where its requests went in the last 10 to 20 seconds, and the time that covers.
    pub fn flows(&self, now: Instant) -> (Flows, Duration) {
        self.lock_seen().flows.value_at(now)
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
        let latency_us = other.latency_us(now);
        self.age(now);
        let mut own = self.lock_seen();
        own.sums.at(now).merge(&seen);
        own.latency_us.at(now).merge(&latency_us);
        drop(own);
        self.reported.lock().expect("no code panics while holding it").at(now).merge(&reported);
        let mut usage = self.usage.lock().expect("no code panics while holding it");
        usage.recent += theirs.recent;
        usage.last = usage.last.max(theirs.last);
    }

    fn lock_seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().expect("no code panics while holding it")
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
