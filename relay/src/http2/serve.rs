//! Drives one HTTP/2 connection.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::ops::ControlFlow;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Method, Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http2::Builder;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use sluice_process::shutdown::Stage;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use super::request;
use super::streams::{Spawner, StreamWatch, Streams, Verdict};
use crate::body::{ExchangeMark, ReplyBody};
use crate::limits::ClientLimits;
use crate::metrics::Cutoff;
use crate::peer::{Client, Overdue, Peer, Vigil};
use crate::server::{Handler, Server};
use crate::upload::ClientBody;

/// Why the library is not driven on as before.
enum Turn {
    Ended(hyper::Result<()>),
    Retire,
    Cut(Cutoff),
}

impl<H: Handler> Server<H> {
    /// Until the connection has ended by itself or is to be cut off.
    pub(crate) async fn drive_http2<I>(self: &Rc<Self>, peer: &Arc<Peer>, io: I, client: Client)
    where
        I: AsyncRead + AsyncWrite + Unpin + 'static,
    {
        peer.multiplex();
        self.metrics.http2_connections.inc();
        let streams = Streams::new(peer.clone(), self.limits.clone(), self.metrics.clone());
        let service = service_fn(|request| {
            let exchange = Exchange { peer: peer.clone(), watch: streams.begin(), client };
            // Boxed here, as the library and its executor would move it seven times: 10 KB.
            Box::pin(self.clone().stream(exchange, request))
        });
        let connection = builder(&self.limits, &streams).serve_connection(TokioIo::new(io), service);
        let mut connection = pin!(connection);
        // What is left of responses has as long as the end of any other.
        let farewell = ClientLimits { keep_alive: self.limits.write_stall, ..self.limits.clone() };
        let mut course = Course::new(&self.limits);
        let cutoff = loop {
            let turn = poll_fn(|cx| match connection.as_mut().poll(cx) {
                Poll::Ready(result) => Poll::Ready(Turn::Ended(result)),
                Poll::Pending => course.poll_turn(cx, peer, streams.verdict(), self.stage()),
            })
            .await;
            match turn {
                Turn::Ended(result) => return self.ended(peer, client, result),
                Turn::Cut(cutoff) => break cutoff,
                Turn::Retire if course.closing => {}
                // RFC 9113, 6.8: a first GOAWAY that names no stream, and the real one after a round trip, so that no
                // request of the client's is lost between them.
                Turn::Retire => {
                    connection.as_mut().graceful_shutdown();
                    peer.rest();
                    course.close(&farewell);
                }
            }
        };
        if cutoff == Cutoff::Resets {
            peer.reset_on_close();
        }
        self.metrics.cut(cutoff);
    }

    fn ended(&self, peer: &Peer, client: Client, result: hyper::Result<()>) {
        if let Err(error) = result {
            tracing::debug!(client = %client.address, %error, "connection ended");
        }
        if peer.is_flooding() {
            peer.reset_on_close();
            self.metrics.cut(Cutoff::Flood);
        }
    }

    /// One request and the head of its response.
    async fn stream(
        self: Rc<Self>,
        exchange: Exchange,
        request: Request<Incoming>,
    ) -> Result<Response<ReplyBody<H::Observer>>, Infallible> {
        let Exchange { peer, watch, client } = exchange;
        let mark = ExchangeMark::on_stream(peer.clone(), watch.clone());
        let is_head = request.method() == Method::HEAD;
        let mut request = request.map(|body| ClientBody::on_stream(body, peer));
        if let Err(refusal) = request::check(&request, self.limits.fields) {
            request.extensions_mut().insert(refusal);
        }
        let mut response = self.handler.clone().handle(request, client).await;
        // The library of HTTP/1.1 drops a text that answers HEAD, this one sends it.
        if is_head && !response.body().is_end_stream() {
            response = response.map(|_text| ReplyBody::text(String::new()));
        }
        if response.body().is_end_stream() {
            watch.given(0, true);
        }
        response.body_mut().exchange = Some(mark);
        Ok(response)
    }
}

/// What ends a connection besides its client.
struct Course<'a> {
    limits: &'a ClientLimits,
    vigil: Vigil,
    too_old: Instant,
    /// The client was told to end.
    closing: bool,
}

impl<'a> Course<'a> {
    fn new(limits: &'a ClientLimits) -> Self {
        Self { limits, vigil: Vigil::new(), too_old: Instant::now() + limits.http2.age, closing: false }
    }

    /// The client was told to end, and has what `farewell` says for it.
    fn close(&mut self, farewell: &'a ClientLimits) {
        self.limits = farewell;
        self.closing = true;
        self.vigil.look_now();
    }

    fn poll_turn(
        &mut self,
        cx: &mut Context<'_>,
        peer: &Peer,
        verdict: Option<Verdict>,
        stage: Stage,
    ) -> Poll<Turn> {
        match (verdict, stage) {
            (Some(Verdict::Cut), _) => return Poll::Ready(Turn::Cut(Cutoff::Resets)),
            (_, Stage::Immediate) => return Poll::Ready(Turn::Cut(Cutoff::Stop)),
            (Some(Verdict::Retire), _) => return Poll::Ready(Turn::Retire),
            (None, Stage::HandedOver | Stage::Graceful) if !self.closing => return Poll::Ready(Turn::Retire),
            (None, Stage::Running | Stage::HandedOver | Stage::Graceful) => {}
        }
        let retires = (!self.closing).then_some(self.too_old);
        self.vigil.poll(cx, || due(peer, self.limits, retires))
    }
}

/// What the time has come for, or when to look again. `retires`: when the client is told to end, if it was not yet.
fn due(peer: &Peer, limits: &ClientLimits, retires: Option<Instant>) -> ControlFlow<Turn, Instant> {
    match (peer.look(limits), retires) {
        (ControlFlow::Break(Overdue::Idle), Some(_)) => ControlFlow::Break(Turn::Retire),
        (ControlFlow::Break(overdue), _) => ControlFlow::Break(Turn::Cut(overdue.into())),
        (ControlFlow::Continue(_), Some(retires)) if Instant::now() >= retires => {
            ControlFlow::Break(Turn::Retire)
        }
        (ControlFlow::Continue(look_again), retires) => {
            ControlFlow::Continue(retires.map_or(look_again, |retires| look_again.min(retires)))
        }
    }
}

/// What a request needs to know of its connection.
struct Exchange {
    peer: Arc<Peer>,
    watch: Rc<StreamWatch>,
    client: Client,
}

/// The library with every limit said, so that no default of it matters.
fn builder(limits: &ClientLimits, streams: &Rc<Streams>) -> Builder<Spawner> {
    let http2 = &limits.http2;
    let mut builder = Builder::new(Spawner(streams.clone()));
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(http2.streams)
        .initial_stream_window_size(http2.stream_window)
        .initial_connection_window_size(http2.connection_window)
        .max_pending_accept_reset_streams(http2.unseen_resets)
        .max_local_error_reset_streams(http2.provoked_resets)
        .max_header_list_size(u32::try_from(limits.head_bytes).unwrap_or(u32::MAX))
        .max_send_buf_size(SEND_BUFFER)
        .keep_alive_interval(http2.ping)
        .keep_alive_timeout(limits.write_stall);
    builder
}

/// Bytes of a response that a stream may have queued. 64 KiB: a window of the least size that clients announce.
const SEND_BUFFER: usize = 64 * 1024;
