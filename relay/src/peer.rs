//! The client's side of a connection: what it does and since when it does nothing.
//!
//! The HTTP library reads and writes through [`ClientIo`], which notes the time of each step in
//! [`Peer`]; the connection's task watches those notes. No timer is set per request, and the clock is read once per turn of
//! the task.

mod close;
mod gone;
mod io;
mod notice;
mod paced;
mod vigil;

use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until};

use crate::failure::Failure;
use crate::limits::{ClientLimits, Http2Limits};
use crate::pace::Required;
use crate::screen::Refusal;
use crate::splice::Outlet;

pub(crate) use gone::Presence;
pub(crate) use io::ClientIo;
use notice::Notice;
use paced::Paced;
pub(crate) use vigil::Vigil;

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
    /// A request that comes too slowly.
    SlowRequest,
    /// A response that is taken too slowly.
    SlowResponse,
}

const NEVER: u64 = u64::MAX;

/// How a connection's bytes are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    Clear,
    Tls,
}

/// The socket and the notes. Times are milliseconds since `start`.
#[derive(Debug)]
pub(crate) struct Peer {
    tcp: TcpStream,
    transport: Transport,
    /// HTTP/2: requests side by side, of which this knows the number alone (see `http2`).
    multiplexed: AtomicBool,
    /// The way for bodies that are not copied.
    outlet: Arc<Outlet>,
    start: Instant,
    /// When the present turn of the connection's task began.
    turn: AtomicU64,
    /// Since when no request is under way and none has begun to arrive.
    idle_since: AtomicU64,
    /// Since when a request head is arriving.
    head_since: AtomicU64,
    /// Since when the library wants bytes of a request body and gets none.
    read_blocked_since: AtomicU64,
    /// Since when the library has bytes to send and can not.
    write_blocked_since: AtomicU64,
    last_write: AtomicU64,
    upload: Paced,
    download: Paced,
    /// Requests under way; at most one unless multiplexed.
    in_flight: AtomicUsize,
    /// Bytes that came since the client last did anything that serves a request, if multiplexed.
    idle_bytes: AtomicUsize,
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
    notice: Notice,
}

impl Peer {
    pub(crate) fn new(tcp: TcpStream, transport: Transport, limits: &ClientLimits) -> Self {
        Self {
            tcp,
            transport,
            multiplexed: AtomicBool::new(false),
            outlet: Arc::default(),
            start: Instant::now(),
            turn: AtomicU64::new(0),
            idle_since: AtomicU64::new(0),
            head_since: AtomicU64::new(NEVER),
            read_blocked_since: AtomicU64::new(NEVER),
            write_blocked_since: AtomicU64::new(NEVER),
            last_write: AtomicU64::new(0),
            upload: Paced::new(limits.upload()),
            download: Paced::new(limits.download()),
            in_flight: AtomicUsize::new(0),
            idle_bytes: AtomicUsize::new(0),
            responding: AtomicBool::new(false),
            unread: AtomicBool::new(false),
            reset: AtomicBool::new(false),
            handed_over: AtomicBool::new(false),
            responses: AtomicU64::new(0),
            refusal: OnceLock::new(),
            notice: Notice::default(),
        }
    }

    /// `None` where what is sent must pass through user space: to be encrypted, or to be cut into frames.
    pub(crate) fn outlet(&self) -> Option<&Arc<Outlet>> {
        let as_it_is = self.transport == Transport::Clear && !self.is_multiplexed();
        as_it_is.then_some(&self.outlet)
    }

    /// From here on the connection carries HTTP/2.
    pub(crate) fn multiplex(&self) {
        self.multiplexed.store(true, Relaxed);
        self.rest();
    }

    fn is_multiplexed(&self) -> bool {
        self.multiplexed.load(Relaxed)
    }

    /// What came until now was no request.
    pub(crate) fn rest(&self) {
        self.head_since.store(NEVER, Relaxed);
        self.read_blocked_since.store(NEVER, Relaxed);
        self.idle_since.store(if self.in_flight.load(Relaxed) == 0 { self.now() } else { NEVER }, Relaxed);
    }

    /// The client did something that serves a request.
    pub(crate) fn useful(&self) {
        self.idle_bytes.store(0, Relaxed);
    }

    /// It sent too much that serves none.
    pub(crate) fn is_flooding(&self) -> bool {
        self.idle_bytes.load(Relaxed) > Http2Limits::IDLE_BYTES
    }

    /// The task of the connection runs, for much less than a millisecond: all that it notes has this time.
    pub(crate) fn begin_turn(&self) {
        let now = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(NEVER - 1);
        self.turn.store(now, Relaxed);
    }

    /// When the turn began, to a millisecond.
    pub(crate) fn turn(&self) -> Instant {
        self.start + Duration::from_millis(self.now())
    }

    fn now(&self) -> u64 {
        self.turn.load(Relaxed)
    }

