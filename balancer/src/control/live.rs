//! `GET /v1/live`: everything that the dashboard shows, as server-sent events.
//!
//! `history` comes first (the last hour), then a `snapshot` each second, and an `event` for each that is
//! in `/v1/events`. A snapshot is made once, whoever many watch, and not at all while nobody does. A reader
//! that is slow misses snapshots; it is never waited for.

use std::convert::Infallible;
use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use bytes::Bytes;
use serde::Serialize;
use tokio::sync::watch;
use tokio_stream::wrappers::WatchStream;
use tokio_stream::{Stream, StreamExt};

use crate::control::events::last_event_id;
use crate::control::{ControlState, snapshot};
use crate::pool::now;

/// A snapshot that is older is made anew for a reader that comes.
const FRESH: Duration = Duration::from_secs(1);

pub(super) fn routes() -> Router<Arc<ControlState>> {
    Router::new().route("/v1/live", get(live))
}

/// The newest snapshot, and whoever waits for the next.
#[derive(Debug)]
pub(super) struct Live {
    frames: watch::Sender<Frame>,
}

#[derive(Clone, Debug, Default)]
struct Frame {
    /// `None`: none was made yet.
    made: Option<Instant>,
    bytes: Bytes,
}

impl Default for Live {
    fn default() -> Self {
        Self { frames: watch::Sender::new(Frame::default()) }
    }
}

impl Live {
    /// Sends a new frame to all readers; `make` is called if there are any.
    pub(super) fn pulse(&self, now: Instant, make: impl FnOnce() -> Bytes) {
        if self.frames.receiver_count() > 0 {
            self.frames.send_replace(Frame { made: Some(now), bytes: make() });
        }
    }

    /// Makes a new frame if the newest is old: nobody watched.
    pub(super) fn refresh(&self, now: Instant, make: impl FnOnce() -> Bytes) {
        let made = self.frames.borrow().made;
        if made.is_none_or(|made| now.saturating_duration_since(made) >= FRESH) {
            self.frames.send_replace(Frame { made: Some(now), bytes: make() });
        }
    }

    /// The newest frame, and those to come.
    pub(super) fn watch(&self) -> impl Stream<Item = Bytes> + use<> {
        WatchStream::new(self.frames.subscribe()).map(|frame| frame.bytes)
    }
}

async fn live(State(state): State<Arc<ControlState>>, headers: HeaderMap) -> impl IntoResponse {
    let history = tokio_stream::once(frame("history", None, &state.hours()));
    let events = state.events.since(last_event_id(&headers));
    let events = events.map(|event| frame("event", Some(event.id), &event));
    state.live.refresh(now(), || snapshot_frame(&state));
    let stream = history.chain(state.live.watch().merge(events)).map(Ok::<_, Infallible>);
    ([(CONTENT_TYPE, "text/event-stream")], Body::from_stream(stream))
}

/// What all readers are sent.
pub(super) fn snapshot_frame(state: &ControlState) -> Bytes {
    frame("snapshot", None, &snapshot::of(state))
}

/// One server-sent event, in one line of data: JSON has no line breaks but escaped ones.
fn frame(kind: &str, id: Option<u64>, data: &impl Serialize) -> Bytes {
    let mut text = String::new();
    if let Some(id) = id {
        let _infallible = writeln!(text, "id: {id}");
    }
    let json = serde_json::to_string(data).expect("views are plain data");
    let _infallible = write!(text, "event: {kind}\ndata: {json}\n\n");
    text.into()
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[tokio::test]
    async fn readers_share_a_frame_and_without_readers_none_is_made() {
        let (live, made, start) = (Live::default(), Cell::new(0_u32), now());
        let make = || {
            made.set(made.get() + 1);
            Bytes::from(format!("frame {}", made.get()))
        };
        live.pulse(start, make);
        assert_eq!(made.get(), 0, "nobody watches");
        let reader = |at| {
            live.refresh(at, make);
            Box::pin(live.watch())
        };
        let mut readers: Vec<_> = (0..50).map(|_| reader(start)).collect();
        for reader in &mut readers {
            assert_eq!(reader.next().await.expect("the newest"), "frame 1");
        }
        live.pulse(start + FRESH, make);
        let mut frames = Vec::new();
        for reader in &mut readers {
            frames.push(reader.next().await.expect("the next"));
        }
        assert!(frames.iter().all(|bytes| bytes.as_ptr() == frames[0].as_ptr()), "not copied");
        assert_eq!(made.get(), 2);
        drop(readers);
        live.pulse(start + 2 * FRESH, make);
        assert_eq!(made.get(), 2, "nobody watches any more");
        assert_eq!(reader(start + 9 * FRESH).next().await.expect("made for it"), "frame 3");
    }

    #[tokio::test]
    async fn a_slow_reader_gets_the_newest_only() {
        let (live, start) = (Live::default(), now());
        let mut reader = Box::pin(live.watch());
        (1..=9).for_each(|n| live.pulse(start, || Bytes::from(n.to_string())));
        assert_eq!(reader.next().await.expect("the newest"), "9");
    }
}
