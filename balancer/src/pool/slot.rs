//! The right to occupy one worker, given back by dropping it.

use std::sync::Arc;

use sluice_proto::report::ReleasePoint;

use crate::decide::dispatch::{Granted, RunId, Stage, Why};
use crate::decide::schedule::Outcome;
use crate::pool::{Instance, Service};

/// Held by a request from the moment it is sent to an instance until its response ended. Whatever
/// becomes of the request, the drop returns what it holds: a slot can not leak.
#[derive(Debug)]
pub struct Slot {
    service: Arc<Service>,
    instance: Arc<Instance>,
    run: RunId,
    why: Why,
    stage: Stage,
    /// What its end says; until it is told, that nothing came of it.
    outcome: Outcome,
}

impl Slot {
    pub(super) fn new(service: Arc<Service>, instance: Arc<Instance>, granted: Granted) -> Self {
        let Granted { run, why, .. } = granted;
        Self { service, instance, run, why, stage: Stage::Working, outcome: Outcome::NONE }
    }

    pub fn instance(&self) -> &Arc<Instance> {
        &self.instance
    }

    /// Why this instance.
    pub fn why(&self) -> Why {
        self.why
    }

    pub fn service(&self) -> &Arc<Service> {
        &self.service
    }

    /// The head of the response came, and says how long its body is, if it does.
    pub fn head(&self, bytes: Option<u64>) {
        self.service.head(self.run, bytes.unwrap_or(0), self.releases_at_end());
    }

    /// The first byte of the response came: the worker is free, if the instance works that way.
    /// `bytes`: how long the response says it is.
    pub fn first_byte(&mut self, bytes: Option<u64>) {
        if self.stage == Stage::Working && !self.releases_at_end() {
            self.stage = Stage::Streaming;
            self.service.first_byte(self.run, bytes);
        }
    }

    /// The instance gave no answer, and that is its fault.
    pub fn failed(&mut self) {
        self.outcome.failed = true;
    }

    /// The response is over; the slot is to be dropped now. `answered`: in full, and not with an
    /// error; `bytes`: of its body.
    pub fn ended(&mut self, answered: bool, bytes: u64) {
        self.outcome = Outcome {
            answered,
            failed: self.outcome.failed,
            bytes: answered.then_some(bytes),
            held_to_the_end: self.stage == Stage::Working,
        };
    }

    fn releases_at_end(&self) -> bool {
        self.instance.release_point() == ReleasePoint::End
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.service.end(self.run, self.outcome);
    }
}
