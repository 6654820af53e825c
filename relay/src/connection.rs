//! One connection to an instance: the HTTP library drives it, until it is taken over.

use std::cell::Cell;
use std::future::Future;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::instance_io::InstanceIo;
use crate::tunnel::is_upgrade;
use crate::upload::ClientBody;

/// A connection that is no one's at the moment, or a [`Lease`](crate::upstream::Lease)'s.
pub(crate) struct Connection {
    sender: SendRequest<ClientBody>,
    /// Drives the socket; ends it when aborted.
    driver: AbortHandle,
    takeover: Option<oneshot::Sender<oneshot::Sender<Taken>>>,
    stage: Rc<Stage>,
    pub(crate) since: Instant,
    pub(crate) used: bool,
    /// The library was given a request.
    asked: bool,
}

/// What the connection and its driver tell each other.
#[derive(Default)]
struct Stage {
    /// The request under way asks for another protocol, so that HTTP's end is not the connection's.
    upgrading: Cell<bool>,
    /// HTTP is over, and what follows is for the one who takes over.
    over: Cell<bool>,
}

/// A connection's socket, taken from the HTTP library, and what that had read of it and not passed on.
pub(crate) struct Taken {
    pub(crate) io: InstanceIo,
    pub(crate) ahead: Bytes,
}

impl Connection {
    /// Starts HTTP on a socket. `None` if the library would have to wait for something, which it does not.
    pub(crate) fn start(io: InstanceIo) -> Option<Self> {
        let handshake = pin!(http1::Builder::new().handshake(TokioIo::new(io)));
        let Poll::Ready(Ok((sender, http))) = handshake.poll(&mut Context::from_waker(Waker::noop())) else {
            return None;
        };
        let (takeover, asked) = oneshot::channel();
        let stage = Rc::new(Stage::default());
        let driver = Driver { http: Some(http), asked, stage: stage.clone() };
        let driver = tokio::task::spawn_local(driver).abort_handle();
        Some(Self {
            sender,
            driver,
            takeover: Some(takeover),
            stage,
            since: Instant::now(),
            used: false,
            asked: false,
        })
    }

    /// Sends a request; what comes of it is [`SendRequest::try_send_request`]'s.
    pub(crate) fn send(
        &mut self,
        request: Request<ClientBody>,
    ) -> impl Future<Output = Result<Response<Incoming>, TrySendError<Request<ClientBody>>>> + use<> {
        self.stage.upgrading.set(is_upgrade(&request));
        self.asked = true;
        self.sender.try_send_request(request)
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.sender.is_closed() || self.stage.over.get()
    }

    /// The library takes its first request at any time, and says that it is ready once its driver had a turn: later than
    /// the next request may come on a connection that was just given back.
    pub(crate) fn is_ready(&self) -> bool {
        !self.asked || self.sender.is_ready()
    }

    /// From now on it may be given out again.
    pub(crate) fn rest(&mut self) {
        self.stage.upgrading.set(false);
        self.since = Instant::now();
        self.used = true;
    }

    /// Ends HTTP on this connection where it is, which is after the head of a response. What the library had passed on
    /// by then must be taken from the response's body first. An error: the connection has ended.
    pub(crate) fn take_over(&mut self) -> oneshot::Receiver<Taken> {
        let (reply, taken) = oneshot::channel();
        if let Some(takeover) = self.takeover.take() {
            // An ended driver drops the reply, which is the answer.
            let _ = takeover.send(reply);
        }
        taken
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

type Http = http1::Connection<TokioIo<InstanceIo>, ClientBody>;

/// Drives a connection. Its errors reach whoever waits for a response; an idle connection's end is no error.
struct Driver {
    /// `None` once taken over.
    http: Option<Http>,
    asked: oneshot::Receiver<oneshot::Sender<Taken>>,
    stage: Rc<Stage>,
}

impl Future for Driver {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        match Pin::new(&mut this.asked).poll(cx) {
            Poll::Ready(Ok(reply)) => {
                this.hand_over(reply);
                return Poll::Ready(());
            }
            // Nobody has the connection any more.
            Poll::Ready(Err(_)) => return Poll::Ready(()),
            Poll::Pending => {}
        }
        let Some(http) = this.http.as_mut().filter(|_| !this.stage.over.get()) else { return Poll::Pending };
        match http.poll_without_shutdown(cx) {
            Poll::Ready(Ok(())) if this.stage.upgrading.get() => {
                this.stage.over.set(true);
                Poll::Pending
            }
            Poll::Ready(_) => Poll::Ready(()),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl Driver {
    fn hand_over(&mut self, reply: oneshot::Sender<Taken>) {
        if let Some(http) = self.http.take() {
            let parts = http.into_parts();
            let taken = Taken { io: parts.io.into_inner(), ahead: parts.read_buf };
            // Unless the client has left meanwhile: then the socket is closed.
            let _ = reply.send(taken);
        }
    }
}
