//! `GET /v1/events`: what changed, as server-sent events, and the same in the log.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{self, KeepAlive, Sse};
use axum::routing::get;
use serde::Serialize;
use sluice_proto::ServiceName;
use tokio::sync::broadcast;
use tokio_stream::wrappers::BroadcastStream;
use tokio_stream::{Stream, StreamExt};

use crate::control::ControlState;
use crate::control::planning::unix_ms;
use crate::decide::membership::Key;

/// Events that a new reader is told first, and that a slow reader may lag behind: an hour of a lively site.
const KEPT: usize = 500;

/// Something changed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Event {
    /// Grows by one; a reader that reconnects names the last one it had.
    pub id: u64,
    /// Milliseconds since 1970.
    pub at_ms: u64,
    /// What changed, in one word.
    pub kind: &'static str,
    /// Empty if it concerns the balancer.
    pub service: String,
    /// Empty if it concerns the service.
    pub instance: String,
    /// What changed and why, in words.
    pub text: String,
}

impl Event {
    pub fn new(kind: &'static str, key: &Key, text: impl Into<String>) -> Self {
        Self { instance: key.1.to_string(), ..Self::of_service(kind, &key.0, text) }
    }

    /// Of the balancer as a whole.
    pub fn of_all(kind: &'static str, text: impl Into<String>) -> Self {
        let (service, instance) = (String::new(), String::new());
        Self { id: 0, at_ms: unix_ms(), kind, service, instance, text: text.into() }
    }

    /// Of no instance in particular.
    pub fn of_service(kind: &'static str, service: &ServiceName, text: impl Into<String>) -> Self {
        let (service, text) = (service.to_string(), text.into());
        Self { id: 0, at_ms: unix_ms(), kind, service, instance: String::new(), text }
    }
}

/// The last events, and whoever listens for more.
pub struct Events {
    kept: Mutex<Kept>,
    sender: broadcast::Sender<Event>,
}

#[derive(Default)]
struct Kept {
    last_id: u64,
    events: VecDeque<Event>,
}

impl Default for Events {
    fn default() -> Self {
        Self { kept: Mutex::default(), sender: broadcast::channel(KEPT).0 }
    }
}

impl Events {
    /// Numbers, logs, keeps and sends an event.
    pub fn publish(&self, mut event: Event) {
        tracing::info!(
            kind = event.kind,
            service = event.service,
            instance = event.instance,
            "{}",
            event.text
        );
        let mut kept = self.kept.lock().expect("no code panics while holding it");
        kept.last_id += 1;
        event.id = kept.last_id;
        if kept.events.len() == KEPT {
            kept.events.pop_front();
        }
        kept.events.push_back(event.clone());
        // Within the lock, so that a new reader misses none and gets none twice.
        let _nobody_listens = self.sender.send(event);
    }

    /// What was published after the event `after`, and what will be.
    pub fn since(&self, after: u64) -> impl Stream<Item = Event> + use<> {
        let kept = self.kept.lock().expect("no code panics while holding it");
        // Who names one that is not there yet had it of an earlier process.
        let after = if after > kept.last_id { 0 } else { after };
        let missed: Vec<_> = kept.events.iter().filter(|event| event.id > after).cloned().collect();
        let coming = BroadcastStream::new(self.sender.subscribe());
        drop(kept);
        // A reader that lags loses the oldest; the ids show it the gap.
        tokio_stream::iter(missed).chain(coming.filter_map(Result::ok))
    }
}

pub(super) fn routes() -> Router<Arc<ControlState>> {
    Router::new().route("/v1/events", get(events))
}

async fn events(
    State(state): State<Arc<ControlState>>,
    headers: HeaderMap,
) -> Sse<impl Stream<Item = Result<sse::Event, Infallible>>> {
    let stream = state.events.since(last_event_id(&headers)).map(|event| {
        let sent = sse::Event::default().id(event.id.to_string()).event(event.kind);
        Ok(sent.json_data(&event).expect("an event is plain data"))
    });
    Sse::new(stream).keep_alive(KeepAlive::default())
}

/// The last event that a reader that reconnects has had; 0: none.
pub(super) fn last_event_id(headers: &HeaderMap) -> u64 {
    let id = headers.get("last-event-id").and_then(|id| id.to_str().ok());
    id.and_then(|id| id.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_reader_gets_what_it_missed_and_then_the_rest_once() {
        let events = Events::default();
        let key = (sluice_proto::ServiceName::default(), "a".parse().expect("a name"));
        let publish = |n: usize| events.publish(Event::new("plan", &key, n.to_string()));
        (1..=3).for_each(publish);
        let mut reader = Box::pin(events.since(1));
        publish(4);
        let mut ids = vec![];
        for _ in 0..3 {
            ids.push(reader.next().await.expect("published").id);
        }
        assert_eq!(ids, [2, 3, 4]);
        let of_an_earlier_process = Box::pin(events.since(99)).next().await.expect("kept");
        assert_eq!(of_an_earlier_process.id, 1);
    }

    #[tokio::test]
    async fn memory_is_bounded() {
        let events = Events::default();
        let key = (sluice_proto::ServiceName::default(), "a".parse().expect("a name"));
        (0..1000).for_each(|n| events.publish(Event::new("plan", &key, n.to_string())));
        let first = Box::pin(events.since(0)).next().await.expect("kept");
        assert_eq!(first.id, 1000 - KEPT as u64 + 1);
    }
}