    /// What is to be woken when there is news for the connection.
    pub(crate) fn attend(&self, task: &Waker) {
        self.notice.attend(task);
    }

    /// There is news.
    pub(crate) fn wake(&self) {
        self.notice.wake();
    }

    /// The connection is to end, to make room.
    pub(crate) fn dismiss(&self) {
        self.notice.dismiss();
    }

    pub(crate) fn is_dismissed(&self) -> bool {
        self.notice.is_dismissed()
    }

    /// A request's head is complete.
    pub(crate) fn request_began(&self) {
        self.head_since.store(NEVER, Relaxed);
        self.idle_since.store(NEVER, Relaxed);
        self.in_flight.store(self.in_flight.load(Relaxed) + 1, Relaxed);
        self.useful();
    }

    /// Its response is about to be sent.
    pub(crate) fn response_began(&self) {
        self.responding.store(true, Relaxed);
    }

    /// Its response's body is done with, one way or the other.
    pub(crate) fn response_ended(&self) {
        self.responses.store(self.responses() + 1, Relaxed);
        let left = self.in_flight.load(Relaxed) - 1;
        self.in_flight.store(left, Relaxed);
        if left > 0 {
            return;
        }
        if self.is_multiplexed() {
            // On the turn of a task of its own.
            self.begin_turn();
        }
        self.responding.store(false, Relaxed);
        self.read_blocked_since.store(NEVER, Relaxed);
        self.idle_since.store(self.now(), Relaxed);
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

    /// What is asked of one of the streams under way, if multiplexed.
    pub(crate) fn required_of_stream(&self) -> Required {
        self.download.required.of_one_in(self.in_flight.load(Relaxed))
    }

    pub(crate) fn required_of_upload(&self) -> Required {
        self.upload.required.of_one_in(self.in_flight.load(Relaxed))
    }

    /// For how long nothing was asked for. `None`: something is, or is about to be.
    pub(crate) fn idle_for(&self) -> Option<Duration> {
        let since = self.idle_from();
        if since == NEVER || self.is_handed_over() {
            return None;
        }
        let has_sent = SockRef::from(&self.tcp).peek(&mut [MaybeUninit::uninit()]).is_ok();
        // Somebody else's turn: the connection's own may have been long ago.
        let since = self.start + Duration::from_millis(since);
        (!has_sent).then(|| Instant::now().saturating_duration_since(since))
    }

    /// Resolves when the client let a deadline pass.
    pub(crate) async fn overdue(&self, limits: &ClientLimits) -> Overdue {
        loop {
            match self.look(limits) {
                ControlFlow::Break(overdue) => return overdue,
                ControlFlow::Continue(look_again) => sleep_until(look_again).await,
            }
        }
    }

    /// As [`look`](Self::look), and `None` once nothing has been asked for, and nothing was left to be sent, for as long as
    /// `rest`.
    pub(crate) fn look_or_rest(
        &self,
        limits: &ClientLimits,
        rest: Duration,
    ) -> ControlFlow<Option<Overdue>, Instant> {
        if self.rests_for(rest) {
            return ControlFlow::Break(None);
        }
        match self.look(limits) {
            ControlFlow::Break(overdue) => ControlFlow::Break(Some(overdue)),
            ControlFlow::Continue(look_again) => ControlFlow::Continue(look_again.min(Instant::now() + rest)),
        }
    }

    /// The same for a client that rests: nothing comes to be pending without something being read.
    pub(crate) fn look_at_rest(&self, limits: &ClientLimits) -> ControlFlow<Overdue, Instant> {
        match (self.look(limits), self.next_deadline(limits)) {
            (ControlFlow::Continue(_), Some((deadline, _))) => ControlFlow::Continue(deadline),
            (looked, _) => looked,
        }
    }

    fn rests_for(&self, rest: Duration) -> bool {
        let since = self.idle_from();
        let is_idle = since != NEVER && !self.is_handed_over();
        let is_sent = self.write_blocked_since.load(Relaxed) == NEVER;
        is_idle && is_sent && Duration::from_millis(self.now().saturating_sub(since)) >= rest
    }

    /// Ready when something came, or the connection has ended. An error is found again by whoever reads.
    pub(crate) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.tcp.poll_read_ready(cx).map(|_found_again| ())
    }

    /// Whether a request is under way.
    fn has_requests(&self) -> bool {
        self.in_flight.load(Relaxed) > 0
    }

    /// What is overdue now, or when to look again.
    pub(crate) fn look(&self, limits: &ClientLimits) -> ControlFlow<Overdue, Instant> {
        let now = Instant::now();
        // What comes to be pending until then is not due before.
        let look_again = now + self.shortest(limits);
        match self.next_deadline(limits) {
            Some((deadline, overdue)) if now >= deadline => ControlFlow::Break(overdue),
            Some((deadline, _)) => ControlFlow::Continue(deadline.min(look_again)),
            None => ControlFlow::Continue(look_again),
        }
    }

