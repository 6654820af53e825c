//! A response body that knows when its last byte is taken.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::ledger::InFlight;
use crate::pattern::PatternBody;

/// Pattern bytes that carry the request's guard: with release at the end, that is its worker.
#[derive(Debug)]
pub(super) struct WorkBody {
    pattern: PatternBody,
    flight: InFlight,
}

impl WorkBody {
    pub(super) fn new(pattern: PatternBody, flight: InFlight) -> Self {
        let mut body = Self { pattern, flight };
        body.finish_at_end(); // an empty body is never polled
        body
    }

    fn finish_at_end(&mut self) {
        if self.pattern.is_end_stream() {
            self.flight.finish();
        }
    }
}

impl Body for WorkBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let frame = Pin::new(&mut self.pattern).poll_frame(cx);
        self.finish_at_end();
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.pattern.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.pattern.size_hint()
    }
}
