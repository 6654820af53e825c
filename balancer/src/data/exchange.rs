//! One request and its response, from arrival to end: what it holds and what it came to.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sluice_proto::report::ReleasePoint;
use sluice_relay::body::Progress;
use sluice_relay::{End, Failure, Observer};

use crate::decide::ids::InstanceId;
use crate::decide::predict::Estimate;
use crate::decide::schedule::Judgement;
use crate::metrics::Outcome;
use crate::pool::classes::{Observation, Sent};
use crate::pool::{ClassEntry, Slot, now};

/// Times and counts of a request. Records itself when it is finished, or dropped unfinished: then
/// the client went away.
pub(super) struct Record {
    class: Arc<ClassEntry>,
    arrived: Instant,
    upload: Rc<Progress>,
    /// Zero until it had a slot.
    pub(super) queued: Duration,
    sent: Option<Instant>,
    /// How it got its worker.
    got: Option<Sent>,
    /// For how long it was expected to hold a worker.
    predicted: Option<Estimate>,
    ttfb: Option<Duration>,
    released: Option<Instant>,
    finished: bool,
}

impl Record {
    pub(super) fn new(class: Arc<ClassEntry>, arrived: Instant, upload: Rc<Progress>) -> Self {
        Self {
            class,
            arrived,
            upload,
            queued: Duration::ZERO,
            sent: None,
            got: None,
            predicted: None,
            ttfb: None,
            released: None,
            finished: false,
        }
    }

    pub(super) fn class_name(&self) -> &str {
        self.class.name.as_str()
    }

    /// It has a slot and is about to be sent, for the first time or again.
    pub(super) fn sending(&mut self, judgement: &Judgement, instance: InstanceId) {
        let now = now();
        if self.sent.is_none() {
            self.queued = now.saturating_duration_since(self.arrived);
            self.class.metrics.waited(self.queued);
            self.class.metrics.decisions.waited(judgement.lane, self.queued);
            self.predicted = Some(judgement.prediction.held);
        }
        self.sent = Some(now);
        self.got = Some(Sent { instance, lane: judgement.lane, queued: self.queued });
    }

    /// The head of the response came. Returns the time since it was sent.
    pub(super) fn answered(&mut self) -> Duration {
        let ttfb = self.sent.map_or(Duration::ZERO, |sent| now().saturating_duration_since(sent));
        self.ttfb = Some(ttfb);
        self.class.metrics.answered_after(ttfb);
        ttfb
    }

    fn released(&mut self) {
        self.released.get_or_insert_with(now);
    }

    pub(super) fn finish(mut self, outcome: Outcome, response_bytes: u64) {
        self.record(outcome, response_bytes);
    }

    fn record(&mut self, outcome: Outcome, response_bytes: u64) {
        self.finished = true;
        let now = now();
        let duration = now.saturating_duration_since(self.arrived);
        self.class.metrics.ended(outcome, duration, self.upload.bytes(), response_bytes);
        let released = self.released.unwrap_or(now);
        let held = self.sent.map_or(Duration::ZERO, |sent| released.saturating_duration_since(sent));
        if let (Some(predicted), Outcome::Answered(..500)) = (self.predicted, outcome) {
            self.class.metrics.decisions.held(predicted, held);
        }
        let observation = Observation {
            error: outcome.is_error(),
            held,
            ttfb: self.ttfb,
            response_bytes: matches!(outcome, Outcome::Answered(_)).then_some(response_bytes),
            // How long a tunnel was open is no latency.
            latency: matches!(outcome, Outcome::Answered(200..)).then_some(duration),
            sent: self.got,
        };
        self.class.observe(observation, now);
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        if !self.finished {
            self.record(Outcome::Failed(Failure::ClientGone), 0);
        }
    }
}

/// Watches a response pass, and gives the slot back when the worker is free.
pub struct Exchange {
    record: Option<Record>,
    /// `None` once the instance is done.
    slot: Option<Slot>,
    status: u16,
    /// How long the response says its body is.
    length: Option<u64>,
}

impl Exchange {
    pub(super) fn new(record: Record, slot: Slot, status: u16, length: Option<u64>) -> Self {
        slot.head(length);
        Self { record: Some(record), slot: Some(slot), status, length }
    }
}

impl Observer for Exchange {
    fn first_byte(&mut self) {
        let (Some(slot), Some(record)) = (&mut self.slot, &mut self.record) else { return };
        slot.first_byte(self.length);
        if slot.instance().release_point() == ReleasePoint::FirstByte {
            record.released();
        }
    }

    fn ended(&mut self, end: End, bytes: u64) {
        let outcome = match end {
            End::Complete => Outcome::Answered(self.status),
            broken => Outcome::Broken(broken),
        };
        if let Some(record) = self.record.take() {
            record.finish(outcome, bytes);
        }
        if let Some(mut slot) = self.slot.take() {
            // An error is often quicker, or slower, than what was asked for.
            slot.ended(end == End::Complete && self.status < 500, bytes);
        }
    }
}
