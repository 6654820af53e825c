//! Responses' bodies on their way through, and what is noticed as they pass.

use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;

use crate::drained::Drained;
use crate::file::{FileBody, OpenFile, Segment};
use crate::h1::InstanceBody;
use crate::http2::StreamWatch;
use crate::peer::Peer;
use crate::relayed::Relayed;
use crate::splice::{Chunk, Outlet};
use crate::spool::Spool;
use crate::upload::Progress;
use crate::upstream::Lease;

/// Why a body could not be passed on to its end.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    #[error("the instance's response broke off: {0}")]
    Upstream(#[source] std::io::Error),
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
    #[error("the client sent nothing of its request for {0:?}")]
    ClientStalled(Duration),
    #[error("the client sent less than {0} bytes of its request per second")]
    ClientSlow(u64),
    #[error("the request's body is larger than {0} bytes")]
    TooLarge(u64),
    #[error("the request's body has not the length that it was said to have")]
    WrongLength,
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
        body: InstanceBody,
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
        if let Some(exchange) = &this.exchange {
            watch.asks(exchange.peer.required_of_stream());
        }
        let piece = this.poll_piece(cx);
        match &piece {
            Poll::Ready(Some(Ok(frame))) => {
                let bytes = frame.data_ref().map_or(0, Buf::remaining);
                watch.given(bytes, this.is_end_stream());
            }
            Poll::Ready(_) => watch.given(0, true),
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
