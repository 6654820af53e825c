//! A response's body on its way from an instance to a client.

use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Buf;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::body::{BodyError, End, Observer};
use crate::h1::InstanceBody;
use crate::splice::{Chunk, Inlet, Next, Outlet};
use crate::upload::Progress;
use crate::upstream::Lease;

type Polled = Poll<Option<Result<Frame<Chunk>, BodyError>>>;

/// Watches what passes, tells the observer, and gives the connection back at the end.
pub(crate) struct Relayed<O: Observer> {
    source: Source,
    lease: Option<Lease>,
    progress: Rc<Progress>,
    bytes: u64,
    /// Dropped with the body: until then the client may still be getting what came.
    observer: O,
    /// The observer knows the end.
    told: bool,
    /// The last poll found that the client has yet to take what it was given.
    client_is_slow: bool,
    /// Why it broke off, to be passed on once what came before has been written.
    broken: Option<BodyError>,
    stall: Duration,
    /// Since when the instance owes the next bytes. Not set while the client is the slow one.
    waiting_since: Option<Instant>,
    alarm: Option<Pin<Box<Sleep>>>,
}

/// Where the body comes from.
enum Source {
    /// Read and copied.
    Read(InstanceBody),
    /// A long one, out of the instance's socket.
    Socket(Inlet),
    /// Nothing more comes.
    Over,
}

impl<O: Observer> Relayed<O> {
    pub(crate) fn new(
        body: InstanceBody,
        lease: Lease,
        progress: Rc<Progress>,
        stall: Duration,
        observer: O,
    ) -> Self {
        let mut relayed = Self {
            source: body.into_inlet().map_or_else(Source::Read, Source::Socket),
            lease: Some(lease),
            progress,
            bytes: 0,
            observer,
            told: false,
            client_is_slow: false,
            broken: None,
            stall,
            waiting_since: None,
            alarm: None,
        };
        if relayed.is_end_stream() {
            relayed.end(End::Complete);
        }
        relayed
    }

    pub(crate) fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Read(body) => body.is_end_stream(),
            Source::Socket(inlet) => inlet.left() == 0,
            Source::Over => self.broken.is_none(),
        }
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Read(body) => body.size_hint(),
            Source::Socket(inlet) => SizeHint::with_exact(inlet.left()),
            Source::Over => SizeHint::with_exact(0),
        }
    }

    /// Whether the last poll gave nothing because the client has yet to take what it was given before.
    pub(crate) fn is_client_slow(&self) -> bool {
        self.client_is_slow
    }

    /// `outlet`: the way past the HTTP library, if the client's connection has one.
    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>, outlet: Option<&Arc<Outlet>>) -> Polled {
        if self.lease.is_none() {
            return Poll::Ready(self.broken.take().map(Err));
        }
        self.client_is_slow = false;
        match self.poll_source(cx, outlet) {
            Poll::Ready(Some(Ok(Next::Frame(frame)))) => {
                self.waiting_since = None;
                self.passed(&frame);
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Ok(Next::ClientIsSlow))) => {
                self.waiting_since = None;
                self.client_is_slow = true;
                self.note_arrival();
                Poll::Pending
            }
            Poll::Ready(Some(Err(error))) => {
                self.end(End::CutShort);
                // At an error the library drops what it has not written: the client would get less than came, perhaps
                // not even the head.
                self.broken = Some(error);
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Poll::Ready(None) => {
                self.end(End::Complete);
                Poll::Ready(None)
            }
            Poll::Pending => {
                ready!(self.poll_stalled(cx));
                self.end(End::Stalled);
                Poll::Ready(Some(Err(BodyError::Stalled(self.stall))))
            }
        }
    }

    fn poll_source(
        &mut self,
        cx: &mut Context<'_>,
        outlet: Option<&Arc<Outlet>>,
    ) -> Poll<Option<Result<Next, BodyError>>> {
        match &mut self.source {
            Source::Read(body) => Pin::new(body)
                .poll_frame(cx)
                .map_ok(|frame| Next::Frame(frame.map_data(Chunk::from)))
                .map_err(BodyError::Upstream),
            Source::Socket(inlet) => {
                inlet.poll_next(cx, outlet).map(|next| Some(next.map_err(BodyError::Upstream)))
            }
            Source::Over => Poll::Ready(None),
        }
    }

    fn passed(&mut self, frame: &Frame<Chunk>) {
        if let Some(data) = frame.data_ref().filter(|data| data.has_remaining()) {
            if self.bytes == 0 {
                self.observer.first_byte();
            }
            self.bytes += data.remaining() as u64;
        }
        if self.is_end_stream() {
            self.end(End::Complete);
        } else {
            self.note_arrival();
        }
    }

    /// Tells the end as soon as the last byte is here: the instance is done, however long the client takes.
    fn note_arrival(&mut self) {
        if let Source::Socket(inlet) = &self.source
            && !self.told
            && inlet.has_arrived()
        {
            self.tell(End::Complete, self.bytes + inlet.left());
        }
    }

    fn tell(&mut self, end: End, bytes: u64) {
        if !std::mem::replace(&mut self.told, true) {
            self.observer.ended(end, bytes);
        }
    }

    /// One alarm for the whole body, set anew only when it goes off: most bodies never need it.
    fn poll_stalled(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let since = *self.waiting_since.get_or_insert_with(Instant::now);
        let deadline = since + self.stall;
        let alarm = self.alarm.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        loop {
            ready!(alarm.as_mut().poll(cx));
            if Instant::now() >= deadline {
                return Poll::Ready(());
            }
            alarm.as_mut().reset(deadline);
        }
    }

    fn end(&mut self, end: End) {
        if let Some(lease) = self.lease.take() {
            self.give_back(lease, end);
        }
        self.tell(end, self.bytes);
    }

    /// First the connection, then the word: the next request finds it.
    fn give_back(&mut self, lease: Lease, end: End) {
        let connection = match std::mem::replace(&mut self.source, Source::Over) {
            Source::Read(body) => body.into_reusable(),
            Source::Socket(inlet) => {
                lease.count_spliced(inlet.spliced());
                inlet.into_reusable()
            }
            Source::Over => None,
        };
        if end == End::Complete && self.progress.is_done() {
            lease.give_back(connection);
        }
    }
}

impl<O: Observer> Drop for Relayed<O> {
    fn drop(&mut self) {
        self.end(End::ClientGone);
    }
}
