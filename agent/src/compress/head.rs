//! What a response's header fields say once it is compressed, or could have been.

use http::{HeaderMap, HeaderValue, header};

use super::Encoding;

/// Makes the head that of the compressed response, except for `Vary`.
pub(super) fn encode(headers: &mut HeaderMap, encoding: Encoding) {
    headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(encoding.token()));
    headers.remove(header::CONTENT_LENGTH);
    // A range of the compressed response can not be had.
    headers.remove(header::ACCEPT_RANGES);
    weaken_etag(headers);
}

/// Adds `Accept-Encoding` to what the response depends on. One field, however many there were: some caches read
/// only the first.
pub(super) fn add_vary(headers: &mut HeaderMap) {
    let said = || headers.get_all(header::VARY).iter().filter_map(|value| value.to_str().ok());
    let knows = |name: &str| name == "*" || name.eq_ignore_ascii_case("accept-encoding");
    if said().flat_map(|value| value.split(',')).any(|name| knows(name.trim())) {
        return;
    }
    let mut all: Vec<_> = said().filter(|value| !value.trim().is_empty()).collect();
    all.push("Accept-Encoding");
    let vary = HeaderValue::try_from(all.join(", ")).expect("joined from values");
    headers.insert(header::VARY, vary);
}

/// "A validator is weak if it is shared by two or more representations of a given resource at the same time" (RFC
/// 9110, 8.8.1), as it is now: by the compressed and the plain one. `If-None-Match` is compared weakly, so clients
/// that come back with it are answered 304 as before.
///
/// A suffix, as Apache adds one, was rejected: it would claim that the bytes are the same each time.
pub(super) fn weaken_etag(headers: &mut HeaderMap) {
    // What is not quoted is no entity tag, and means something only to whoever made it.
    let Some(etag) = headers.get(header::ETAG).filter(|tag| tag.as_bytes().starts_with(b"\"")) else {
        return;
    };
    let weak = HeaderValue::from_bytes(&[b"W/", etag.as_bytes()].concat()).expect("as valid as it was");
    headers.insert(header::ETAG, weak);
}

/// For a 304: if the client asked with the tag of a compressed response, that one is still good, so its tag is what
/// the answer has to say.
pub(super) fn revalidated(headers: &mut HeaderMap, if_none_match: Option<&HeaderValue>) {
    let (Some(asked), Some(etag)) = (if_none_match, headers.get(header::ETAG)) else { return };
    let (asked, etag) = (asked.as_bytes(), etag.as_bytes());
    let weak = [b"W/", etag].concat();
    if etag.starts_with(b"\"") && asked.windows(weak.len()).any(|window| window == weak) {
        weaken_etag(headers);
        add_vary(headers);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(fields: &[(&'static str, &str)]) -> HeaderMap {
        let parsed = |value: &str| value.parse::<HeaderValue>().expect("a valid value");
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, parsed(value));
        }
        headers
    }

    #[test]
    fn vary_is_merged_into_one_field() {
        for (given, merged) in [
            (&[] as &[&str], "Accept-Encoding"),
            (&[""], "Accept-Encoding"),
            (&["Cookie"], "Cookie, Accept-Encoding"),
            (&["Cookie", "Accept-Language"], "Cookie, Accept-Language, Accept-Encoding"),
            (&["cookie, accept-encoding"], "cookie, accept-encoding"),
            (&["*"], "*"),
            (&["X-Accept-Encoding"], "X-Accept-Encoding, Accept-Encoding"),
        ] {
            let mut headers = fields(&given.iter().map(|value| ("vary", *value)).collect::<Vec<_>>());
            add_vary(&mut headers);
            let all: Vec<_> = headers.get_all("vary").iter().collect();
            assert_eq!(all, [merged], "{given:?}");
        }
    }

    #[test]
    fn a_strong_tag_becomes_weak_once() {
        for (tag, weak) in [("\"a\"", "W/\"a\""), ("W/\"a\"", "W/\"a\""), ("a", "a"), ("\"\"", "W/\"\"")] {
            let mut headers = fields(&[("etag", tag)]);
            weaken_etag(&mut headers);
            assert_eq!(headers["etag"], weak);
        }
    }

    #[test]
    fn a_304_has_the_tag_that_the_client_asked_with() {
        for (asked, tag, answered) in [
            (Some("W/\"a\""), "\"a\"", "W/\"a\""),
            (Some("\"b\", W/\"a\""), "\"a\"", "W/\"a\""),
            (Some("\"a\""), "\"a\"", "\"a\""),
            (Some("W/\"b\""), "\"a\"", "\"a\""),
            (Some("W/\"a\""), "W/\"a\"", "W/\"a\""),
            (Some("*"), "\"a\"", "\"a\""),
            (None, "\"a\"", "\"a\""),
        ] {
            let mut headers = fields(&[("etag", tag)]);
            let asked = asked.map(HeaderValue::from_static);
            revalidated(&mut headers, asked.as_ref());
            assert_eq!(headers["etag"], answered, "{asked:?}");
            assert_eq!(headers.contains_key("vary"), headers["etag"] != tag, "{asked:?}");
        }
    }

    #[test]
    fn what_is_no_longer_true_is_gone() {
        let mut headers = fields(&[
            ("content-length", "5000"),
            ("accept-ranges", "bytes"),
            ("etag", "\"a\""),
            ("content-type", "text/html"),
            ("last-modified", "Mon, 01 Jan 2024 00:00:00 GMT"),
        ]);
        encode(&mut headers, Encoding::Brotli);
        let expected = fields(&[
            ("content-encoding", "br"),
            ("etag", "W/\"a\""),
            ("content-type", "text/html"),
            ("last-modified", "Mon, 01 Jan 2024 00:00:00 GMT"),
        ]);
        assert_eq!(headers, expected);
    }
}
