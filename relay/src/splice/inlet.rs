//! The instance's side of a long body: a connection in the middle of a response.

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{BufMut, Bytes, BytesMut};
use http_body::Frame;
use rustix::io::ioctl_fionread;
use tokio::net::TcpStream;

use super::{CAPACITY, Chunk, Feeding, Fill, Outlet, Piped};
use crate::h1::Connection;

/// Read at a time by copying, in bytes. 128 KiB: stays in the cache until it is written.
const BLOCK: usize = 128 * 1024;

/// What is left of a body, and where it comes from.
pub(crate) struct Inlet {
    connection: Connection,
    /// What came with the head.
    ahead: Bytes,
    /// Bytes of the body that were not passed on yet, those in `ahead` included.
    left: u64,
    /// The right to use the client's pipe; `None` while bytes are copied.
    feeding: Option<Feeding>,
    /// For copying, used again once its bytes are gone.
    buffer: BytesMut,
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
    pub(crate) fn new(connection: Connection, mut ahead: Bytes, left: u64) -> Self {
        let overrun = ahead.len() as u64 > left;
        ahead.truncate(usize::try_from(left).unwrap_or(usize::MAX));
        Self { connection, ahead, left, feeding: None, buffer: BytesMut::new(), overrun, spliced: 0 }
    }

    fn tcp(&self) -> &TcpStream {
        self.connection.io().tcp()
    }

    /// Bytes yet to be passed on.
    pub(crate) fn left(&self) -> u64 {
        self.left
    }

    /// Bytes that were not copied.
    pub(crate) fn spliced(&self) -> u64 {
        self.spliced
    }

    /// Whether the instance has sent all of the body: what is left has arrived at this host.
    pub(crate) fn has_arrived(&self) -> bool {
        let here = self.ahead.len() as u64;
        here >= self.left || ioctl_fionread(self.tcp()).is_ok_and(|more| here + more >= self.left)
    }

    /// To be called only while some are [`left`](Self::left). `outlet`: the way past the HTTP library, if there is one
    /// and the bytes are for it; else they are copied.
    ///
    /// # Errors
    /// The instance closed the connection in the middle, or it failed.
    pub(crate) fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
        outlet: Option<&Arc<Outlet>>,
    ) -> Poll<io::Result<Next>> {
        if !self.ahead.is_empty() {
            let bytes = std::mem::take(&mut self.ahead);
            return Poll::Ready(Ok(self.next(bytes.len(), bytes.into())));
        }
        let most = usize::try_from(self.left).unwrap_or(usize::MAX);
        self.choose_way(outlet);
        let (length, chunk) = match &self.feeding {
            Some(feeding) => {
                let outlet = feeding.outlet();
                match ready!(outlet.poll_fill(cx, self.tcp(), most.min(CAPACITY)))? {
                    Fill::Moved(0) => return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
                    Fill::Moved(n) => {
                        self.spliced += n as u64;
                        (n, Piped::new(n, outlet.clone()).into())
                    }
                    Fill::ClientIsSlow => return Poll::Ready(Ok(Next::ClientIsSlow)),
                }
            }
            None => {
                let bytes =
                    ready!(poll_copy(cx, self.connection.io().tcp(), &mut self.buffer, most.min(BLOCK)))?;
                (bytes.len(), bytes.into())
            }
        };
        Poll::Ready(Ok(self.next(length, chunk)))
    }

    /// A pipe is kept only while it is used: there are not many.
    fn choose_way(&mut self, outlet: Option<&Arc<Outlet>>) {
        match outlet {
            None => self.feeding = None,
            Some(outlet) if self.feeding.is_none() => self.feeding = outlet.open(),
            Some(_) => {}
        }
    }

    fn next(&mut self, length: usize, chunk: Chunk) -> Next {
        self.left -= length as u64;
        Next::Frame(Frame::data(chunk))
    }

    /// The connection, if the whole body was read and another response can follow.
    pub(crate) fn into_reusable(self) -> Option<Connection> {
        let is_through = self.left == 0 && !self.overrun && self.connection.io().is_sound();
        is_through.then_some(self.connection)
    }
}

/// Reads up to `most` bytes.
///
/// # Errors
/// Those of the socket; `UnexpectedEof` at its end.
fn poll_copy(
    cx: &mut Context<'_>,
    from: &TcpStream,
    buffer: &mut BytesMut,
    most: usize,
) -> Poll<io::Result<Bytes>> {
    loop {
        ready!(from.poll_read_ready(cx))?;
        // Gets the same memory again, unless the client has yet to take some of it.
        buffer.reserve(most);
        match from.try_read_buf(&mut buffer.limit(most)) {
            Ok(0) => return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
            Ok(_) => return Poll::Ready(Ok(buffer.split().freeze())),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Poll::Ready(Err(error)),
        }
    }
}
