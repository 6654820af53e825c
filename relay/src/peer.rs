//! The client's side of a connection: what it does and since when it does nothing.
//!
//! The HTTP library reads and writes through [`ClientIo`], which notes the time of each step in
//! [`Peer`]; the connection's task watches those notes. No timer is set per request.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::failure::Failure;
use crate::limits::ClientLimits;
use crate::screen::Refusal;
use crate::splice::{self, Outlet};

/// Who sent a request; cheap to clone into what handles it.
#[derive(Clone, Copy, Debug)]
pub struct Client {
    pub address: SocketAddr,
    /// `http` or `https`.
    pub scheme: &'static str,
}

/// A stretch of time in which the client owes us something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Overdue {
    /// Nothing asked for: close quietly.
    Idle,
    /// A request that does not get finished.
    Request,
    /// A response that is not being taken.
    Response,
}

const NEVER: u64 = u64::MAX;

/// The socket and the notes. Times are milliseconds since `start`.
#[derive(Debug)]
pub(crate) struct Peer {
    tcp: TcpStream,
    /// The way for bodies that are not copied.
    outlet: Arc<Outlet>,
    start: Instant,
    /// Since when no request is under way and none has begun to arrive.
    idle_since: AtomicU64,
    /// Since when a request head is arriving.
    head_since: AtomicU64,
    /// Since when the library wants bytes of a request body and gets none.
    read_blocked_since: AtomicU64,
    /// Since when the library has bytes to send and can not.
    write_blocked_since: AtomicU64,
    last_write: AtomicU64,
    in_flight: AtomicBool,
    /// The request under way has a response, of which some may have been sent.
    responding: AtomicBool,
    /// A request body was abandoned before its end.
    unread: AtomicBool,
    /// The response must not look complete: reset instead of closing.
    reset: AtomicBool,
    /// The socket belongs to a tunnel now.
    handed_over: AtomicBool,
    /// Responses that are over.
    responses: AtomicU64,
    /// Why what the client sends is not read on.
    refusal: OnceLock<Refusal>,
}

impl Peer {
    pub(crate) fn new(tcp: TcpStream) -> Self {
        Self {
            tcp,
            outlet: Arc::default(),
            start: Instant::now(),
            idle_since: AtomicU64::new(0),
            head_since: AtomicU64::new(NEVER),
            read_blocked_since: AtomicU64::new(NEVER),
            write_blocked_since: AtomicU64::new(NEVER),
            last_write: AtomicU64::new(0),
            in_flight: AtomicBool::new(false),
            responding: AtomicBool::new(false),
            unread: AtomicBool::new(false),
            reset: AtomicBool::new(false),
            handed_over: AtomicBool::new(false),
            responses: AtomicU64::new(0),
            refusal: OnceLock::new(),
        }
    }

