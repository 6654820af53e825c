//! Serves clients on one data thread: accepts, drives each connection, ends it well.

use std::convert::Infallible;
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode, Version, header};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use sluice_process::shutdown::Watch;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::body::{ExchangeMark, Observer, ReplyBody};
use crate::http2::{Spoken, sniff};
use crate::limits::ClientLimits;
use crate::listen::{Accepted, Acceptor, Listener, Protocol};
use crate::metrics::{Cutoff, RelayMetrics};
use crate::peer::{Client, ClientIo, Overdue, Peer, Transport};
use crate::proxy_protocol::introduce;
use crate::screen::{HeadLimits, Screened, refusal_of};
use crate::sockets::prepare_client;
use crate::tls::{Certificates, Secured, secure};
use crate::upload::ClientBody;

/// Who connects by a Unix socket is on this host, and has no address.
const THIS_HOST: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// What the library may buffer beyond a head: bytes of requests that follow.
const LIBRARY_SLACK: usize = 8 * 1024;

/// What a program does with a request. One value per data thread.
pub trait Handler: 'static {
    type Observer: Observer;

    /// Answers one request. Dropped in the middle if the client goes away: whatever the request
    /// holds must be given back by then.
    fn handle(
        self: Rc<Self>,
        request: Request<ClientBody>,
        client: Client,
    ) -> impl Future<Output = Response<ReplyBody<Self::Observer>>>;
}

/// What serving needs besides the handler.
pub struct Server<H> {
    pub(crate) handler: Rc<H>,
    pub(crate) limits: ClientLimits,
    pub(crate) metrics: RelayMetrics,
    pub(crate) stop: Watch,
}

impl<H: Handler> Server<H> {
    pub fn new(handler: Rc<H>, limits: ClientLimits, metrics: RelayMetrics, stop: Watch) -> Rc<Self> {
        Rc::new(Self { handler, limits, metrics, stop })
    }

    /// Serves a listener in the clear or as its protocol says, until a stop is requested or `closed` is: the latter
    /// ends the accepting alone. Then waits for the connections to end.
    pub async fn listen(self: Rc<Self>, listener: Listener, closed: Watch) {
        match Acceptor::new(listener) {
            Ok(acceptor) => self.accept(acceptor, closed).await,
            Err(error) => tracing::error!(%error, "a listener can not be served"),
        }
    }

    /// Accepts until a stop is requested, then waits for the connections to end.
    pub async fn run(self: Rc<Self>, listener: tokio::net::TcpListener) {
        let closed = self.stop.clone();
        self.accept(listener.into(), closed).await;
    }