    /// The earliest deadline of what is pending now.
    fn next_deadline(&self, limits: &ClientLimits) -> Option<(Instant, Overdue)> {
        let deadline = |since: u64, limit: Duration, overdue: Overdue| {
            (since != NEVER).then(|| (self.start + Duration::from_millis(since) + limit, overdue))
        };
        let which = |paced: &Paced, stopped, slow| if paced.is_slow() { slow } else { stopped };
        let request = which(&self.upload, Overdue::Request, Overdue::SlowRequest);
        let response = which(&self.download, Overdue::Response, Overdue::SlowResponse);
        // Multiplexed, the library reads at all times, and each stream has a limit of its own.
        let wants_body = !self.is_multiplexed() && self.has_requests();
        let body_since = if wants_body { self.read_blocked_since.load(Relaxed) } else { NEVER };
        let pending = [
            deadline(self.write_blocked_since.load(Relaxed), self.download.left(), response),
            deadline(self.head_since.load(Relaxed), limits.head, Overdue::Request),
            deadline(self.idle_from(), limits.keep_alive, Overdue::Idle),
            deadline(body_since, self.upload.left(), request),
        ];
        pending.into_iter().flatten().min_by_key(|(deadline, _)| *deadline)
    }

    /// Nothing that begins to be pending now is due sooner than this, but for a client that is about to be cut off.
    fn shortest(&self, limits: &ClientLimits) -> Duration {
        let slow = self.upload.left().min(self.download.left()).max(CLOSE_LOOK);
        limits.head.min(limits.keep_alive).min(limits.body_stall).min(limits.write_stall).min(slow)
    }

    /// Since when the client neither asks nor still takes the end of what it asked for.
    fn idle_from(&self) -> u64 {
        let idle_since = self.idle_since.load(Relaxed);
        if !self.is_multiplexed() {
            return idle_since.max(self.last_write.load(Relaxed));
        }
        // Something is written for every PING, so that writing shows nothing; but that more waits to be written does.
        if self.write_blocked_since.load(Relaxed) == NEVER { idle_since } else { NEVER }
    }

    /// Says `408` to a client that may still read it. Best effort: the connection ends anyway.
    pub(crate) fn answer_timeout(&self, failure: Failure) {
        if self.responding.load(Relaxed) {
            return self.reset_on_close();
        }
        if self.transport == Transport::Tls {
            return;
        }
        let body = format!("{failure}\n");
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
}

/// How often at most a client is looked at that is about to be cut off for its slowness.
const CLOSE_LOOK: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use tokio::net::TcpListener;
    use tokio::time::timeout;

    #[tokio::test(start_paused = true)]
    async fn a_connection_rests_once_it_is_idle_and_nothing_is_left_to_be_sent() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let client = TcpStream::connect(listener.local_addr().expect("bound")).await.expect("it listens");
        let limits = ClientLimits::default();
        let peer = Peer::new(client, Transport::Clear, &limits);
        let rest = ClientLimits::REST;
        let rests_at_last = async || {
            let mut vigil = Vigil::new();
            let rests = poll_fn(|cx| {
                peer.begin_turn();
                vigil.poll(cx, || peer.look_or_rest(&limits, rest))
            });
            timeout(limits.head / 2, rests).await
        };
        peer.request_began();
        assert!(rests_at_last().await.is_err(), "a request is under way");
        peer.response_ended();
        peer.write_blocked_since.store(peer.now(), Relaxed);
        assert!(rests_at_last().await.is_err(), "the client has yet to take its response");
        peer.write_blocked_since.store(NEVER, Relaxed);
        peer.rest();
        assert!(!peer.rests_for(rest), "not yet");
        assert_eq!(rests_at_last().await, Ok(None));
        let idle = peer.overdue(&limits).await;
        assert_eq!(idle, Overdue::Idle, "resting or not, it is closed some day");
    }

    #[tokio::test]
    async fn a_multiplexed_connection_is_idle_without_streams_unless_it_takes_the_end_of_something() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let client = TcpStream::connect(listener.local_addr().expect("bound")).await.expect("it listens");
        let limits = ClientLimits::default();
        let peer = Peer::new(client, Transport::Clear, &limits);
        let pending = || peer.next_deadline(&limits).map(|(_, overdue)| overdue);
        peer.multiplex();
        peer.read_blocked_since.store(0, Relaxed);
        assert_eq!(pending(), Some(Overdue::Idle));
        peer.request_began();
        peer.request_began();
        peer.response_ended();
        assert_eq!(pending(), None, "one is under way, and has limits of its own");
        peer.response_ended();
        assert_eq!(pending(), Some(Overdue::Idle));
        peer.write_blocked_since.store(0, Relaxed);
        assert_eq!(pending(), Some(Overdue::Response), "bytes wait to be taken, and not for ever");
    }
}
