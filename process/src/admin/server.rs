use std::{convert::Infallible, io, net::SocketAddr, os::fd::OwnedFd, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::ConnectInfo,
    http::{HeaderValue, Request, header::CONNECTION},
};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use prometheus::{IntCounterVec, Registry};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    task::JoinSet,
    time,
};

use super::{
    Shares,
    body::Timely,
    caller::Caller,
    shares::{Share, source},
};
use crate::{
    metrics::counters,
    tls::{CertError, ServerTls, ServerTlsFiles},
    upgrade::Sockets,
};

/// Time for a request's head, and between two requests: hyper has one timer for both. Above 60 s, the longest usual
/// interval of scrapers and reports: a connection closed just as it is used again costs its client an error.
const HEAD_TIMEOUT: Duration = Duration::from_secs(65);

/// Connections at once, unless somebody says otherwise. Hundreds of agents and a few dashboards fit; a flood of idle
/// ones must not eat the descriptors that the data path needs.
const MOST_CONNECTIONS: usize = 1024;

/// What is left of a process's descriptors for connections of the data path is seven times that of the admin server's, ...
const PART_OF_DESCRIPTORS: u64 = 8;

/// ... of which more than these are for somebody to ask for: so many idle ones take some 300 MB.
const MOST_BY_DEFAULT: u64 = 16_384;

/// Time for a TLS handshake, which takes two round trips.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Time for answers under way once the server is to stop: event streams never end by themselves.
const GRACE: Duration = Duration::from_secs(2);

/// Of that, for a connection to be used once more when a successor has taken over: to close it could meet a request.
const LAST_REQUEST: Duration = Duration::from_millis(1500);

/// Why a server ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Its program stops.
    Stopped,
    /// Another process serves the address.
    Succeeded,
}

/// After a failed `accept` (no descriptors left, mostly): trying again at once would only spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// An address that is taken, not yet served.
pub struct AdminServer {
    listener: std::net::TcpListener,
    local_addr: SocketAddr,
    tls: Option<Arc<ServerTls>>,
    most: usize,
    failed: IntCounterVec,
}

/// Admin connections that a process may take that may open `descriptors`.
pub fn connections_within(descriptors: u64) -> usize {
    let part = (descriptors / PART_OF_DESCRIPTORS).min(MOST_BY_DEFAULT);
    usize::try_from(part).unwrap_or(usize::MAX).max(MOST_CONNECTIONS)
}

#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    #[error("cannot listen for admin requests on {addr} (--admin): {}", reason(*addr, source))]
    Bind { addr: SocketAddr, source: io::Error },
    #[error("cannot serve admin requests over TLS (--admin): {0}")]
    Tls(#[from] CertError),
}

/// What the system says, and what to do where that is known.
fn reason(addr: SocketAddr, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            let port = addr.port();
            format!(
                "{error}: end what listens there (ss -ltnp 'sport = :{port}' shows it), or give another address"
            )
        }
        _ => error.to_string(),
    }
}

impl AdminServer {
    /// Takes `addr`; port 0 takes a free one. Needs no runtime, so that a taken port is told before threads start.
    ///
    /// # Errors
    /// If it is taken.
    ///
    /// # Panics
    /// If called twice for one registry.
    pub fn bind(addr: SocketAddr, registry: &Registry) -> Result<Self, AdminError> {
        let failed = |source| AdminError::Bind { addr, source };
        let listener = std::net::TcpListener::bind(addr).map_err(failed)?;
        Self::of(listener, registry).map_err(failed)
    }

    /// As [`bind`](Self::bind), by the socket in `inherited` if there is one for this address. In `heritage` there is one
    /// then, for the next.
    ///
    /// # Errors
    /// If there is none and the address is taken.
    ///
    /// # Panics
    /// As [`bind`](Self::bind).
    pub fn inherit(
        addr: SocketAddr,
        registry: &Registry,
        inherited: &Sockets,
        heritage: &Sockets,
    ) -> Result<Self, AdminError> {
        let failed = |source| AdminError::Bind { addr, source };
        let place = format!("admin {addr}");
        let server = match inherited.take(&place).pop() {
            Some(socket) => Self::of(socket.into(), registry).map_err(failed)?,
            None => Self::bind(addr, registry)?,
        };
        let duplicate: OwnedFd = server.listener.try_clone().map_err(failed)?.into();
        heritage.add(place, [duplicate]);
        Ok(server)
    }

