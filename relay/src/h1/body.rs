//! The body of a response, read from its connection as it is asked for.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::connection::Connection;
use super::decoder::{Decoder, Piece};
use super::sending::Rest;
use crate::splice::{self, Inlet};

/// Read at a time, in bytes: at first, as most bodies are short, and twice as much after each time that so much came,
/// up to what stays in the cache until it is written.
const FIRST_BLOCK: usize = 8 * 1024;
const LARGEST_BLOCK: usize = 128 * 1024;

/// A response's body on its way from an instance. Dropped before its end, it closes the connection, by which the
/// instance learns that nobody wants the rest.
pub struct InstanceBody {
    /// `None`: it has come to its end, or changed its protocol.
    connection: Option<Connection>,
    decoder: Decoder,
    /// What was read and not passed on.
    ahead: Bytes,
    /// The request, if it is still being written.
    rest: Option<Rest>,
    block: usize,
}

impl InstanceBody {
    pub(super) fn new(connection: Connection, decoder: Decoder, ahead: Bytes, rest: Option<Rest>) -> Self {
        Self { connection: Some(connection), decoder, ahead, rest, block: FIRST_BLOCK }
    }

    pub(super) fn none() -> Self {
        Self {
            connection: None,
            decoder: Decoder::length(0),
            ahead: Bytes::new(),
            rest: None,
            block: FIRST_BLOCK,
        }
    }

    /// The connection, if the body was read to its end and another request may follow.
    pub(crate) fn into_reusable(self) -> Option<Connection> {
        let is_through = self.decoder.is_over() && self.ahead.is_empty() && self.rest.is_none();
        self.connection.filter(|connection| is_through && connection.io().is_sound())
    }

    /// As what goes past the HTTP library, if it is long enough for that and its length is known.
    ///
    /// # Errors
    /// The body itself, if it is not.
    pub(crate) fn into_inlet(mut self) -> Result<Inlet, Self> {
        let long = self.decoder.left().filter(|left| *left >= splice::SHORTEST && self.rest.is_none());
        match (long, self.connection.take()) {
            (Some(left), Some(connection)) => Ok(Inlet::new(connection, self.ahead, left)),
            (_, connection) => Err(Self { connection, ..self }),
        }
    }

    /// Reads once, when everything before was passed on. Ready with `false` at the end of the connection.
    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let Some(connection) = &self.connection else { return Poll::Ready(Ok(false)) };
        let room = match self.decoder.left() {
            Some(left) => usize::try_from(left).unwrap_or(usize::MAX).min(LARGEST_BLOCK),
            None => self.block,
        };
        let mut bytes = Vec::new();
        let n = ready!(connection.io().poll_read(cx, &mut bytes, room))?;
        if n == room {
            self.block = (2 * self.block).min(LARGEST_BLOCK);
        }
        self.ahead = bytes.into();
        Poll::Ready(Ok(n > 0))
    }
}

impl Body for InstanceBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let this = self.get_mut();
        loop {
            match this.decoder.next(&mut this.ahead)? {
                Piece::Data(data) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                Piece::Trailers(trailers) => return Poll::Ready(Some(Ok(Frame::trailers(trailers)))),
                Piece::End => return Poll::Ready(None),
                Piece::Missing => {}
            }
            if !ready!(this.poll_more(cx))? {
                this.connection = None;
                return Poll::Ready(this.decoder.close().err().map(Err));
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.decoder.is_over()
    }

    fn size_hint(&self) -> SizeHint {
        self.decoder.size_hint()
    }
}
