//! What a response tells its client about Sluice: nothing, unless the operator wants it.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

/// Which fields responses carry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reveal {
    /// `X-Request-Id`, as the instance got it.
    pub request_id: bool,
    /// `Server-Timing: queue;dur=…, app;dur=…`, in milliseconds.
    pub server_timing: bool,
}

impl Reveal {
    /// The request's id, if responses are to carry it.
    pub(super) fn id_of(self, request: &HeaderMap) -> Option<HeaderValue> {
        self.request_id.then(|| request.get(REQUEST_ID).cloned()).flatten()
    }

    pub(super) fn add_to(
        self,
        headers: &mut HeaderMap,
        id: Option<HeaderValue>,
        queue: Duration,
        app: Duration,
    ) {
        if let Some(id) = id {
            headers.insert(REQUEST_ID, id);
        }
        if self.server_timing {
            let millis = |d: Duration| d.as_secs_f64() * 1e3;
            let timing = format!("queue;dur={:.1}, app;dur={:.1}", millis(queue), millis(app));
            headers.append(SERVER_TIMING, HeaderValue::try_from(timing).expect("digits and punctuation"));
        }
    }
}