    async fn accept(self: Rc<Self>, acceptor: Acceptor, closed: Watch) {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = acceptor.accept() => match accepted {
                    Ok(accepted) => {
                        connections.spawn_local(self.clone().serve(accepted, acceptor.protocol.clone()));
                    }
                    Err(error) => self.accept_failed(error).await,
                },
                Some(_ended) = connections.join_next() => {}
                () = self.stop.requested() => break,
                () = closed.requested() => break,
            }
        }
        drop(acceptor);
        while connections.join_next().await.is_some() {}
    }

    /// Out of descriptors, mostly. Pausing lets connections end; trying on would spin.
    async fn accept_failed(&self, error: std::io::Error) {
        self.metrics.accept_errors.inc();
        tracing::warn!(%error, "can not accept a connection");
        sleep(Duration::from_millis(50)).await;
    }

    async fn serve(self: Rc<Self>, accepted: Accepted, protocol: Protocol) {
        self.metrics.client_connections.inc();
        self.metrics.client_open.inc();
        let open = OpenGuard(&self.metrics);
        let Accepted { stream: mut tcp, address } = accepted;
        if let Err(error) = prepare_client(&tcp, address) {
            tracing::debug!(%error, "client left before it was served");
            return;
        }
        let mut ahead = Bytes::new();
        let mut source = address;
        if protocol.proxy {
            let introduction = tokio::select! {
                introduction = introduce(&mut tcp, self.limits.head) => introduction,
                () = self.stop.requested() => return,
            };
            match introduction {
                Ok(introduction) => {
                    ahead = introduction.ahead;
                    source = introduction.source.or(address);
                }
                Err(refusal) => return self.metrics.refused(refusal),
            }
        }
        let (transport, scheme) = match &protocol.tls {
            Some(_) => (Transport::Tls, "https"),
            None => (Transport::Clear, "http"),
        };
        let client = Client { address: source.unwrap_or(THIS_HOST), scheme };
        let peer = Arc::new(Peer::new(tcp, transport));
        let (mut io, out_of_use) = ClientIo::new(peer.clone());
        io.unread(ahead);
        match &protocol.tls {
            Some(certificates) => Box::pin(self.drive_secure(certificates, &peer, io, client)).await,
            None if protocol.h2c => Box::pin(self.drive_either(&peer, io, client)).await,
            None => self.drive(&peer, io, client).await,
        }
        if peer.is_handed_over() {
            // A tunnel holds up a graceful stop, as a response does.
            tokio::select! {
                _ = out_of_use => {}
                () = self.stop.now() => {}
            }
        } else {
            peer.close().await;
        }
        drop(open);
    }

    /// TLS, and what the client chooses by ALPN.
    async fn drive_secure(
        self: &Rc<Self>,
        certificates: &Certificates,
        peer: &Arc<Peer>,
        io: ClientIo,
        client: Client,
    ) {
        let secured = secure(certificates, io, self.limits.head, &self.stop).await;
        peer.rest();
        match secured {
            Some(Secured::Http1(io)) => self.drive(peer, io, client).await,
            Some(Secured::Http2(io)) => self.drive_http2(peer, io, client).await,
            None => {}
        }
    }

    /// HTTP/1.1 or HTTP/2, whichever begins.
    async fn drive_either(self: &Rc<Self>, peer: &Arc<Peer>, mut io: ClientIo, client: Client) {
        let spoken = tokio::select! {
            spoken = sniff(&mut io) => spoken,
            what = peer.overdue(&self.limits) => return self.overdue(peer, what),
            // Who has said nothing yet is idle, and a request that is arriving takes no longer than it may.
            () = self.stop.requested() => None,
        };
        match spoken {
            Some(Spoken::Http1) => self.drive(peer, io, client).await,
            Some(Spoken::Http2) => self.drive_http2(peer, io, client).await,
            None => {}
        }
    }

    /// Ends a connection because its client let a deadline pass.
    fn overdue(&self, peer: &Peer, what: Overdue) {
        let cutoff = match what {
            Overdue::Request => {
                peer.answer_timeout();
                Cutoff::Request
            }
            Overdue::Response => Cutoff::Response,
            Overdue::Idle => Cutoff::Idle,
        };
        self.cut(peer, cutoff);
    }

    fn cut(&self, peer: &Peer, cutoff: Cutoff) {
        peer.cut_off();
        self.metrics.cut(cutoff);
    }

    /// Drives an HTTP/1.1 connection until it ends by itself or is cut off.
    async fn drive<I>(&self, peer: &Arc<Peer>, io: I, client: Client)
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let screened = Screened::new(io, peer.clone(), HeadLimits::from(&self.limits));
        let service = service_fn(|request| self.exchange(peer, client, request));
        let connection = http1::Builder::new()
            // The end of a client's sending side is told from its going away by `Peer::gone`.
            .half_close(true)
            .max_headers(self.limits.fields)
            // `Screened` has told what is too large; the library sees whole heads.
            .max_buf_size(self.limits.head_bytes + LIBRARY_SLACK)
            // `Peer::overdue` watches over the whole connection.
            .header_read_timeout(None)
            .serve_connection(TokioIo::new(screened), service)
            .with_upgrades();
        let mut connection = std::pin::pin!(connection);
        let mut overdue = std::pin::pin!(peer.overdue(&self.limits));
        let mut gone = std::pin::pin!(peer.gone(self.limits.half_close_grace));
        let mut closing = false;
        let cutoff = loop {
            tokio::select! {
                biased;
                result = connection.as_mut() => {
                    if let Err(error) = result {
                        tracing::debug!(client = %client.address, %error, "connection ended");
                    }
                    return;
                }
                () = gone.as_mut() => break Cutoff::Gone,
                what = overdue.as_mut() => return self.overdue(peer, what),
                () = self.stop.requested(), if !closing => {
                    connection.as_mut().graceful_shutdown();
                    closing = true;
                }
                () = self.stop.now() => break Cutoff::Stop,
            }
        };
        self.cut(peer, cutoff);
    }

    async fn exchange(
        &self,
        peer: &Arc<Peer>,
        client: Client,
        request: Request<Incoming>,
    ) -> Result<Response<ReplyBody<H::Observer>>, Infallible> {
        let version = request.version();
        let mut mark = ExchangeMark::new(peer.clone());
        let refusal = refusal_of(&request, peer);
        let mut request = request.map(|body| ClientBody::new(body, peer.clone()));
        if let Some(refusal) = refusal {
            request.extensions_mut().insert(refusal);
        }
        let mut response = self.handler.clone().handle(request, client).await;
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            peer.hand_over();
        }
        if version < Version::HTTP_11 && !response.headers().contains_key(header::CONTENT_LENGTH) {
            mark.end_with_connection();
        }
        peer.response_began();
        response.body_mut().exchange = Some(mark);
        Ok(response)
    }
}

/// Counts a connection as open until dropped.
struct OpenGuard<'a>(&'a RelayMetrics);

impl Drop for OpenGuard<'_> {
    fn drop(&mut self) {
        self.0.client_open.dec();
    }
}
