//! What must hold whatever the HTTP library does with stand-ins: their own bytes never reach the client.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io::{IoSlice, Read};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use http::Response;
use http_body::{Body, Frame, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use prometheus::IntGauge;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use super::pipe::Pipe;
use super::{Chunk, Feeding, Fill, Inlet, Next, Outlet, Piped, write};
use crate::h1::Connection;
use crate::instance_io::InstanceIo;
use crate::limits::ClientLimits;
use crate::peer::{ClientIo, Peer, Transport};

/// Both ends of a connection.
async fn connected() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    let (near, far) = tokio::join!(TcpStream::connect(address), listener.accept());
    (near.expect("it listens"), far.expect("connected").0)
}

/// Puts `bytes` into the outlet's pipe, by way of a socket, and returns their stand-in.
async fn piped(outlet: &Arc<Outlet>, bytes: &[u8]) -> (Chunk, Feeding) {
    let feeding = outlet.open().expect("there are pipes");
    let (mut instance, socket) = connected().await;
    instance.write_all(bytes).await.expect("room");
    match poll_fn(|cx| outlet.poll_fill(cx, &socket, bytes.len())).await.expect("bytes") {
        Fill::Moved(n) => assert_eq!(n, bytes.len(), "one segment"),
        Fill::ClientIsSlow => panic!("it was empty"),
    }
    (Piped::new(bytes.len(), outlet.clone()).into(), feeding)
}

/// What arrives until the end, after `near` was dropped.
fn all_of(far: TcpStream) -> Vec<u8> {
    let mut far = far.into_std().expect("a socket");
    far.set_nonblocking(false).expect("a socket");
    let mut arrived = Vec::new();
    // A reset is an end as good as any here.
    let _ = far.read_to_end(&mut arrived);
    arrived
}

#[tokio::test]
async fn bytes_and_what_is_stood_for_go_out_in_order() {
    let ((near, mut far), outlet) = (connected().await, Arc::new(Outlet::default()));
    let (mut body, feeding) = piped(&outlet, b"the body").await;
    drop(feeding);
    let mut sent =
        write(&near, &outlet, &[IoSlice::new(b"head "), IoSlice::new(body.chunk())]).expect("room");
    assert_eq!(sent, 13);
    body.advance(sent - 5);
    sent = write(&near, &outlet, &[IoSlice::new(b" next")]).expect("room");
    assert_eq!((sent, body.remaining()), (5, 0));
    let mut arrived = [0; 18];
    far.read_exact(&mut arrived).await.expect("all was sent");
    assert_eq!(&arrived, b"head the body next");
    outlet.check().expect("all in order");
}

#[tokio::test]
async fn a_stand_in_that_is_copied_shuts_the_connection() {
    let ((near, far), outlet) = (connected().await, Arc::new(Outlet::default()));
    let peer = Arc::new(Peer::new(near, Transport::Clear, &ClientLimits::default()));
    let outlet = peer.outlet().unwrap_or(&outlet).clone();
    let (mut io, _out_of_use) = ClientIo::new(peer.clone());
    let (mut body, _feeding) = piped(&outlet, b"the body").await;
    let copied = body.copy_to_bytes(3);
    outlet.check().expect_err("it took bytes that were not sent");
    io.write_all(&copied).await.expect_err("and can not send them");
    io.write_all(b"nor others").await.expect_err("from then on");
    drop((io, peer, body));
    assert!(all_of(far).is_empty());
}

#[tokio::test]
async fn no_more_is_sent_than_there_is() {
    let ((near, far), outlet) = (connected().await, Arc::new(Outlet::default()));
    let (body, _feeding) = piped(&outlet, b"the body").await;
    let once_too_often = [IoSlice::new(body.chunk()), IoSlice::new(body.chunk())];
    write(&near, &outlet, &once_too_often).expect_err("twice what is in the pipe");
    write(&near, &outlet, &once_too_often[..1]).expect_err("from then on");
    drop(near);
    assert!(all_of(far).is_empty());
}

#[tokio::test]
async fn a_stand_in_without_a_pipe_is_not_sent() {
    let ((near, far), outlet) = (connected().await, Arc::new(Outlet::default()));
    let other = Arc::new(Outlet::default());
    let (body, _feeding) = piped(&other, b"the body").await;
    write(&near, &outlet, &[IoSlice::new(body.chunk())]).expect_err("it is another connection's");
    drop(near);
    assert!(all_of(far).is_empty());
}

#[tokio::test]
async fn a_pipe_is_given_back_once_it_is_empty_and_not_before() {
    let ((near, _far), outlet) = (connected().await, Arc::new(Outlet::default()));
    let (mut body, feeding) = piped(&outlet, b"the body").await;
    assert_eq!(Pipe::idle(), 0);
    drop(feeding);
    assert_eq!(Pipe::idle(), 0, "the client has yet to get it");
    let sent = write(&near, &outlet, &[IoSlice::new(body.chunk())]).expect("room");
    body.advance(sent);
    assert_eq!((sent, Pipe::idle()), (8, 1));

    let (unsent, _feeding) = piped(&outlet, b"the body").await;
    assert_eq!(Pipe::idle(), 0);
    drop(unsent);
    outlet.check().expect_err("a body that was dropped in the middle");
    assert_eq!(Pipe::idle(), 0, "nobody else gets its rest");
}

