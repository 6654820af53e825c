//! How fast a client is in one direction of its connection.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::pace::{Pace, Required};

/// One direction of a connection: what is asked of the client, and how it does.
#[derive(Debug)]
pub(super) struct Paced {
    pub(super) required: Required,
    /// As [`Pace::as_micros`].
    pace: AtomicU64,
}

impl Paced {
    pub(super) fn new(required: Required) -> Self {
        Self { required, pace: AtomicU64::new(0) }
    }

    fn pace(&self) -> Pace {
        Pace::from_micros(self.pace.load(Relaxed))
    }

    /// Bytes passed, after a wait for the client if `waited` is not zero.
    pub(super) fn passed(&self, waited: Duration, bytes: usize) {
        // Mostly nothing is waited for, and nothing is to be made up for.
        if !waited.is_zero() || self.pace.load(Relaxed) > 0 {
            self.pace.store(self.pace().after(waited, bytes, self.required).as_micros(), Relaxed);
        }
    }

    /// For how long the client may be waited for.
    pub(super) fn left(&self) -> Duration {
        self.pace().left(self.required)
    }

    pub(super) fn is_slow(&self) -> bool {
        self.pace().is_slow(self.required)
    }
}
