//! Which requests have one meaning only (RFC 9110, 9112). The rest are refused, not repaired.

use http::header::{CONTENT_LENGTH, HOST, HeaderMap, HeaderValue, TRANSFER_ENCODING};
use http::{Method, Version, request};

/// Checks a request as the HTTP library delivered it.
///
/// # Errors
/// A phrase for the client that says what is wrong.
pub fn check_request(parts: &request::Parts) -> Result<(), &'static str> {
    if parts.method == Method::CONNECT {
        return Err("CONNECT is not for a reverse proxy");
    }
    check_host(parts)?;
    if parts.version == Version::HTTP_2 {
        return check_http2(parts);
    }
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

/// What HTTP/2 says in other ways than HTTP/1.1. Fields that concern a connection are refused by the library already,
/// as malformed (RFC 9113, 8.2.2).
fn check_http2(parts: &request::Parts) -> Result<(), &'static str> {
    // RFC 9113, 8.3.1: "A server SHOULD treat a request as malformed if it contains a Host header field that
    // identifies an entity that differs from the entity in the ":authority" pseudo-header field."
    let authority = parts.uri.authority().map(|authority| authority.as_str().as_bytes());
    let host = parts.headers.get(HOST).map(|host| host.as_bytes());
    match (authority, host) {
        (None, None) => return Err("missing :authority"),
        (Some(authority), _) if authority.is_empty() || !is_authority(authority) => {
            return Err("invalid :authority");
        }
        (Some(authority), Some(host)) if !authority.eq_ignore_ascii_case(host) => {
            return Err(":authority and Host differ");
        }
        _ => {}
    }
    let mut lengths = parts.headers.get_all(CONTENT_LENGTH).iter();
    let is_length =
        |value: &HeaderValue| !value.is_empty() && value.as_bytes().iter().all(u8::is_ascii_digit);
    match (lengths.next(), lengths.next()) {
        (Some(_), Some(_)) => Err("more than one Content-Length field"),
        (Some(length), None) if !is_length(length) => Err("invalid Content-Length field"),
        _ => Ok(()),
    }
}

/// Characters of `uri-host [ ":" port ]` (RFC 3986): no user information, path or white space.
fn is_authority(host: &[u8]) -> bool {
    host.len() <= 255 && host.iter().all(|b| b.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=:[]".contains(b))
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

    #[test]
    fn http_2_has_one_authority_and_one_length() {
        type Case =
            (&'static str, &'static str, &'static [(&'static str, &'static str)], Result<(), &'static str>);
        let cases: &[Case] = &[
            ("authority", "https://a.example/", &[], Ok(())),
            ("both, equal", "https://a.example/", &[("host", "A.Example")], Ok(())),
            ("host alone", "/", &[("host", "a.example")], Ok(())),
            ("neither", "/", &[], Err("missing :authority")),
            ("differing", "https://a.example/", &[("host", "b.example")], Err(":authority and Host differ")),
            ("differing in port", "https://a:1/", &[("host", "a:2")], Err(":authority and Host differ")),
            ("empty host", "https://a.example/", &[("host", "")], Err(":authority and Host differ")),
            ("two hosts", "https://a/", &[("host", "a"), ("host", "a")], Err("more than one Host field")),
            ("a user", "https://u@a.example/", &[], Err("invalid :authority")),
            ("a length", "https://a/", &[("content-length", "3")], Ok(())),
            (
                "two lengths",
                "https://a/",
                &[("content-length", "3"), ("content-length", "3")],
                Err("more than one Content-Length field"),
            ),
            ("a list", "https://a/", &[("content-length", "3, 3")], Err("invalid Content-Length field")),
            ("a sign", "https://a/", &[("content-length", "+3")], Err("invalid Content-Length field")),
        ];
        for (case, uri, fields, expected) in cases {
            let mut request = Request::builder().uri(*uri).version(Version::HTTP_2);
            for (name, value) in *fields {
                request = request.header(*name, *value);
            }
            let (parts, ()) = request.body(()).expect("a valid builder").into_parts();
            assert_eq!(check_request(&parts), *expected, "{case}");
        }
    }
}
