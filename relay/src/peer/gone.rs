//! Whether anybody is there to take a response.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::Interest;
use tokio::time::{Instant, sleep, sleep_until};

use super::Peer;

#[derive(PartialEq, Eq)]
enum Closed {
    SendingSide,
    Whole,
}

/// Watches over the client's end of a connection while it has requests under way.
pub(crate) struct Presence<'a> {
    peer: &'a Peer,
    grace: Duration,
    /// Looks closer. Most clients send nothing until they have their response, and never need it.
    doubt: Option<Pin<Box<dyn Future<Output = ()> + 'a>>>,
}

impl<'a> Presence<'a> {
    /// `grace`: how long a client may take nothing once it has closed its sending side.
    pub(crate) fn new(peer: &'a Peer, grace: Duration) -> Self {
        Self { peer, grace, doubt: None }
    }

    /// Ready when nobody is there any more to take a response: the connection was reset, or the client closed its side
    /// and took nothing for the grace.
    pub(crate) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.doubt.is_none() {
            // Without a request under way the HTTP library sees the end by itself. Bytes make an end worth looking for,
            // as both make the socket readable.
            let quiet = !self.peer.has_requests() || self.peer.poll_readable(cx).is_pending();
            if quiet {
                return Poll::Pending;
            }
        }
        let (peer, grace) = (self.peer, self.grace);
        self.doubt.get_or_insert_with(|| Box::pin(peer.gone(grace))).as_mut().poll(cx)
    }
}

impl Peer {
    async fn gone(&self, grace: Duration) {
        if self.sending_side_closed().await == Closed::Whole {
            return;
        }
        let closed_at = self.now();
        loop {
            let last_sign = closed_at.max(self.last_write.load(Relaxed));
            let deadline = self.start + Duration::from_millis(last_sign) + grace;
            // Without a request under way the HTTP library sees the end by itself.
            if Instant::now() >= deadline && self.has_requests() {
                return;
            }
            sleep_until(deadline.max(Instant::now() + Duration::from_millis(10))).await;
            if self.is_reset() {
                return;
            }
        }
    }

    async fn sending_side_closed(&self) -> Closed {
        loop {
            match self.tcp.ready(Interest::READABLE).await {
                Ok(ready) if ready.is_read_closed() => {
                    return if self.is_reset() { Closed::Whole } else { Closed::SendingSide };
                }
                // Bytes that the library will take when it wants them. Readiness stays set until
                // then, so look again later rather than at once.
                Ok(_) => sleep(Duration::from_millis(100)).await,
                Err(_) => return Closed::Whole,
            }
        }
    }

    fn is_reset(&self) -> bool {
        SockRef::from(&self.tcp).take_error().map_or(true, |error| error.is_some())
    }
}
