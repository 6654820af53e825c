//! One request at the instance: holds its worker, times it, and tells what became of it. Nothing leaks: whichever
//! way it ends, also by being dropped, the worker is given back and the end is counted once.

use std::{rc::Rc, sync::Arc, time::Duration};

use http::{StatusCode, uri::PathAndQuery};
use sluice_relay::{End, Observer};
use tokio::time::Instant;

use super::classes::Class;
use crate::{
    activity::{Presence, Streaming},
    gate::Permit,
    measure::Observation,
    metrics::Outcome,
    release::RunId,
    shared::Shared,
};

pub(super) struct Exchange {
    shared: Arc<Shared>,
    class: Rc<Class>,
    url: Option<PathAndQuery>,
    started: Instant,
    /// The worker, until it is free again.
    permit: Option<Permit>,
    /// Set once the worker is free and the response goes on.
    streaming: Option<Streaming>,
    held: Option<Duration>,
    head: Option<Head>,
    /// As the release learner knows it.
    run: Option<RunId>,
    /// The body is the agent's own.
    is_file: bool,
    ended: bool,
    _presence: Presence,
}

#[derive(Clone, Copy)]
struct Head {
    status: StatusCode,
    after: Duration,
    /// Of the body, if it says.
    length: Option<u64>,
}

impl Exchange {
    pub(super) fn begin(
        shared: Arc<Shared>,
        class: Rc<Class>,
        url: Option<PathAndQuery>,
        permit: Permit,
        presence: Presence,
    ) -> Self {
        let started = permit.since();
        let run = shared.releases.begin(&class.name, permit.is_extra(), started);
        Self {
            shared,
            class,
            url,
            started,
            permit: Some(permit),
            streaming: None,
            held: None,
            head: None,
            run,
            is_file: false,
            ended: false,
            _presence: presence,
        }
    }

    /// The head of the response came; `length`: of its body, if it says.
    pub(super) fn answered(&mut self, status: StatusCode, length: Option<u64>) {
        let now = Instant::now();
        self.shared.releases.answered(self.run, now);
        let after = now.saturating_duration_since(self.started);
        self.shared.metrics.ttfb.observe(after.as_secs_f64());
        self.head = Some(Head { status, after, length });
    }

    /// The instance is done with the request; what the client gets is the agent's own.
    pub(super) fn instance_is_done(&mut self) {
        self.give_back(Instant::now());
        self.streaming = Some(self.shared.activity.stream());
    }

    /// Of the agent's own, a file with that status is on its way.
    pub(super) fn sends_file(&mut self, status: StatusCode) {
        self.is_file = true;
        self.head = self.head.map(|head| Head { status, ..head });
    }

    /// Of the agent's own, a refusal with that status.
    pub(super) fn refused_with(mut self, status: StatusCode) {
        self.end(Outcome::of_response(status, End::Complete), None);
    }

    /// No usable response came, and none will.
    pub(super) fn failed(mut self, outcome: Outcome) {
        self.end(outcome, None);
    }

    pub(super) fn class(&self) -> &Rc<Class> {
        &self.class
    }

    fn give_back(&mut self, now: Instant) {
        if let Some(permit) = self.permit.take() {
            permit.give_back(now);
            self.held = Some(now.saturating_duration_since(self.started));
        }
    }

    fn end(&mut self, outcome: Outcome, bytes: Option<u64>) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        // First what is known of the worker, then the worker itself: who gets it begins after this one.
        let now = Instant::now();
        self.shared.releases.ended(self.run.take(), now);
        self.give_back(now);
        self.streaming = None;
        self.class.metrics.ended(outcome);
        // What the instance did not see says nothing about it.
        if outcome != Outcome::Refused {
            self.observe(outcome, bytes);
        }
    }

    /// Also of requests whose client went away: they lasted at least this long and were at least this large. Leaving
    /// them out would make just the slowest and largest classes look cheap, as those are what people give up on.
    fn observe(&self, outcome: Outcome, bytes: Option<u64>) {
        let held = self.held.unwrap_or_default();
        self.class.metrics.held.observe(held.as_secs_f64());
        if let Some(bytes) = bytes {
            if self.is_file {
                self.shared.files.sent(bytes);
            }
            self.shared.metrics.response_bytes.observe(bytes as f64);
        }
        self.shared.recorder.record(&Observation {
            class: &self.class.name,
            url: self.url.as_ref().map(PathAndQuery::as_str),
            failed: outcome.is_error(),
            held: Some(held),
            ttfb: self.head.map(|head| head.after),
            bytes,
        });
    }
}

impl Observer for Exchange {
    fn first_byte(&mut self) {
        let length = self.head.and_then(|head| head.length);
        if self.shared.releases.first_byte(self.run, length) {
            self.give_back(Instant::now());
            self.streaming = Some(self.shared.activity.stream());
        }
    }

    fn ended(&mut self, end: End, bytes: u64) {
        let outcome = match self.head {
            // Either side ends a tunnel as it likes, and which one broke it off is not told.
            Some(head) if head.status == StatusCode::SWITCHING_PROTOCOLS => Outcome::Ok,
            Some(head) => Outcome::of_response(head.status, end),
            None => Outcome::NoAnswer,
        };
        let was_held = self.permit.is_some();
        self.end(outcome, Some(bytes));
        if let (End::Complete, true, Some(head), Some(held)) = (end, was_held, self.head, self.held) {
            self.class.ended_after_head(held.saturating_sub(head.after));
        }
        // Until the client has it all.
        self.streaming = Some(self.shared.activity.stream());
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.end(Outcome::ClientGone, None);
    }
}
