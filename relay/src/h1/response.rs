//! The head of a response as it arrives.

use std::io;
use std::mem::{self, MaybeUninit};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue, TRANSFER_ENCODING};
use http::{Method, Response, StatusCode, Version};
use httparse::{ParserConfig, Status};
use hyper::ext::ReasonPhrase;

use super::Decoder;
use crate::body::BodyError;
use crate::failure::Failure;
use crate::police::is_chunked_only;

/// Most of a head, in bytes. 408 KiB: the HTTP library's limit, which no instance that was served before may find lowered.
const HEAD_BYTES: usize = 8 * 1024 + 100 * 4096;
/// Field lines of a head, and of trailers. 100: as the HTTP library.
pub(super) const FIELDS: usize = 100;

/// Why there is no response.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ResponseError {
    #[error("the connection was closed before the response")]
    Closed,
    #[error("the connection failed: {0}")]
    Io(#[from] io::Error),
    #[error("nothing came for too long")]
    Silent,
    #[error("the request broke off: {0}")]
    Request(#[source] BodyError),
    #[error("the head of the response is invalid: {0}")]
    Head(#[from] httparse::Error),
    #[error("the response is invalid: {0}")]
    Invalid(&'static str),
}

impl ResponseError {
    pub(crate) fn failure(&self) -> Failure {
        match self {
            Self::Closed | Self::Io(_) | Self::Request(_) => Failure::ClosedEarly,
            Self::Silent => Failure::ResponseTimeout,
            Self::Head(_) | Self::Invalid(_) => Failure::InvalidResponse,
        }
    }
}

/// What came so far.
#[derive(Debug, Default)]
pub(crate) struct Arriving {
    /// To be read into.
    pub(crate) bytes: Vec<u8>,
    /// How many of them were looked at, and are no whole head.
    looked: usize,
}

/// A head, how its body is to be read, and what came of that.
pub(crate) type Arrived = (Response<()>, Decoder, Bytes);

impl Arriving {
    /// Saves making a buffer if nothing came yet.
    pub(super) fn read_into(&mut self, empty: Vec<u8>) {
        if self.bytes.is_empty() {
            self.bytes = empty;
        }
    }

    /// The response to a request with `method`, once its head is there. Interim ones (1xx) are skipped; those that a
    /// client waits for are given by its own side.
    ///
    /// # Errors
    /// What is no head, or leaves open where the body ends.
    pub(crate) fn next(&mut self, method: &Method) -> Result<Option<Arrived>, ResponseError> {
        while self.may_be_whole() {
            let bytes = Bytes::from(mem::take(&mut self.bytes));
            let Some((head, length)) = parse(&bytes)? else {
                self.bytes = bytes.into();
                break;
            };
            let rest = bytes.slice(length..);
            if head.status().is_informational() && head.status() != StatusCode::SWITCHING_PROTOCOLS {
                (self.bytes, self.looked) = (rest.into(), 0);
                continue;
            }
            let decoder = decoder(&head, method)?;
            return Ok(Some((head, decoder, rest)));
        }
        self.looked = self.bytes.len();
        if self.looked > HEAD_BYTES { Err(httparse::Error::TooManyHeaders.into()) } else { Ok(None) }
    }

    /// What it means that nothing more comes.
    pub(crate) fn end(self) -> ResponseError {
        parse(&self.bytes.into()).err().unwrap_or(ResponseError::Closed)
    }

    /// Looks at the first bytes, for garbage, and then only at what may have the end: a head that comes byte by byte
    /// would else be read as often.
    fn may_be_whole(&self) -> bool {
        let fresh = &self.bytes[self.looked.saturating_sub(3)..];
        let mut ends = memchr::memchr_iter(b'\n', fresh);
        let is_end = |at: usize| matches!(fresh.get(at + 1..), Some([b'\n', ..] | [b'\r', b'\n', ..]));
        !self.bytes.is_empty() && (self.looked == 0 || ends.any(is_end))
    }
}

/// The head at the start of `bytes`, and its length. `None`: not all of it is there.
fn parse(bytes: &Bytes) -> Result<Option<(Response<()>, usize)>, ResponseError> {
    let mut fields = [const { MaybeUninit::uninit() }; FIELDS];
    let mut read = httparse::Response::new(&mut []);
    let parser = ParserConfig::default();
    let Status::Complete(length) =
        parser.parse_response_with_uninit_headers(&mut read, bytes, &mut fields)?
    else {
        return Ok(None);
    };
    if length > HEAD_BYTES {
        return Err(httparse::Error::TooManyHeaders.into());
    }
    let mut head = Response::new(());
    let code = read.code.ok_or(httparse::Error::Status)?;
    *head.status_mut() = StatusCode::from_u16(code).map_err(|_| httparse::Error::Status)?;
    *head.version_mut() = if read.version == Some(0) { Version::HTTP_10 } else { Version::HTTP_11 };
    *head.headers_mut() = collect(read.headers, |value| bytes.slice_ref(value))?;
    // The library writes its own for the status if there is none.
    let reason = read.reason.filter(|reason| Some(*reason) != head.status().canonical_reason());
    if let Some(Ok(reason)) = reason.map(|reason| ReasonPhrase::try_from(bytes.slice_ref(reason.as_bytes())))
    {
        head.extensions_mut().insert(reason);
    }
    Ok(Some((head, length)))
}

/// Field lines as a map, whose values are `shared`.
pub(super) fn collect(
    fields: &[httparse::Header<'_>],
    shared: impl Fn(&[u8]) -> Bytes,
) -> Result<HeaderMap, httparse::Error> {
    let mut map = HeaderMap::with_capacity(fields.len());
    for field in fields {
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| httparse::Error::HeaderName)?;
        let value = HeaderValue::from_maybe_shared(shared(field.value));
        map.append(name, value.map_err(|_| httparse::Error::HeaderValue)?);
    }
    Ok(map)
}

/// Where the body ends (RFC 9112, 6.3).
fn decoder(head: &Response<()>, method: &Method) -> Result<Decoder, ResponseError> {
    let is_bodiless = matches!(
        head.status(),
        StatusCode::SWITCHING_PROTOCOLS | StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED
    );
    if is_bodiless || method == Method::HEAD {
        return Ok(Decoder::length(0));
    }
    let length = content_length(head.headers()).map_err(ResponseError::Invalid)?;
    if !head.headers().contains_key(TRANSFER_ENCODING) {
        return Ok(length.map_or(Decoder::until_close(), Decoder::length));
    }
    if length.is_some() {
        return Err(ResponseError::Invalid("both Content-Length and Transfer-Encoding"));
    }
    if head.version() < Version::HTTP_11 {
        return Err(ResponseError::Invalid("Transfer-Encoding in HTTP/1.0"));
    }
    if !is_chunked_only(head.headers()) {
        return Err(ResponseError::Invalid("Transfer-Encoding other than chunked"));
    }
    Ok(Decoder::chunked())
}

/// What `Content-Length` says, if it says the same wherever it says something (RFC 9110, 8.6).
///
/// # Errors
/// It says something else than one number.
pub(super) fn content_length(headers: &HeaderMap) -> Result<Option<u64>, &'static str> {
    let mut length = None;
    for value in headers.get_all(CONTENT_LENGTH) {
        for number in value.as_bytes().split(|byte| *byte == b',') {
            let number = decimal(number.trim_ascii()).ok_or("invalid Content-Length")?;
            if length.is_some_and(|length| length != number) {
                return Err("more than one Content-Length");
            }
            length = Some(number);
        }
    }
    Ok(length)
}

/// Digits only, and no more than fit into 63 bits, so that sums of lengths fit into 64.
fn decimal(digits: &[u8]) -> Option<u64> {
    let value = digits.iter().try_fold(0_u64, |value, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        value.checked_mul(10)?.checked_add(digit)
    })?;
    (!digits.is_empty() && i64::try_from(value).is_ok()).then_some(value)
}
