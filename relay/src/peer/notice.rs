//! How a connection's task is told what happened elsewhere on its thread.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::task::Waker;

/// Whom to wake, and why. Locked when a connection begins and when it is told something, never per request.
#[derive(Debug, Default)]
pub(super) struct Notice {
    task: Mutex<Option<Waker>>,
    dismissed: AtomicBool,
}

impl Notice {
    /// From here on `task` is woken.
    pub(super) fn attend(&self, task: &Waker) {
        self.task.lock().unwrap_or_else(PoisonError::into_inner).replace(task.clone());
    }

    pub(super) fn wake(&self) {
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).clone();
        task.into_iter().for_each(Waker::wake);
    }

    pub(super) fn dismiss(&self) {
        self.dismissed.store(true, Relaxed);
        self.wake();
    }

    pub(super) fn is_dismissed(&self) -> bool {
        self.dismissed.load(Relaxed)
    }
}
