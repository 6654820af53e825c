//! A client's request body on its way to the instance, and how far it got.

use std::cell::Cell;
use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::Instant;

use crate::alarm::Alarm;
use crate::body::BodyError;
use crate::head;
use crate::intake::TakenIn;
use crate::peer::Peer;
use crate::screen::Refusal;
use crate::spool::Spool;

/// How far a request's body got; read by the one who waits for the response.
#[derive(Debug)]
pub struct Progress {
    last: Cell<Instant>,
    done: Cell<bool>,
    started: Cell<bool>,
    failed: Cell<bool>,
    stalled: Cell<bool>,
    refusal: Cell<Option<Refusal>>,
    bytes: Cell<u64>,
}

impl Progress {
    fn new(done: bool) -> Rc<Self> {
        Rc::new(Self {
            last: Cell::new(Instant::now()),
            done: Cell::new(done),
            started: Cell::new(false),
            failed: Cell::new(false),
            stalled: Cell::new(false),
            refusal: Cell::new(None),
            bytes: Cell::new(0),
        })
    }

    /// When the body last moved, or the request was made.
    pub fn last(&self) -> Instant {
        self.last.get()
    }

    /// The whole body was taken.
    pub fn is_done(&self) -> bool {
        self.done.get()
    }

    /// Some of the body was taken: the request can not be made again.
    pub fn has_started(&self) -> bool {
        self.started.get()
    }

    /// Why the client's body was not read to its end, if that is its fault.
    pub fn refusal(&self) -> Option<Refusal> {
        self.refusal.get()
    }

    /// The client broke the body off.
    pub fn has_failed(&self) -> bool {
        self.failed.get()
    }

    /// The client sent too little for too long.
    pub fn has_stalled(&self) -> bool {
        self.stalled.get()
    }

    pub fn bytes(&self) -> u64 {
        self.bytes.get()
    }
}

/// The body of a client's request: read as the instance takes it, or [taken in](Self::taken_in) before.
pub struct ClientBody {
    body: Upload,
    peer: Option<Arc<Peer>>,
    progress: Rc<Progress>,
    /// Where the connection's own limits do not hold.
    patience: Option<Patience>,
}

enum Upload {
    None,
    Live(Incoming),
    TakenIn(Box<TakenIn>),
}

impl ClientBody {
    pub(crate) fn new(body: Incoming, peer: Arc<Peer>) -> Self {
        let empty = body.is_end_stream();
        let body = if empty { Upload::None } else { Upload::Live(body) };
        Self { body, peer: Some(peer), progress: Progress::new(empty), patience: None }
    }

    /// On one of many streams, which must bring something within each `stall` that we wait for it.
    pub(crate) fn on_stream(body: Incoming, peer: Arc<Peer>, stall: Duration) -> Self {
        let mut body = Self::new(body, peer);
        body.patience = (!body.is_empty()).then(|| Patience::new(stall));
        body
    }

    /// No body at all, as for a request of the relay's own or for another attempt.
    pub fn empty() -> Self {
        Self { body: Upload::None, peer: None, progress: Progress::new(true), patience: None }
    }

    /// Whether the request has no body.
    pub fn is_empty(&self) -> bool {
        matches!(self.body, Upload::None)
    }

    pub fn progress(&self) -> Rc<Progress> {
        self.progress.clone()
    }

    /// Resolves when the whole body is in `spool`, or as much of it as finds room there; the rest is then read as the
    /// instance takes it. A client that waits for `100 Continue` gets it.
    ///
    /// # Errors
    /// The client broke it off.
    pub async fn taken_in(mut self, spool: &Arc<Spool>) -> Result<Self, BodyError> {
        self.body = match std::mem::replace(&mut self.body, Upload::None) {
            Upload::Live(body) => {
                let taken = TakenIn::read(body, spool.clone()).await;
                self.progress.failed.set(taken.is_err());
                Upload::TakenIn(Box::new(taken?))
            }
            other => other,
        };
        Ok(self)
    }

