//! As much of gRPC over HTTP/2 (PROTOCOL-HTTP2.md) as a method needs that gets one message and sends many.

use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header::CONTENT_TYPE};
use sluice_relay::{Observer, ReplyBody};

const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");
const STATUS: HeaderName = HeaderName::from_static("grpc-status");
const MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// Before each message: whether it is compressed, and its length in four bytes.
const PREFIX: usize = 5;

/// How a call ends, by its number in gRPC, and a word about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Status(u8, &'static str);

/// The agent leaves: ask again, whoever is there by then.
pub(super) const UNAVAILABLE: Status = Status(14, "the agent leaves");

/// Why there is no stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// There is no gRPC over HTTP/1.
    Http1,
    NotGrpc,
    /// Another service, another method, a compression.
    Unimplemented,
    Malformed,
    /// As many streams are open as may be.
    Exhausted,
}

impl Refusal {
    pub(super) fn response<O: Observer>(self) -> Response<ReplyBody<O>> {
        let mut response = Response::new(ReplyBody::text(String::new()));
        match self {
            Self::Http1 => *response.status_mut() = StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            Self::NotGrpc => *response.status_mut() = StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Unimplemented => {
                says(&mut response, Status(12, "only OpenRcaService/StreamCoreMetrics is here"))
            }
            Self::Malformed => says(&mut response, Status(3, "not one OrcaLoadReportRequest")),
            Self::Exhausted => says(&mut response, Status(8, "as many streams are open as may be")),
        }
        response
    }
}

/// A response of trailers only: they are its head.
fn says<B>(response: &mut Response<B>, status: Status) {
    response.headers_mut().insert(CONTENT_TYPE, GRPC);
    response.headers_mut().extend(trailers(status));
}

pub(super) fn trailers(Status(number, message): Status) -> HeaderMap {
    HeaderMap::from_iter([
        (STATUS, HeaderValue::from(u16::from(number))),
        (MESSAGE, HeaderValue::from_static(message)),
    ])
}

/// The head of what messages follow.
pub(super) fn streams<B>(body: B) -> Response<B> {
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, GRPC);
    response
}

/// `application/grpc`, with or without `+proto`.
pub(super) fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(GRPC.as_bytes()))
}

/// The one message of a request.
///
/// # Errors
/// There is none, or more, or it is compressed, which nobody said would be understood.
pub(super) fn message(body: &[u8]) -> Result<&[u8], Refusal> {
    let (prefix, message) = body.split_at_checked(PREFIX).ok_or(Refusal::Malformed)?;
    let length = u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]]);
    match prefix[0] {
        _ if usize::try_from(length) != Ok(message.len()) => Err(Refusal::Malformed),
        0 => Ok(message),
        1 => Err(Refusal::Unimplemented),
        _ => Err(Refusal::Malformed),
    }
}

/// A message as it is sent.
pub(super) fn framed(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).expect("a report has few names");
    [&[0], &length.to_be_bytes()[..], message].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_one_message() {
        for (body, expected) in [
            (&b"\0\0\0\0\0"[..], Ok(&b""[..])),
            (b"\0\0\0\0\x02ab", Ok(b"ab")),
            (b"\x01\0\0\0\x02ab", Err(Refusal::Unimplemented)),
            (b"\x02\0\0\0\x02ab", Err(Refusal::Malformed)),
            (b"\0\0\0\0\x03ab", Err(Refusal::Malformed)),
            (b"\0\0\0\0\x01ab", Err(Refusal::Malformed)),
            (b"\0\xff\xff\xff\xff", Err(Refusal::Malformed)),
            (b"\0\0\0\0", Err(Refusal::Malformed)),
            (b"", Err(Refusal::Malformed)),
        ] {
            assert_eq!(message(body), expected, "{body:x?}");
        }
        assert_eq!(message(&framed(b"report")), Ok(&b"report"[..]));
    }

    #[test]
    fn refusals_are_said_in_the_head() {
        for (refusal, status, number) in [
            (Refusal::Http1, 505, None),
            (Refusal::NotGrpc, 415, None),
            (Refusal::Malformed, 200, Some("3")),
            (Refusal::Exhausted, 200, Some("8")),
            (Refusal::Unimplemented, 200, Some("12")),
        ] {
            let response = refusal.response::<()>();
            let said = response.headers().get(STATUS).map(|value| value.to_str().expect("ASCII"));
            assert_eq!((response.status().as_u16(), said), (status, number), "{refusal:?}");
            assert_eq!(is_grpc(response.headers()), number.is_some(), "{refusal:?}");
        }
    }
}
