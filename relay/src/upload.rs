//! A client's request body on its way to the instance, and how far it got.

use std::cell::Cell;
use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::Instant;

use crate::alarm::Alarm;
use crate::body::BodyError;
use crate::failure::Failure;
use crate::head;
use crate::intake::TakenIn;
use crate::pace::{Pace, Required};
use crate::peer::Peer;
use crate::spool::Spool;

/// How far a request's body got; read by the one who waits for the response.
#[derive(Debug)]
pub struct Progress {
    last: Cell<Instant>,
    done: Cell<bool>,
    started: Cell<bool>,
    failed: Cell<bool>,
    /// Why, if that is the client's fault and it may still be told so.
    fault: Cell<Option<Failure>>,
    bytes: Cell<u64>,
}

impl Progress {
    fn new(done: bool, made: Instant) -> Rc<Self> {
        Rc::new(Self {
            last: Cell::new(made),
            done: Cell::new(done),
            started: Cell::new(false),
            failed: Cell::new(false),
            fault: Cell::new(None),
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

    /// Why the body was not read to its end, if it was not.
    pub fn failure(&self) -> Option<Failure> {
        self.failed.get().then(|| self.fault.get().unwrap_or(Failure::ClientGone))
    }

    fn fail(&self, fault: Option<Failure>) {
        self.failed.set(true);
        self.fault.set(fault);
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
    /// Bytes that it may have.
    most: u64,
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
        let progress = Progress::new(empty, peer.turn());
        Self { body, peer: Some(peer), progress, patience: None, most: u64::MAX }
    }

    /// On one of many streams, of which the connection's own watch knows nothing.
    pub(crate) fn on_stream(body: Incoming, peer: Arc<Peer>) -> Self {
        let mut body = Self::new(body, peer);
        body.patience = (!body.is_empty()).then(Patience::default);
        body
    }

    /// No body at all, as for a request of the relay's own or for another attempt.
    pub fn empty() -> Self {
        let progress = Progress::new(true, Instant::now());
        Self { body: Upload::None, peer: None, progress, patience: None, most: u64::MAX }
    }

    /// From here on it may have no more than `most` bytes.
    ///
    /// # Errors
    /// It says that it has more: nothing of it is read, and a client that waits for `100 Continue` does not get it.
    pub fn limit(&mut self, most: u64) -> Result<(), Failure> {
        self.most = most;
        if self.size_hint().lower() > most { Err(Failure::BodyTooLarge(most)) } else { Ok(()) }
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
                let taken = TakenIn::read(body, spool.clone(), self.most).await;
                Upload::TakenIn(Box::new(taken.inspect_err(|error| self.failed(error))?))
            }
            other => other,
        };
        Ok(self)
    }

    fn failed(&self, error: &BodyError) {
        let refusal = || self.peer.as_ref().and_then(|peer| peer.refusal());
        self.progress.fail(match error {
            BodyError::TooLarge(most) => Some(Failure::BodyTooLarge(*most)),
            BodyError::ClientStalled(_) => Some(Failure::ClientStalled),
            BodyError::ClientSlow(_) => Some(Failure::ClientSlow),
            _ => refusal().map(Failure::BadRequest),
        });
    }

    /// What came of the body, counted and held against its limits.
    fn arrived(&mut self, frame: Frame<Bytes>) -> Result<Frame<Bytes>, BodyError> {
        let n = frame.data_ref().map_or(0, Bytes::len);
        let bytes = self.progress.bytes() + n as u64;
        self.progress.bytes.set(bytes);
        self.progress.done.set(self.is_end_stream());
        if let (Some(patience), Some(peer)) = (&mut self.patience, &self.peer) {
            patience.came(n, peer.required_of_upload());
            peer.useful();
        }
        if bytes > self.most { Err(BodyError::TooLarge(self.most)) } else { Ok(frame) }
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
        let polled = match (polled, &mut this.patience, &this.peer) {
            (Poll::Pending, Some(patience), Some(peer)) => {
                let lost = ready!(patience.poll_lost(cx, peer.required_of_upload()));
                this.failed(&lost);
                return Poll::Ready(Some(Err(lost)));
            }
            (polled, _, _) => ready!(polled),
        };
        this.progress.started.set(true);
        this.progress.last.set(Instant::now());
        let frame = polled.map(|result| result.and_then(|frame| this.arrived(frame)));
        match &frame {
            Some(Ok(_)) => {}
            Some(Err(error)) => this.failed(error),
            None => this.progress.done.set(true),
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
#[derive(Debug, Default)]
struct Patience {
    /// Since when more is wanted.
    waiting_since: Option<Instant>,
    pace: Pace,
    alarm: Alarm,
}

impl Patience {
    fn came(&mut self, n: usize, required: Required) {
        let waited = self.waiting_since.take().map(|since| since.elapsed());
        self.pace = self.pace.after(waited.unwrap_or_default(), n, required);
    }

    fn poll_lost(&mut self, cx: &mut Context<'_>, required: Required) -> Poll<BodyError> {
        let since = *self.waiting_since.get_or_insert_with(Instant::now);
        ready!(self.alarm.poll_at(cx, since + self.pace.left(required)));
        Poll::Ready(match self.pace.is_slow(required) {
            true => BodyError::ClientSlow(required.rate),
            false => BodyError::ClientStalled(required.patience),
        })
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
