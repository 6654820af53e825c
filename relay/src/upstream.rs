//! Connections to instances, kept per data thread, and one attempt to get a response over them.

use std::cell::RefCell;
use std::collections::HashMap;
use std::future::poll_fn;
use std::rc::Rc;
use std::time::Duration;

use http::{Request, Response};
use sluice_proto::Target;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use crate::failure::Failure;
use crate::h1::{Connection, Exchange, InstanceBody, Upgraded};
use crate::head::is_persistent;
use crate::instance_io::InstanceIo;
use crate::limits::UpstreamLimits;
use crate::metrics::RelayMetrics;
use crate::sockets;
use crate::upload::ClientBody;

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

/// How often connections are looked at that nobody uses. 1 s: an instance that closed one waits for our end, which the
/// next request that looks at it would give it; there may be none.
const SWEEP: Duration = Duration::from_secs(1);

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
    kept: RefCell<HashMap<Target, Rc<Kept>>>,
    limits: UpstreamLimits,
    metrics: RelayMetrics,
}

/// Connections to one instance that are not in use, those used last at the end.
#[derive(Default)]
struct Kept(RefCell<Vec<Connection>>);

/// Where a response's connection belongs. The body has the connection itself: dropped before the response ended, it is
/// closed at once, which is how an instance learns that nobody wants the rest.
pub struct Lease {
    /// The response is one after which the instance keeps the connection.
    persistent: bool,
    /// What the connection became, if the instance changed the protocol.
    upgraded: Option<Upgraded>,
    kept: Rc<Kept>,
    upstreams: Rc<Upstreams>,
}

impl Upstreams {
    pub fn new(limits: UpstreamLimits, metrics: RelayMetrics) -> Rc<Self> {
        Rc::new(Self { kept: RefCell::default(), limits, metrics })
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
    ) -> Result<(Response<InstanceBody>, Lease), SendError> {
        let mut request = request;
        let (kept, now) = (self.kept_for(target), Instant::now());
        // A kept connection may turn out closed before it took anything; then the next is tried.
        while let Some(connection) = self.take(&kept, reuse, now) {
            match self.attempt(target, &kept, connection, request, now).await {
                Err(SendError { unsent: Some(unsent), .. }) => request = *unsent,
                result => return result,
            }
        }
        match self.connect(target).await {
            Ok(connection) => {
                let now = connection.since;
                self.attempt(target, &kept, connection, request, now).await
            }
            Err(failure) => Err(SendError { failure, unsent: Some(Box::new(request)), stale: false }),
        }
    }

    async fn attempt(
        self: &Rc<Self>,
        target: &Target,
        kept: &Rc<Kept>,
        connection: Connection,
        request: Request<ClientBody>,
        now: Instant,
    ) -> Result<(Response<InstanceBody>, Lease), SendError> {
        let stale = connection.used;
        let progress = request.body().progress();
        let mut exchange = Exchange::new(connection, request, now, self.limits.response_head);
        match poll_fn(|cx| exchange.poll(cx)).await {
            Ok(arrived) => {
                let (response, upgraded) = exchange.respond(arrived);
                let persistent = is_persistent(&response);
                let (kept, upstreams) = (kept.clone(), self.clone());
                Ok((response, Lease { persistent, upgraded, kept, upstreams }))
            }
            Err(error) => {
                tracing::debug!(%target, %error, "no response");
                let failure = progress.failure().unwrap_or(error.failure());
                // What was answered, if with garbage, or not at all for long, was sent.
                let unsent = exchange.into_unsent().filter(|_| failure == Failure::ClosedEarly);
                // Only an end says nothing about the instance.
                let stale = stale && failure == Failure::ClosedEarly;
                Err(SendError { failure, unsent: unsent.map(Box::new), stale })
            }
        }
    }

    async fn connect(&self, target: &Target) -> Result<Connection, Failure> {
        let tcp = open(target, self.limits.connect).await?;
        self.metrics.upstream_connections.inc();
        let io = InstanceIo::new(tcp, self.metrics.upstream_open.clone());
        Ok(Connection::new(io, Instant::now()))
    }

    fn kept_for(&self, target: &Target) -> Rc<Kept> {
        let mut all = self.kept.borrow_mut();
        match all.get(target) {
            Some(kept) => kept.clone(),
            None => all.entry(target.clone()).or_default().clone(),
        }
    }

    /// The most recently used connection that is open and in step.
    fn take(&self, kept: &Kept, reuse: Reuse, now: Instant) -> Option<Connection> {
        let oldest = match reuse {
            Reuse::Any => self.limits.idle,
            Reuse::Fresh => self.limits.unsafe_reuse,
            Reuse::No => return None,
        };
        let mut kept = kept.0.borrow_mut();
        let is_young = |connection: &mut Connection| now.saturating_duration_since(connection.since) < oldest;
        while let Some(connection) = kept.pop_if(is_young) {
            if connection.io().is_quiet() {
                self.metrics.upstream_reuses.inc();
                return Some(connection);
            }
        }
        None
    }

    /// Closes connections that were not used for [`UpstreamLimits::idle`], or that their instance closed, for ever.
    pub async fn sweep(self: Rc<Self>) {
        loop {
            sleep((self.limits.idle / 4).min(SWEEP)).await;
            let now = Instant::now();
            self.kept.borrow_mut().retain(|_, kept| {
                let is_good = |connection: &Connection| {
                    now.saturating_duration_since(connection.since) < self.limits.idle
                        && connection.io().is_quiet()
                };
                kept.0.borrow_mut().retain(is_good);
                Rc::strong_count(kept) > 1 || !kept.0.borrow().is_empty()
            });
        }
    }
}

impl Lease {
    /// Keeps the connection of a body that was read to its end for the next request, if there may be one on it.
    pub(crate) fn give_back(self, connection: Option<Connection>) {
        if let Some(mut connection) = connection.filter(|_| self.persistent) {
            connection.rest(Instant::now());
            self.kept.0.borrow_mut().push(connection);
        }
    }

    /// The connection, after a change of protocol.
    pub(crate) fn take_upgraded(&mut self) -> Option<Upgraded> {
        self.upgraded.take()
    }

    /// Counts body bytes that were passed on without being copied.
    pub(crate) fn count_spliced(&self, bytes: u64) {
        self.upstreams.metrics.spliced_bytes.inc_by(bytes);
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

#[cfg(test)]
mod tests;
