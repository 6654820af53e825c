//! A response that is read as fast as its instance writes it, whatever its client does.
//!
//! ```text
//!                      ┌── client keeps up: as without this, spliced where possible ──┐
//!  instance ──► Source ┤                                                              ├──► client
//!                      └── it does not: Pump ──► Spooled (memory, file) ──────────────┘
//! ```
//!
//! Who polls the source is its *driver*. That is the client's connection for as long as it comes back for more within
//! [`PATIENCE`]; then a task takes over and fills the spool, until that has no room (the instance waits) or the client
//! has caught up and asks the source itself again. What was given out before is always older than what is spooled.

use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use http::HeaderMap;
use http_body::{Frame, SizeHint};
use tokio::task::{AbortHandle, spawn_local, yield_now};
use tokio::time::{Instant, sleep, sleep_until};

use crate::body::{BodyError, Observer, Source};
use crate::splice::{self, Chunk, Outlet};
use crate::spool::{Spool, Spooled};

/// A client that has not come back for so long is slow. 5 ms: one that is fast does so within a fraction of it, also on
/// a busy machine, and it is added to the time that a worker is held by a response to a slow one.
const PATIENCE: Duration = Duration::from_millis(5);

/// How often a body without room looks whether others have left some.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Frames after which a client can be slow, as the HTTP library may have queued as many as it does (16, or 64 KiB and
/// more) and waits for the socket.
const QUEUED_FRAMES: u32 = 8;

/// The body as the client's connection polls it.
pub(crate) struct Drained<O: Observer> {
    core: Rc<RefCell<Core<O>>>,
    /// Started with the first frame after which the client can be slow: most bodies end before.
    pump: Option<AbortHandle>,
    frames: u32,
    bytes: u64,
}

struct Core<O: Observer> {
    source: Source<O>,
    spooled: Spooled,
    trailers: Option<HeaderMap>,
    /// What the source came to.
    over: Option<Result<(), BodyError>>,
    /// The client knows that nothing more comes before the error.
    warned: bool,
    driver: Driver,
    /// The client's connection, waiting for anything from here.
    client: Option<Waker>,
    /// The client has all that there is, since it asked last.
    client_waits: bool,
    /// When it was given something last.
    given_at: Instant,
    pump: Option<Waker>,
    throttled: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Driver {
    Client,
    Pump,
}

type Polled = Poll<Option<Result<Frame<Chunk>, BodyError>>>;

impl<O: Observer> Drained<O> {
    pub(crate) fn new(source: Source<O>, spool: Arc<Spool>) -> Self {
        let core = Core {
            source,
            spooled: Spooled::new(spool),
            trailers: None,
            over: None,
            warned: false,
            driver: Driver::Client,
            client: None,
            client_waits: false,
            given_at: Instant::now(),
            pump: None,
            throttled: false,
        };
        Self { core: Rc::new(RefCell::new(core)), pump: None, frames: 0, bytes: 0 }
    }

    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>, outlet: Option<&Arc<Outlet>>) -> Polled {
        let frame = self.core.borrow_mut().poll_client(cx, outlet);
        if let Poll::Ready(Some(Ok(frame))) = &frame {
            self.given(frame.data_ref().map_or(0, Buf::remaining));
        }
        frame
    }

    /// The client may be slow from now on.
    fn given(&mut self, bytes: usize) {
        self.frames += 1;
        self.bytes += bytes as u64;
        let can_be_slow = self.bytes >= splice::SHORTEST || self.frames >= QUEUED_FRAMES;
        if self.pump.is_none() && can_be_slow && !self.is_end_stream() {
            self.pump = Some(spawn_local(pump(Rc::downgrade(&self.core))).abort_handle());
        }
    }

    pub(crate) fn is_end_stream(&self) -> bool {
        let core = self.core.borrow();
        let is_over = match &core.over {
            Some(result) => result.is_ok(),
            None => core.source.is_end_stream(),
        };
        is_over && core.spooled.is_empty() && core.trailers.is_none()
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        let core = self.core.borrow();
        let spooled = core.spooled.len();
        let mut hint = if core.over.is_some() { SizeHint::with_exact(0) } else { core.source.size_hint() };
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper + spooled);
        }
        hint.set_lower(hint.lower() + spooled);
        hint
    }
}

impl<O: Observer> Drop for Drained<O> {
    fn drop(&mut self) {
        if let Some(pump) = &self.pump {
            pump.abort();
        }
    }
}

impl<O: Observer> Core<O> {
    fn poll_client(&mut self, cx: &mut Context<'_>, outlet: Option<&Arc<Outlet>>) -> Polled {
        let frame = self.poll_spooled_or_source(cx, outlet);
        match &frame {
            Poll::Ready(_) => {
                self.client_waits = false;
                self.given_at = Instant::now();
                // It may wait for room, or for the client to have been given something.
                self.pump.take().into_iter().for_each(Waker::wake);
            }
            Poll::Pending => self.client = Some(cx.waker().clone()),
        }
        frame
    }