    /// `None` where what is sent must pass through user space, as for TLS.
    pub(crate) fn outlet(&self) -> Option<&Arc<Outlet>> {
        Some(&self.outlet)
    }

    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(NEVER - 1)
    }

    /// A request's head is complete.
    pub(crate) fn request_began(&self) {
        self.head_since.store(NEVER, Relaxed);
        self.idle_since.store(NEVER, Relaxed);
        self.in_flight.store(true, Relaxed);
    }

    /// Its response is about to be sent.
    pub(crate) fn response_began(&self) {
        self.responding.store(true, Relaxed);
    }

    /// Its response's body is done with, one way or the other.
    pub(crate) fn response_ended(&self) {
        self.in_flight.store(false, Relaxed);
        self.responding.store(false, Relaxed);
        self.read_blocked_since.store(NEVER, Relaxed);
        self.idle_since.store(self.now(), Relaxed);
        self.responses.fetch_add(1, Relaxed);
    }

    /// Requests that are answered, or given up.
    pub(crate) fn responses(&self) -> u64 {
        self.responses.load(Relaxed)
    }

    /// Nothing more is read from this client, for this reason.
    pub(crate) fn refuse(&self, refusal: Refusal) {
        self.refusal.get_or_init(|| refusal);
    }

    pub(crate) fn refusal(&self) -> Option<Refusal> {
        self.refusal.get().copied()
    }

    pub(crate) fn request_abandoned(&self) {
        self.unread.store(true, Relaxed);
    }

    /// Makes the end of the connection a reset, for a response that a client could take for whole.
    pub(crate) fn reset_on_close(&self) {
        self.reset.store(true, Relaxed);
    }

    /// From here on the socket is read and written by a tunnel.
    pub(crate) fn hand_over(&self) {
        self.handed_over.store(true, Relaxed);
    }

    pub(crate) fn is_handed_over(&self) -> bool {
        self.handed_over.load(Relaxed)
    }

    /// Resolves when the client let a deadline pass.
    pub(crate) async fn overdue(&self, limits: &ClientLimits) -> Overdue {
        loop {
            let now = Instant::now();
            // What comes to be pending during this sleep is not due before its end.
            let look_again = now + shortest(limits);
            match self.next_deadline(limits) {
                Some((deadline, overdue)) if now >= deadline => return overdue,
                Some((deadline, _)) => sleep_until(deadline.min(look_again)).await,
                None => sleep_until(look_again).await,
            }
        }
    }

    /// The earliest deadline of what is pending now.
    fn next_deadline(&self, limits: &ClientLimits) -> Option<(Instant, Overdue)> {
        let at = |since: &AtomicU64, limit: Duration, overdue: Overdue| {
            let since = since.load(Relaxed);
            // Idle is who neither asks nor still takes the end of what was asked for.
            let since =
                if overdue == Overdue::Idle { since.max(self.last_write.load(Relaxed)) } else { since };
            (since != NEVER).then(|| (self.start + Duration::from_millis(since) + limit, overdue))
        };
        let in_flight = self.in_flight.load(Relaxed);
        let reading =
            if in_flight { at(&self.read_blocked_since, limits.body_stall, Overdue::Request) } else { None };
        let pending = [
            at(&self.write_blocked_since, limits.write_stall, Overdue::Response),
            at(&self.head_since, limits.head, Overdue::Request),
            at(&self.idle_since, limits.keep_alive, Overdue::Idle),
            reading,
        ];
        pending.into_iter().flatten().min_by_key(|(deadline, _)| *deadline)
    }

    /// Resolves when nobody is there any more to take a response: the connection was reset, or the
    /// client closed its side and took nothing for `grace`.
    pub(crate) async fn gone(&self, grace: Duration) {
        if self.sending_side_closed().await == Closed::Whole {
            return;
        }
        let closed_at = self.now();
        loop {
            let last_sign = closed_at.max(self.last_write.load(Relaxed));
            let deadline = self.start + Duration::from_millis(last_sign) + grace;
            // Without a request under way the HTTP library sees the end by itself.
            if Instant::now() >= deadline && self.in_flight.load(Relaxed) {
                return;
            }
            sleep_until(deadline.max(Instant::now() + Duration::from_millis(10))).await;
            if self.is_reset() {
                return;
            }
        }
    }

    async fn sending_side_closed(&self) -> Closed {
        loop {
            match self.tcp.ready(Interest::READABLE).await {
                Ok(ready) if ready.is_read_closed() => {
                    return if self.is_reset() { Closed::Whole } else { Closed::SendingSide };
                }
                // Bytes that the library will take when it wants them. Readiness stays set until
                // then, so look again later rather than at once.
                Ok(_) => sleep(Duration::from_millis(100)).await,
                Err(_) => return Closed::Whole,
            }
        }
    }

    fn is_reset(&self) -> bool {
        SockRef::from(&self.tcp).take_error().map_or(true, |error| error.is_some())
    }

    /// Says `408` to a client that may still read it. Best effort: the connection ends anyway.
    pub(crate) fn answer_timeout(&self) {
        if self.responding.load(Relaxed) {
            return self.reset_on_close();
        }
        let body = format!("{}\n", Failure::ClientStalled);
        let answer = format!(
            "HTTP/1.1 408 Request Timeout\r\ncontent-type: text/plain; charset=utf-8\r\n\
             content-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        );
        let _best_effort = self.tcp.try_write(answer.as_bytes());
    }

    /// A response that is cut off in the middle must not look as if it had ended there.
    pub(crate) fn cut_off(&self) {
        if self.responding.load(Relaxed) {
            self.reset_on_close();
        }
    }

    /// Ends the connection so that the client gets what was sent.
    ///
    /// Closing a socket that holds unread bytes resets it, and the reset overtakes the response
    /// (RFC 9112, 9.6): read on for a while, and let the client close first.
    pub(crate) async fn close(&self) {
        if self.reset.load(Relaxed) {
            let _ = SockRef::from(&self.tcp).set_linger(Some(Duration::ZERO));
            return;
        }
        let mut scratch = [0_u8; 4096];
        let has_more = |n: io::Result<usize>| matches!(n, Ok(1..));
        if !self.unread.load(Relaxed) && !has_more(self.tcp.try_read(&mut scratch)) {
            return;
        }
        let _ = SockRef::from(&self.tcp).shutdown(std::net::Shutdown::Write);
        let _ = timeout(Duration::from_secs(5), self.discard(&mut scratch)).await;
    }

    async fn discard(&self, scratch: &mut [u8]) {
        let mut left: usize = 4 * 1024 * 1024;
        while left > 0 && self.tcp.readable().await.is_ok() {
            match self.tcp.try_read(scratch) {
                Ok(0) => return,
                Ok(n) => left = left.saturating_sub(n),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return,
            }
        }
    }
}

#[derive(PartialEq, Eq)]
enum Closed {
    SendingSide,
    Whole,
}

/// Nothing that begins to be pending now is due sooner than this.
fn shortest(limits: &ClientLimits) -> Duration {
    limits.head.min(limits.keep_alive).min(limits.body_stall).min(limits.write_stall)
}

/// The socket as the HTTP library sees it, and a tunnel after it.
pub(crate) struct ClientIo {
    peer: Arc<Peer>,
    /// Never sent to; tells by being dropped that nobody reads or writes any more.
    _in_use: oneshot::Sender<()>,
}

impl ClientIo {
    /// The socket, and what resolves (with an error) once it is out of use.
    pub(crate) fn new(peer: Arc<Peer>) -> (Self, oneshot::Receiver<()>) {
        let (in_use, out_of_use) = oneshot::channel();
        (Self { peer, _in_use: in_use }, out_of_use)
    }
}

impl ClientIo {
    fn note_read(&self, n: usize) {
        let peer = &self.peer;
        peer.read_blocked_since.store(NEVER, Relaxed);
        if n > 0 && peer.idle_since.swap(NEVER, Relaxed) != NEVER {
            peer.head_since.store(peer.now(), Relaxed);
        }
    }

    fn note_written<T>(&self, result: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        let peer = &self.peer;
        match &result {
            Poll::Pending => note_since(&peer.write_blocked_since, peer),
            Poll::Ready(_) => {
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

fn note_since(since: &AtomicU64, peer: &Peer) {
    if since.load(Relaxed) == NEVER {
        since.store(peer.now(), Relaxed);
    }
}

impl AsyncRead for ClientIo {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            match self.peer.tcp.poll_read_ready(cx) {
                Poll::Ready(ready) => ready?,
                Poll::Pending => {
                    note_since(&self.peer.read_blocked_since, &self.peer);
                    return Poll::Pending;
                }
            }
            match self.peer.tcp.try_read_buf(buf) {
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
