//! An application server whose answers depend on the path, and which knows how many requests it has at a time.

use std::{
    convert::Infallible,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper::{
    body::{Body, Frame, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    sync::Semaphore,
    task::{JoinHandle, JoinSet},
};

/// - `/page`: five bytes; any path that is not named here as well
/// - `/hold`: the same, once [`FakeInstance::let_go`] was called for it
/// - `/health`: the same, unless [`FakeInstance::set_stuck`] says otherwise: then nothing
/// - `/status/NNN`
/// - `/cut`: ten bytes of a thousand, then the connection ends
/// - `/echo`: the request's body
/// - `/trickle`: the first byte at once, the rest once [`FakeInstance::let_go`] was called for it
/// - `/ws`: changes protocols and sends back what comes
/// - `/vanish`: the connection ends without an answer
/// - `/once`: answers, and closes the connection without having said so
pub struct FakeInstance {
    pub address: SocketAddr,
    desk: Arc<Desk>,
    serving: JoinHandle<()>,
}

struct Desk {
    go: Semaphore,
    inside: AtomicUsize,
    most_inside: AtomicUsize,
    stuck: AtomicBool,
    seen: Mutex<Vec<Seen>>,
}

/// A request as it arrived.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: Method,
    pub target: String,
    pub headers: HeaderMap,
}

type Reply = Response<UnsyncBoxBody<Bytes, std::io::Error>>;

impl FakeInstance {
    pub async fn start() -> Self {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], 0))).await
    }

    pub async fn start_at(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let desk = Arc::new(Desk {
            go: Semaphore::new(0),
            inside: AtomicUsize::new(0),
            most_inside: AtomicUsize::new(0),
            stuck: AtomicBool::new(false),
            seen: Mutex::default(),
        });
        let serving = tokio::spawn(serve(listener, desk.clone()));
        Self { address, desk, serving }
    }

    /// Lets `n` requests for `/hold` or `/trickle` go on, those that wait or those to come.
    pub fn let_go(&self, n: usize) {
        self.desk.go.add_permits(n);
    }

    /// Whether `/health` is left without an answer from now on.
    pub fn set_stuck(&self, stuck: bool) {
        self.desk.stuck.store(stuck, SeqCst);
    }

    /// The most requests that were here at the same time.
    pub fn most_inside(&self) -> usize {
        self.desk.most_inside.load(SeqCst)
    }

    /// Requests here now.
    pub fn inside(&self) -> usize {
        self.desk.inside.load(SeqCst)
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.desk.seen.lock().expect("no panic").clone()
    }

    /// As if killed: nobody listens any more, connections are cut.
    pub async fn kill(self) -> SocketAddr {
        self.serving.abort();
        let ended = self.serving.await;
        assert!(ended.is_err_and(|error| error.is_cancelled()));
        self.address
    }
}

async fn serve(listener: TcpListener, desk: Arc<Desk>) {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.expect("accepts");
        connections.spawn(converse(stream, desk.clone()));
    }
}

async fn converse(stream: tokio::net::TcpStream, desk: Arc<Desk>) {
    let close = Arc::new(tokio::sync::Notify::new());
    let service = service_fn(|request| {
        let (desk, close) = (desk.clone(), close.clone());
        async move { Ok::<_, Infallible>(answer(request, &desk, &close).await) }
    });
    let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service).with_upgrades();
    tokio::select! {
        // Agents hang up as they like.
        ended = connection => { ended.ok(); }
        () = close.notified() => {}
    }
}

async fn answer(request: Request<Incoming>, desk: &Arc<Desk>, close: &tokio::sync::Notify) -> Reply {
    let inside = desk.inside.fetch_add(1, SeqCst) + 1;
    desk.most_inside.fetch_max(inside, SeqCst);
    let _leave = Leave(desk.clone());
    let seen = Seen {
        method: request.method().clone(),
        target: request.uri().to_string(),
        headers: request.headers().clone(),
    };
    desk.seen.lock().expect("no panic").push(seen);
    let path = request.uri().path().to_owned();
    match path.as_str() {
        "/hold" => {
            desk.go.acquire().await.expect("never closed").forget();
            text("hello")
        }
        "/health" if desk.stuck.load(SeqCst) => std::future::pending().await,
        "/vanish" => {
            close.notify_one();
            std::future::pending().await
        }
        "/cut" => {
            let mut response = Response::new(Cut { polled: 0 }.boxed_unsync());
            response.headers_mut().insert(http::header::CONTENT_LENGTH, 1000.into());
            response
        }
        "/trickle" => Response::new(Trickle::new(desk.clone()).boxed_unsync()),
        "/echo" => Response::new(request.into_body().map_err(std::io::Error::other).boxed_unsync()),
        "/ws" => echo_socket(request),
        "/once" => {
            // Later, so that the response is out: the next request meets a connection at its end.
            close.notify_one();
            text("hello")
        }
        path => match path.strip_prefix("/status/").and_then(|status| status.parse().ok()) {
            Some(status) => {
                let mut response = text("as you wish");
                *response.status_mut() = StatusCode::from_u16(status).expect("a status");
                response
            }
            None => text("hello"),
        },
    }
}

fn text(text: &'static str) -> Reply {
    let body = Full::new(Bytes::from_static(text.as_bytes()));
    let mut response = Response::new(body.map_err(|never| match never {}).boxed_unsync());
    // Only agents and balancers may say that; an application that does must not be believed.
    response.headers_mut().insert("x-sluice-refused", http::HeaderValue::from_static("forged"));
    response
}

fn echo_socket(mut request: Request<Incoming>) -> Reply {
    let upgraded = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let mut socket = TokioIo::new(upgraded.await.expect("an upgrade"));
        let mut buffer = [0; 256];
        while let Ok(n @ 1..) = socket.read(&mut buffer).await {
            socket.write_all(&buffer[..n]).await.expect("a reader");
        }
    });
    let mut response = Response::new(Full::default().map_err(|never| match never {}).boxed_unsync());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(http::header::CONNECTION, http::HeaderValue::from_static("upgrade"));
    headers.insert(http::header::UPGRADE, http::HeaderValue::from_static("websocket"));
    response
}

struct Leave(Arc<Desk>);

impl Drop for Leave {
    fn drop(&mut self) {
        self.0.inside.fetch_sub(1, SeqCst);
    }
}

/// Ten bytes, a moment for them to leave, then a failure.
struct Cut {
    polled: u8,
}

impl Body for Cut {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        self.polled += 1;
        match self.polled {
            1 => Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"0123456789"))))),
            2 => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            _ => Poll::Ready(Some(Err(std::io::Error::other("cut")))),
        }
    }
}

type Turn = Pin<Box<dyn Future<Output = ()> + Send>>;

/// One byte, and one more after its turn.
struct Trickle {
    sent: u8,
    turn: Turn,
}

impl Trickle {
    fn new(desk: Arc<Desk>) -> Self {
        let turn = Box::pin(async move { desk.go.acquire().await.expect("never closed").forget() });
        Self { sent: 0, turn }
    }
}

impl Body for Trickle {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        match self.sent {
            0 => {}
            1 => std::task::ready!(self.turn.as_mut().poll(cx)),
            _ => return Poll::Ready(None),
        }
        self.sent += 1;
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"x")))))
    }
}
