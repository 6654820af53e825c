//! Which requests have one meaning only (RFC 9110, 9112). The rest are refused, not repaired.

use http::header::{CONTENT_LENGTH, HOST, HeaderMap, TRANSFER_ENCODING};
use http::{Method, Version, request};

use crate::screen::{Refusal, is_authority};

/// Checks a request as the HTTP library delivered it.
///
/// # Errors
/// What to answer and to say. Also if the bytes were refused that the request stands in for.
pub fn check_request(parts: &request::Parts) -> Result<(), Refusal> {
    if let Some(refusal) = parts.extensions.get::<Refusal>() {
        return Err(*refusal);
    }
    check_meaning(parts).map_err(Refusal::malformed)
}

fn check_meaning(parts: &request::Parts) -> Result<(), &'static str> {
    if parts.method == Method::CONNECT {
        return Err("CONNECT is not for a reverse proxy");
    }
    check_host(parts)?;
    check_framing(parts.version, &parts.headers)
}

/// RFC 9112, 3.2: "A server MUST respond with a 400 (Bad Request) status code to any HTTP/1.1
/// request message that lacks a Host header field and to any request message that contains more
/// than one Host header field line".
fn check_host(parts: &request::Parts) -> Result<(), &'static str> {
    let mut hosts = parts.headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(_), Some(_)) => Err("more than one Host field"),
        (Some(host), None) if !is_authority(host.as_bytes()) => Err("invalid Host field"),
        (None, _) if parts.version == Version::HTTP_11 && parts.uri.authority().is_none() => {
            Err("missing Host field")
        }
        _ => Ok(()),
    }
}

/// RFC 9112, 6.1: only `chunked`, once, and only in HTTP/1.1; never together with a length.
fn check_framing(version: Version, headers: &HeaderMap) -> Result<(), &'static str> {
    if !headers.contains_key(TRANSFER_ENCODING) {
        return Ok(());
    }
    if version < Version::HTTP_11 {
        return Err("Transfer-Encoding in HTTP/1.0");
    }
    if headers.contains_key(CONTENT_LENGTH) {
        return Err("both Content-Length and Transfer-Encoding");
    }
    if !is_chunked_only(headers) {
        return Err("Transfer-Encoding other than chunked");
    }
    Ok(())
}

/// Whether the only transfer coding is `chunked`, once.
pub(crate) fn is_chunked_only(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(TRANSFER_ENCODING).iter();
    let single = values.next().is_some_and(|v| v.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked"));
    single && values.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    #[test]
    fn ambiguous_requests_are_refused() {
        type Case = (&'static str, &'static str, Version, &'static [(&'static str, &'static str)], bool);
        let cases: &[Case] = &[
            ("plain", "GET", Version::HTTP_11, &[("host", "a.example")], true),
            ("port", "GET", Version::HTTP_11, &[("host", "[::1]:8080")], true),
            ("empty host", "GET", Version::HTTP_11, &[("host", "")], true),
            ("1.0 without host", "GET", Version::HTTP_10, &[], true),
            ("1.1 without host", "GET", Version::HTTP_11, &[], false),
            ("two hosts", "GET", Version::HTTP_11, &[("host", "a"), ("host", "a")], false),
            ("host with a path", "GET", Version::HTTP_11, &[("host", "a/b")], false),
            ("host with a user", "GET", Version::HTTP_11, &[("host", "u@a")], false),
            ("connect", "CONNECT", Version::HTTP_11, &[("host", "a")], false),
            ("chunked", "POST", Version::HTTP_11, &[("host", "a"), ("transfer-encoding", "Chunked")], true),
            ("chunked in 1.0", "POST", Version::HTTP_10, &[("transfer-encoding", "chunked")], false),
            (
                "chunked twice",
                "POST",
                Version::HTTP_11,
                &[("host", "a"), ("transfer-encoding", "chunked, chunked")],
                false,
            ),
            (
                "chunked in two fields",
                "POST",
                Version::HTTP_11,
                &[("host", "a"), ("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")],
                false,
            ),
            (
                "gzip",
                "POST",
                Version::HTTP_11,
                &[("host", "a"), ("transfer-encoding", "gzip, chunked")],
                false,
            ),
            (
                "two framings",
                "POST",
                Version::HTTP_11,
                &[("host", "a"), ("transfer-encoding", "chunked"), ("content-length", "3")],
                false,
            ),
        ];
        for (case, method, version, fields, accepted) in cases {
            let mut request = Request::builder().method(*method).uri("/").version(*version);
            for (name, value) in *fields {
                request = request.header(*name, *value);
            }
            let (parts, ()) = request.body(()).expect("a valid builder").into_parts();
            assert_eq!(check_request(&parts).is_ok(), *accepted, "{case}");
        }
    }
}
