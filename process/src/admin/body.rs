//! Bounds on request bodies: how large, how slow.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    BoxError,
    body::Bytes,
    extract::{DefaultBodyLimit, Request, State},
    http::StatusCode,
    middleware::{Next, from_fn, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::MethodRouter,
};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::ByteSize;

/// A report is at most 1 MiB (contract), and nothing else that is posted here is larger.
pub const DEFAULT_BODY_LIMIT: ByteSize = ByteSize::mib(1);

/// Time for a whole request body. 1 MiB in 30 s asks for 35 kB/s, less than any link to an agent has.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// Gives a route another limit than [`DEFAULT_BODY_LIMIT`] for extractors (`Bytes`, `String`, `Json`); a larger
/// body is answered 413 with the limit, at once if its length says so. A handler that reads `axum::body::Body` itself is not bounded.
pub fn limit_body<S: Clone + Send + Sync + 'static>(
    route: MethodRouter<S>,
    limit: ByteSize,
) -> MethodRouter<S> {
    route.layer(DefaultBodyLimit::max(limit.as_usize())).layer(from_fn(
        move |request: Request, next: Next| async move {
            // Else a sender that announces too much and sends nothing is waited for.
            match request.body().size_hint().lower() > limit.as_u64() {
                true => too_large(limit),
                false => name_limit(limit, request, next).await,
            }
        },
    ))
}

/// [`limit_body`] for a whole router; a route's own limit goes before it.
pub(super) fn limit_bodies(router: axum::Router, limit: ByteSize) -> axum::Router {
    let named =
        |State(limit): State<ByteSize>, request: Request, next: Next| name_limit(limit, request, next);
    router.layer(DefaultBodyLimit::max(limit.as_usize())).layer(from_fn_with_state(limit, named))
}

/// Marks a 413 whose text already names the limit that was passed, for the layers outside of it.
#[derive(Clone)]
struct LimitNamed;

/// Axum's own 413 does not say how much would be accepted.
async fn name_limit(limit: ByteSize, request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    let named = response.extensions().get::<LimitNamed>().is_some();
    if response.status() != StatusCode::PAYLOAD_TOO_LARGE || named {
        return response;
    }
    too_large(limit)
}

fn too_large(limit: ByteSize) -> Response {
    let text = format!("request body is larger than {limit}\n");
    let mut response = (StatusCode::PAYLOAD_TOO_LARGE, text).into_response();
    response.extensions_mut().insert(LimitNamed);
    response
}

/// A request body that fails when it is not all there after [`BODY_TIMEOUT`]: else a client that sends a byte a
/// minute would hold a connection for ever.
pub(super) struct Timely {
    body: Incoming,
    deadline: Pin<Box<Sleep>>,
}

impl Timely {
    pub(super) fn new(body: Incoming) -> Self {
        Self { body, deadline: Box::pin(sleep_until(Instant::now() + BODY_TIMEOUT)) }
    }
}

impl Body for Timely {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        let late = |()| {
            let text = format!("request body took longer than {} s", BODY_TIMEOUT.as_secs());
            Some(Err(io::Error::new(io::ErrorKind::TimedOut, text).into()))
        };
        self.deadline.as_mut().poll(cx).map(late)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
