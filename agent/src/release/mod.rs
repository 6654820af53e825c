//! When the instance's workers are free: what the operator says, or what is learned, class by class.
//!
//! ```text
//!  Exchange ── begin, answered, first_byte, ended ──► Learner ──► claims ──► reports, status
//!  gate ────── may one more go in? ─────────────────►   ▲  │
//!  asker ───── GET --health-path beside a response ─────┘  └──► news ──► log, metrics, a report at once
//! ```
//!
//! Only `learner` and what it uses decide; this file is its lock, and who is woken.

mod asker;
mod class;
mod handover;
mod learner;
mod metrics;
mod run;
#[cfg(test)]
mod tests;
mod usual;

use std::sync::{Mutex, MutexGuard, PoisonError};

use prometheus::Registry;
use sluice_proto::{ClassName, ClassRelease, ReleasePoint};
use tokio::{sync::Notify, time::Instant};

pub use asker::watch_over;
use learner::{Learner, News};
use metrics::ReleaseMetrics;
pub use metrics::register_gauges;
pub use run::{ProbeOutcome, RunId};

/// What decides when a worker is free.
pub struct Releases {
    rule: Rule,
    /// A probe may be due: those that wait at the gate look.
    probe_due: Notify,
    /// A claim was taken back, or made: balancers are to hear of it at once.
    changed: Notify,
    metrics: ReleaseMetrics,
}

enum Rule {
    /// The operator's word, or nothing is learned as requests do not pass here.
    Fixed(ReleasePoint),
    Learned(Box<Mutex<Learner>>),
}

impl Releases {
    pub fn fixed(point: ReleasePoint, registry: &Registry) -> Self {
        Self::new(Rule::Fixed(point), registry)
    }

    pub fn learned(workers: u32, registry: &Registry) -> Self {
        Self::new(Rule::Learned(Box::new(Mutex::new(Learner::new(workers as usize)))), registry)
    }

    fn new(rule: Rule, registry: &Registry) -> Self {
        let metrics = ReleaseMetrics::register(registry);
        Self { rule, probe_due: Notify::new(), changed: Notify::new(), metrics }
    }

    /// The instance has another number of workers.
    pub fn set_workers(&self, workers: u32) {
        self.learn(|learner| learner.set_workers(workers as usize));
    }

    /// Resolves when a request of this class may be let in though every place is taken; it must begin then, as a
    /// probe. `is_ready`: the agent takes requests.
    pub async fn granted(&self, class: &ClassName, is_safe: bool, is_ready: impl Fn() -> bool) {
        loop {
            let due = self.probe_due.notified();
            let granted = |learner: &mut Learner| learner.grant(class, is_safe, Instant::now());
            if is_ready() && self.learn(granted).unwrap_or(false) {
                return;
            }
            due.await;
        }
    }

    /// A request goes to the instance. `None`: nothing is learned from it.
    pub fn begin(&self, class: &ClassName, is_probe: bool, now: Instant) -> Option<RunId> {
        self.learn(|learner| learner.begin(Some(class.clone()), is_probe, now))
    }

    pub fn answered(&self, run: Option<RunId>, now: Instant) {
        self.of(run, |learner, run| learner.answered(run, now));
    }

    /// The first byte of a response's body came. Returns whether the worker is free.
    pub fn first_byte(&self, run: Option<RunId>, length: Option<u64>) -> bool {
        if let Rule::Fixed(point) = self.rule {
            return point == ReleasePoint::FirstByte;
        }
        self.of(run, |learner, run| learner.first_byte(run, length, Instant::now())).unwrap_or(false)
    }

    pub fn ended(&self, run: Option<RunId>, now: Instant) {
        self.of(run, |learner, run| learner.ended(run, now));
    }

    /// Classes of which more is known than the report says of all.
    pub fn claims(&self) -> Vec<ClassRelease> {
        match &self.rule {
            Rule::Fixed(_) => Vec::new(),
            Rule::Learned(learner) => locked(learner).claims(),
        }
    }

    /// Resolves when what balancers should hear has changed. For one waiter.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    fn tend(&self) {
        let now = Instant::now();
        let is_probe_due = self.learn(|learner| {
            learner.tend(now);
            learner.is_probe_due(now)
        });
        if is_probe_due.unwrap_or(false) {
            self.probe_due.notify_waiters();
        }
    }

    fn of<T>(&self, run: Option<RunId>, tell: impl FnOnce(&mut Learner, RunId) -> T) -> Option<T> {
        self.learn(|learner| run.map(|run| tell(learner, run))).flatten()
    }

    fn learn<T>(&self, tell: impl FnOnce(&mut Learner) -> T) -> Option<T> {
        let Rule::Learned(learner) = &self.rule else { return None };
        let mut learner = locked(learner);
        let told = tell(&mut learner);
        let news = learner.take_news();
        drop(learner);
        news.into_iter().for_each(|news| self.tell(news));
        Some(told)
    }

    fn tell(&self, news: News) {
        self.metrics.count(&news);
        match news {
            News::Probed(outcome) => tracing::debug!(?outcome, "probed"),
            News::Learned(class) => {
                tracing::info!(%class, "learned that its workers are free at the first byte");
                self.changed.notify_one();
            }
            News::Withdrawn(class) => {
                tracing::info!(%class, "workers are not free at the first byte, as was learned before");
                self.changed.notify_one();
            }
        }
    }
}

fn locked(learner: &Mutex<Learner>) -> MutexGuard<'_, Learner> {
    // One that a panic left behind may be wrong about a request, and finds out like about any other error.
    learner.lock().unwrap_or_else(PoisonError::into_inner)
}
