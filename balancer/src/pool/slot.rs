//! The right to occupy one worker, given back by dropping it.

use std::sync::Arc;

use sluice_proto::report::ReleasePoint;

use crate::decide::dispatch::Stage;
use crate::pool::{Instance, Service};

/// Held by a request from the moment it is sent to an instance until its response ended. Whatever
/// becomes of the request, the drop returns what it holds: a slot can not leak.
#[derive(Debug)]
pub struct Slot {
    service: Arc<Service>,
    instance: Arc<Instance>,
    stage: Stage,
}

impl Slot {
    pub(super) fn new(service: Arc<Service>, instance: Arc<Instance>) -> Self {
        Self { service, instance, stage: Stage::Working }
    }

    pub fn instance(&self) -> &Arc<Instance> {
        &self.instance
    }

    pub fn service(&self) -> &Arc<Service> {
        &self.service
    }

    /// The first byte of the response came: the worker is free, if the instance works that way.
    pub fn first_byte(&mut self) {
        if self.stage == Stage::Working && self.instance.release_point() == ReleasePoint::FirstByte {
            self.stage = Stage::Streaming;
            self.service.first_byte(self.instance.id);
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.service.end(self.instance.id, self.stage);
    }
}
