//! Bodies on their way through, and what is noticed as they pass.

use std::cell::Cell;
use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use hyper::body::Incoming;
use tokio::time::Instant;

use crate::drained::Drained;
use crate::file::{FileBody, OpenFile, Segment};
use crate::head;
use crate::intake::TakenIn;
use crate::peer::Peer;
use crate::relayed::Relayed;
use crate::screen::Refusal;
use crate::splice::{Chunk, Outlet};
use crate::spool::Spool;
use crate::upstream::Lease;

/// Why a body could not be passed on to its end.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    #[error("the instance's response broke off: {0}")]
    Upstream(#[source] hyper::Error),
    #[error("the instance's response broke off: {0}")]
    Socket(#[source] std::io::Error),
    #[error("the instance sent nothing more for {0:?}")]
    Stalled(Duration),
    #[error("the file broke off: {0}")]
    File(#[source] std::io::Error),
    #[error("the client's request broke off: {0}")]
    Client(#[source] hyper::Error),
    #[error("the response could not be compressed: {0}")]
    Compression(#[source] std::io::Error),
    #[error("what was spooled is lost: {0}")]
    Spool(#[source] std::io::Error),
}

/// How a response came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The whole of it was passed on.
    Complete,
    /// The instance closed the connection in the middle, or sent garbage.
    CutShort,
    /// The instance stopped sending.
    Stalled,
    /// The client did not want the rest.
    ClientGone,
}

/// Is told about a response as it passes. Dropped when the response is over.
pub trait Observer: 'static {
    /// The first byte of the body came from the instance; not called if there is none.
    fn first_byte(&mut self);
    /// The last byte has arrived at this host, or none will: the instance is done. `bytes`: body bytes that it sent.
    /// Some of them may be on their way to the client for a while.
    fn ended(&mut self, end: End, bytes: u64);
}

/// Nobody is interested.
impl Observer for () {
    fn first_byte(&mut self) {}
    fn ended(&mut self, _: End, _: u64) {}
}

/// The body of a response to a client.
pub struct ReplyBody<O: Observer> {
    source: Source<O>,
    /// Held until the response is over.
    pub(crate) exchange: Option<ExchangeMark>,
}

/// Where a response's body comes from.
pub(crate) enum Source<O: Observer> {
    Text(Full<Bytes>),
    Relayed(Box<Relayed<O>>),
    Made(Pin<Box<dyn Body<Data = Chunk, Error = BodyError>>>),
    File(Box<FileBody<O>>),
    Drained(Drained<O>),
}

impl<O: Observer> ReplyBody<O> {
    /// A body of the relay's own.
    pub fn text(text: String) -> Self {
        Self { source: Source::Text(Full::new(text.into())), exchange: None }
    }

    /// Passes on `body` from the connection `lease`, which goes back to its pool at the end.
    ///
    /// `progress` is the request's: a response that ends before its request does not give the
    /// connection back.
    pub fn relayed(
        body: Incoming,
        lease: Lease,
        progress: Rc<Progress>,
        stall: Duration,
        observer: O,
    ) -> Self {
        let relayed = Relayed::new(body, lease, progress, stall, observer);
        Self { source: Source::Relayed(Box::new(relayed)), exchange: None }
    }

    /// What a program made of a response. Whatever it reads of another `ReplyBody` comes as bytes.
    pub fn made(body: impl Body<Data = Chunk, Error = BodyError> + 'static) -> Self {
        Self { source: Source::Made(Box::pin(body)), exchange: None }
    }

    /// Sends `segments` of `file`. `patience`: for each wait for the disk.
    pub fn file(file: OpenFile, segments: Vec<Segment>, patience: Duration, observer: O) -> Self {
        let body = FileBody::new(file, segments, patience, observer);
        Self { source: Source::File(Box::new(body)), exchange: None }
    }

    /// The same, but read as fast as it comes, however slow the client: what that has yet to take waits in `spool`.
    #[must_use]
    pub fn drained(self, spool: &Arc<Spool>) -> Self {
        let Self { source, exchange } = self;
        Self { source: Source::Drained(Drained::new(source, spool.clone())), exchange }
    }
}

impl<O: Observer> Source<O> {
    /// `outlet`: the way past the HTTP library, if the bytes are for a client that has one.
    pub(crate) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
        outlet: Option<&Arc<Outlet>>,
    ) -> Poll<Option<Result<Frame<Chunk>, BodyError>>> {
        match self {
            Self::Text(text) => Pin::new(text)
                .poll_frame(cx)
                .map_ok(|frame| frame.map_data(Chunk::from))
                .map_err(|never| match never {}),
            Self::Relayed(relayed) => relayed.poll_frame(cx, outlet),
            Self::Made(body) => body.as_mut().poll_frame(cx),
            Self::File(file) => file.poll_frame(cx, outlet),
            Self::Drained(drained) => drained.poll_frame(cx, outlet),
        }
    }

    /// Whether the last poll gave nothing because the client has yet to take what it was given before.
    pub(crate) fn is_client_slow(&self) -> bool {
        match self {
            Self::Relayed(relayed) => relayed.is_client_slow(),
            Self::Text(_) | Self::Made(_) | Self::File(_) | Self::Drained(_) => false,
        }
    }

    pub(crate) fn is_end_stream(&self) -> bool {
        match self {
            Self::Text(text) => text.is_end_stream(),
            Self::Relayed(relayed) => relayed.is_end_stream(),
            Self::Made(body) => body.is_end_stream(),
            Self::File(file) => file.is_end_stream(),
            Self::Drained(drained) => drained.is_end_stream(),
        }
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        match self {
            Self::Text(text) => text.size_hint(),
            Self::Relayed(relayed) => relayed.size_hint(),
            Self::Made(body) => body.size_hint(),
            Self::File(file) => file.size_hint(),
            Self::Drained(drained) => drained.size_hint(),
        }
    }
}

impl<O: Observer> Body for ReplyBody<O> {
    type Data = Chunk;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Chunk>, BodyError>>> {
        let this = self.get_mut();
        let outlet = this.exchange.as_ref().and_then(|mark| mark.peer.outlet());
        let frame = this.source.poll_frame(cx, outlet);
        if let (Poll::Ready(Some(Err(_))), Some(exchange)) = (&frame, &this.exchange) {
            exchange.cut_short();
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.source.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.source.size_hint()
    }
}

/// Marks one request as being under way on its connection, until dropped.
pub(crate) struct ExchangeMark {
    peer: Arc<Peer>,
    /// The client can not see where the response ends except by the end of the connection.
    ends_with_connection: bool,
}

impl ExchangeMark {
    pub(crate) fn new(peer: Arc<Peer>) -> Self {
        peer.request_began();
        Self { peer, ends_with_connection: false }
    }

    pub(crate) fn end_with_connection(&mut self) {
        self.ends_with_connection = true;
    }

    fn cut_short(&self) {
        if self.ends_with_connection {
            self.peer.reset_on_close();
        }
    }
}

impl Drop for ExchangeMark {
    fn drop(&mut self) {
        self.peer.response_ended();
    }
}

/// How far a request's body got; read by the one who waits for the response.
#[derive(Debug)]
pub struct Progress {
    last: Cell<Instant>,
    done: Cell<bool>,
    started: Cell<bool>,
    failed: Cell<bool>,
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

    pub fn bytes(&self) -> u64 {
        self.bytes.get()
    }
}

/// The body of a client's request: read as the instance takes it, or [taken in](Self::taken_in) before.
pub struct ClientBody {
    body: Upload,
    peer: Option<Arc<Peer>>,
    progress: Rc<Progress>,
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
        Self { body, peer: Some(peer), progress: Progress::new(empty) }
    }

    /// No body at all, as for a request of the relay's own or for another attempt.
    pub fn empty() -> Self {
        Self { body: Upload::None, peer: None, progress: Progress::new(true) }
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
        let frame = match &mut this.body {
            Upload::None => return Poll::Ready(None),
            Upload::Live(body) => ready!(Pin::new(body).poll_frame(cx)).map(|r| r.map_err(BodyError::Client)),
            Upload::TakenIn(body) => ready!(body.poll_frame(cx)),
        };
        let is_over = this.is_end_stream();
        let progress = &this.progress;
        progress.started.set(true);
        progress.last.set(Instant::now());
        match &frame {
            Some(Ok(frame)) => {
                let bytes = frame.data_ref().map_or(0, |data| data.len() as u64);
                progress.bytes.set(progress.bytes.get() + bytes);
                progress.done.set(is_over);
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
