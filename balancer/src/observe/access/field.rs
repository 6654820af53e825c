//! What a line can tell: one list of names for JSON and for formats of one's own.

use std::borrow::Cow;
use std::time::Duration;

use http::{HeaderValue, Uri, Version};

use crate::observe::Finished;

/// The value of a field.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value<'a> {
    /// There is none.
    None,
    /// Others had a say in it.
    Foreign(Cow<'a, [u8]>),
    /// Sluice's own words: letters, digits, and what dates are written with.
    Own(Cow<'a, str>),
    Number(u64),
    /// With three places: microseconds are the finest that anything is measured in.
    Millis(f64),
}

macro_rules! fields {
    ($($(#[$doc:meta])* $variant:ident = $name:literal),+ $(,)?) => {
        /// One thing that a line can tell.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Field { $($(#[$doc])* $variant),+ }

        impl Field {
            pub(super) const ALL: &[Self] = &[$(Self::$variant),+];

            pub(super) fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }
        }
    };
}

fields! {
    /// When it arrived, RFC 3339 in UTC with milliseconds.
    Time = "time",
    /// The same as Apache and nginx write it.
    TimeClf = "time_clf",
    /// Who asked, seen through trusted proxies.
    Client = "client",
    Scheme = "scheme",
    Method = "method",
    Host = "host",
    /// Path and query.
    Target = "target",
    Protocol = "protocol",
    Referer = "referer",
    UserAgent = "user_agent",
    Status = "status",
    /// Why it was not answered to the end: the `outcome` label of the metrics.
    Failure = "failure",
    RequestBytes = "request_bytes",
    ResponseBytes = "response_bytes",
    DurationMs = "duration_ms",
    QueueMs = "queue_ms",
    TtfbMs = "ttfb_ms",
    Service = "service",
    Class = "class",
    Lane = "lane",
    Instance = "instance",
    /// Why that instance, in a word.
    Why = "why",
    /// How often it was sent to an instance.
    Attempts = "attempts",
    RequestId = "request_id",
    TraceId = "trace_id",
}

impl Field {
    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|field| field.name() == name)
    }

    pub(super) fn value<'a>(self, of: &'a Finished<'_>) -> Value<'a> {
        let asked = of.asked;
        match self {
            Self::Method | Self::Host | Self::Target | Self::Protocol if asked.is_unread => Value::None,
            Self::Time => Value::Own(rfc3339(of).into()),
            Self::TimeClf => Value::Own(clf(&rfc3339(of)).into()),
            Self::Client => Value::Own(asked.client.to_string().into()),
            Self::Scheme => Value::Own(asked.scheme.into()),
            Self::Method => foreign(asked.method.as_str()),
            Self::Host => header(asked.host.as_ref()),
            Self::Target => target(&asked.target),
            Self::Protocol => Value::Own(protocol(asked.version).into()),
            Self::Referer => header(asked.referer.as_ref()),
            Self::UserAgent => header(asked.user_agent.as_ref()),
            Self::Status => Value::Number(of.status.into()),
            Self::Failure => of.failure().map_or(Value::None, |reason| Value::Own(reason.into())),
            Self::RequestBytes => Value::Number(of.request_bytes),
            Self::ResponseBytes => Value::Number(of.response_bytes),
            Self::DurationMs => millis(of.duration),
            Self::QueueMs => millis(of.queue),
            Self::TtfbMs => of.ttfb.map_or(Value::None, millis),
            Self::Service => foreign(of.service),
            Self::Class => foreign(of.class),
            Self::Lane => of.lane.map_or(Value::None, |lane| Value::Own(lane.into())),
            Self::Instance => of.instance().map_or(Value::None, foreign),
            Self::Why => of.attempts.last().map_or(Value::None, |last| Value::Own(last.why.as_str().into())),
            Self::Attempts => Value::Number(of.attempts.len() as u64),
            Self::RequestId => header(asked.request_id.as_ref()),
            Self::TraceId => of.trace.map_or(Value::None, |t| Value::Own(format!("{:032x}", t.trace).into())),
        }
    }
}

fn target(uri: &Uri) -> Value<'_> {
    match uri.path_and_query() {
        Some(path) => foreign(path.as_str()),
        None => Value::Foreign(uri.to_string().into_bytes().into()),
    }
}

fn foreign(text: &str) -> Value<'_> {
    Value::Foreign(text.as_bytes().into())
}

fn header(value: Option<&HeaderValue>) -> Value<'_> {
    value.map_or(Value::None, |value| Value::Foreign(value.as_bytes().into()))
}

fn millis(duration: Duration) -> Value<'static> {
    Value::Millis(duration.as_secs_f64() * 1e3)
}

fn rfc3339(of: &Finished<'_>) -> String {
    humantime::format_rfc3339_millis(of.asked.arrived).to_string()
}

/// `2026-11-24T08:42:36.123Z` as `24/Nov/2026:08:42:36 +0000`.
fn clf(rfc3339: &str) -> String {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let part = |range: std::ops::Range<usize>| rfc3339.get(range).unwrap_or("-");
    let month = part(5..7).parse::<usize>().ok().and_then(|month| MONTHS.get(month.checked_sub(1)?));
    format!("{}/{}/{}:{} +0000", part(8..10), month.unwrap_or(&"-"), part(0..4), part(11..19))
}

fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2.0",
        Version::HTTP_3 => "HTTP/3.0",
        _ => "HTTP/1.1",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_written_as_other_servers_do() {
        for (rfc3339, expected) in [
            ("2026-11-24T08:42:36.123Z", "24/Nov/2026:08:42:36 +0000"),
            ("2024-02-29T23:59:59.999Z", "29/Feb/2024:23:59:59 +0000"),
            ("1970-01-01T00:00:00.000Z", "01/Jan/1970:00:00:00 +0000"),
        ] {
            assert_eq!(clf(rfc3339), expected);
        }
    }
}
