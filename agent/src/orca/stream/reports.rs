//! The reports of one stream.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use http_body::{Body, Frame};
use sluice_process::Watch;
use sluice_relay::{Chunk, body::BodyError};
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::{
    grpc::{self, UNAVAILABLE},
    metrics::OpenStream,
};
use crate::{
    orca::{current, protobuf},
    shared::Shared,
};

/// Says what is at the time, at once and then at each interval. A client that does not take them gets fewer and none of
/// them late, as they are made when it takes one.
pub(super) struct Reports {
    shared: Arc<Shared>,
    ticks: Interval,
    leaving: Pin<Box<dyn Future<Output = ()>>>,
    open: Option<OpenStream>,
}

impl Reports {
    /// Until `stop` says that the agent leaves, or a successor has come.
    pub(super) fn new(shared: Arc<Shared>, every: Duration, stop: &Watch, open: OpenStream) -> Self {
        let mut ticks = interval(every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let stop = stop.clone();
        let leaving = Box::pin(async move { stop.leaving().await });
        Self { shared, ticks, leaving, open: Some(open) }
    }
}

impl Body for Reports {
    type Data = Chunk;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Chunk>, BodyError>>> {
        let this = self.get_mut();
        let Some(open) = &this.open else { return Poll::Ready(None) };
        if this.leaving.as_mut().poll(cx).is_ready() {
            this.open = None;
            return Poll::Ready(Some(Ok(Frame::trailers(grpc::trailers(UNAVAILABLE)))));
        }
        ready!(this.ticks.poll_tick(cx));
        open.told();
        let message = grpc::framed(&protobuf::write(&current(&this.shared)));
        Poll::Ready(Some(Ok(Frame::data(Chunk::from(bytes::Bytes::from(message))))))
    }

    fn is_end_stream(&self) -> bool {
        self.open.is_none()
    }
}
