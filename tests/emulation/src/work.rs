//! How one request carries its own cost: the `X-Emulate-*` headers.
//!
//! The load generator draws every cost from its seed and sends it along, so that an instance
//! needs no randomness and the same seed costs the same whichever instance is picked.

use std::time::Duration;

use http::header::{HeaderMap, HeaderName, HeaderValue};

/// Worker time in microseconds at speed 1.
pub const WORK_US: HeaderName = HeaderName::from_static("x-emulate-work-us");
/// Length of the response body.
pub const BYTES: HeaderName = HeaderName::from_static("x-emulate-bytes");
/// Key of the object that the instance needs in its cache.
pub const OBJECT: HeaderName = HeaderName::from_static("x-emulate-object");
/// Additional worker time in microseconds if the object is not in the cache.
pub const MISS_US: HeaderName = HeaderName::from_static("x-emulate-miss-us");

/// Response: who answered (name or port).
pub const INSTANCE: HeaderName = HeaderName::from_static("x-emulate-instance");
/// Response: `hit` or `miss`; absent if the request named no object or the instance has no cache.
pub const CACHE: HeaderName = HeaderName::from_static("x-emulate-cache");
/// Response: length of the request body that arrived.
pub const RECEIVED: HeaderName = HeaderName::from_static("x-emulate-received");

/// Body length of a request that does not say.
pub const DEFAULT_BYTES: u64 = 1024;

/// Longest worker time accepted: a typo must not hold a worker for a day.
const MAX_US: u64 = 3_600_000_000;
const MAX_BYTES: u64 = 1 << 40;
const MAX_OBJECT: usize = 256;

/// What one request costs the instance that answers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cost {
    /// Worker time at speed 1.
    pub work: Duration,
    /// Length of the response body.
    pub bytes: u64,
    /// Cache key; `None`: the request needs no object.
    pub object: Option<String>,
    /// Worker time on top of `work` when `object` is not cached.
    pub miss: Duration,
}

impl Default for Cost {
    fn default() -> Self {
        Self { work: Duration::ZERO, bytes: DEFAULT_BYTES, object: None, miss: Duration::ZERO }
    }
}

/// A header that does not say a cost.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{header}: {value:?} is not accepted; send {accepted}")]
pub struct CostError {
    pub header: &'static str,
    pub value: String,
    pub accepted: &'static str,
}

impl Cost {
    /// Reads the headers; what is missing takes its default, what is malformed is refused.
    pub fn from_headers(headers: &HeaderMap) -> Result<Self, CostError> {
        Ok(Self {
            work: micros(headers, &WORK_US, "X-Emulate-Work-Us")?,
            bytes: number(headers, &BYTES, "X-Emulate-Bytes", MAX_BYTES, "0..=1099511627776 bytes")?
                .unwrap_or(DEFAULT_BYTES),
            object: object(headers)?,
            miss: micros(headers, &MISS_US, "X-Emulate-Miss-Us")?,
        })
    }

    /// Writes the headers that [`Cost::from_headers`] reads back as the same cost, to the microsecond.
    ///
    /// An object key that can not be a header value is left out.
    pub fn write_to(&self, headers: &mut HeaderMap) {
        headers.insert(WORK_US, as_micros(self.work).into());
        headers.insert(BYTES, self.bytes.into());
        let Some(key) = self.object.as_deref().and_then(|k| HeaderValue::from_str(k).ok()) else {
            return;
        };
        headers.insert(OBJECT, key);
        headers.insert(MISS_US, as_micros(self.miss).into());
    }
}

fn as_micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

fn micros(headers: &HeaderMap, header: &HeaderName, label: &'static str) -> Result<Duration, CostError> {
    let us = number(headers, header, label, MAX_US, "0..=3600000000 microseconds")?;
    Ok(Duration::from_micros(us.unwrap_or(0)))
}

fn number(
    headers: &HeaderMap,
    header: &HeaderName,
    label: &'static str,
    max: u64,
    accepted: &'static str,
) -> Result<Option<u64>, CostError> {
    let Some(value) = headers.get(header) else { return Ok(None) };
    let parsed = value.to_str().ok().and_then(|v| v.trim().parse().ok());
    match parsed.filter(|n| *n <= max) {
        Some(n) => Ok(Some(n)),
        None => Err(refusal(label, value, accepted)),
    }
}

fn object(headers: &HeaderMap) -> Result<Option<String>, CostError> {
    let Some(value) = headers.get(&OBJECT) else { return Ok(None) };
    match value.to_str() {
        Ok(key) if !key.is_empty() && key.len() <= MAX_OBJECT => Ok(Some(key.to_owned())),
        _ => Err(refusal("X-Emulate-Object", value, "1 to 256 visible ASCII characters")),
    }
}

fn refusal(header: &'static str, value: &HeaderValue, accepted: &'static str) -> CostError {
    CostError { header, value: String::from_utf8_lossy(value.as_bytes()).into_owned(), accepted }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cost_survives_the_wire() {
        let cost = Cost {
            work: Duration::from_micros(12_345),
            bytes: 0,
            object: Some("section-3".into()),
            miss: Duration::from_millis(40),
        };
        let mut headers = HeaderMap::new();
        cost.write_to(&mut headers);
        assert_eq!(Cost::from_headers(&headers), Ok(cost));
    }

    #[test]
    fn no_headers_mean_no_work_and_one_kibibyte() {
        let cost = Cost::from_headers(&HeaderMap::new());
        assert_eq!(cost, Ok(Cost { bytes: 1024, ..Cost::default() }));
    }

    #[test]
    fn a_bad_value_names_header_value_and_what_is_accepted() {
        let cases = [
            (WORK_US, "-1"),
            (WORK_US, "3600000001"),
            (MISS_US, "1.5"),
            (BYTES, "many"),
            (BYTES, "1099511627777"),
            (OBJECT, ""),
        ];
        for (header, value) in cases {
            let mut headers = HeaderMap::new();
            headers.insert(header.clone(), HeaderValue::from_static(value));
            let error = Cost::from_headers(&headers).expect_err(value).to_string();
            assert!(error.to_lowercase().contains(header.as_str()), "{error}");
            assert!(error.contains(value) && error.contains("send "), "{error}");
        }
    }
}
