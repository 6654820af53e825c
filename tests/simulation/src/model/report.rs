//! What agents say of their instances.

use std::time::Duration;

/// One agent's word over one window.
#[derive(Clone, Debug)]
pub struct InstanceReport {
    /// Index into [`crate::policy::Setup::instances`].
    pub instance: usize,
    /// Grows by one per window, also when reports are lost.
    pub sequence: u64,
    /// End of the window.
    pub at: Duration,
    /// Length of the window.
    pub window: Duration,
    pub workers: usize,
    /// Busy workers at the window's end.
    pub busy: usize,
    /// Requests waiting for one.
    pub queued: usize,
    /// By class, as the balancer labelled them: what finished in the window.
    pub classes: Vec<ClassWindow>,
}

/// What one class used in a window. Sums and not averages: they can be added over windows and agents.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ClassWindow {
    pub finished: u64,
    /// Worker-held seconds.
    pub held_s: f64,
    /// Sum of their squares.
    pub held_squared: f64,
}

impl ClassWindow {
    pub(crate) fn add(&mut self, held_s: f64) {
        self.finished += 1;
        self.held_s += held_s;
        self.held_squared += held_s * held_s;
    }
}
