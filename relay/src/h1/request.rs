//! The head of a request as an instance gets it.

use http::header::{CONTENT_LENGTH, HeaderMap, TRAILER, TRANSFER_ENCODING};
use http::{HeaderName, Request, uri::PathAndQuery};
use http_body::Body;

use super::response::content_length;
use crate::text::Text;
use crate::upload::ClientBody;

/// How the end of a request's body is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    /// There is no body.
    None,
    /// So many bytes are yet to be sent.
    Length(u64),
    Chunked,
}

impl Coding {
    /// Of a request with a body whose length is not known until it is there: chunked, whatever the method.
    fn of(request: &Request<ClientBody>) -> Self {
        let body = request.body();
        if body.is_end_stream() {
            return Self::None;
        }
        let announced = content_length(request.headers()).ok().flatten();
        announced.or(body.size_hint().exact()).map_or(Self::Chunked, Self::Length)
    }
}

/// Appends the head of `request`, which must have been [prepared](crate::head::prepare_request).
pub(super) fn encode(request: &Request<ClientBody>, out: &mut Vec<u8>) -> Coding {
    let coding = Coding::of(request);
    out.extend_from_slice(request.method().as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(request.uri().path_and_query().map_or("/", PathAndQuery::as_str).as_bytes());
    out.extend_from_slice(b" HTTP/1.1\r\n");
    // `Content-Length: 0` without a body says that none was forgotten.
    let is_ours =
        |name: &HeaderName| *name == TRANSFER_ENCODING || (*name == CONTENT_LENGTH && coding != Coding::None);
    for (name, value) in request.headers().iter().filter(|(name, _)| !is_ours(name)) {
        field(name, value.as_bytes(), out);
    }
    match coding {
        Coding::None => {}
        Coding::Length(length) => {
            let mut digits = Text::<20>::new();
            field(&CONTENT_LENGTH, digits.push_decimal(length).as_bytes(), out);
        }
        Coding::Chunked => field(&TRANSFER_ENCODING, b"chunked", out),
    }
    out.extend_from_slice(b"\r\n");
    coding
}

fn field(name: &HeaderName, value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(name.as_str().as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// Appends the end of a chunked body, with those of its trailers that the request's head announced.
pub(super) fn encode_last_chunk(head: &HeaderMap, trailers: &HeaderMap, out: &mut Vec<u8>) {
    out.extend_from_slice(b"0\r\n");
    let announced = |name: &HeaderName| {
        let values = head.get_all(TRAILER).iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split(',')).any(|one| one.trim().eq_ignore_ascii_case(name.as_str()))
    };
    for (name, value) in trailers.iter().filter(|(name, _)| announced(name)) {
        field(name, value.as_bytes(), out);
    }
    out.extend_from_slice(b"\r\n");
}
