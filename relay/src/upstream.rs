//! Connections to instances, kept per data thread, and one attempt to get a response over them.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use sluice_proto::Target;
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::body::{ClientBody, Progress};
use crate::failure::Failure;
use crate::instance_io::InstanceIo;
use crate::limits::UpstreamLimits;
use crate::metrics::RelayMetrics;

/// Which kept connections a request may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reuse {
    /// Any: should the instance be closing it, the request is made again.
    Any,
    /// One used a moment ago, see [`UpstreamLimits::unsafe_reuse`]: the request must not be made twice.
    Fresh,
}

/// Why an attempt got no response.
#[derive(Debug)]
pub struct SendError {
    pub failure: Failure,
    /// The request as it was, if the instance saw none of it.
    pub unsent: Option<Box<Request<ClientBody>>>,
    /// The connection had been used before: its end says nothing about the instance.
    pub stale: bool,
}

/// The connections of one data thread.
pub struct Upstreams {
    idle: RefCell<HashMap<Target, Vec<Connection>>>,
    limits: UpstreamLimits,
    metrics: RelayMetrics,
}

/// A connection that is no one's at the moment.
struct Connection {
    sender: SendRequest<ClientBody>,
    /// Drives the socket; ends it when aborted.
    driver: AbortHandle,
    since: Instant,
    used: bool,
}

/// A connection that carries a response. Dropped before the response ended, it is closed at once,
/// which is how an instance learns that nobody wants the rest.
pub struct Lease {
    connection: Option<Connection>,
    target: Target,
    upstreams: Rc<Upstreams>,
}

impl Upstreams {
    pub fn new(limits: UpstreamLimits, metrics: RelayMetrics) -> Rc<Self> {
        Rc::new(Self { idle: RefCell::default(), limits, metrics })
    }

    pub fn limits(&self) -> &UpstreamLimits {
        &self.limits
    }

    /// Sends `request` to `target` and waits for the head of the response.
    ///
    /// # Errors
    /// [`SendError`]: why there is none, and the request itself if it can be sent elsewhere.
    pub async fn send(
        self: &Rc<Self>,
        target: &Target,
        request: Request<ClientBody>,
        reuse: Reuse,
    ) -> Result<(Response<Incoming>, Lease), SendError> {
        let progress = request.body().progress();
        let mut request = request;
        // A kept connection may turn out closed before it took anything; then the next is tried.
        while let Some(connection) = self.take(target, reuse) {
            match self.attempt(target, connection, request, &progress).await {
                Err(SendError { unsent: Some(unsent), .. }) => request = *unsent,
                result => return result,
            }
        }
        match self.connect(target).await {
            Ok(connection) => self.attempt(target, connection, request, &progress).await,
            Err(failure) => Err(SendError { failure, unsent: Some(Box::new(request)), stale: false }),
        }
    }

    async fn attempt(
        self: &Rc<Self>,
        target: &Target,
        mut connection: Connection,
        request: Request<ClientBody>,
        progress: &Progress,
    ) -> Result<(Response<Incoming>, Lease), SendError> {
        let stale = connection.used;
        let response = connection.sender.try_send_request(request);
        let lease = Lease { connection: Some(connection), target: target.clone(), upstreams: self.clone() };
        let refused = |failure, unsent| {
            // Only an end says nothing about the instance; a long silence does.
            let stale = stale && failure == Failure::ClosedEarly;
            Err(SendError { failure, unsent, stale })
        };
        tokio::select! {
            result = response => match result {
                Ok(response) => Ok((response, lease)),
                Err(mut error) => {
                    let unsent = error.take_message().map(Box::new);
                    let error = error.into_error();
                    tracing::debug!(%target, %error, "no response");
                    refused(failure_of(&error, progress), unsent)
                }
            },
            () = silence(progress, self.limits.response_head) => refused(Failure::ResponseTimeout, None),
        }
    }

