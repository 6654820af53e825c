//! One connection to an instance.

use std::rc::Rc;

use bytes::Bytes;
use tokio::time::Instant;

use crate::alarm::Alarm;
use crate::instance_io::InstanceIo;

/// A connection that is no one's at the moment, or has one request under way.
pub(crate) struct Connection {
    io: Rc<InstanceIo>,
    /// For responses that do not come. It outlives them, since a timer for each costs more.
    pub(super) patience: Alarm,
    pub(crate) since: Instant,
    pub(crate) used: bool,
}

/// A connection that speaks another protocol from now on, and what was read of that.
pub(crate) struct Upgraded {
    pub(crate) io: InstanceIo,
    pub(crate) ahead: Bytes,
}

impl Connection {
    pub(crate) fn new(io: InstanceIo, now: Instant) -> Self {
        Self { io: Rc::new(io), patience: Alarm::default(), since: now, used: false }
    }

    pub(crate) fn io(&self) -> &InstanceIo {
        &self.io
    }

    pub(super) fn share_io(&self) -> Rc<InstanceIo> {
        self.io.clone()
    }

    /// From `now` on it may be given out again.
    pub(crate) fn rest(&mut self, now: Instant) {
        self.patience.release();
        self.since = now;
        self.used = true;
    }

    /// For a tunnel. `None` if a request is still being written.
    pub(crate) fn upgrade(self, ahead: Bytes) -> Option<Upgraded> {
        Rc::into_inner(self.io).map(|io| Upgraded { io, ahead })
    }
}
