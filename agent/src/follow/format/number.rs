//! Figures as logs have them.

use std::time::Duration;

use super::Unit;

/// A response with more is none: readers of reports refuse it.
const LARGEST: u64 = 1 << 50;
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// A figure of a log. `Err`: it is none.
pub(super) type Figure<T> = Result<Option<T>, ()>;

/// 100 to 599. nginx's 000, for a connection that ended before an answer, is none.
pub(super) fn status(text: &str) -> Result<u16, ()> {
    match digits(text)? {
        status @ 100..=599 => Ok(status as u16),
        _ => Err(()),
    }
}

/// `-` is zero in some logs and "not known" in others: it is not taken for either.
pub(super) fn bytes(text: &str) -> Figure<u64> {
    match text {
        "-" => Ok(None),
        text => digits(text).and_then(|bytes| if bytes <= LARGEST { Ok(Some(bytes)) } else { Err(()) }),
    }
}

/// At most a day.
pub(super) fn time(text: &str, unit: Unit) -> Figure<Duration> {
    if text == "-" {
        return Ok(None);
    }
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let nanos_of_unit = match unit {
        Unit::Seconds | Unit::WholeSeconds => 1_000_000_000,
        Unit::Millis => 1_000_000,
        Unit::Micros => 1_000,
    };
    // Nine digits are enough for nanoseconds.
    let fraction = fraction.get(..9).unwrap_or(fraction);
    let parts = digits(fraction)? * nanos_of_unit / 10_u64.pow(fraction.len() as u32);
    let nanos =
        digits(whole)?.checked_mul(nanos_of_unit).and_then(|nanos| nanos.checked_add(parts)).ok_or(())?;
    let time = Duration::from_nanos(nanos);
    if time <= LONGEST { Ok(Some(time)) } else { Err(()) }
}

/// `0.010, 0.020 : 0.030`: of each server that was asked, by nginx. The last one answered.
pub(super) fn last_time(text: &str) -> Figure<Duration> {
    let last = text.rsplit([',', ':']).next().unwrap_or_default();
    time(last.trim(), Unit::Seconds)
}

/// At most 18 digits, so that nothing overflows.
fn digits(text: &str) -> Result<u64, ()> {
    let valid = (1..=18).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    if valid { text.parse().map_err(|_| ()) } else { Err(()) }
}
