//! Instances that do exactly what a test says.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use socket2::{Domain, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::soon;
use crate::wire::{Conn, Message, ok};

/// An instance whose connections the test itself serves.
#[derive(Debug)]
pub struct RawInstance {
    address: SocketAddr,
    conns: mpsc::UnboundedReceiver<Conn>,
    seen: Arc<AtomicUsize>,
    _accepting: JoinSet<()>,
}

impl RawInstance {
    pub async fn start() -> Self {
        let (address, listener) = listen().await;
        let (sender, conns) = mpsc::unbounded_channel();
        let seen = Arc::new(AtomicUsize::new(0));
        let mut accepting = JoinSet::new();
        let counter = seen.clone();
        accepting.spawn(accept_all(listener, move |tcp| {
            counter.fetch_add(1, Relaxed);
            let _the_test_has_ended = sender.send(Conn::new(tcp));
        }));
        Self { address, conns, seen, _accepting: accepting }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The next connection on which something was said: health checks that only connect are not seen here.
    pub async fn accept(&mut self) -> Conn {
        soon("a connection to the instance", self.conns.recv()).await.expect("accepts until dropped")
    }

    /// Connections until now.
    pub fn connections(&self) -> usize {
        self.seen.load(Relaxed)
    }
}

/// An instance that answers by itself.
#[derive(Debug)]
pub struct Answering {
    address: SocketAddr,
    served: Arc<AtomicUsize>,
    _accepting: JoinSet<()>,
}

impl Answering {
    /// `answer` gives the bytes to send for a request; none closes the connection.
    pub async fn with(answer: impl Fn(&Message) -> Vec<u8> + Send + Sync + 'static) -> Self {
        let (address, listener) = listen().await;
        let served = Arc::new(AtomicUsize::new(0));
        let counter = served.clone();
        let answer = Arc::new(answer);
        let mut accepting = JoinSet::new();
        accepting.spawn(accept_all(listener, move |tcp| {
            let (counter, answer) = (counter.clone(), answer.clone());
            tokio::spawn(async move {
                let mut conn = Conn::new(tcp);
                while let Ok(head) = conn.try_head().await {
                    let request = conn.body(head, Some(0)).await;
                    if request.cut.is_some() {
                        return;
                    }
                    counter.fetch_add(1, Relaxed);
                    let bytes = answer(&request);
                    if bytes.is_empty() || conn.try_send(bytes).await.is_err() {
                        return;
                    }
                }
            });
        }));
        Self { address, served, _accepting: accepting }
    }

    /// Answers everything with 200 and `name`.
    pub async fn named(name: &'static str) -> Self {
        Self::with(move |_| ok(name).into_bytes()).await
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Requests that came whole.
    pub fn served(&self) -> usize {
        self.served.load(Relaxed)
    }
}

/// An address that refuses connections as long as this is held: it is taken, and nobody listens.
#[derive(Debug)]
pub struct Refusing(Socket);

impl Refusing {
    pub fn start() -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).expect("a free port");
        Self(socket)
    }

    pub fn address(&self) -> SocketAddr {
        self.0.local_addr().ok().and_then(|address| address.as_socket()).expect("bound")
    }
}

async fn listen() -> (SocketAddr, TcpListener) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
    (listener.local_addr().expect("bound"), listener)
}

async fn accept_all(listener: TcpListener, serve: impl Fn(TcpStream) + Clone + Send + 'static) {
    let mut waiting = JoinSet::new();
    while let Ok((tcp, _)) = listener.accept().await {
        let serve = serve.clone();
        waiting.spawn(async move {
            // Until there is something to read, it is only somebody who looks whether we are there.
            if let Ok(1..) = tcp.peek(&mut [0]).await {
                serve(tcp);
            }
        });
        while waiting.try_join_next().is_some() {}
    }
}
