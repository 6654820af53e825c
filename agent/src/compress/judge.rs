//! Whether a response is compressed, and if not, why.

use http::{HeaderMap, HeaderName, StatusCode, header, response};

use super::Encoding;
use crate::config::CompressConfig;

/// What a request says of the form of its response.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wish {
    /// The best that both sides know. `None`: as it is.
    pub(super) encoding: Option<Encoding>,
    pub(super) is_head: bool,
    pub(super) no_transform: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Compress(Encoding),
    /// As it is, whoever asks.
    Pass(Skip),
    /// As it is, but another request would get it compressed.
    Vary(Skip),
}

/// Why a response was not compressed, as a metric label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Skip {
    /// The client does not take it, or likes it better as it is.
    NotAccepted,
    /// There is no body to compress.
    Head,
    /// A status without a body, or a part of one.
    Status,
    /// The application has done it.
    Encoded,
    /// One of both sides forbids it, or there is a digest of what the application sent.
    NoTransform,
    /// Not one of the types.
    Type,
    /// An event stream, or one that is not to be buffered.
    Stream,
    /// Below the minimum size.
    Small,
    /// The threads have enough to do.
    Busy,
}

impl Skip {
    pub(super) const ALL: [Self; 9] = [
        Self::NotAccepted,
        Self::Head,
        Self::Status,
        Self::Encoded,
        Self::NoTransform,
        Self::Type,
        Self::Stream,
        Self::Small,
        Self::Busy,
    ];

    pub(super) fn label(self) -> &'static str {
        match self {
            Self::NotAccepted => "not_accepted",
            Self::Head => "head",
            Self::Status => "status",
            Self::Encoded => "encoded",
            Self::NoTransform => "no_transform",
            Self::Type => "type",
            Self::Stream => "stream",
            Self::Small => "small",
            Self::Busy => "busy",
        }
    }
}

/// Digests of the content as the application sent it (RFC 9530, and its forerunners).
const DIGESTS: [HeaderName; 4] = [
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("repr-digest"),
    HeaderName::from_static("digest"),
    HeaderName::from_static("content-md5"),
];

const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// `length`: of the body, if it is known.
pub(super) fn judge(
    wish: &Wish,
    head: &response::Parts,
    length: Option<u64>,
    config: &CompressConfig,
) -> Verdict {
    if let Some(skip) = obstacle(head, length.filter(|_| !wish.is_head), config) {
        return Verdict::Pass(skip);
    }
    match wish.encoding {
        // "Combining parts" (RFC 9110, 15.3.7.3) needs all of them to be of one form.
        _ if head.status == StatusCode::PARTIAL_CONTENT => Verdict::Vary(Skip::Status),
        _ if wish.is_head => Verdict::Vary(Skip::Head),
        None => Verdict::Vary(Skip::NotAccepted),
        Some(_) if wish.no_transform => Verdict::Vary(Skip::NoTransform),
        Some(encoding) => Verdict::Compress(encoding),
    }
}

/// What in the response itself speaks against it.
fn obstacle(head: &response::Parts, length: Option<u64>, config: &CompressConfig) -> Option<Skip> {
    let headers = &head.headers;
    let essence = essence(headers);
    let is_worth_it = |essence| config.types.iter().any(|pattern| pattern.matches(essence));
    if has_no_body(head.status) {
        Some(Skip::Status)
    } else if headers.contains_key(header::CONTENT_ENCODING) {
        Some(Skip::Encoded)
    } else if has_no_transform(headers) || DIGESTS.iter().any(|name| headers.contains_key(name)) {
        Some(Skip::NoTransform)
    } else if essence.eq_ignore_ascii_case("text/event-stream") || is_unbuffered(headers) {
        Some(Skip::Stream)
    } else if !is_worth_it(essence) {
        Some(Skip::Type)
    } else if head.status != StatusCode::PARTIAL_CONTENT && is_small(headers, length, config.min_size) {
        Some(Skip::Small)
    } else {
        None
    }
}

fn has_no_body(status: StatusCode) -> bool {
    status.is_informational()
        || matches!(status, StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::NOT_MODIFIED)
}

/// What is of unknown length is taken for long.
fn is_small(headers: &HeaderMap, length: Option<u64>, min_size: u64) -> bool {
    let said = || headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok();
    length.or_else(said).is_some_and(|length| length < min_size)
}

/// The media type without its parameters; empty if there is none.
fn essence(headers: &HeaderMap) -> &str {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim()
}

