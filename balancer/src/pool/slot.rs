//! The right to occupy one worker, given back by dropping it.

use std::sync::Arc;

use sluice_proto::ClassName;

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
    /// Whether the worker is free while the response goes on, as was known when its head came.
    frees_early: bool,
    /// What its end says; until it is told, that nothing came of it.
    outcome: Outcome,
}

impl Slot {
    pub(super) fn new(service: Arc<Service>, instance: Arc<Instance>, granted: Granted) -> Self {
        let Granted { run, why, .. } = granted;
        Self {
            service,
            instance,
            run,
            why,
            stage: Stage::Working,
            frees_early: false,
            outcome: Outcome::NONE,
        }
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

    /// The agent's word on this response: its worker is free with the first byte, or already.
    pub fn frees_at_first_byte(&mut self) {
        self.frees_early = true;
    }

    /// The head of the response came, and says how long its body is, if it does.
    pub fn head(&mut self, class: &ClassName, bytes: Option<u64>) {
        self.frees_early |= self.instance.frees_early(class, bytes);
        self.service.head(self.run, bytes.unwrap_or(0), !self.frees_early);
    }

    /// The first byte of the response came: the worker is free, if the instance works that way with such responses.
    /// `bytes`: how long the response says it is. Returns whether it is free.
    pub fn first_byte(&mut self, bytes: Option<u64>) -> bool {
        if self.stage == Stage::Working && self.frees_early {
            self.stage = Stage::Streaming;
            self.service.first_byte(self.run, bytes);
        }
        self.frees_early
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
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.service.end(self.run, self.outcome);
    }
}
