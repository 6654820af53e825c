//! What an instance counts, and the guard that counts one request.

use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;
use tokio::sync::{Notify, OwnedSemaphorePermit};

use super::Release;

/// Counters and gauges of one instance, all of the same moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct InstanceStats {
    /// Requests whose whole response was handed to their connection; `/health` does not count.
    pub served: u64,
    /// Requests whose client went away before that.
    pub cancelled: u64,
    /// Requests refused with 400 because of a bad `X-Emulate-*` header.
    pub refused: u64,
    /// Requests that wait for a worker now.
    pub queued: usize,
    /// Workers held now.
    pub busy: usize,
    /// Most workers ever held at a time.
    pub peak_busy: usize,
    /// Responses whose head is out and whose body is not, now.
    pub streaming: usize,
    pub cache_hits: u64,
    pub cache_misses: u64,
    /// Bytes of request bodies received.
    pub request_bytes: u64,
}

/// The counters with a signal at every change, so that tests wait for events instead of time.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    stats: Mutex<InstanceStats>,
    changed: Notify,
}

impl Ledger {
    pub(super) fn read(&self) -> InstanceStats {
        *self.stats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn update(&self, change: impl FnOnce(&mut InstanceStats)) {
        change(&mut self.stats.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_waiters();
    }

    /// Returns the first state that `condition` holds for.
    pub(super) async fn until(&self, condition: impl Fn(&InstanceStats) -> bool) -> InstanceStats {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable(); // before the look, or a change in between is missed
            let now = self.read();
            if condition(&now) {
                return now;
            }
            changed.await;
        }
    }
}

/// One request from queue to last byte. Dropped before [`InFlight::finish`], it counts as cancelled
/// and gives back whatever it holds.
#[derive(Debug)]
pub(super) struct InFlight {
    ledger: Arc<Ledger>,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    Queued,
    Working(OwnedSemaphorePermit),
    /// With the worker, if that is held to the end.
    Streaming(Option<OwnedSemaphorePermit>),
    Over,
}

impl Stage {
    /// Adds or takes (`-1`) one request in this stage to or from the gauges.
    fn count(&self, stats: &mut InstanceStats, by: isize) {
        let gauges: &mut [&mut usize] = match self {
            Stage::Queued => &mut [&mut stats.queued],
            Stage::Working(_) => &mut [&mut stats.busy],
            Stage::Streaming(Some(_)) => &mut [&mut stats.streaming, &mut stats.busy],
            Stage::Streaming(None) => &mut [&mut stats.streaming],
            Stage::Over => &mut [],
        };
        for gauge in gauges {
            **gauge = gauge.saturating_add_signed(by);
        }
    }
}

impl InFlight {
    pub(super) fn queued(ledger: Arc<Ledger>) -> Self {
        let stage = Stage::Queued;
        ledger.update(|s| stage.count(s, 1));
        Self { ledger, stage }
    }

    /// The request left the queue and holds `worker`.
    pub(super) fn start(&mut self, worker: OwnedSemaphorePermit) {
        self.advance(|_| (Stage::Working(worker), None), |s| s.peak_busy = s.peak_busy.max(s.busy));
    }

    /// The response head is out; whether the worker is free now depends on `release`.
    pub(super) fn stream(&mut self, release: Release) {
        self.advance(
            |before| match (before, release) {
                (Stage::Working(worker), Release::End) => (Stage::Streaming(Some(worker)), None),
                (before, _) => (Stage::Streaming(None), Some(before)),
            },
            |_| {},
        );
    }

    /// The last byte was taken. A second call does nothing.
    pub(super) fn finish(&mut self) {
        self.end(|s| s.served += 1);
    }

    fn end(&mut self, tally: impl FnOnce(&mut InstanceStats)) {
        if !matches!(self.stage, Stage::Over) {
            self.advance(|before| (Stage::Over, Some(before)), tally);
        }
    }

    /// Goes to the next stage: `next` says which, and what of the stage before is given back.
    ///
    /// All gauges change at once, and before a worker goes back: nobody ever reads more busy
    /// workers than there are, or a request that is nowhere.
    fn advance(
        &mut self,
        next: impl FnOnce(Stage) -> (Stage, Option<Stage>),
        tally: impl FnOnce(&mut InstanceStats),
    ) {
        let mut returned = None;
        let before = std::mem::replace(&mut self.stage, Stage::Over);
        let stage = &mut self.stage;
        self.ledger.update(|s| {
            before.count(s, -1);
            (*stage, returned) = next(before);
            stage.count(s, 1);
            tally(s);
        });
        drop(returned);
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.end(|s| s.cancelled += 1);
    }
}
