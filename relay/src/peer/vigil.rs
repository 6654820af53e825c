//! The one timer of a connection.

use std::future::Future;
use std::ops::ControlFlow;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use tokio::task::unconstrained;
use tokio::time::{Instant, Sleep, sleep_until};

/// Looks after a connection when something may be due, and costs a load in between. To be polled by one task.
pub(crate) struct Vigil {
    sleep: Pin<Box<Sleep>>,
    /// The timer runs, and knows whom to wake.
    set: bool,
}

impl Vigil {
    pub(crate) fn new() -> Self {
        Self { sleep: Box::pin(sleep_until(Instant::now())), set: false }
    }

    /// What is looked for has changed: the next [`poll`](Self::poll) looks at once.
    pub(crate) fn look_now(&mut self) {
        self.set = false;
    }

    /// `look` says what is due, or when to look again: not before anything can be due.
    pub(crate) fn poll<T>(
        &mut self,
        cx: &mut Context<'_>,
        mut look: impl FnMut() -> ControlFlow<T, Instant>,
    ) -> Poll<T> {
        if self.set && !self.sleep.is_elapsed() {
            return Poll::Pending;
        }
        loop {
            match look() {
                ControlFlow::Break(due) => return Poll::Ready(due),
                ControlFlow::Continue(look_again) => self.sleep.as_mut().reset(look_again),
            }
            self.set = true;
            // A task that has used up its turn would be told "pending" without the timer having been told of it.
            ready!(pin!(unconstrained(self.sleep.as_mut())).poll(cx));
        }
    }
}
