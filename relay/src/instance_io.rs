//! The instance's side of a connection: what it said before it closed is heard, even while we are still sending.
//!
//! A server that answers early (413, 401) and closes resets the connection under the rest of the upload. The HTTP
//! library ends at the first write that fails, with the answer unread in the socket. So a failed write is kept for
//! the reader, who finds it after the last byte that came.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use prometheus::IntGauge;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

pub(crate) struct InstanceIo {
    tcp: TcpStream,
    _open: OpenGuard,
    /// Why a write failed. From then on what is written is dropped: nobody would take it.
    broken: Option<io::ErrorKind>,
}

impl InstanceIo {
    /// Counts in `open` until it is dropped.
    pub(crate) fn new(tcp: TcpStream, open: IntGauge) -> Self {
        open.inc();
        Self { tcp, _open: OpenGuard(open), broken: None }
    }

    pub(crate) fn tcp(&self) -> &TcpStream {
        &self.tcp
    }

    /// Everything that was written was taken.
    pub(crate) fn is_sound(&self) -> bool {
        self.broken.is_none()
    }

    /// `length`: what was to be written.
    fn written(&mut self, result: io::Result<usize>, length: usize) -> Poll<io::Result<usize>> {
        Poll::Ready(result.or_else(|error| {
            self.broken = Some(error.kind());
            Ok(length)
        }))
    }
}

/// Counts a connection as open until dropped.
struct OpenGuard(IntGauge);

impl Drop for OpenGuard {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl AsyncRead for InstanceIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.tcp).poll_read(cx, buf))?;
        match self.broken {
            // The error was spent on the write; what follows only looks like an end in order.
            Some(kind) if buf.filled().len() == before && buf.remaining() > 0 => {
                Poll::Ready(Err(kind.into()))
            }
            _ => Poll::Ready(Ok(())),
        }
    }
}

impl AsyncWrite for InstanceIo {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.broken.is_some() {
            return Poll::Ready(Ok(bytes.len()));
        }
        let result = ready!(Pin::new(&mut self.tcp).poll_write(cx, bytes));
        self.written(result, bytes.len())
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let length = slices.iter().map(|slice| slice.len()).sum();
        if self.broken.is_some() {
            return Poll::Ready(Ok(length));
        }
        let result = ready!(Pin::new(&mut self.tcp).poll_write_vectored(cx, slices));
        self.written(result, length)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}
