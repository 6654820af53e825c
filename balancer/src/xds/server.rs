//! The listener: HTTP/2, as gRPC needs it, and HTTP/1.1 for those who poll.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use sluice_process::Watch;
use sluice_process::admin::Shares;
use sluice_process::admin::shares::source;
use sluice_process::config::AdminSpec;
use sluice_process::tls::{CertError, ServerTls};
use sluice_process::upgrade::Sockets;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// Connections at once, one or a few per Envoy; and of these, for one address, which may be a gateway's.
const MOST_CONNECTIONS: usize = 4096;
const MOST_OF_ONE: usize = 1024;
/// An Envoy has one stream per cluster of a kind, at most.
const STREAMS_PER_CONNECTION: u32 = 100;
/// Time for the first byte, and for a handshake.
const GREETING: Duration = Duration::from_secs(10);
/// An Envoy that is gone without a word is noticed by its silence: pings at this distance, answered within this time.
const PING_EVERY: Duration = Duration::from_secs(30);
const PONG_WITHIN: Duration = Duration::from_secs(20);
/// For the last words of streams at a stop.
const GRACE: Duration = Duration::from_secs(2);
/// After a failed `accept`: trying again at once would only spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// An address that is taken, not yet served.
pub struct XdsServer {
    listener: std::net::TcpListener,
    local_addr: SocketAddr,
    door: Door,
}

/// Why it can not be served.
#[derive(Debug, thiserror::Error)]
pub enum XdsError {
    #[error("cannot listen for Envoys on {addr} (--xds): {source}")]
    Bind { addr: SocketAddr, source: io::Error },
    #[error("cannot serve Envoys over TLS (--xds): {0}")]
    Tls(#[from] CertError),
}

/// What all connections have in common.
struct Door {
    tls: Option<ServerTls>,
    /// Only who shows a certificate is let in.
    certificates: bool,
}

impl XdsServer {
    /// Takes the address, by the socket in `inherited` if there is one for it. In `heritage` there is one then, for a
    /// successor.
    ///
    /// # Errors
    /// If the address is taken, or the files can not be used.
    pub fn inherit(spec: &AdminSpec, inherited: &Sockets, heritage: &Sockets) -> Result<Self, XdsError> {
        let failed = |source| XdsError::Bind { addr: spec.addr, source };
        let place = format!("xds {}", spec.addr);
        let listener = match inherited.take(&place).pop() {
            Some(socket) => socket.into(),
            None => std::net::TcpListener::bind(spec.addr).map_err(failed)?,
        };
        listener.set_nonblocking(true).map_err(failed)?;
        let duplicate: OwnedFd = listener.try_clone().map_err(failed)?.into();
        heritage.add(place, [duplicate]);
        let local_addr = listener.local_addr().map_err(failed)?;
        let tls =
            spec.tls.as_ref().map(|files| ServerTls::speaking(&["h2", "http/1.1"], files)).transpose()?;
        Ok(Self { listener, local_addr, door: Door { tls, certificates: spec.asks_for_certificates() } })
    }

    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Serves until the stop is requested or a successor has taken over; streams that say goodbye then have 2 s.
    ///
    /// # Errors
    /// If the listener can not be served on this runtime.
    pub async fn serve(self, router: Router, stop: Watch) -> Result<(), XdsError> {
        let failed = |source| XdsError::Bind { addr: self.local_addr, source };
        let listener = TcpListener::from_std(self.listener).map_err(failed)?;
        let door = Arc::new(self.door);
        let mut connections = JoinSet::new();
        tokio::select! {
            never = accept(&listener, &door, &router, &stop, &mut connections) => match never {},
            () = stop.leaving() => {}
        }
        drop(listener);
        let finished = async { while connections.join_next().await.is_some() {} };
        if timeout(GRACE, finished).await.is_err() {
            tracing::debug!("Envoys that do not leave are cut");
        }
        Ok(())
    }
}

async fn accept(
    listener: &TcpListener,
    door: &Arc<Door>,
    router: &Router,
    stop: &Watch,
    connections: &mut JoinSet<()>,
) -> Infallible {
    let (places, shares) =
        (Arc::new(Semaphore::new(MOST_CONNECTIONS)), Shares::new(MOST_CONNECTIONS, MOST_OF_ONE));
    loop {
        let place = places.clone().acquire_owned().await.expect("never closed");
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept an Envoy's connection");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        while connections.try_join_next().is_some() {} // or finished tasks would pile up
        let Some(share) = shares.take(source(peer.ip()), 1) else {
            tracing::debug!(%peer, MOST_OF_ONE, "one more connection than an address may have");
            continue;
        };
        let (door, router, stop) = (door.clone(), router.clone(), stop.clone());
        connections.spawn(async move {
            let _held = (place, share);
            if let Err(error) = enter(stream, &door, router, stop).await {
                tracing::debug!(%peer, %error, "an Envoy's connection ended early");
            }
        });
    }
}

type Ended = Result<(), Box<dyn std::error::Error + Send + Sync>>;

async fn enter(stream: TcpStream, door: &Door, router: Router, stop: Watch) -> Ended {
    stream.set_nodelay(true)?;
    let Some(tls) = &door.tls else {
        timeout(GREETING, stream.readable()).await??;
        return converse(stream, router, stop).await;
    };
    let stream = timeout(GREETING, tls.acceptor().accept(stream)).await??;
    if door.certificates && stream.get_ref().1.peer_certificates().is_none() {
        return Err("it has shown no certificate".into());
    }
    converse(stream, router, stop).await
}

async fn converse(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    router: Router,
    stop: Watch,
) -> Ended {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(PING_EVERY);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_PER_CONNECTION)
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PONG_WITHIN);
    let connection = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        ended = connection.as_mut() => return ended,
        () = stop.leaving() => {}
    }
    connection.as_mut().graceful_shutdown();
    connection.await
}
