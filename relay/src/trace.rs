//! Request ids and W3C trace context (w3.org/TR/trace-context).

use std::time::{SystemTime, UNIX_EPOCH};

use http::HeaderValue;

/// A fresh request id: 32 lower-case hexadecimal digits.
pub fn request_id(rng: &mut fastrand::Rng) -> HeaderValue {
    header(format!("{:032x}", nonzero_u128(rng)))
}

/// A fresh `traceparent`, not sampled: nobody upstream asked for a record.
pub fn traceparent(rng: &mut fastrand::Rng) -> HeaderValue {
    header(format!("00-{:032x}-{:016x}-00", nonzero_u128(rng), rng.u64(1..)))
}

/// `X-Request-Start` in the form that New Relic, Datadog and Scout read: microseconds since 1970.
pub fn request_start(now: SystemTime) -> HeaderValue {
    let micros = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros());
    header(format!("t={micros}"))
}

/// Whether a `traceparent` is one to pass on: version, ids and flags in lower-case hexadecimal, no
/// id all zero. A later version may carry more fields behind those.
pub fn is_traceparent(value: &[u8]) -> bool {
    let hex = |part: &[u8], len: usize| {
        part.len() == len && part.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    };
    let nonzero = |part: &[u8]| part.iter().any(|b| *b != b'0');
    let mut parts = value.split(|b| *b == b'-');
    let (Some(version), Some(trace), Some(parent), Some(flags)) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return false;
    };
    let known = version == b"00";
    hex(version, 2)
        && version != b"ff"
        && hex(trace, 32)
        && nonzero(trace)
        && hex(parent, 16)
        && nonzero(parent)
        && hex(flags, 2)
        && !(known && parts.next().is_some())
}

/// Whether a request id from outside may be kept: short and harmless in a log line.
pub fn is_request_id(value: &[u8]) -> bool {
    (1..=128).contains(&value.len())
        && value.iter().all(|b| b.is_ascii_alphanumeric() || b"-_.=+/:@".contains(b))
}

fn nonzero_u128(rng: &mut fastrand::Rng) -> u128 {
    rng.u128(1..)
}

fn header(text: String) -> HeaderValue {
    HeaderValue::try_from(text).expect("digits, letters, '-' and '=' only")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trace_context_is_checked_as_the_standard_says() {
        let valid = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        for (case, value, expected) in [
            ("valid", valid.to_owned(), true),
            ("later version with more", format!("01{}-extra", &valid[2..]), true),
            ("version 00 with more", format!("{valid}-extra"), false),
            ("version ff", format!("ff{}", &valid[2..]), false),
            ("upper case", valid.to_uppercase(), false),
            ("zero trace id", format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32)), false),
            ("zero parent id", format!("00-4bf92f3577b34da6a3ce929d0e0e4736-{}-01", "0".repeat(16)), false),
            ("short", "00-4bf9-00f0-01".to_owned(), false),
            ("empty", String::new(), false),
        ] {
            assert_eq!(is_traceparent(value.as_bytes()), expected, "{case}");
        }
    }

    #[test]
    fn what_is_made_is_valid() {
        let mut rng = fastrand::Rng::with_seed(7);
        assert!(is_traceparent(traceparent(&mut rng).as_bytes()));
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
