//! Drives one HTTP/1.1 connection.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use http::{HeaderValue, Request, Response, StatusCode, Version, header};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use sluice_process::shutdown::Stage;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::body::{ExchangeMark, ReplyBody};
use crate::limits::ClientLimits;
use crate::metrics::Cutoff;
use crate::peer::{Client, Overdue, Peer, Presence, Vigil};
use crate::screen::{HeadLimits, Screened, refusal_of};
use crate::server::{Handler, Server};
use crate::upload::ClientBody;

/// What the library may buffer beyond a head: bytes of requests that follow.
const LIBRARY_SLACK: usize = 8 * 1024;

/// Why the library is not driven on.
enum Turn {
    Ended,
    Rests,
    Overdue(Overdue),
    Cut(Cutoff),
}

impl<H: Handler> Server<H> {
    /// Drives a connection until it ends by itself or is cut off. While it rests there is nothing of the library's:
    /// most connections of a busy site are idle, and its state and buffers are most of what they would cost.
    pub(crate) async fn drive<I>(&self, peer: &Arc<Peer>, io: I, client: Client)
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let mut vigil = Vigil::new();
        let mut screened = Box::new(Screened::new(io, peer.clone(), HeadLimits::from(&self.limits)));
        loop {
            let active = Box::pin(self.drive_until_it_rests(peer, &mut vigil, screened, client));
            match active.await {
                Some(resting) => screened = resting,
                None => return,
            }
            if !self.wakes(peer, &mut vigil).await {
                return;
            }
        }
    }

    /// Waits for what a resting client asks next. `false`: it is not to be waited for any longer.
    async fn wakes(&self, peer: &Peer, vigil: &mut Vigil) -> bool {
        vigil.look_now();
        poll_fn(|cx| {
            if peer.poll_readable(cx).is_ready() {
                return Poll::Ready(true);
            }
            if let Poll::Ready(what) = vigil.poll(cx, || peer.look_at_rest(&self.limits)) {
                self.overdue(peer, what);
                return Poll::Ready(false);
            }
            if self.stage() >= Stage::Graceful { Poll::Ready(false) } else { Poll::Pending }
        })
        .await
    }

    /// Drives it until it ends, or is idle for a while: then what was read from is given back.
    async fn drive_until_it_rests<I>(
        &self,
        peer: &Arc<Peer>,
        vigil: &mut Vigil,
        screened: Box<Screened<I>>,
        client: Client,
    ) -> Option<Box<Screened<I>>>
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let service = service_fn(|request| self.exchange(peer, client, request));
        let mut connection =
            builder(&self.limits).serve_connection(TokioIo::new(screened), service).with_upgrades();
        let mut presence = Presence::new(peer, self.limits.half_close_grace);
        let mut closing = false;
        vigil.look_now();
        // At each wake, that is twice per request: what is not due costs next to nothing.
        let turn = poll_fn(|cx| {
            loop {
                if let Poll::Ready(result) = Pin::new(&mut connection).poll(cx) {
                    if let Err(error) = result {
                        tracing::debug!(client = %client.address, %error, "connection ended");
                    }
                    return Poll::Ready(Turn::Ended);
                }
                if presence.poll_gone(cx).is_ready() {
                    return Poll::Ready(Turn::Cut(Cutoff::Gone));
                }
                let due = vigil.poll(cx, || peer.look_or_rest(&self.limits, ClientLimits::REST));
                if let Poll::Ready(due) = due {
                    return Poll::Ready(due.map_or(Turn::Rests, Turn::Overdue));
                }
                match self.stage() {
                    Stage::Immediate => return Poll::Ready(Turn::Cut(Cutoff::Stop)),
                    Stage::Graceful if !closing => {
                        Pin::new(&mut connection).graceful_shutdown();
                        closing = true;
                    }
                    Stage::Running | Stage::HandedOver | Stage::Graceful => return Poll::Pending,
                }
            }
        })
        .await;
        match turn {
            Turn::Ended => {}
            Turn::Overdue(what) => self.overdue(peer, what),
            Turn::Cut(cutoff) => self.cut(peer, cutoff),
            Turn::Rests => {
                let parts = connection.into_parts()?;
                let mut screened = parts.io.into_inner();
                screened.unread(&parts.read_buf);
                return Some(screened);
            }
        }
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

/// The library with what it is told of limits.
fn builder(limits: &ClientLimits) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        // The end of a client's sending side is told from its going away by `Presence`.
        .half_close(true)
        .max_headers(limits.fields)
        // `Screened` has told what is too large; the library sees whole heads.
        .max_buf_size(limits.head_bytes + LIBRARY_SLACK)
        // `Vigil` watches over the whole connection.
        .header_read_timeout(None);
    builder
}
