//! What the HTTP library reads from and writes to.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use super::{NEVER, Paced, Peer};
use crate::splice;

/// The socket as the HTTP library sees it, and a tunnel after it.
pub(crate) struct ClientIo {
    peer: Arc<Peer>,
    /// What was read to see what is spoken, to be read again.
    ahead: Bytes,
    /// Never sent to; tells by being dropped that nobody reads or writes any more.
    _in_use: oneshot::Sender<()>,
}

impl ClientIo {
    /// The socket, and what resolves (with an error) once it is out of use.
    pub(crate) fn new(peer: Arc<Peer>) -> (Self, oneshot::Receiver<()>) {
        let (in_use, out_of_use) = oneshot::channel();
        (Self { peer, ahead: Bytes::new(), _in_use: in_use }, out_of_use)
    }

    /// Gives back what was read, which is the next to be read.
    pub(crate) fn unread(&mut self, ahead: Bytes) {
        self.note_read(ahead.len());
        self.ahead = ahead;
    }
}

impl ClientIo {
    fn note_read(&self, n: usize) {
        let peer = &self.peer;
        let blocked_since = peer.read_blocked_since.load(Relaxed);
        peer.read_blocked_since.store(NEVER, Relaxed);
        if peer.is_multiplexed() {
            peer.idle_bytes.store(peer.idle_bytes.load(Relaxed) + n, Relaxed);
        } else if peer.in_flight.load(Relaxed) > 0 {
            note_pace(&peer.upload, blocked_since, peer, n);
        } else if n > 0 && peer.idle_since.load(Relaxed) != NEVER {
            peer.idle_since.store(NEVER, Relaxed);
            peer.head_since.store(peer.now(), Relaxed);
        }
    }

    fn note_written(&self, result: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        let peer = &self.peer;
        match &result {
            Poll::Pending => note_since(&peer.write_blocked_since, peer),
            Poll::Ready(written) => {
                let blocked_since = peer.write_blocked_since.load(Relaxed);
                note_pace(&peer.download, blocked_since, peer, *written.as_ref().unwrap_or(&0));
                peer.write_blocked_since.store(NEVER, Relaxed);
                peer.last_write.store(peer.now(), Relaxed);
            }
        }
        result
    }

    /// Tries `write` until the socket takes something or is full.
    fn poll_write_by(
        &self,
        cx: &mut Context<'_>,
        mut write: impl FnMut(&TcpStream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.peer.tcp.poll_write_ready(cx))?;
            match write(&self.peer.tcp) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return Poll::Ready(result),
            }
        }
    }
}

/// Reads once. A socket that gave less than there was room for is empty, and is not asked again before more comes: that
/// saves a call per request. The outer `try_io` notes it, as it took its look at the readiness before the reading.
fn read_some(tcp: &TcpStream, buf: &mut ReadBuf<'_>) -> io::Result<usize> {
    let room = buf.remaining();
    let mut read = Err(io::ErrorKind::WouldBlock.into());
    let _noted = tcp.try_io(Interest::READABLE, || {
        read = tcp.try_read_buf(buf);
        match read {
            Ok(n) if 0 < n && n < room => Err(io::ErrorKind::WouldBlock.into()),
            _ => Ok(()),
        }
    });
    read
}

fn note_since(since: &AtomicU64, peer: &Peer) {
    if since.load(Relaxed) == NEVER {
        since.store(peer.now(), Relaxed);
    }
}

/// `n` bytes passed, and the client was waited for since `blocked_since`, unless that is never.
fn note_pace(paced: &Paced, blocked_since: u64, peer: &Peer, n: usize) {
    let waited = if blocked_since == NEVER { 0 } else { peer.now().saturating_sub(blocked_since) };
    paced.passed(Duration::from_millis(waited), n);
}

impl AsyncRead for ClientIo {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.ahead.is_empty() {
            let ahead = &mut self.get_mut().ahead;
            let n = ahead.len().min(buf.remaining());
            buf.put_slice(&ahead[..n]);
            ahead.advance(n);
            return Poll::Ready(Ok(()));
        }
        if self.peer.is_flooding() {
            return Poll::Ready(Err(io::Error::other("more is sent than serves any request")));
        }
        loop {
            match self.peer.tcp.poll_read_ready(cx) {
                Poll::Ready(ready) => ready?,
                Poll::Pending => {
                    note_since(&self.peer.read_blocked_since, &self.peer);
                    return Poll::Pending;
                }
            }
            match read_some(&self.peer.tcp, buf) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => {
                    self.note_read(*result.as_ref().unwrap_or(&0));
                    return Poll::Ready(result.map(|_| ()));
                }
            }
        }
    }
}

impl AsyncWrite for ClientIo {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outlet = &self.peer.outlet;
        outlet.check()?;
        self.note_written(self.poll_write_by(cx, |tcp| splice::write(tcp, outlet, slices)))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.peer.reset.load(Relaxed) {
            SockRef::from(&self.peer.tcp).shutdown(std::net::Shutdown::Write)?;
        }
        Poll::Ready(Ok(()))
    }
}
