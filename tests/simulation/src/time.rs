//! Virtual time: nanoseconds since the start of the run.

use std::time::Duration;

/// Nanoseconds of virtual time; 64 bits hold 584 years.
pub(crate) type Nanos = u64;

pub(crate) const SECOND: Nanos = 1_000_000_000;

/// Seconds to nanoseconds, rounded; negative numbers become 0.
pub(crate) fn nanos(seconds: f64) -> Nanos {
    (seconds * 1e9).round() as Nanos // saturates
}

pub(crate) fn seconds(nanos: Nanos) -> f64 {
    nanos as f64 / 1e9
}

pub(crate) fn duration(nanos: Nanos) -> Duration {
    Duration::from_nanos(nanos)
}
