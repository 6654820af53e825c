//! Request ids and W3C trace context (w3.org/TR/trace-context).

mod parent;
mod state;

use std::time::{SystemTime, UNIX_EPOCH};

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::text::{Text, hex};

pub use parent::TraceParent;

pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Takes up the trace that a request belongs to, or begins one, not sampled: nobody upstream asked for a record.
pub(crate) fn take_up(headers: &mut HeaderMap, rng: &mut fastrand::Rng) {
    let parent = parent(headers);
    // What belongs to a parent that was not understood, or can not be read itself.
    if parent.is_none() || !state::is_valid(headers.get_all(TRACESTATE).iter()) {
        headers.remove(TRACESTATE);
    }
    if parent.is_none() {
        headers.insert(TRACEPARENT, TraceParent::fresh(rng).header());
    }
}

/// Who asked, if it says so, once and in a valid way.
pub fn parent(headers: &HeaderMap) -> Option<TraceParent> {
    let mut fields = headers.get_all(TRACEPARENT).iter();
    let only = fields.next().filter(|_| fields.next().is_none());
    only.and_then(|field| TraceParent::parse(field.as_bytes()))
}

/// A fresh request id: 32 lower-case hexadecimal digits.
pub fn request_id(rng: &mut fastrand::Rng) -> HeaderValue {
    HeaderValue::from_bytes(&hex::<32>(rng.u128(1..))).expect("hexadecimal digits only")
}

/// `X-Request-Start` in the form that New Relic, Datadog and Scout read: microseconds since 1970.
pub fn request_start(now: SystemTime) -> HeaderValue {
    let micros = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros());
    // In 64 bits there is room for half a million years.
    Text::<22>::new().push(b"t=").push_decimal(micros as u64).header()
}

/// Whether a request id from outside may be kept: short and harmless in a log line.
pub fn is_request_id(value: &[u8]) -> bool {
    (1..=128).contains(&value.len())
        && value.iter().all(|b| b.is_ascii_alphanumeric() || b"-_.=+/:@".contains(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_is_taken_up_whole_or_begun_anew() {
        let valid = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        for (case, parents, states, kept, state) in [
            ("all valid", &[valid][..], &["a=1", "b=2"][..], true, &["a=1", "b=2"][..]),
            ("no state", &[valid], &[], true, &[]),
            ("an invalid state", &[valid], &["a=1", "A"], true, &[]),
            ("no parent", &[], &["a=1"], false, &[]),
            ("an invalid parent", &["00-0-0-0"], &["a=1"], false, &[]),
            ("two parents", &[valid, valid], &["a=1"], false, &[]),
        ] {
            let mut headers = HeaderMap::new();
            for (name, values) in [(TRACEPARENT, parents), (TRACESTATE, states)] {
                values.iter().for_each(|value| {
                    headers.append(&name, HeaderValue::from_static(value));
                });
            }
            take_up(&mut headers, &mut fastrand::Rng::with_seed(7));
            let parent = parent(&headers).unwrap_or_else(|| panic!("{case}: always one, valid"));
            assert_eq!(parent.header() == valid, kept, "{case}");
            assert_eq!(parent.is_sampled(), kept, "{case}: nobody asked for a record of a new one");
            let left: Vec<_> = headers.get_all(TRACESTATE).iter().collect();
            assert_eq!(left, state, "{case}");
        }
    }

    #[test]
    fn what_is_made_is_valid() {
        let mut rng = fastrand::Rng::with_seed(7);
        assert!(is_request_id(request_id(&mut rng).as_bytes()));
        let start = request_start(UNIX_EPOCH + std::time::Duration::from_micros(1_700_000_000_000_001));
        assert_eq!(start, "t=1700000000000001");
    }

    #[test]
    fn ids_that_could_forge_a_log_line_are_not_kept() {
        for bad in ["", "a b", "a\tb", "a\"b", &"x".repeat(129)] {
            assert!(!is_request_id(bad.as_bytes()), "{bad:?}");
        }
    }
}
