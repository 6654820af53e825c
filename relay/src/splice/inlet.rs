//! The instance's side of a spliced body: a connection that was taken over in the middle of a response.

use std::collections::VecDeque;
use std::io;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::Frame;

use super::{CAPACITY, Chunk, Feeding, Fill, Piped};
use crate::instance_io::InstanceIo;

/// What is left of a body, and where it comes from.
pub(crate) struct Inlet {
    io: InstanceIo,
    /// What the HTTP library had read ahead, in order.
    ahead: VecDeque<Bytes>,
    /// Bytes of the body that were not passed on yet, those in `ahead` included.
    left: u64,
    feeding: Feeding,
    /// Something follows the body that nobody asked for.
    overrun: bool,
    spliced: u64,
}

/// The next of a body.
pub(crate) enum Next {
    Frame(Frame<Chunk>),
    /// Not before the client took what is on its way.
    ClientIsSlow,
}

impl Inlet {
    /// `left`: the length of the body, of which `ahead` was read already.
    pub(crate) fn new(io: InstanceIo, mut ahead: VecDeque<Bytes>, left: u64, feeding: Feeding) -> Self {
        let mut room = left;
        let mut overrun = false;
        for bytes in &mut ahead {
            let length = bytes.len() as u64;
            overrun |= length > room;
            bytes.truncate(usize::try_from(room).unwrap_or(usize::MAX));
            room -= bytes.len() as u64;
        }
        ahead.retain(|bytes| !bytes.is_empty());
        Self { io, ahead, left, feeding, overrun, spliced: 0 }
    }

    /// Bytes yet to come.
    pub(crate) fn left(&self) -> u64 {
        self.left
    }

    /// Bytes that were not copied.
    pub(crate) fn spliced(&self) -> u64 {
        self.spliced
    }

    /// To be called only while some are [`left`](Self::left).
    ///
    /// # Errors
    /// The instance closed the connection in the middle, or it failed.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Next>> {
        if let Some(bytes) = self.ahead.pop_front() {
            return Poll::Ready(Ok(self.next(bytes.len(), bytes.into())));
        }
        let most = usize::try_from(self.left).map_or(CAPACITY, |left| left.min(CAPACITY));
        let outlet = self.feeding.outlet();
        Poll::Ready(Ok(match ready!(outlet.poll_fill(cx, self.io.tcp(), most))? {
            Fill::Moved(0) => return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
            Fill::Moved(n) => {
                let piped = Piped::new(n, outlet.clone());
                self.spliced += n as u64;
                self.next(n, piped.into())
            }
            Fill::ClientIsSlow => Next::ClientIsSlow,
        }))
    }

    fn next(&mut self, length: usize, chunk: Chunk) -> Next {
        self.left -= length as u64;
        Next::Frame(Frame::data(chunk))
    }

    /// The connection, if the whole body was read and another response can follow.
    pub(crate) fn into_reusable(self) -> Option<InstanceIo> {
        (self.left == 0 && !self.overrun && self.io.is_sound()).then_some(self.io)
    }
}
