//! Connections to instances, kept per data thread, and one attempt to get a response over them.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use http::header::{self, HeaderValue};
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use sluice_proto::Target;
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::connection::{Connection, Taken};
use crate::failure::Failure;
use crate::head::is_persistent;
use crate::instance_io::InstanceIo;
use crate::limits::UpstreamLimits;
use crate::metrics::RelayMetrics;
use crate::sockets;
use crate::upload::{ClientBody, Progress};

/// Which kept connections a request may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reuse {
    /// Any: should the instance be closing it, the request is made again.
    Any,
    /// One used a moment ago, see [`UpstreamLimits::unsafe_reuse`]: the request must not be made twice.
    Fresh,
    /// None: whatever closed one kept connection may have closed them all.
    No,
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

impl SendError {
    /// The instance can not be reached any more.
    pub const SILENT: Self = Self { failure: Failure::ConnectTimeout, unsent: None, stale: false };
}

/// Whether a connection to `target` can be made `within` that time. It is closed at once.
///
/// # Errors
/// Why not.
pub async fn reach(target: &Target, within: Duration) -> Result<(), Failure> {
    open(target, within).await.map(drop)
}

pub(crate) async fn open(target: &Target, within: Duration) -> Result<TcpStream, Failure> {
    match timeout(within, sockets::connect(target)).await {
        Ok(Ok(tcp)) => Ok(tcp),
        // Which says nothing about the instance.
        Ok(Err(error)) if sockets::is_exhausted(&error) => Err(Failure::NoDescriptors),
        Ok(Err(error)) => {
            tracing::debug!(%target, %error, "connect failed");
            Err(Failure::ConnectFailed)
        }
        Err(_) => Err(Failure::ConnectTimeout),
    }
}

/// The connections of one data thread.
pub struct Upstreams {
    idle: RefCell<HashMap<Target, Vec<Connection>>>,
    limits: UpstreamLimits,
    metrics: RelayMetrics,
}

/// A connection that carries a response. Dropped before the response ended, it is closed at once,
/// which is how an instance learns that nobody wants the rest.
pub struct Lease {
    connection: Option<Connection>,
    /// The response is one after which the instance keeps the connection.
    persistent: bool,
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
        frame(&mut request);
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
        let response = connection.send(request);
        let connection = Some(connection);
        let mut lease =
            Lease { connection, persistent: false, target: target.clone(), upstreams: self.clone() };
        let refused = |failure, unsent| {
            // Only an end says nothing about the instance; a long silence does.
            let stale = stale && failure == Failure::ClosedEarly;
            Err(SendError { failure, unsent, stale })
        };
        tokio::select! {
            result = response => match result {
                Ok(response) => {
                    lease.persistent = is_persistent(&response);
                    Ok((response, lease))
                }
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
        let tcp = open(target, self.limits.connect).await?;
        self.metrics.upstream_connections.inc();
        let io = InstanceIo::new(tcp, self.metrics.upstream_open.clone());
        Connection::start(io).ok_or(Failure::ConnectFailed)
    }

    /// The most recently used connection that is open and ready.
    fn take(&self, target: &Target, reuse: Reuse) -> Option<Connection> {
        let oldest = match reuse {
            Reuse::Any => self.limits.idle,
            Reuse::Fresh => self.limits.unsafe_reuse,
            Reuse::No => return None,
        };
        let mut idle = self.idle.borrow_mut();
        let kept = idle.get_mut(target)?;
        kept.retain(|connection| !connection.is_closed());
        let usable = |c: &Connection| c.is_ready() && c.since.elapsed() < oldest;
        let position = kept.iter().rposition(usable)?;
        self.metrics.upstream_reuses.inc();
        Some(kept.swap_remove(position))
    }

    /// Closes connections that were not used for [`UpstreamLimits::idle`], for ever.
    pub async fn sweep(self: Rc<Self>) {
        loop {
            sleep(self.limits.idle / 4).await;
            self.idle.borrow_mut().retain(|_, kept| {
                kept.retain(|c| !c.is_closed() && c.since.elapsed() < self.limits.idle);
                !kept.is_empty()
            });
        }
    }
}

impl Lease {
    /// Keeps the connection for the next request. It may still be busy with the end of this one;
    /// `Upstreams::take` passes over it until it is not.
    pub(crate) fn give_back(mut self) {
        if let Some(connection) = self.connection.take() {
            self.keep(connection);
        }
    }

    /// Takes the connection from the HTTP library; see [`Connection::take_over`].
    pub(crate) fn take_over(&mut self) -> oneshot::Receiver<Taken> {
        self.connection.as_mut().expect("taken only by what consumes the lease").take_over()
    }

    /// Keeps a connection that was taken over and has come to the end of its response.
    pub(crate) fn give_back_taken(self, io: InstanceIo) {
        if let Some(connection) = Some(io).filter(|_| self.persistent).and_then(Connection::start) {
            self.keep(connection);
        }
    }

    fn keep(&self, mut connection: Connection) {
        if !connection.is_closed() {
            connection.rest();
            self.upstreams.idle.borrow_mut().entry(self.target.clone()).or_default().push(connection);
        }
    }

    /// Counts body bytes that were passed on without being copied.
    pub(crate) fn count_spliced(&self, bytes: u64) {
        self.upstreams.metrics.spliced_bytes.inc_by(bytes);
    }
}

/// Says that a body of unknown length follows: the library, left to itself, sends none with methods that rarely have one.
fn frame(request: &mut Request<ClientBody>) {
    let unknown = !request.body().is_empty() && request.body().size_hint().exact().is_none();
    if unknown && !request.headers().contains_key(header::CONTENT_LENGTH) {
        request.headers_mut().insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
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
    progress.failure().unwrap_or(match error.is_parse() {
        true => Failure::InvalidResponse,
        false => Failure::ClosedEarly,
    })
}
