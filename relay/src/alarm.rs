//! A deadline that moves on more often than it is reached.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use tokio::time::{Instant, Sleep, sleep_until};

/// Its timer is made when it is first needed, and set anew only when it goes off: most waits never get so far.
#[derive(Debug, Default)]
pub(crate) struct Alarm(Option<Pin<Box<Sleep>>>);

impl Alarm {
    /// Ready once `deadline` has passed. It may be another one at each call, if no earlier one.
    pub(crate) fn poll_at(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        let sleep = self.0.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        loop {
            ready!(sleep.as_mut().poll(cx));
            if Instant::now() >= deadline {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(deadline);
        }
    }

    /// Lets go of whoever polled it last, which would else be kept until it goes off.
    pub(crate) fn release(&mut self) {
        if let Some(sleep) = &mut self.0 {
            let _over = sleep.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        }
    }
}
