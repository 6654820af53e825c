//! Bodies on their way through, and what is noticed as they pass.

use std::cell::Cell;
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

use crate::head;
use crate::peer::Peer;
use crate::relayed::Relayed;
use crate::screen::Refusal;
use crate::splice::Chunk;
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
    #[error("the client's request broke off: {0}")]
    Client(#[source] hyper::Error),
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

enum Source<O: Observer> {
    Text(Full<Bytes>),
    Relayed(Box<Relayed<O>>),
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
}

impl<O: Observer> Body for ReplyBody<O> {
    type Data = Chunk;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Chunk>, BodyError>>> {
        let this = self.get_mut();
        let frame = match &mut this.source {
            Source::Text(text) => Pin::new(text)
                .poll_frame(cx)
                .map_ok(|frame| frame.map_data(Chunk::from))
                .map_err(|never| match never {}),
            Source::Relayed(relayed) => {
                let outlet = this.exchange.as_ref().and_then(|mark| mark.peer.outlet());
                relayed.poll_frame(cx, outlet)
            }
        };
        if let (Poll::Ready(Some(Err(_))), Some(exchange)) = (&frame, &this.exchange) {
            exchange.cut_short();
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Text(text) => text.is_end_stream(),
            Source::Relayed(relayed) => relayed.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Text(text) => text.size_hint(),
            Source::Relayed(relayed) => relayed.size_hint(),
        }
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

/// The body of a client's request, read only as fast as the instance takes it.
#[derive(Debug)]
pub struct ClientBody {
    body: Option<Incoming>,
    peer: Option<Arc<Peer>>,
    progress: Rc<Progress>,
}

impl ClientBody {
    pub(crate) fn new(body: Incoming, peer: Arc<Peer>) -> Self {
        let empty = body.is_end_stream();
        Self { body: (!empty).then_some(body), peer: Some(peer), progress: Progress::new(empty) }
    }

    /// No body at all, as for a request of the relay's own or for another attempt.
    pub fn empty() -> Self {
        Self { body: None, peer: None, progress: Progress::new(true) }
    }

    /// Whether the request has no body.
    pub fn is_empty(&self) -> bool {
        self.body.is_none()
    }

    pub fn progress(&self) -> Rc<Progress> {
        self.progress.clone()
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
        let Some(body) = &mut this.body else { return Poll::Ready(None) };
        let frame = ready!(Pin::new(&mut *body).poll_frame(cx));
        let progress = &this.progress;
        progress.started.set(true);
        progress.last.set(Instant::now());
        match &frame {
            Some(Ok(frame)) => {
                progress
                    .bytes
                    .set(progress.bytes.get() + frame.data_ref().map_or(0, |data| data.len() as u64));
                progress.done.set(body.is_end_stream());
            }
            Some(Err(_)) => {
                progress.failed.set(true);
                progress.refusal.set(this.peer.as_ref().and_then(|peer| peer.refusal()));
            }
            None => progress.done.set(true),
        }
        Poll::Ready(frame.map(|result| result.map(without_fields_of_heads).map_err(BodyError::Client)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
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
        if let Some(peer) = self.peer.take().filter(|_| !self.progress.is_done()) {
            peer.request_abandoned();
        }
    }
}