fn gauge() -> IntGauge {
    IntGauge::new("open", "Connections.").expect("a name")
}

/// To an instance.
fn connection(socket: TcpStream, open: &IntGauge) -> Connection {
    Connection::new(InstanceIo::new(socket, open.clone()), Instant::now())
}

/// Reads a body to its end or failure.
async fn read_all(inlet: &mut Inlet) -> std::io::Result<Vec<u8>> {
    let mut body = Vec::new();
    while inlet.left() > 0 {
        match poll_fn(|cx| inlet.poll_next(cx, None)).await? {
            Next::Frame(frame) => body.extend_from_slice(frame.into_data().expect("data").chunk()),
            Next::ClientIsSlow => panic!("nothing is stood for"),
        }
    }
    Ok(body)
}

#[tokio::test]
async fn without_a_pipe_bytes_are_copied() {
    let open = gauge();
    let (mut instance, socket) = connected().await;
    instance.write_all(b"the body").await.expect("room");
    let mut inlet = Inlet::new(connection(socket, &open), "all ".into(), 12);
    assert_eq!(read_all(&mut inlet).await.expect("all of it"), b"all the body");
    let connection = inlet.into_reusable().expect("nothing else came");

    instance.write_all(b"cut sh").await.expect("room");
    drop(instance);
    let mut inlet = Inlet::new(connection, Bytes::new(), 9);
    let error = read_all(&mut inlet).await.expect_err("the instance closed in the middle");
    assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof);
    assert!(inlet.into_reusable().is_none());
    assert_eq!(open.get(), 0, "closed");
}

/// A client that is now fast and now slow gets its bytes in order, and has a pipe only while it is fast.
#[tokio::test]
async fn bytes_go_by_pipe_and_by_copy_in_turns() {
    let ((near, mut far), outlet) = (connected().await, Arc::new(Outlet::default()));
    let (mut instance, socket) = connected().await;
    let mut inlet = Inlet::new(connection(socket, &gauge()), Bytes::new(), 12);
    let mut all = Vec::new();
    for (sent, by_pipe) in [("one ", true), ("two ", false), ("six.", true)] {
        instance.write_all(sent.as_bytes()).await.expect("room");
        let next = poll_fn(|cx| inlet.poll_next(cx, by_pipe.then_some(&outlet))).await.expect("bytes");
        let Next::Frame(frame) = next else { panic!("all was taken") };
        let mut chunk = frame.into_data().expect("data");
        write(&near, &outlet, &[IoSlice::new(chunk.chunk())]).expect("room");
        chunk.advance(4);
        let mut arrived = [0; 4];
        far.read_exact(&mut arrived).await.expect("it was sent");
        all.extend(arrived);
        assert_eq!(Pipe::idle(), usize::from(!by_pipe), "after {sent}");
    }
    assert_eq!((all.as_slice(), inlet.spliced()), (b"one two six.".as_slice(), 8));
    outlet.check().expect("all in order");
}

/// What the worker's release hangs on.
#[tokio::test]
async fn a_body_has_arrived_when_its_last_byte_has() {
    let (mut instance, socket) = connected().await;
    let mut inlet = Inlet::new(connection(socket, &gauge()), "ahead ".into(), 14);
    assert!(!inlet.has_arrived(), "the rest was not sent");
    instance.write_all(b"the bod").await.expect("room");
    poll_fn(|cx| inlet.poll_next(cx, None)).await.expect("what was read ahead");
    assert!(!inlet.has_arrived(), "all but one");
    instance.write_all(b"y").await.expect("room");
    instance.shutdown().await.expect("open");
    while !inlet.has_arrived() {
        tokio::task::yield_now().await;
    }
    assert_eq!(inlet.left(), 8, "and nothing of it was read");
}

/// One stand-in.
struct OneChunk(Option<Chunk>);

impl Body for OneChunk {
    type Data = Chunk;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Chunk>, Infallible>>> {
        Poll::Ready(self.0.take().map(|chunk| Ok(Frame::data(chunk))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.as_ref().map_or(0, |chunk| chunk.remaining() as u64))
    }
}

/// Serves one request with a stand-in for "the body"; what the client gets.
async fn served(http: &http1::Builder) -> String {
    let (near, mut far) = connected().await;
    let peer = Arc::new(Peer::new(near, Transport::Clear, &ClientLimits::default()));
    let outlet = peer.outlet().expect("a plain connection").clone();
    let (io, _out_of_use) = ClientIo::new(peer);
    let (body, feeding) = piped(&outlet, b"the body").await;
    drop(feeding);
    let body = std::cell::Cell::new(Some(body));
    let service = service_fn(|_| {
        let body = OneChunk(body.take());
        async { Ok::<_, Infallible>(Response::new(body)) }
    });
    far.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.expect("room");
    let _fails_if_it_must = http.serve_connection(TokioIo::new(io), service).await;
    String::from_utf8(all_of(far)).expect("text, and no zeros")
}

#[tokio::test]
async fn a_library_that_copies_what_it_writes_sends_nothing() {
    let response = served(&http1::Builder::new()).await;
    assert!(
        response.starts_with("HTTP/1.1 200 OK\r\n") && response.ends_with("\r\n\r\nthe body"),
        "{response}"
    );
    assert_eq!(served(http1::Builder::new().writev(false)).await, "");
}
