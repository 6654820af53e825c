//! The instance's side of a connection: what it said before it closed is heard, even while we are still sending.
//!
//! A server that answers early (413, 401) and closes resets the connection under the rest of the upload. A failed
//! write must not end the reading then, with the answer unread in the socket: it is kept for the reader, who finds it
//! after the last byte that came.

use std::cell::Cell;
use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::task::{Context, Poll, ready};

use prometheus::IntGauge;
use rustix::buffer::spare_capacity;
use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::TcpStream;

pub(crate) struct InstanceIo {
    tcp: TcpStream,
    open: OpenGuard,
    /// Why a write failed. From then on what is written is dropped: nobody would take it.
    broken: Cell<Option<io::ErrorKind>>,
}

impl InstanceIo {
    /// Counts in `open` until it is dropped.
    pub(crate) fn new(tcp: TcpStream, open: IntGauge) -> Self {
        open.inc();
        Self { tcp, open: OpenGuard(open), broken: Cell::new(None) }
    }

    pub(crate) fn tcp(&self) -> &TcpStream {
        &self.tcp
    }

    /// The socket alone, which counts as open for as long as the guard is there.
    pub(crate) fn into_tcp(self) -> (TcpStream, OpenGuard) {
        (self.tcp, self.open)
    }

    /// Everything that was written was taken.
    pub(crate) fn is_sound(&self) -> bool {
        self.broken.get().is_none()
    }

    /// Whether nothing came that is still to be read: no end, and nothing that nobody asked for. Costs a system call only
    /// if the runtime has heard of something.
    pub(crate) fn is_quiet(&self) -> bool {
        matches!(self.tcp.try_read(&mut [0]), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Appends what there is to `buffer`, for which `room` is made once there is something; zero: the end.
    ///
    /// # Errors
    /// Those of the socket, and at its end why a write failed before.
    pub(crate) fn poll_read(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut Vec<u8>,
        room: usize,
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.tcp.poll_read_ready(cx))?;
            buffer.reserve(room);
            match read_some(&self.tcp, buffer) {
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
                // The error was spent on the write; what follows only looks like an end in order.
                Ok(0) => return Poll::Ready(self.broken.get().map_or(Ok(0), |kind| Err(kind.into()))),
                result => return Poll::Ready(result),
            }
        }
    }

    /// Writes some of what is in `slices`.
    pub(crate) fn poll_write(&self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<usize> {
        while self.is_sound() {
            let ready = ready!(self.tcp.poll_write_ready(cx));
            match ready.and_then(|()| self.tcp.try_write_vectored(slices)) {
                Ok(n) => return Poll::Ready(n),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => self.broken.set(Some(error.kind())),
            }
        }
        Poll::Ready(slices.iter().map(|slice| slice.len()).sum())
    }

    /// Ends the connection where it is, for whoever is reading too: what is being sent can not be sent to its end.
    pub(crate) fn abandon(&self) {
        self.broken.set(Some(io::ErrorKind::ConnectionAborted));
        // It fails only if the connection has ended.
        let _ = SockRef::from(&self.tcp).shutdown(Shutdown::Both);
    }
}

/// Reads once. A socket that gave less than there was room for is empty, and is not asked again before more comes: that
/// saves a call per response.
fn read_some(tcp: &TcpStream, buffer: &mut Vec<u8>) -> io::Result<usize> {
    let room = buffer.capacity() - buffer.len();
    let mut read = Err(io::ErrorKind::WouldBlock.into());
    let _noted = tcp.try_io(Interest::READABLE, || {
        read = rustix::io::read(tcp, spare_capacity(buffer)).map_err(io::Error::from);
        match &read {
            Ok(n) if *n == 0 || *n == room => Ok(()),
            Ok(_) => Err(io::ErrorKind::WouldBlock.into()),
            Err(error) => Err(error.kind().into()),
        }
    });
    read
}

/// Counts a connection as open until dropped.
pub(crate) struct OpenGuard(IntGauge);

impl Drop for OpenGuard {
    fn drop(&mut self) {
        self.0.dec();
    }
}
