//! What the instance did, counted per class over one window.

mod window;

use std::sync::{Mutex, PoisonError};

use sluice_proto::{ClassName, ClassSums};
use tokio::time::Instant;

use window::Window;
pub use window::{Observation, WindowData};

/// The window that is open, written by every data thread.
///
/// One lock for all of them: it is held for one entry of a hash table and three sketches (well under a microsecond),
/// and by the control plane only to swap the whole window for an empty one. An instance with few workers ends a few
/// hundred requests a second; windows per thread, merged by the reader, would buy nothing.
#[derive(Debug)]
pub struct Recorder {
    window: Mutex<Window>,
}

impl Recorder {
    pub fn new(now: Instant) -> Self {
        Self { window: Mutex::new(Window::new(now)) }
    }

    pub fn record(&self, observation: &Observation<'_>) {
        self.locked().record(observation);
    }

    /// All under one lock: a report has either all or none of them.
    pub fn record_all<'a>(&self, observations: impl IntoIterator<Item = Observation<'a>>) {
        let mut window = self.locked();
        observations.into_iter().for_each(|observation| window.record(&observation));
    }

    /// Adds what is known only in sum, by class.
    pub fn merge_all<'a>(&self, sums: impl IntoIterator<Item = (&'a ClassName, &'a ClassSums)>) {
        let mut window = self.locked();
        sums.into_iter().for_each(|(class, sums)| window.merge(class, sums));
    }

    /// Ends the window and begins the next.
    pub fn cut(&self, now: Instant) -> WindowData {
        // What it returns is dropped, converted and sent by the caller, outside the lock.
        self.locked().cut(now)
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, Window> {
        // Figures of a thread that panicked may be short of one entry, which beats having none.
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