    fn poll_spooled_or_source(&mut self, cx: &mut Context<'_>, outlet: Option<&Arc<Outlet>>) -> Polled {
        if let Some(bytes) = ready!(self.spooled.poll_next(cx)) {
            return Poll::Ready(Some(bytes.map(frame_of).map_err(BodyError::Spool)));
        }
        if self.over.is_none() {
            return self.poll_source(cx, outlet);
        }
        if let Some(trailers) = self.trailers.take() {
            return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
        }
        if matches!(self.over, Some(Err(_))) && !std::mem::replace(&mut self.warned, true) {
            // At an error the library drops what it has not written.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        match self.over.replace(Ok(())) {
            Some(Err(error)) => Poll::Ready(Some(Err(error))),
            _ => Poll::Ready(None),
        }
    }

    /// The client has all that was spooled.
    fn poll_source(&mut self, cx: &mut Context<'_>, outlet: Option<&Arc<Outlet>>) -> Polled {
        if self.driver == Driver::Pump {
            self.driver = Driver::Client;
            self.pump.take().into_iter().for_each(Waker::wake);
        }
        let frame = self.source.poll_frame(cx, outlet);
        match &frame {
            Poll::Ready(None) => self.over = Some(Ok(())),
            Poll::Ready(Some(_)) => {}
            Poll::Pending => self.client_waits = !self.source.is_client_slow(),
        }
        frame
    }

    /// Whether the client is slow, or when that can be said.
    fn poll_slow(&mut self, cx: &mut Context<'_>) -> Poll<Patience> {
        if self.over.is_some() {
            return Poll::Ready(Patience::Over);
        }
        if self.client_waits {
            self.pump = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let until = self.given_at + PATIENCE;
        Poll::Ready(if Instant::now() < until { Patience::Until(until) } else { Patience::Lost })
    }

    /// The next of the source, for the spool. Ready with `None` if the client has taken over, or with the end.
    fn poll_pull(&mut self, cx: &mut Context<'_>) -> Poll<Option<Pulled>> {
        ready!(self.spooled.poll_written(cx));
        self.pump = Some(cx.waker().clone());
        if self.driver == Driver::Client || self.over.is_some() {
            return Poll::Ready(None);
        }
        if !self.spooled.has_room() {
            return Poll::Ready(Some(Pulled::NoRoom));
        }
        Poll::Ready(match ready!(self.source.poll_frame(cx, None)) {
            Some(Ok(frame)) => Some(self.take_in(frame)),
            Some(Err(error)) => self.source_ended(Err(error)),
            None => self.source_ended(Ok(())),
        })
    }

    fn take_in(&mut self, frame: Frame<Chunk>) -> Pulled {
        match frame.into_data().map(Chunk::into_bytes) {
            Ok(bytes) => self.spooled.push(bytes.expect("without an outlet nothing is stood for")),
            Err(other) => self.trailers = other.into_trailers().ok(),
        }
        self.wake_client();
        Pulled::Some
    }

    fn source_ended(&mut self, result: Result<(), BodyError>) -> Option<Pulled> {
        self.over = Some(result);
        self.wake_client();
        None
    }

    fn wake_client(&mut self) {
        self.client.take().into_iter().for_each(Waker::wake);
    }

    fn note_throttled(&mut self) {
        if !std::mem::replace(&mut self.throttled, true) {
            self.spooled.spool().metrics().throttled.inc();
        }
    }
}

/// What is known of the client's pace.
enum Patience {
    /// Nothing more is to be done.
    Over,
    Until(Instant),
    /// It is slow.
    Lost,
}

enum Pulled {
    Some,
    NoRoom,
}

/// Fills the spool whenever the client is slow. Ends with the source, or when the body is dropped.
async fn pump<O: Observer>(core: Weak<RefCell<Core<O>>>) {
    while is_slow(&core).await {
        if let Some(core) = core.upgrade() {
            core.borrow_mut().driver = Driver::Pump;
        }
        fill(&core).await;
    }
}

/// Resolves with `true` once the client is slow, with `false` if there is nothing more to read.
async fn is_slow<O: Observer>(core: &Weak<RefCell<Core<O>>>) -> bool {
    loop {
        let patience = poll_fn(|cx| match core.upgrade() {
            Some(core) => core.borrow_mut().poll_slow(cx),
            None => Poll::Ready(Patience::Over),
        });
        match patience.await {
            Patience::Over => return false,
            Patience::Until(when) => sleep_until(when).await,
            Patience::Lost => return true,
        }
    }
}

/// Reads until the client takes over or the source ends.
async fn fill<O: Observer>(core: &Weak<RefCell<Core<O>>>) {
    loop {
        let pulled = poll_fn(|cx| match core.upgrade() {
            Some(core) => core.borrow_mut().poll_pull(cx),
            None => Poll::Ready(None),
        });
        match pulled.await {
            // One piece, then it is another response's turn.
            Some(Pulled::Some) => yield_now().await,
            Some(Pulled::NoRoom) => wait_for_room(core).await,
            None => return,
        }
    }
}

/// Until the client was given something, or for a while.
async fn wait_for_room<O: Observer>(core: &Weak<RefCell<Core<O>>>) {
    if let Some(core) = core.upgrade() {
        core.borrow_mut().note_throttled();
    }
    let mut registered = false;
    let given = poll_fn(|cx| match core.upgrade() {
        Some(core) if !registered => {
            registered = true;
            core.borrow_mut().pump = Some(cx.waker().clone());
            Poll::Pending
        }
        _ => Poll::Ready(()),
    });
    tokio::select! {
        () = given => {}
        () = sleep(LOOK_AGAIN) => {}
    }
}

fn frame_of(bytes: Bytes) -> Frame<Chunk> {
    Frame::data(bytes.into())
}