    async fn connect(&self, target: &Target) -> Result<Connection, Failure> {
        let tcp = match timeout(self.limits.connect, connect_tcp(target)).await {
            Ok(Ok(tcp)) => tcp,
            Ok(Err(error)) => {
                tracing::debug!(%target, %error, "connect failed");
                return Err(Failure::ConnectFailed);
            }
            Err(_) => return Err(Failure::ConnectTimeout),
        };
        self.metrics.upstream_connections.inc();
        let handshake = http1::Builder::new().handshake(TokioIo::new(InstanceIo::new(tcp))).await;
        let (sender, driver) = handshake.map_err(|_| Failure::ConnectFailed)?;
        let open = self.metrics.upstream_open.clone();
        open.inc();
        let driver = tokio::task::spawn_local(async move {
            // Its errors reach whoever waits for a response; an idle connection's end is no error.
            let _reported_elsewhere = driver.with_upgrades().await;
        });
        let driver_end = driver.abort_handle();
        tokio::task::spawn_local(async move {
            let _aborted_or_done = driver.await;
            open.dec();
        });
        Ok(Connection { sender, driver: driver_end, since: Instant::now(), used: false })
    }

    /// The most recently used connection that is open and ready.
    fn take(&self, target: &Target, reuse: Reuse) -> Option<Connection> {
        let mut idle = self.idle.borrow_mut();
        let kept = idle.get_mut(target)?;
        kept.retain(|connection| !connection.sender.is_closed());
        let oldest = match reuse {
            Reuse::Any => self.limits.idle,
            Reuse::Fresh => self.limits.unsafe_reuse,
        };
        let usable = |c: &Connection| c.sender.is_ready() && c.since.elapsed() < oldest;
        let position = kept.iter().rposition(usable)?;
        self.metrics.upstream_reuses.inc();
        Some(kept.swap_remove(position))
    }

    /// Closes connections that were not used for [`UpstreamLimits::idle`], for ever.
    pub async fn sweep(self: Rc<Self>) {
        loop {
            sleep(self.limits.idle / 4).await;
            self.idle.borrow_mut().retain(|_, kept| {
                kept.retain(|c| !c.sender.is_closed() && c.since.elapsed() < self.limits.idle);
                !kept.is_empty()
            });
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Lease {
    /// Keeps the connection for the next request. It may still be busy with the end of this one;
    /// `Upstreams::take` passes over it until it is not.
    pub(crate) fn give_back(mut self) {
        if let Some(mut connection) = self.connection.take().filter(|c| !c.sender.is_closed()) {
            connection.since = Instant::now();
            connection.used = true;
            self.upstreams.idle.borrow_mut().entry(self.target.clone()).or_default().push(connection);
        }
    }

    /// Lets the connection live on as a tunnel, which owns the socket.
    pub(crate) fn hand_over(mut self) -> impl Drop {
        self.connection.take().expect("taken only by give_back and here, which consume the lease")
    }
}

/// The request once more, for another attempt. `None` if it has a body, which is passed on as it
/// comes and kept by nobody.
pub fn spare(request: &Request<ClientBody>) -> Option<Request<ClientBody>> {
    if !request.body().is_empty() {
        return None;
    }
    let mut copy = Request::new(ClientBody::empty());
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.version_mut() = request.version();
    *copy.headers_mut() = request.headers().clone();
    Some(copy)
}

async fn connect_tcp(target: &Target) -> std::io::Result<TcpStream> {
    let tcp = match target.literal() {
        Some(address) => TcpStream::connect(address).await?,
        None => TcpStream::connect(target.as_str()).await?,
    };
    // Requests are written whole; waiting for more to send only delays them.
    tcp.set_nodelay(true)?;
    Ok(tcp)
}

/// Resolves when the request has not moved and not been answered for `limit`.
async fn silence(progress: &Progress, limit: Duration) {
    let asked = Instant::now();
    loop {
        let deadline = asked.max(progress.last()) + limit;
        if Instant::now() >= deadline {
            return;
        }
        sleep_until(deadline).await;
    }
}

fn failure_of(error: &hyper::Error, progress: &Progress) -> Failure {
    if progress.has_failed() {
        Failure::ClientGone
    } else if error.is_parse() {
        Failure::InvalidResponse
    } else {
        Failure::ClosedEarly
    }
}
