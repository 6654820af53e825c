//! Doors for fuzzers into what is nobody else's to call.

use std::time::Duration;

use http::HeaderMap;

use super::{Form, LoadReport, OrcaError, field, stream};

/// Takes every report out of a head of the application's.
pub fn take(headers: &mut HeaderMap) -> Result<Option<LoadReport>, OrcaError> {
    field::take(headers)
}

/// Puts a report into a head.
pub fn put(headers: &mut HeaderMap, report: &LoadReport, form: Form) {
    field::put(headers, report, form);
}

/// How often who asks with that body for a stream is told. `None`: the body is refused.
pub fn interval(body: &[u8], least: Duration) -> Option<Duration> {
    stream::interval(body, least)
}