/// RFC 9111, 5.2.1.6 and 5.2.2.6: "intermediaries [...] MUST NOT transform the content".
pub(super) fn has_no_transform(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|word| word.trim().eq_ignore_ascii_case("no-transform"))
}

fn is_unbuffered(headers: &HeaderMap) -> bool {
    headers.get(ACCEL_BUFFERING).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"no"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compress::default_types;

    const WISH: Wish = Wish { encoding: Some(Encoding::Gzip), is_head: false, no_transform: false };

    fn config() -> CompressConfig {
        CompressConfig { encodings: vec![Encoding::Gzip], types: default_types(), min_size: 1024, threads: 1 }
    }

    fn head(status: u16, fields: &[(&str, &str)]) -> response::Parts {
        let builder = http::Response::builder().status(status);
        let builder = fields.iter().fold(builder, |builder, (name, value)| builder.header(*name, *value));
        builder.body(()).expect("a valid response").into_parts().0
    }

    const HTML: (&str, &str) = ("content-type", "text/html; charset=utf-8");

    #[test]
    fn the_response_decides_first() {
        use Verdict::{Compress, Pass, Vary};
        let gzip = Compress(Encoding::Gzip);
        for (status, fields, length, verdict) in [
            (200, &[HTML] as &[_], Some(1024), gzip),
            (200, &[HTML], Some(1023), Pass(Skip::Small)),
            (200, &[HTML], Some(0), Pass(Skip::Small)),
            (200, &[HTML], None, gzip),
            (404, &[HTML], Some(5000), gzip),
            (500, &[HTML], Some(5000), gzip),
            (200, &[], Some(5000), Pass(Skip::Type)),
            (200, &[("content-type", "image/png")], Some(5000), Pass(Skip::Type)),
            (200, &[("content-type", "image/svg+xml")], Some(5000), gzip),
            (200, &[("content-type", "text/event-stream")], None, Pass(Skip::Stream)),
            (200, &[("content-type", "text/event-stream;charset=utf-8")], None, Pass(Skip::Stream)),
            (200, &[HTML, ("x-accel-buffering", "no")], None, Pass(Skip::Stream)),
            (200, &[HTML, ("x-accel-buffering", "yes")], None, gzip),
            (200, &[HTML, ("content-encoding", "br")], Some(5000), Pass(Skip::Encoded)),
            (200, &[HTML, ("content-encoding", "identity")], Some(5000), Pass(Skip::Encoded)),
            (200, &[HTML, ("cache-control", "public, No-Transform")], Some(5000), Pass(Skip::NoTransform)),
            (200, &[HTML, ("cache-control", "max-age=5")], Some(5000), gzip),
            (200, &[HTML, ("repr-digest", "sha-256=:x:")], Some(5000), Pass(Skip::NoTransform)),
            (200, &[HTML, ("content-md5", "x")], Some(5000), Pass(Skip::NoTransform)),
            (204, &[HTML], None, Pass(Skip::Status)),
            (304, &[HTML], None, Pass(Skip::Status)),
            (101, &[], None, Pass(Skip::Status)),
            (206, &[HTML, ("content-range", "bytes 0-9/5000")], Some(10), Vary(Skip::Status)),
            (206, &[("content-type", "video/mp4")], Some(10), Pass(Skip::Type)),
        ] {
            assert_eq!(
                judge(&WISH, &head(status, fields), length, &config()),
                verdict,
                "{status} {fields:?}"
            );
        }
    }

    #[test]
    fn then_the_request() {
        let page = head(200, &[HTML, ("content-length", "5000")]);
        let tiny = head(200, &[HTML, ("content-length", "500")]);
        for (wish, head, verdict) in [
            (Wish { encoding: None, ..WISH }, &page, Verdict::Vary(Skip::NotAccepted)),
            (Wish { no_transform: true, ..WISH }, &page, Verdict::Vary(Skip::NoTransform)),
            (Wish { encoding: None, ..WISH }, &tiny, Verdict::Pass(Skip::Small)),
            (Wish { is_head: true, ..WISH }, &page, Verdict::Vary(Skip::Head)),
            (Wish { is_head: true, ..WISH }, &tiny, Verdict::Pass(Skip::Small)),
        ] {
            let length = if wish.is_head { Some(0) } else { None };
            assert_eq!(judge(&wish, head, length, &config()), verdict, "{wish:?}");
        }
    }

    #[test]
    fn labels_are_in_the_order_of_their_counters() {
        for (index, skip) in Skip::ALL.into_iter().enumerate() {
            assert_eq!(skip as usize, index, "{}", skip.label());
        }
    }
}
