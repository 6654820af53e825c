//! What HTTP/2 allows, or the library lets pass, and a relay does not: what `screen` does for HTTP/1.1.
//!
//! Fields that concern a connection, and pseudo-fields in the wrong place or number, are refused by the library, as
//! malformed (RFC 9113, 8.2 and 8.3).

use http::header::{CONTENT_LENGTH, COOKIE, HOST, HeaderMap};
use http::uri::{Scheme, Uri};
use http::{Method, Request, StatusCode};

use crate::screen::{Refusal, check_method, check_path, is_authority, is_same};

/// Checks a request as the library delivered it. `most`: header fields.
///
/// # Errors
/// What to answer, and to say.
pub(super) fn check<B>(request: &Request<B>, most: usize) -> Result<(), Refusal> {
    let (uri, fields) = (request.uri(), request.headers());
    if count(fields) > most {
        let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
        return Err(Refusal::with_status(status, "too many header fields"));
    }
    check_method(request.method().as_str().as_bytes())?;
    check_authority(uri, fields)?;
    check_target(request.method(), uri)?;
    check_length(fields)
}

/// Fields of a request as an HTTP/1.1 client would send them: crumbs of a cookie (RFC 9113, 8.2.3) are one.
fn count(fields: &HeaderMap) -> usize {
    let crumbs = fields.get_all(COOKIE).iter().count();
    fields.len() - crumbs.saturating_sub(1)
}

/// RFC 9113, 8.3.1: "A server SHOULD treat a request as malformed if it contains a Host header field that identifies
/// an entity that differs from the entity in the ":authority" pseudo-header field."
fn check_authority(uri: &Uri, fields: &HeaderMap) -> Result<(), Refusal> {
    let default_port: &[u8] = if uri.scheme() == Some(&Scheme::HTTPS) { b"443" } else { b"80" };
    let authority = uri.authority().map(|authority| authority.as_str().as_bytes());
    let host = fields.get(HOST).map(|host| host.as_bytes());
    let problem = match (authority, host) {
        (None, None) => "missing :authority",
        (Some(authority), _) if authority.is_empty() || !is_authority(authority) => "invalid :authority",
        (Some(authority), Some(host)) if !is_same(authority, host, default_port) => {
            ":authority and the Host field name different hosts"
        }
        _ => return Ok(()),
    };
    Err(Refusal::malformed(problem))
}

fn check_target(method: &Method, uri: &Uri) -> Result<(), Refusal> {
    match uri.path_and_query().map_or("", |target| target.as_str()) {
        "*" if method == Method::OPTIONS => Ok(()),
        "*" => Err(Refusal::malformed("the target * is for OPTIONS only")),
        target => check_path(target.as_bytes()),
    }
}

/// The library believes the first of several.
fn check_length(fields: &HeaderMap) -> Result<(), Refusal> {
    let mut lengths = fields.get_all(CONTENT_LENGTH).iter();
    match (lengths.next(), lengths.next()) {
        (None, _) => Ok(()),
        (Some(_), Some(_)) => Err(Refusal::malformed("more than one Content-Length field")),
        (Some(length), None) if length.as_bytes().iter().all(u8::is_ascii_digit) => Ok(()),
        (Some(_), None) => Err(Refusal::malformed("Content-Length is not a number")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn verdict(method: &str, uri: &str, fields: &[(&str, &str)]) -> Result<(), String> {
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let request = request.body(()).expect("a valid builder");
        check(&request, 100).map_err(|refusal| format!("{} {refusal}", refusal.status().as_u16()))
    }

    #[test]
    fn a_request_has_one_authority_one_target_and_one_length() {
        type Case = (&'static str, &'static str, &'static [(&'static str, &'static str)], &'static str);
        let cases: &[Case] = &[
            ("authority", "https://a.example/", &[], ""),
            ("both, equal", "https://a.example/", &[("host", "A.Example")], ""),
            ("the default port", "https://a/", &[("host", "a:443")], ""),
            ("host alone", "/", &[("host", "a.example")], ""),
            ("neither", "/", &[], "missing :authority"),
            ("differing", "https://a.example/", &[("host", "b.example")], "different hosts"),
            ("the other scheme's port", "https://a/", &[("host", "a:80")], "different hosts"),
            ("empty host", "https://a.example/", &[("host", "")], "different hosts"),
            ("a user", "https://u@a.example/", &[], "invalid :authority"),
            ("characters", "https://a/\\x", &[], "percent-encoded"),
            ("a length", "https://a/", &[("content-length", "3")], ""),
            (
                "two lengths",
                "https://a/",
                &[("content-length", "3"), ("content-length", "3")],
                "more than one",
            ),
            ("a list", "https://a/", &[("content-length", "3, 3")], "not a number"),
            ("a sign", "https://a/", &[("content-length", "+3")], "not a number"),
        ];
        for (case, uri, fields, problem) in cases {
            match verdict("GET", uri, fields) {
                Ok(()) => assert!(problem.is_empty(), "{case}"),
                Err(error) => assert!(!problem.is_empty() && error.contains(problem), "{case}: {error}"),
            }
        }
        let long = "M".repeat(33);
        assert!(verdict(&long, "https://a/", &[]).is_err_and(|error| error.starts_with("501")));
    }

    #[test]
    fn crumbs_of_a_cookie_count_as_one_field() {
        let mut fields = HeaderMap::new();
        assert_eq!(count(&fields), 0);
        fields.append("accept", HeaderValue::from_static("a"));
        fields.append("accept", HeaderValue::from_static("b"));
        assert_eq!(count(&fields), 2);
        for _ in 0..5 {
            fields.append("cookie", HeaderValue::from_static("a=b"));
        }
        assert_eq!(count(&fields), 3);
    }
}
