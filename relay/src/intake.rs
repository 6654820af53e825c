//! A request's body that was taken in before anybody had to wait for it.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use crate::body::BodyError;
use crate::spool::{Spool, Spooled};

/// What came, and where the rest comes from.
pub(crate) struct TakenIn {
    spooled: Spooled,
    /// `None`: all of it came.
    rest: Option<Incoming>,
    trailers: Option<HeaderMap>,
}

impl TakenIn {
    /// Reads until the end or until there is no more room. `most`: bytes of the body.
    pub(crate) async fn read(body: Incoming, spool: Arc<Spool>, most: u64) -> Result<Self, BodyError> {
        let mut this = Self { spooled: Spooled::new(spool), rest: Some(body), trailers: None };
        while poll_fn(|cx| this.poll_read(cx)).await? {
            if this.spooled.len() > most {
                return Err(BodyError::TooLarge(most));
            }
        }
        Ok(this)
    }

    /// One frame. Ready with `false` if no more is to be read now.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, BodyError>> {
        ready!(self.spooled.poll_written(cx));
        let Some(body) = self.rest.as_mut().filter(|_| self.spooled.has_room()) else {
            return Poll::Ready(Ok(false));
        };
        match ready!(Pin::new(body).poll_frame(cx)) {
            Some(Ok(frame)) => match frame.into_data() {
                Ok(bytes) => self.spooled.push(bytes),
                Err(other) => self.trailers = other.into_trailers().ok(),
            },
            Some(Err(error)) => return Poll::Ready(Err(BodyError::Client(error))),
            None => self.rest = None,
        }
        if self.rest.as_ref().is_some_and(Body::is_end_stream) {
            self.rest = None;
        }
        Poll::Ready(Ok(true))
    }

    /// Whether nothing is to come from the client any more.
    pub(crate) fn has_all(&self) -> bool {
        self.rest.is_none()
    }

    pub(crate) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(bytes) = ready!(self.spooled.poll_next(cx)) {
            return Poll::Ready(Some(bytes.map(Frame::data).map_err(BodyError::Spool)));
        }
        if let Some(rest) = &mut self.rest {
            return Pin::new(rest).poll_frame(cx).map_err(BodyError::Client);
        }
        Poll::Ready(self.trailers.take().map(|trailers| Ok(Frame::trailers(trailers))))
    }

    pub(crate) fn is_end_stream(&self) -> bool {
        self.spooled.is_empty()
            && self.trailers.is_none()
            && self.rest.as_ref().is_none_or(Body::is_end_stream)
    }

    /// Exact if all of it is here: a body that came in chunks goes on with a length.
    pub(crate) fn size_hint(&self) -> SizeHint {
        let spooled = self.spooled.len();
        match &self.rest {
            None if self.trailers.is_none() => SizeHint::with_exact(spooled),
            None => SizeHint::default(),
            Some(rest) => match rest.size_hint().exact() {
                Some(left) => SizeHint::with_exact(left + spooled),
                None => SizeHint::default(),
            },
        }
    }
}
