//! Serves clients on one data thread: accepts, drives each connection, ends it well.

use std::cell::Cell;
use std::convert::Infallible;
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, Version, header};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use sluice_process::shutdown::Watch;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::body::{ExchangeMark, Observer, ReplyBody};
use crate::doors::{Doors, Seat};
use crate::failure::Failure;
use crate::http2::{Spoken, sniff};
use crate::limits::ClientLimits;
use crate::listen::{Accepted, Acceptor, Listener, Protocol};
use crate::metrics::{Cutoff, Pause, RelayMetrics};
use crate::peer::{Client, ClientIo, Overdue, Peer, Transport};
use crate::proxy_protocol::{Introduction, introduce};
use crate::residents::Residents;
use crate::screen::{HeadLimits, Screened, refusal_of};
use crate::sockets::{is_exhausted, prepare_client};
use crate::tls::{Certificates, Secured, secure};
use crate::upload::ClientBody;

/// Who connects by a Unix socket is on this host, and has no address.
const THIS_HOST: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// What the library may buffer beyond a head: bytes of requests that follow.
const LIBRARY_SLACK: usize = 8 * 1024;

/// After what time it is tried again to accept a connection.
const PAUSE: Duration = Duration::from_millis(50);

/// How long the log is silent about accepting once it has said something.
const SILENCE: Duration = Duration::from_secs(10);

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
    doors: Arc<Doors>,
    residents: Residents,
    /// When the log last said that nothing can be accepted.
    complained: Cell<Option<Instant>>,
}

impl<H: Handler> Server<H> {
    /// `doors`: shared by all threads.
    pub fn new(
        handler: Rc<H>,
        limits: ClientLimits,
        doors: Arc<Doors>,
        metrics: RelayMetrics,
        stop: Watch,
    ) -> Rc<Self> {
        let (residents, complained) = (Residents::default(), Cell::default());
        Rc::new(Self { handler, limits, metrics, stop, doors, residents, complained })
    }

    /// Serves a listener in the clear or as its protocol says, until a stop is requested or `closed` is: the latter
    /// ends the accepting alone. Then waits for the connections to end.
    pub async fn listen(self: Rc<Self>, listener: Listener, closed: Watch) {
        match Acceptor::new(listener) {
            Ok(acceptor) => self.accept(acceptor, closed).await,
            Err(error) => tracing::error!(%error, "a listener can not be served"),
        }
    }

