//! An application server with few workers, emulated.
//!
//! It accepts every connection, queues requests first come first served for one of `workers`, holds
//! the worker for the time that the request's headers say ([`crate::work`]), and writes a body of
//! the length they say. When the worker is free again is the [`Release`] point. A client that goes
//! away gives back its worker or its place in the queue. `GET /health` answers without a worker.

mod body;
mod cache;
mod ledger;
mod serve;
mod workers;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::HeaderValue;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

pub use ledger::InstanceStats;

use serve::Server;

/// What the server buffers of a response, in bytes: small, as beyond it a slow reader holds the worker.
const MAX_BUFFERED: usize = 16 * 1024;

/// When a worker that answered is free for the next request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release {
    /// With the response head: the body is streamed by someone else (ZServer, waitress file wrapper).
    FirstByte,
    /// When the connection has taken the last byte of the body (gunicorn, generators).
    End,
}

impl Release {
    /// As flags and reports spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Release::FirstByte => "first-byte",
            Release::End => "end",
        }
    }
}

/// One emulated instance.
#[derive(Clone, Debug)]
pub struct InstanceConfig {
    /// Default `127.0.0.1:0`: a free port.
    pub listen: SocketAddr,
    /// Requests worked on at a time; at least 1, default 1.
    pub workers: usize,
    /// Default [`Release::FirstByte`].
    pub release: Release,
    /// Work takes its time divided by this; above 0, default 1. `0.2`: five times slower.
    pub speed: f64,
    /// Objects that fit the cache; at least 1. `None` (default): no cache, nothing ever misses.
    pub cache: Option<usize>,
    /// Bytes handed to the connection at a time; `1..=65536`, default 8 KiB.
    pub write_chunk: usize,
    /// Value of `X-Emulate-Instance`; default: the port.
    pub name: Option<String>,
}

impl Default for InstanceConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            workers: 1,
            release: Release::FirstByte,
            speed: 1.0,
            cache: None,
            write_chunk: 8 * 1024,
            name: None,
        }
    }
}

impl InstanceConfig {
    fn check(&self) -> io::Result<()> {
        let refuse = |what: &str| Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        if self.workers == 0 || self.workers > tokio::sync::Semaphore::MAX_PERMITS {
            return refuse("workers must be at least 1");
        }
        if !(self.speed.is_finite() && self.speed > 0.0) {
            return refuse("speed must be above 0");
        }
        if self.cache == Some(0) {
            return refuse("cache must hold at least 1 object");
        }
        if !(1..=crate::pattern::MAX_CHUNK).contains(&self.write_chunk) {
            return refuse("write_chunk must be 1..=65536 bytes");
        }
        Ok(())
    }

    fn name_at(&self, addr: SocketAddr) -> io::Result<HeaderValue> {
        let name = self.name.clone().unwrap_or_else(|| addr.port().to_string());
        HeaderValue::from_str(&name).map_err(|e| io::Error::new(io::ErrorKind::InvalidInput, e))
    }

    fn server_at(&self, addr: SocketAddr) -> io::Result<Server> {
        Ok(Server {
            name: self.name_at(addr)?,
            release: self.release,
            write_chunk: self.write_chunk,
            workers: workers::Workers::new(self.workers, self.speed),
            cache: self.cache.map(|capacity| Mutex::new(cache::Lru::new(capacity))),
            ledger: Arc::default(),
        })
    }
}

/// A running instance. Dropping it closes its port and its connections at once, as a crash would.
#[derive(Debug)]
pub struct Instance {
    addr: SocketAddr,
    server: Arc<Server>,
    stop: watch::Sender<bool>,
    accepting: JoinHandle<()>,
}

impl Instance {
    /// Listens and serves on the current runtime.
    ///
    /// Errors: the address can not be listened on, or `config` is out of range (`InvalidInput`).
    pub async fn start(config: InstanceConfig) -> io::Result<Self> {
        config.check()?;
        let listener = TcpListener::bind(config.listen).await?;
        let addr = listener.local_addr()?;
        let server = Arc::new(config.server_at(addr)?);
        let (stop, stopping) = watch::channel(false);
        let accepting = tokio::spawn(accept_all(listener, Arc::clone(&server), stopping));
        Ok(Self { addr, server, stop, accepting })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// What it has counted until now.
    pub fn stats(&self) -> InstanceStats {
        self.server.ledger.read()
    }

    /// Waits until `condition` holds and returns the counters of that moment.
    ///
    /// For tests: an event to wait for where a sleep would be a guess.
    pub async fn until(&self, condition: impl Fn(&InstanceStats) -> bool) -> InstanceStats {
        self.server.ledger.until(condition).await
    }

    /// Stops gracefully: accepts no more, answers what it has accepted, closes idle connections.
    ///
    /// Waits for as long as the slowest reader takes; drop the future (a timeout) to cut it short.
    /// Returns the final counters.
    pub async fn stop(mut self) -> InstanceStats {
        self.stop.send_replace(true);
        // The task can only fail by our own abort or a panic, and a panic is on stderr already.
        drop((&mut self.accepting).await);
        self.stats()
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.accepting.abort(); // it owns the set of connections, which aborts them
    }
}

async fn accept_all(listener: TcpListener, server: Arc<Server>, mut stopping: watch::Receiver<bool>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(serve(stream, Arc::clone(&server), stopping.clone()));
                }
                // Out of descriptors: the connection stays in the backlog; do not spin on it.
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            },
            Some(_) = connections.join_next() => {}
            _ = stopping.changed() => break,
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// Serves one connection to its end. A broken one is the client's affair and shows as `cancelled`.
async fn serve(stream: TcpStream, server: Arc<Server>, mut stopping: watch::Receiver<bool>) {
    // Small responses must not wait for an acknowledgement; failing costs only time.
    drop(stream.set_nodelay(true));
    let service = service_fn(move |request| {
        let server = Arc::clone(&server);
        async move { server.answer(request).await }
    });
    let mut connection = pin!(
        http1::Builder::new().max_buf_size(MAX_BUFFERED).serve_connection(TokioIo::new(stream), service)
    );
    tokio::select! {
        ended = connection.as_mut() => return drop(ended),
        _ = stopping.changed() => connection.as_mut().graceful_shutdown(),
    }
    drop(connection.await);
}