    fn of(listener: std::net::TcpListener, registry: &Registry) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let local_addr = listener.local_addr()?;
        Ok(Self {
            listener,
            local_addr,
            tls: None,
            most: MOST_CONNECTIONS,
            failed: connections_failed(registry),
        })
    }

    /// Speaks TLS, if there are files for it.
    ///
    /// # Errors
    /// If they can not be used.
    pub fn over_tls(mut self, files: Option<&ServerTlsFiles>) -> Result<Self, AdminError> {
        self.tls = files.map(ServerTls::open).transpose()?.map(Arc::new);
        Ok(self)
    }

    /// Takes so many connections at once instead of 1024. One sender gets half of them: many agents may be behind one
    /// address, but it must leave places for others.
    #[must_use]
    pub fn with_connections(mut self, most: usize) -> Self {
        self.most = most;
        self
    }

    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Where people and programs find it: `http://ADDR`, or `https://ADDR`.
    pub fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.local_addr)
    }

    /// Serves `router` (already [protected](super::protect)) until `shutdown` resolves; requests under way then
    /// have 2 s to finish. Handlers find the client's address as `ConnectInfo<SocketAddr>`, and a [`Caller`].
    ///
    /// Not `axum::serve`, which can bound neither the time for a request's head nor the number of connections.
    ///
    /// # Errors
    /// If the listener can not be served on this runtime.
    pub async fn serve(self, router: Router, shutdown: impl Future<Output = ()>) -> Result<(), AdminError> {
        let stopped = async {
            shutdown.await;
            Ending::Stopped
        };
        self.serve_until(router, stopped).await
    }

    /// As [`serve`](Self::serve). If it ends because it is succeeded, no connection is closed that a client may be about to
    /// use, within the same time.
    pub async fn serve_until(
        self,
        router: Router,
        end: impl Future<Output = Ending>,
    ) -> Result<(), AdminError> {
        let addr = self.local_addr;
        let listener =
            TcpListener::from_std(self.listener).map_err(|source| AdminError::Bind { addr, source })?;
        let closing = watch::Sender::new(None);
        let door =
            Arc::new(Door { tls: self.tls, failed: self.failed, router, closing: closing.subscribe() });
        let most = self.most;
        let mut connections = JoinSet::new();
        let ending = tokio::select! {
            ending = end => ending,
            never = accept(&listener, most, &door, &mut connections) => match never {},
        };
        drop(listener);
        closing.send_replace(Some(ending));
        let finished = async { while connections.join_next().await.is_some() {} };
        if time::timeout(GRACE, finished).await.is_err() {
            tracing::debug!("admin requests still under way are cut");
        }
        Ok(())
    }
}

fn connections_failed(registry: &Registry) -> IntCounterVec {
    let failed = counters(
        registry,
        "sluice_admin_connections_failed_total",
        "Admin connections that came to nothing. too_many: one address has half of all that there may be. handshake: no TLS, or a certificate that the other does not accept.",
        &["reason"],
    );
    for reason in ["too_many", "handshake"] {
        failed.with_label_values(&[reason]);
    }
    failed
}

/// What all connections have in common.
struct Door {
    tls: Option<Arc<ServerTls>>,
    failed: IntCounterVec,
    router: Router,
    closing: watch::Receiver<Option<Ending>>,
}

/// Never returns.
async fn accept(
    listener: &TcpListener,
    most: usize,
    door: &Arc<Door>,
    connections: &mut JoinSet<()>,
) -> Infallible {
    let places = Arc::new(Semaphore::new(most));
    let most_of_one = most.div_ceil(2);
    let shares = Shares::new(most, most_of_one);
    loop {
        if places.available_permits() == 0 {
            tracing::warn!(most, "no more admin connections: new ones wait");
        }
        let place = Arc::clone(&places).acquire_owned().await.expect("never closed");
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept an admin connection");
                time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        while connections.try_join_next().is_some() {} // or finished tasks would pile up
        let Some(share) = shares.take(source(peer.ip()), 1) else {
            tracing::debug!(%peer, most_of_one, "one more admin connection than an address may have");
            door.failed.with_label_values(&["too_many"]).inc();
            continue;
        };
        let door = Arc::clone(door);
        connections.spawn(async move {
            let _held: (_, Share) = (place, share);
            enter(stream, peer, &door).await;
        });
    }
}

/// Serves one connection until it ends or the server closes.
async fn enter(stream: TcpStream, peer: SocketAddr, door: &Door) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%peer, %error, "admin connection without TCP_NODELAY");
    }
    let Some(tls) = &door.tls else { return converse(stream, Caller::in_the_clear(peer), door).await };
    let mut closing = door.closing.clone();
    let handshake = time::timeout(HANDSHAKE_TIMEOUT, tls.acceptor().accept(stream));
    let secured = tokio::select! {
        secured = handshake => secured.map_err(io::Error::from).flatten(),
        () = async { drop(closing.wait_for(Option::is_some).await) } => return,
    };
    match secured {
        Ok(stream) => {
            let caller = Caller::over_tls(peer, stream.get_ref().1.peer_certificates());
            converse(stream, caller, door).await;
        }
        Err(error) => {
            door.failed.with_label_values(&["handshake"]).inc();
            tracing::debug!(%peer, %error, "admin connection without TLS");
        }
    }
}

async fn converse(stream: impl AsyncRead + AsyncWrite + Unpin, caller: Caller, door: &Door) {
    let peer = caller.peer;
    let router = TowerToHyperService::new(door.router.clone());
    let is_last = door.closing.clone();
    let service = service_fn(move |request: Request<Incoming>| {
        let mut request = request.map(Timely::new);
        request.extensions_mut().insert(ConnectInfo(peer));
        request.extensions_mut().insert(caller.clone());
        let answer = hyper::service::Service::call(&router, request);
        let is_last = is_last.clone();
        async move {
            let mut answer = answer.await.unwrap_or_else(|never| match never {});
            if is_last.borrow().is_some() {
                answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(answer)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let mut closing = door.closing.clone();
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        // In a block of its own: what `wait_for` returns holds a lock and would make this future `!Send`.
        ending = async { closing.wait_for(Option::is_some).await.ok().and_then(|ending| *ending) } => {
            let ended = match ending {
                Some(Ending::Succeeded) => time::timeout(LAST_REQUEST, connection.as_mut()).await.ok(),
                Some(Ending::Stopped) | None => None,
            };
            match ended {
                Some(ended) => ended,
                None => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, %error, "admin connection ended early");
    }
}