    /// Accepts until a stop is requested or a successor has taken over, then waits for the connections to end.
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
                        let seat = self.seat().await;
                        connections.spawn_local(self.clone().serve(accepted, seat, acceptor.protocol.clone()));
                    }
                    Err(error) => self.accept_failed(error).await,
                },
                Some(_ended) = connections.join_next() => {}
                () = self.stop.leaving() => break,
                () = closed.requested() => break,
            }
        }
        drop(acceptor);
        while connections.join_next().await.is_some() {}
    }

    /// Waits until there is room for a connection that was accepted; meanwhile the system keeps those that come. At a
    /// stop, and once a successor accepts, it finds room in any case, as nobody else would serve it.
    async fn seat(&self) -> Seat {
        if let Some(seat) = self.doors.try_seat() {
            return seat;
        }
        self.metrics.paused(Pause::Connections);
        self.complain("as many connections are open as may be (--max-connections)");
        loop {
            self.residents.make_room();
            tokio::select! {
                seat = self.doors.seat() => return seat,
                () = sleep(PAUSE) => {}
                () = self.stop.leaving() => return Seat::beyond(),
            }
        }
    }

    /// Without a descriptor there is nothing to be done but to wait; to try on would spin. What is accepted already is
    /// served on.
    async fn accept_failed(&self, error: std::io::Error) {
        self.metrics.accept_errors.inc();
        if is_exhausted(&error) {
            self.metrics.paused(Pause::Descriptors);
            self.residents.make_room();
        }
        self.complain(&format!("can not accept a connection: {error}"));
        sleep(PAUSE).await;
    }

    /// Says so in the log, if nothing of the kind was said lately.
    fn complain(&self, problem: &str) {
        let lately = self.complained.get().is_some_and(|said| said.elapsed() < SILENCE);
        if !lately {
            self.complained.set(Some(Instant::now()));
            tracing::warn!("{problem}");
        }
    }

    async fn serve(self: Rc<Self>, accepted: Accepted, _seat: Seat, protocol: Protocol) {
        self.metrics.client_connections.inc();
        self.metrics.client_open.inc();
        let open = OpenGuard(&self.metrics);
        if let Some(arrival) = self.introduced(accepted, &protocol).await {
            match self.doors.enter(arrival.counted) {
                Some(_visit) => self.converse(arrival, &protocol).await,
                None => self.metrics.over_client_limit.inc(),
            }
        }
        drop(open);
    }

    /// Finds out who the client is. `None`: it is not to be served.
    async fn introduced(&self, accepted: Accepted, protocol: &Protocol) -> Option<Arrival> {
        let Accepted { stream: mut tcp, address } = accepted;
        if let Err(error) = prepare_client(&tcp, address) {
            tracing::debug!(%error, "client left before it was served");
            return None;
        }
        let counted = address.map(|address| address.ip());
        if !protocol.proxy {
            return Some(Arrival { tcp, ahead: Bytes::new(), source: address, counted });
        }
        let introduction = tokio::select! {
            introduction = introduce(&mut tcp, self.limits.head) => introduction,
            () = self.stop.requested() => return None,
        };
        match introduction {
            Ok(Introduction { source, ahead }) => {
                let counted = source.map(|source| source.ip());
                Some(Arrival { tcp, ahead, source: source.or(address), counted })
            }
            Err(refusal) => {
                self.metrics.refused(refusal);
                None
            }
        }
    }

    /// Serves a client for as long as its connection lasts.
    async fn converse(self: &Rc<Self>, arrival: Arrival, protocol: &Protocol) {
        let Arrival { tcp, ahead, source, .. } = arrival;
        let (transport, scheme) = match &protocol.tls {
            Some(_) => (Transport::Tls, "https"),
            None => (Transport::Clear, "http"),
        };
        let client = Client { address: source.unwrap_or(THIS_HOST), scheme };
        let peer = Arc::new(Peer::new(tcp, transport, &self.limits));
        let (_resident, evicted) = self.residents.enter(&peer);
        let (mut io, out_of_use) = ClientIo::new(peer.clone());
        io.unread(ahead);
        let driven = async {
            match &protocol.tls {
                Some(certificates) => Box::pin(self.drive_secure(certificates, &peer, io, client)).await,
                None if protocol.h2c => Box::pin(self.drive_either(&peer, io, client)).await,
                None => self.drive(&peer, io, client).await,
            }
        };
        tokio::select! {
            biased;
            () = driven => {}
            Ok(()) = evicted => self.metrics.cut(Cutoff::MadeRoom),
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
        match what {
            Overdue::Request => peer.answer_timeout(Failure::ClientStalled),
            Overdue::SlowRequest => peer.answer_timeout(Failure::ClientSlow),
            Overdue::Response | Overdue::SlowResponse | Overdue::Idle => {}
        }
        self.cut(peer, what.into());
    }

    fn cut(&self, peer: &Peer, cutoff: Cutoff) {
        peer.cut_off();
        self.metrics.cut(cutoff);
    }

    /// Drives an HTTP/1.1 connection until it ends by itself or is cut off. While it rests there is nothing of the
    /// library's: most connections of a busy site are idle, and its buffers are most of what they would cost.
    async fn drive<I>(&self, peer: &Arc<Peer>, io: I, client: Client)
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let mut screened = Screened::new(io, peer.clone(), HeadLimits::from(&self.limits));
        while let Some(resting) = self.drive_until_it_rests(peer, screened, client).await {
            if !self.wakes(peer).await {
                return;
            }
            screened = resting;
        }
    }

    /// Waits for what a resting client asks next. `false`: it is not to be waited for any longer.
    async fn wakes(&self, peer: &Peer) -> bool {
        tokio::select! {
            biased;
            () = peer.readable() => true,
            what = peer.overdue(&self.limits) => {
                self.overdue(peer, what);
                false
            }
            () = self.stop.requested() => false,
        }
    }

    /// Drives it until it ends, or is idle for a while: then what was read from is given back.
    async fn drive_until_it_rests<I>(
        &self,
        peer: &Arc<Peer>,
        screened: Screened<I>,
        client: Client,
    ) -> Option<Screened<I>>
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let service = service_fn(|request| self.exchange(peer, client, request));
        let mut connection = http1::Builder::new()
            // The end of a client's sending side is told from its going away by `Peer::gone`.
            .half_close(true)
            .max_headers(self.limits.fields)
            // `Screened` has told what is too large; the library sees whole heads.
            .max_buf_size(self.limits.head_bytes + LIBRARY_SLACK)
            // `Peer::overdue` watches over the whole connection.
            .header_read_timeout(None)
            .serve_connection(TokioIo::new(screened), service)
            .with_upgrades();
        let mut due = std::pin::pin!(peer.overdue_or_resting(&self.limits, ClientLimits::REST));
        let mut gone = std::pin::pin!(peer.gone(self.limits.half_close_grace));
        let mut closing = false;
        let cutoff = loop {
            tokio::select! {
                biased;
                result = &mut connection => {
                    if let Err(error) = result {
                        tracing::debug!(client = %client.address, %error, "connection ended");
                    }
                    return None;
                }
                () = gone.as_mut() => break Cutoff::Gone,
                due = due.as_mut() => match due {
                    Some(what) => {
                        self.overdue(peer, what);
                        return None;
                    }
                    None => {
                        let parts = connection.into_parts()?;
                        let mut screened = parts.io.into_inner();
                        screened.unread(&parts.read_buf);
                        return Some(screened);
                    }
                },
                () = self.stop.requested(), if !closing => {
                    std::pin::Pin::new(&mut connection).graceful_shutdown();
                    closing = true;
                }
                () = self.stop.now() => break Cutoff::Stop,
            }
        };
        self.cut(peer, cutoff);
        None
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
        } else if self.limits.is_worn_out(peer.responses() + 1) {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        if version < Version::HTTP_11 && !response.headers().contains_key(header::CONTENT_LENGTH) {
            mark.end_with_connection();
        }
        if self.stop.is_leaving() && response.status() != StatusCode::SWITCHING_PROTOCOLS {
            // The client is told with an answer. A connection that is closed while it is idle may meet a request.
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        peer.response_began();
        response.body_mut().exchange = Some(mark);
        Ok(response)
    }
}

/// A client's connection before anything is spoken on it.
struct Arrival {
    tcp: TcpStream,
    /// What was read of it.
    ahead: Bytes,
    /// `None`: this host.
    source: Option<SocketAddr>,
    /// What the client's connections are counted by. `None` for one that stands for nobody else: a Unix socket, or a
    /// proxy's own, as it checks whether we are there.
    counted: Option<IpAddr>,
}

/// Counts a connection as open until dropped.
struct OpenGuard<'a>(&'a RelayMetrics);

impl Drop for OpenGuard<'_> {
    fn drop(&mut self) {
        self.0.client_open.dec();
    }
}
