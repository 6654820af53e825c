//! What HTTP/2 allows and a relay does not.

use http::{HeaderMap, header};

/// Fields of a request as an HTTP/1.1 client would send them: crumbs of a cookie (RFC 9113, 8.2.3) are one.
pub(super) fn count(fields: &HeaderMap) -> usize {
    let crumbs = fields.get_all(header::COOKIE).iter().count();
    fields.len() - crumbs.saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

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
