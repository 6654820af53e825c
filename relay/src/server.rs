//! Serves clients on one data thread: accepts, drives each connection, ends it well.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use sluice_process::shutdown::{Stage, Watch};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::body::{Observer, ReplyBody};
use crate::doors::{Doors, Seat};
use crate::failure::Failure;
use crate::http2::{Spoken, sniff};
use crate::limits::ClientLimits;
use crate::listen::{Accepted, Acceptor, Listener, Protocol};
use crate::metrics::{Cutoff, Pause, RelayMetrics};
use crate::peer::{Client, ClientIo, Overdue, Peer, Transport};
use crate::proxy_protocol::{Introduction, introduce};
use crate::residents::Residents;
use crate::sockets::{is_exhausted, prepare_client};
use crate::tls::{Certificates, Secured, secure};
use crate::upload::ClientBody;

/// Who connects by a Unix socket is on this host, and has no address.
const THIS_HOST: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

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
    /// How far the program is on its way out, as the connections of this thread were told.
    stage: Cell<Stage>,
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
        let stage = Cell::new(Stage::Running);
        Rc::new(Self { handler, limits, metrics, stop, doors, residents, complained, stage })
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
        tokio::select! {
            biased;
            () = self.tell_stages() => {}
            () = self.accept_and_serve(acceptor, closed) => {}
        }
    }

    /// Tells the connections of this thread how far the program is on its way out. If each were to watch for itself, it
    /// would do so at every wake, through locks that all threads share. Never ends.
    async fn tell_stages(&self) {
        self.tell_stage();
        self.stop.leaving().await;
        self.tell_stage();
        self.stop.requested().await;
        self.tell_stage();
        self.stop.now().await;
        self.tell_stage();
        std::future::pending().await
    }

    fn tell_stage(&self) {
        self.stage.set(self.stop.stage());
        self.residents.wake_all();
    }

    /// What they were told.
    pub(crate) fn stage(&self) -> Stage {
        self.stage.get()
    }

    async fn accept_and_serve(self: &Rc<Self>, acceptor: Acceptor, closed: Watch) {
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
        let Accepted { stream: tcp, address } = accepted;
        if let Err(error) = prepare_client(&tcp, address) {
            tracing::debug!(%error, "client left before it was served");
            return None;
        }
        if protocol.proxy {
            return Box::pin(self.introduced_by_proxy(tcp, address)).await;
        }
        let counted = address.map(|address| address.ip());
        Some(Arrival { tcp, ahead: Bytes::new(), source: address, counted })
    }

    async fn introduced_by_proxy(&self, mut tcp: TcpStream, address: Option<SocketAddr>) -> Option<Arrival> {
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
        let _resident = self.residents.enter(&peer);
        let (mut io, out_of_use) = ClientIo::new(peer.clone());
        io.unread(ahead);
        // Pinned here: handed on, it would be held twice.
        let driven = pin!(async {
            match &protocol.tls {
                Some(certificates) => Box::pin(self.drive_secure(certificates, &peer, io, client)).await,
                None if protocol.h2c => Box::pin(self.drive_either(&peer, io, client)).await,
                None => self.drive(&peer, io, client).await,
            }
        });
        self.until_dismissed(&peer, driven).await;
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

    /// Runs `driven` to its end, or until the connection is to make room.
    async fn until_dismissed(&self, peer: &Peer, mut driven: Pin<&mut impl Future<Output = ()>>) {
        let mut attended = false;
        poll_fn(|cx| {
            if !std::mem::replace(&mut attended, true) {
                peer.attend(cx.waker());
            }
            peer.begin_turn();
            if driven.as_mut().poll(cx).is_ready() {
                return Poll::Ready(());
            }
            if !peer.is_dismissed() {
                return Poll::Pending;
            }
            self.metrics.cut(Cutoff::MadeRoom);
            Poll::Ready(())
        })
        .await;
    }

    /// TLS, and what the client chooses by ALPN.
    async fn drive_secure(
        self: &Rc<Self>,
        certificates: &Certificates,
        peer: &Arc<Peer>,
        io: ClientIo,
        client: Client,
    ) {
        let secured = Box::pin(secure(certificates, io, self.limits.head, &self.stop)).await;
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
    pub(crate) fn overdue(&self, peer: &Peer, what: Overdue) {
        match what {
            Overdue::Request => peer.answer_timeout(Failure::ClientStalled),
            Overdue::SlowRequest => peer.answer_timeout(Failure::ClientSlow),
            Overdue::Response | Overdue::SlowResponse | Overdue::Idle => {}
        }
        self.cut(peer, what.into());
    }

    pub(crate) fn cut(&self, peer: &Peer, cutoff: Cutoff) {
        peer.cut_off();
        self.metrics.cut(cutoff);
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

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus::Registry;
    use sluice_process::Shutdown;
    use tokio::net::TcpListener;

    struct Hello;

    impl Handler for Hello {
        type Observer = ();

        async fn handle(self: Rc<Self>, _: Request<ClientBody>, _: Client) -> Response<ReplyBody<()>> {
            Response::new(ReplyBody::text("hello\n".to_owned()))
        }
    }

    /// What is in this future is held by each connection, idle or not, from its beginning to its end: what only an
    /// active one needs belongs into a box.
    #[tokio::test]
    async fn what_an_idle_connection_holds_is_small() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let stream = TcpStream::connect(listener.local_addr().expect("bound")).await.expect("it listens");
        let (limits, shutdown) = (ClientLimits::default(), Shutdown::new());
        let doors = Doors::new(&limits, Vec::new());
        let server = Server::new(
            Rc::new(Hello),
            limits,
            doors,
            RelayMetrics::register(&Registry::new()),
            shutdown.watch(),
        );
        let seat = server.seat().await;
        let accepted = Accepted { stream, address: None };
        let served = server.serve(accepted, seat, Protocol::default());
        let bytes = size_of_val(&served);
        assert!(bytes <= 1400, "{bytes} bytes");
        let bytes = size_of::<Peer>();
        assert!(bytes <= 320, "{bytes} bytes of notes");
    }
}
