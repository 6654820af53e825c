//! A client's connection as the HTTP library sees it: only what was looked at.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use http::Request;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::io::poll_read_buf;

use super::head::HeadLimits;
use super::messages::{Messages, Verdict, Within};
use super::refusal::Refusal;
use crate::peer::Peer;

/// Marks the stand-in. A client that sends it itself marks nothing: there must be a refusal as well.
const MARK: &str = "x-sluice-screened";
/// What the HTTP library gets in place of a head that was refused, so that it is answered after those before it, and
/// is counted and logged like any other.
const STAND_IN: &[u8] = b"GET / HTTP/1.1\r\nhost: \r\nx-sluice-screened: 1\r\n\r\n";
/// How much is read ahead of a decision about an upgrade.
const UNDECIDED_BYTES: usize = 16 * 1024;

/// Reads through a [`Messages`].
pub(crate) struct Screened<I> {
    io: I,
    peer: Arc<Peer>,
    messages: Messages,
    /// Read and not decided about: an incomplete head, or what follows a request for an upgrade.
    held: BytesMut,
    /// To be read before anything else.
    passed: BytesMut,
    end: Option<End>,
}

/// What is read once `passed` is.
#[derive(Clone, Copy, Debug)]
enum End {
    Closed,
    Broken(Refusal),
}

impl<I> Screened<I> {
    /// `peer` is told of a refusal, and tells what became of requests.
    pub(crate) fn new(io: I, peer: Arc<Peer>, limits: HeadLimits) -> Self {
        let (held, passed) = (BytesMut::new(), BytesMut::new());
        Self { io, peer, messages: Messages::new(limits), held, passed, end: None }
    }

    /// Takes back what was read and not made use of; it is the next to be read.
    pub(crate) fn unread(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            let later = std::mem::replace(&mut self.passed, BytesMut::from(bytes));
            self.passed.unsplit(later);
        }
    }

    fn refuse(&mut self, refusal: Refusal, within: Within) {
        self.held = BytesMut::new();
        self.peer.refuse(refusal);
        self.end = Some(match within {
            Within::Head => {
                self.passed.extend_from_slice(STAND_IN);
                End::Closed
            }
            Within::Body => End::Broken(refusal),
        });
    }

    /// Decides about what was held back.
    fn follow_held(&mut self) {
        match self.messages.follow(&self.held) {
            Verdict::Pass(n) => self.passed = self.held.split_to(n),
            Verdict::Refuse { passed, refusal, within } => {
                self.passed = self.held.split_to(passed);
                self.refuse(refusal, within);
            }
        }
        if self.held.is_empty() {
            self.held = BytesMut::new();
        }
    }

    /// Decides about what was read into `buf`, from `start`. What may not be read yet is taken out again.
    fn follow_read(&mut self, buf: &mut ReadBuf<'_>, start: usize) {
        let read = &buf.filled()[start..];
        let (passed, refused) = match self.messages.follow(read) {
            Verdict::Pass(n) => (n, None),
            Verdict::Refuse { passed, refusal, within } => (passed, Some((refusal, within))),
        };
        match refused {
            Some((refusal, within)) => self.refuse(refusal, within),
            None => self.held.extend_from_slice(&read[passed..]),
        }
        buf.set_filled(start + passed);
    }

    /// What became of the request for an upgrade, if that is known by now.
    fn settle(&mut self) {
        if self.peer.is_handed_over() {
            self.messages.agree();
        } else if self.peer.responses() >= self.messages.heads() {
            self.messages.decline();
        }
        self.follow_held();
    }

    fn client_closed(&mut self) {
        self.end = Some(End::Closed);
        if self.messages.is_between() && !self.held.trim_ascii().is_empty() {
            self.refuse(Refusal::malformed("the request ends within its head"), Within::Head);
        }
    }
}

impl<I: AsyncRead + Unpin> Screened<I> {
    fn poll_more(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.held.is_empty() {
            if self.messages.is_undecided() && self.held.len() >= UNDECIDED_BYTES {
                // Polled again when the response is there.
                return Poll::Pending;
            }
            if ready!(poll_read_buf(Pin::new(&mut self.io), cx, &mut self.held))? == 0 {
                self.client_closed();
            } else {
                self.follow_held();
            }
            return Poll::Ready(Ok(()));
        }
        let start = buf.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(cx, buf))?;
        if buf.filled().len() == start {
            self.client_closed();
        } else {
            self.follow_read(buf, start);
        }
        Poll::Ready(Ok(()))
    }

    /// Gives out what has passed, or the end. Whether there was either.
    fn give_out(&mut self, buf: &mut ReadBuf<'_>) -> io::Result<bool> {
        if !self.passed.is_empty() {
            let n = self.passed.len().min(buf.remaining());
            buf.put_slice(&self.passed[..n]);
            self.passed.advance(n);
            return Ok(true);
        }
        match self.end {
            None => Ok(false),
            Some(End::Closed) => Ok(true),
            Some(End::Broken(refusal)) => Err(io::Error::new(io::ErrorKind::InvalidData, refusal)),
        }
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Screened<I> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let start = buf.filled().len();
        loop {
            if buf.filled().len() > start || this.give_out(buf)? {
                return Poll::Ready(Ok(()));
            }
            if this.messages.is_undecided() {
                this.settle();
                if !this.passed.is_empty() || this.end.is_some() {
                    continue;
                }
            }
            ready!(this.poll_more(cx, buf))?;
        }
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Screened<I> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

/// Why the request that this one stands in for was refused, if it is a stand-in.
pub(crate) fn refusal_of<B>(request: &Request<B>, peer: &Peer) -> Option<Refusal> {
    peer.refusal().filter(|_| request.headers().contains_key(MARK))
}
