//! How often reports are wanted: `xds.service.orca.v3.OrcaLoadReportRequest`.

use std::time::Duration;

use super::grpc::Refusal;
use crate::orca::{
    protobuf::{Reader, Value},
    report::OrcaError,
};

/// Of the request; 2 has the names of costs that are wanted, which are of single requests.
const REPORT_INTERVAL: u64 = 1;
/// Of `google.protobuf.Duration`.
const SECONDS: u64 = 1;
const NANOS: u64 = 2;

/// Who asks for less gets more: nothing is known for longer, and clients do not count on it.
const LONGEST: Duration = Duration::from_secs(3600);

/// `None`: not said.
pub(super) fn interval(message: &[u8]) -> Result<Option<Duration>, Refusal> {
    read(message).map_err(|_| Refusal::Malformed)
}

/// The interval that is kept to, for one that is asked for.
pub(super) fn granted(asked: Option<Duration>, least: Duration) -> Duration {
    asked.unwrap_or(least).clamp(least, LONGEST.max(least))
}

fn read(message: &[u8]) -> Result<Option<Duration>, OrcaError> {
    let mut interval = None;
    let mut reader = Reader::new(message);
    while let Some(field) = reader.field()? {
        if let (REPORT_INTERVAL, Value::Bytes(bytes)) = field {
            interval = Some(duration(bytes)?);
        }
    }
    Ok(interval)
}

/// What is negative is none at all.
fn duration(message: &[u8]) -> Result<Duration, OrcaError> {
    let (mut seconds, mut nanos) = (0, 0);
    let mut reader = Reader::new(message);
    while let Some(field) = reader.field()? {
        match field {
            (SECONDS, Value::Varint(value)) => seconds = value,
            (NANOS, Value::Varint(value)) => nanos = value,
            _ => {}
        }
    }
    let whole = |value: u64| u64::try_from(value.cast_signed()).unwrap_or(0);
    Ok(Duration::from_secs(whole(seconds)).saturating_add(Duration::from_nanos(whole(nanos))))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: Duration = Duration::from_secs(1);

    #[test]
    fn intervals_are_read_and_kept_within_bounds() {
        let minus_one = b"\x0a\x0b\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01";
        let for_ever = b"\x0a\x0a\x08\xff\xff\xff\xff\xff\xff\xff\xff\x7f";
        let millis = Duration::from_millis;
        for (message, expected) in [
            (&b""[..], millis(1000)),                            // not said
            (b"\x0a\x00", millis(1000)),                         // 0 s
            (b"\x0a\x02\x08\x05", millis(5000)),                 // 5 s
            (b"\x0a\x06\x10\x80\xca\xb5\xee\x01", millis(1000)), // 0.5 s
            (b"\x0a\x08\x08\x01\x10\x80\xca\xb5\xee\x01", millis(1500)),
            (b"\x12\x03cpu\x0a\x02\x08\x02", millis(2000)), // a cost is wanted as well
            (minus_one, millis(1000)),
            (for_ever, LONGEST),
        ] {
            let asked = interval(message).expect("it can be read");
            assert_eq!(granted(asked, LEAST), expected, "{message:x?}");
        }
        assert_eq!(interval(b"\x0a\x05\x08"), Err(Refusal::Malformed));
    }

    #[test]
    fn no_bytes_make_it_panic() {
        let seed = fastrand::u64(..);
        println!("seed {seed}");
        let mut rng = fastrand::Rng::with_seed(seed);
        for _ in 0..20_000 {
            let mut bytes = b"\x0a\x08\x08\x01\x10\x80\xca\xb5\xee\x01\x12\x03cpu".to_vec();
            for _ in 0..rng.usize(1..4) {
                let at = rng.usize(..bytes.len());
                bytes[at] = rng.u8(..);
            }
            bytes.truncate(rng.usize(..=bytes.len()));
            if let Ok(asked) = interval(&bytes) {
                assert!((LEAST..=LONGEST).contains(&granted(asked, LEAST)), "{bytes:x?}");
            }
        }
    }
}
