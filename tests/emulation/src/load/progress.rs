//! A run's state while it is on, for a live display.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

use super::outcome::Outcome;
use super::workload::Workload;

/// "Recent" is the last 10 s, and no more than the last 2000 answers.
const RECENT: Duration = Duration::from_secs(10);
const RECENT_ANSWERS: usize = 2000;

/// Counters of one run; share it with [`super::run`] and take snapshots when needed.
#[derive(Debug)]
pub struct Progress {
    classes: Vec<Class>,
}

#[derive(Debug, Default)]
struct Class {
    name: String,
    sent: AtomicU64,
    answered: AtomicU64,
    failed: AtomicU64,
    not_sent: AtomicU64,
    recent: Mutex<VecDeque<(Instant, Duration)>>,
}

/// One class at the moment of a snapshot.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClassProgress {
    pub name: String,
    pub sent: u64,
    /// Complete responses with status below 400.
    pub answered: u64,
    /// Everything else that is over, except `not_sent`.
    pub failed: u64,
    /// Arrivals beyond the limit of requests in flight.
    pub not_sent: u64,
    pub in_flight: u64,
    /// Of the answers of the last 10 s (2000 at most), in milliseconds. `None`: there were none.
    pub p50_ms: Option<f64>,
    pub p99_ms: Option<f64>,
}

impl Progress {
    /// Zeroes for each class of `workload`.
    pub fn new(workload: &Workload) -> Arc<Self> {
        let named = |name: &String| Class { name: name.clone(), ..Class::default() };
        Arc::new(Self { classes: workload.classes.iter().map(|c| named(&c.name)).collect() })
    }

    /// The state of each class, in the workload's order.
    pub fn snapshot(&self) -> Vec<ClassProgress> {
        let now = Instant::now();
        self.classes.iter().map(|class| class.snapshot(now)).collect()
    }

    pub(super) fn sent(&self, class: usize) {
        self.with(class, |c| &c.sent);
    }

    pub(super) fn not_sent(&self, class: usize) {
        self.with(class, |c| &c.not_sent);
    }

    pub(super) fn done(&self, outcome: &Outcome, now: Instant) {
        match outcome.result {
            Ok(()) => {
                self.with(outcome.class, |c| &c.answered);
                if let Some(class) = self.classes.get(outcome.class) {
                    class.remember(now, outcome.total);
                }
            }
            Err(_) => self.with(outcome.class, |c| &c.failed),
        }
    }

    /// Counts one. A class that is not there (progress of another workload) is not counted.
    fn with(&self, class: usize, counter: impl FnOnce(&Class) -> &AtomicU64) {
        if let Some(class) = self.classes.get(class) {
            counter(class).fetch_add(1, Relaxed);
        }
    }
}

impl Class {
    fn remember(&self, now: Instant, latency: Duration) {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if recent.len() == RECENT_ANSWERS {
            recent.pop_front();
        }
        recent.push_back((now, latency));
    }

    fn snapshot(&self, now: Instant) -> ClassProgress {
        // The ends before the start: what ends in between must not make more ended than sent.
        let (answered, failed) = (self.answered.load(Relaxed), self.failed.load(Relaxed));
        let sent = self.sent.load(Relaxed);
        let recent = self.recent_ms(now);
        ClassProgress {
            name: self.name.clone(),
            sent,
            answered,
            failed,
            not_sent: self.not_sent.load(Relaxed),
            in_flight: sent.saturating_sub(answered + failed),
            p50_ms: quantile(&recent, 0.50),
            p99_ms: quantile(&recent, 0.99),
        }
    }

    /// Recent latencies in milliseconds, ascending.
    fn recent_ms(&self, now: Instant) -> Vec<f64> {
        let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = recent.iter().filter(|(at, _)| now.duration_since(*at) <= RECENT);
        let mut ms: Vec<f64> = fresh.map(|(_, latency)| latency.as_secs_f64() * 1e3).collect();
        ms.sort_unstable_by(f64::total_cmp);
        ms
    }
}

/// The smallest value that at least `q` of all values do not exceed.
fn quantile(ascending: &[f64], q: f64) -> Option<f64> {
    let rank = (q * ascending.len() as f64).ceil() as usize;
    ascending.get(rank.max(1) - 1).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::{ClassLoad, Failure};

    fn outcome(ms: u64, result: Result<(), Failure>) -> Outcome {
        let total = Duration::from_millis(ms);
        Outcome { class: 0, at: Duration::ZERO, ttfb: None, total, bytes: 0, result }
    }

    #[tokio::test(start_paused = true)]
    async fn a_snapshot_shows_counts_and_recent_latency_only() {
        let duration = Duration::from_secs(1);
        let classes = vec![ClassLoad::new("page", 1.0)];
        let progress = Progress::new(&Workload { name: "w".into(), seed: 1, duration, classes });
        for _ in 0..104 {
            progress.sent(0);
        }
        progress.done(&outcome(9_999, Ok(())), Instant::now());
        tokio::time::advance(RECENT + Duration::from_millis(1)).await;
        (1..=100).for_each(|ms| progress.done(&outcome(ms, Ok(())), Instant::now()));
        progress.done(&outcome(1, Err(Failure::Reset)), Instant::now());

        let seen = progress.snapshot().remove(0);
        assert_eq!((seen.sent, seen.answered, seen.failed, seen.in_flight), (104, 101, 1, 2));
        assert_eq!((seen.p50_ms, seen.p99_ms), (Some(50.0), Some(99.0)));
    }
}
