//! One request and its response, from arrival to end: what it holds and what it came to.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::HeaderMap;
use sluice_relay::Progress;
use sluice_relay::{End, Failure, Observer};

use crate::decide::predict::Estimate;
use crate::decide::schedule::Judgement;
use crate::metrics::Outcome;
use crate::observe::{Ended, Trail};
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
    /// Of the response that came.
    status: Option<u16>,
    ttfb: Option<Duration>,
    released: Option<Instant>,
    finished: bool,
    /// If somebody is told of it.
    trail: Option<Box<Trail>>,
}

impl Record {
    pub(super) fn new(
        class: Arc<ClassEntry>,
        arrived: Instant,
        upload: Rc<Progress>,
        trail: Option<Box<Trail>>,
    ) -> Self {
        Self {
            class,
            arrived,
            upload,
            queued: Duration::ZERO,
            sent: None,
            got: None,
            predicted: None,
            status: None,
            ttfb: None,
            released: None,
            finished: false,
            trail,
        }
    }

    pub(super) fn class_name(&self) -> &str {
        self.class.name.as_str()
    }

    /// Its head is rewritten: it names the client, the request and its trace.
    pub(super) fn identified(&mut self, headers: &HeaderMap, rng: &mut fastrand::Rng) {
        if let Some(trail) = &mut self.trail {
            trail.identified(headers, rng);
        }
    }

    /// It has its slot and is about to be sent, for the first time or again. Its trace context becomes that of this
    /// attempt, if it is recorded.
    pub(super) fn sending(&mut self, judgement: &Judgement, slot: &Slot, headers: &mut HeaderMap) {
        let now = now();
        if let Some(trail) = &mut self.trail {
            trail.sending(now, judgement, slot, headers);
        }
        if self.sent.is_none() {
            self.queued = now.saturating_duration_since(self.arrived);
            self.class.metrics.waited(self.queued);
            self.class.metrics.decisions.waited(judgement.lane, self.queued);
            self.predicted = Some(judgement.prediction.held);
        }
        self.sent = Some(now);
        self.got = Some(Sent { instance: slot.instance().id, lane: judgement.lane, queued: self.queued });
    }

    /// What was sent last got no response.
    pub(super) fn lost(&mut self, failure: Failure) {
        if let Some(trail) = &mut self.trail {
            trail.lost(now(), failure);
        }
    }

    /// The head of the response came. Returns the time since it was sent.
    pub(super) fn answered(&mut self, status: u16) -> Duration {
        self.status = Some(status);
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
        if let Some(trail) = self.trail.take() {
            if let Some(trace) = trail.recorded() {
                self.class.metrics.traced(trace, duration);
            }
            trail.end(&Ended {
                class: &self.class,
                outcome,
                status: self.status,
                arrived: self.arrived,
                duration,
                queued: self.queued,
                ttfb: self.ttfb,
                request_bytes: self.upload.bytes(),
                response_bytes,
            });
        }
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
    pub(super) fn new(record: Record, mut slot: Slot, status: u16, length: Option<u64>) -> Self {
        slot.head(&record.class.name, length);
        Self { record: Some(record), slot: Some(slot), status, length }
    }
}

impl Observer for Exchange {
    fn first_byte(&mut self) {
        let (Some(slot), Some(record)) = (&mut self.slot, &mut self.record) else { return };
        if slot.first_byte(self.length) {
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
            let at_fault = match end {
                End::Complete => self.status >= 500,
                End::CutShort | End::Stalled => true,
                End::ClientGone => false,
            };
            if at_fault {
                slot.failed();
            }
            // An error is often quicker, or slower, than what was asked for.
            slot.ended(end == End::Complete && self.status < 500, bytes);
        }
    }
}
