//! Bodies on their way through, and what is noticed as they pass.

use std::cell::Cell;
use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use hyper::body::Incoming;
use tokio::time::Instant;

use crate::alarm::Alarm;
use crate::drained::Drained;
use crate::file::{FileBody, OpenFile, Segment};
use crate::head;
use crate::http2::StreamWatch;
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
    #[error("the client sent too little of its request for {0:?}")]
    ClientStalled(Duration),
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
    /// What is left of a chunk of which a stream was given a piece.
    rest: Option<Chunk>,
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
        Self { source: Source::Text(Full::new(text.into())), rest: None, exchange: None }
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
        Self { source: Source::Relayed(Box::new(relayed)), rest: None, exchange: None }
    }

    fn poll_source(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Chunk>, BodyError>>> {
        let outlet = self.exchange.as_ref().and_then(|mark| mark.peer.outlet());
        let frame = self.source.poll_frame(cx, outlet);
        if let (Poll::Ready(Some(Err(_))), Some(exchange)) = (&frame, &self.exchange) {
            exchange.cut_short();
        }
        frame
    }

    /// A piece of what the source has, as much as the library may queue beyond what the client lets it send.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Chunk>, BodyError>>> {
        let frame = match self.rest.take() {
            Some(rest) => Frame::data(rest),
            None => match ready!(self.poll_source(cx)) {
                Some(Ok(frame)) => frame,
                end => return Poll::Ready(end),
            },
        };
        Poll::Ready(Some(Ok(match frame.into_data() {
            Ok(mut chunk) => {
                self.rest = chunk.split_off(PIECE);
                Frame::data(chunk)
            }
            Err(trailers) => trailers,
        })))
    }

    /// What a program made of a response. Whatever it reads of another `ReplyBody` comes as bytes.
    pub fn made(body: impl Body<Data = Chunk, Error = BodyError> + 'static) -> Self {
        Self { source: Source::Made(Box::pin(body)), rest: None, exchange: None }
    }

    /// Sends `segments` of `file`. `patience`: for each wait for the disk.
    pub fn file(file: OpenFile, segments: Vec<Segment>, patience: Duration, observer: O) -> Self {
        let body = FileBody::new(file, segments, patience, observer);
        Self { source: Source::File(Box::new(body)), rest: None, exchange: None }
    }

    /// The same, but read as fast as it comes, however slow the client: what that has yet to take waits in `spool`.
    #[must_use]
    pub fn drained(self, spool: &Arc<Spool>) -> Self {
        let Self { source, rest, exchange } = self;
        Self { source: Source::Drained(Drained::new(source, spool.clone())), rest, exchange }
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

/// Most of a response that is handed to an HTTP/2 stream at once, in bytes: one frame of the default size.
const PIECE: usize = 16 * 1024;

impl<O: Observer> Body for ReplyBody<O> {
    type Data = Chunk;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Chunk>, BodyError>>> {
        let this = self.get_mut();
        let Some(watch) = this.exchange.as_ref().and_then(|mark| mark.stream.clone()) else {
            return this.poll_source(cx);
        };
        watch.asks();
        let piece = this.poll_piece(cx);
        match &piece {
            Poll::Ready(Some(Ok(_))) => watch.given(this.is_end_stream()),
            Poll::Ready(_) => watch.given(true),
            Poll::Pending => {}
        }
        this.exchange.iter().for_each(|exchange| exchange.peer.useful());
        piece
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_none() && self.source.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let hint = self.source.size_hint();
        match (&self.rest, hint.exact()) {
            (None, _) => hint,
            (Some(rest), Some(length)) => SizeHint::with_exact(length + rest.remaining() as u64),
            (Some(_), None) => SizeHint::default(),
        }
    }
}

/// Marks one request as being under way on its connection, until dropped.
pub(crate) struct ExchangeMark {
    peer: Arc<Peer>,
    /// Its stream, if there are several on the connection.
    stream: Option<Rc<StreamWatch>>,
    /// The client can not see where the response ends except by the end of the connection.
    ends_with_connection: bool,
}

impl ExchangeMark {
    pub(crate) fn new(peer: Arc<Peer>) -> Self {
        peer.request_began();
        Self { peer, stream: None, ends_with_connection: false }
    }

    pub(crate) fn on_stream(peer: Arc<Peer>, stream: Rc<StreamWatch>) -> Self {
        let mut mark = Self::new(peer);
        mark.stream = Some(stream);
        mark
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