    /// Whether something of it is still to come from the client.
    fn is_unread(&self) -> bool {
        match &self.body {
            Upload::None | Upload::Live(_) => !self.progress.is_done(),
            Upload::TakenIn(body) => !body.has_all() && !self.progress.is_done(),
        }
    }
}

impl Body for ClientBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        let polled = match &mut this.body {
            Upload::None => return Poll::Ready(None),
            Upload::Live(body) => Pin::new(body).poll_frame(cx).map_err(BodyError::Client),
            Upload::TakenIn(body) => body.poll_frame(cx),
        };
        let is_over = this.is_end_stream();
        let progress = &this.progress;
        let frame = match (polled, &mut this.patience) {
            (Poll::Ready(frame), _) => frame,
            (Poll::Pending, None) => return Poll::Pending,
            (Poll::Pending, Some(patience)) => {
                let error = ready!(patience.poll_lost(cx));
                progress.stalled.set(true);
                progress.failed.set(true);
                return Poll::Ready(Some(Err(error)));
            }
        };
        progress.started.set(true);
        progress.last.set(Instant::now());
        match &frame {
            Some(Ok(frame)) => {
                let n = frame.data_ref().map_or(0, Bytes::len);
                progress.bytes.set(progress.bytes.get() + n as u64);
                progress.done.set(is_over);
                if let (Some(patience), Some(peer)) = (&mut this.patience, &this.peer) {
                    patience.came(n);
                    peer.useful();
                }
            }
            Some(Err(_)) => {
                progress.failed.set(true);
                progress.refusal.set(this.peer.as_ref().and_then(|peer| peer.refusal()));
            }
            None => progress.done.set(true),
        }
        Poll::Ready(frame.map(|result| result.map(without_fields_of_heads)))
    }

    fn is_end_stream(&self) -> bool {
        match &self.body {
            Upload::None => true,
            Upload::Live(body) => body.is_end_stream(),
            Upload::TakenIn(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.body {
            Upload::None => SizeHint::with_exact(0),
            Upload::Live(body) => body.size_hint(),
            Upload::TakenIn(body) => body.size_hint(),
        }
    }
}

impl fmt::Debug for ClientBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientBody").field("progress", &self.progress).finish_non_exhaustive()
    }
}

/// How long a body on a stream is waited for. Time in which nobody wants more of it is not counted.
#[derive(Debug)]
struct Patience {
    limit: Duration,
    /// Since when more is wanted.
    waiting_since: Option<Instant>,
    /// What came since the last [`LEAST`](Self::LEAST) bytes, and how long it was waited for.
    bytes: usize,
    waited: Duration,
    alarm: Alarm,
}

impl Patience {
    /// What must come within the limit, in bytes. 1 KiB in 30 s: a client that is slower than 34 B/s holds a worker
    /// for nothing.
    const LEAST: usize = 1024;

    fn new(limit: Duration) -> Self {
        Self { limit, waiting_since: None, bytes: 0, waited: Duration::ZERO, alarm: Alarm::default() }
    }

    fn came(&mut self, n: usize) {
        self.bytes += n;
        self.waited += self.waiting_since.take().map_or(Duration::ZERO, |since| since.elapsed());
        if self.bytes >= Self::LEAST {
            (self.bytes, self.waited) = (0, Duration::ZERO);
        }
    }

    fn poll_lost(&mut self, cx: &mut Context<'_>) -> Poll<BodyError> {
        let since = *self.waiting_since.get_or_insert_with(Instant::now);
        let deadline = since + self.limit.saturating_sub(self.waited);
        self.alarm.poll_at(cx, deadline).map(|()| BodyError::ClientStalled(self.limit))
    }
}

/// RFC 9110, 6.5.1: fields for framing, routing and the like have no meaning in trailers, and a reader that merges them
/// into the head would believe them there.
fn without_fields_of_heads(mut frame: Frame<Bytes>) -> Frame<Bytes> {
    if let Some(trailers) = frame.trailers_mut() {
        head::strip_from_trailers(trailers);
    }
    frame
}

impl Drop for ClientBody {
    fn drop(&mut self) {
        let unread = self.is_unread();
        if let Some(peer) = self.peer.take().filter(|_| unread) {
            peer.request_abandoned();
        }
    }
}
