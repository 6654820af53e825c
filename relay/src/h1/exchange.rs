//! A request under way, until the head of its response is there.

use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::{Request, Response};
use tokio::time::Instant;

use super::body::InstanceBody;
use super::connection::{Connection, Upgraded};
use super::response::{Arrived, Arriving, ResponseError};
use super::sending::{Rest, Sending};
use crate::upload::{ClientBody, Progress};

/// Read at a time while waiting for a head, in bytes.
const BLOCK: usize = 8 * 1024;

/// To be polled by who waits for the response.
pub(crate) struct Exchange {
    connection: Connection,
    sending: Sending,
    arriving: Arriving,
    progress: Rc<Progress>,
    asked: Instant,
    /// How long it may neither move nor be answered.
    limit: Duration,
}

impl Exchange {
    pub(crate) fn new(
        connection: Connection,
        request: Request<ClientBody>,
        asked: Instant,
        limit: Duration,
    ) -> Self {
        let progress = request.body().progress();
        let (sending, arriving) = (Sending::new(request), Arriving::default());
        Self { connection, sending, arriving, progress, asked, limit }
    }

    /// Writes the request as far as it goes, and reads. Ready with the head of the response, to be
    /// [made](Self::respond) one.
    ///
    /// # Errors
    /// There is none. [`Self::into_unsent`] has the request, if it can be sent elsewhere.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Arrived, ResponseError>> {
        if !self.sending.is_over() {
            // That it is not through yet holds up no response.
            if let Poll::Ready(sent) = self.sending.poll(cx, self.connection.io()) {
                sent.map_err(ResponseError::Request)?;
                self.arriving.read_into(self.sending.take_buffer());
            }
        }
        if let Poll::Ready(arrived) = self.poll_head(cx) {
            return Poll::Ready(arrived);
        }
        let deadline = self.asked.max(self.progress.last()) + self.limit;
        ready!(self.connection.patience.poll_at(cx, deadline));
        Poll::Ready(Err(ResponseError::Silent))
    }

    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<Arrived, ResponseError>> {
        loop {
            let read = ready!(self.connection.io().poll_read(cx, &mut self.arriving.bytes, BLOCK));
            if matches!(read, Ok(0)) {
                return Poll::Ready(Err(std::mem::take(&mut self.arriving).end()));
            }
            read?;
            if let Some(arrived) = self.arriving.next(self.sending.request().method())? {
                return Poll::Ready(Ok(arrived));
            }
        }
    }

    /// The response whose head has arrived, or the connection if that is another protocol's now.
    pub(crate) fn respond(self, arrived: Arrived) -> (Response<InstanceBody>, Option<Upgraded>) {
        let Self { connection, sending, .. } = self;
        let (head, decoder, ahead) = arrived;
        if head.status() == http::StatusCode::SWITCHING_PROTOCOLS {
            return (head.map(|()| InstanceBody::none()), connection.upgrade(ahead));
        }
        let rest = (!sending.is_over()).then(|| Rest::start(sending, connection.share_io()));
        (head.map(|()| InstanceBody::new(connection, decoder, ahead, rest)), None)
    }

    pub(crate) fn into_unsent(self) -> Option<Request<ClientBody>> {
        self.sending.into_unsent()
    }
}
