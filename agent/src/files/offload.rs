//! The fields by which an application hands a response over. None of them ever reaches a client.

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, response};
use sluice_relay::{
    field_names,
    names::{Names, Present},
};

/// Absolute paths: Apache's name for it, and lighttpd's.
static SENDFILE: [HeaderName; 2] =
    [HeaderName::from_static("x-sendfile"), HeaderName::from_static("x-lighttpd-send-file")];

/// A URI of the proxy's own: nginx.
static ACCEL_REDIRECT: HeaderName = HeaderName::from_static("x-accel-redirect");

/// What is not done here, though the application relies on it: parts of several files, and files to be deleted.
static UNSUPPORTED: [HeaderName; 3] = [
    HeaderName::from_static("x-sendfile2"),
    HeaderName::from_static("x-sendfile-temporary"),
    HeaderName::from_static("x-lighttpd-send-tempfile"),
];

/// All of these, and advice to a proxy that is no use to anybody else.
static OF_OFFLOADS: Names<9> = field_names![
    "x-sendfile",
    "x-lighttpd-send-file",
    "x-accel-redirect",
    "x-sendfile2",
    "x-sendfile-temporary",
    "x-lighttpd-send-tempfile",
    "x-accel-charset",
    "x-accel-expires",
    "x-accel-limit-rate",
];

/// By these a proxy tells an application (Rack's `Sendfile`) to name files, and how to spell them. From a client they
/// are an attack.
static SAID_BY_PROXIES: Names<2> = field_names!["x-sendfile-type", "x-accel-mapping"];

/// What an application wants sent in place of its response's body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Offload {
    /// The file of that absolute path.
    Sendfile(HeaderValue),
    /// The file of that internal URI.
    Redirect(HeaderValue),
    /// In a way that is not offered, or in two ways at once.
    Unsupported { field: &'static str, value: HeaderValue },
}

impl Offload {
    /// Takes all offload fields out of a response. `None`: it does not name a file, or its status says that its own
    /// body is what matters.
    pub fn take(head: &mut response::Parts) -> Option<Self> {
        let there = OF_OFFLOADS.within(&head.headers);
        if there == Present::NONE {
            return None;
        }
        let named = Self::named(&head.headers);
        OF_OFFLOADS.remove(there, &mut head.headers);
        named.filter(|_| matches!(head.status, StatusCode::OK | StatusCode::PARTIAL_CONTENT))
    }

    fn named(fields: &HeaderMap) -> Option<Self> {
        let values = |name| fields.get_all(name).iter().filter(|value| !value.is_empty());
        let sendfile = SENDFILE.iter().flat_map(values).cloned().map(Self::Sendfile);
        let redirect = values(&ACCEL_REDIRECT).cloned().map(Self::Redirect);
        let unsupported = UNSUPPORTED.iter().flat_map(|name| values(name).cloned().map(Self::unsupported));
        let mut all = sendfile.chain(redirect).chain(unsupported);
        match (all.next(), all.next()) {
            // Which of them is meant, nobody can tell.
            (Some(one), Some(_another)) => Some(Self::unsupported(one.into_value())),
            (one, _) => one,
        }
    }

    fn unsupported(value: HeaderValue) -> Self {
        Self::Unsupported { field: "several or other fields", value }
    }

    /// The field that it came in, for logs.
    pub fn field(&self) -> &'static str {
        match self {
            Self::Sendfile(_) => "X-Sendfile",
            Self::Redirect(_) => "X-Accel-Redirect",
            Self::Unsupported { field, .. } => field,
        }
    }

    pub fn value(&self) -> &[u8] {
        match self {
            Self::Sendfile(value) | Self::Redirect(value) | Self::Unsupported { value, .. } => {
                value.as_bytes()
            }
        }
    }

    fn into_value(self) -> HeaderValue {
        match self {
            Self::Sendfile(value) | Self::Redirect(value) | Self::Unsupported { value, .. } => value,
        }
    }
}

/// Takes out of a request what would tell an application how to name files.
pub fn hide_from_instance(fields: &mut HeaderMap) {
    SAID_BY_PROXIES.remove_from(fields);
}

#[cfg(test)]
mod tests {
    use http::Response;

    use super::*;

    fn taken(status: u16, fields: &[(&str, &str)]) -> (Option<Offload>, Vec<String>) {
        let mut response = Response::builder().status(status);
        for (name, value) in fields {
            response = response.header(*name, *value);
        }
        let (mut head, ()) = response.body(()).expect("a valid response").into_parts();
        let offload = Offload::take(&mut head);
        (offload, head.headers.keys().map(ToString::to_string).collect())
    }

    #[test]
    fn a_file_is_named_by_one_field_of_a_response_that_would_have_a_body() {
        let sendfile = Some(Offload::Sendfile(HeaderValue::from_static("/a")));
        let redirect = Some(Offload::Redirect(HeaderValue::from_static("/a")));
        for (status, fields, wanted) in [
            (200, &[("x-sendfile", "/a")] as &[_], sendfile.clone()),
            (200, &[("X-LIGHTTPD-send-file", "/a")], sendfile.clone()),
            (206, &[("x-sendfile", "/a"), ("content-range", "bytes 0-1/2")], sendfile.clone()),
            (200, &[("x-accel-redirect", "/a")], redirect.clone()),
            (200, &[("x-accel-redirect", ""), ("x-sendfile", "/a")], sendfile),
            (200, &[("x-sendfile", "")], None),
            (200, &[("x-accel-buffering", "no")], None),
            (201, &[("x-sendfile", "/a")], None),
            (304, &[("x-sendfile", "/a")], None),
            (404, &[("x-accel-redirect", "/a")], None),
        ] {
            assert_eq!(taken(status, fields).0, wanted, "{status} {fields:?}");
        }
    }

    #[test]
    fn what_is_not_offered_or_ambiguous_is_told_apart() {
        for fields in [
            &[("x-sendfile2", "/a 0-1")] as &[_],
            &[("x-sendfile-temporary", "/a")],
            &[("x-sendfile", "/a"), ("x-sendfile", "/b")],
            &[("x-sendfile", "/a"), ("x-accel-redirect", "/b")],
            &[("x-sendfile", "/a"), ("x-sendfile-temporary", "/a")],
        ] {
            let offload = taken(200, fields).0;
            assert!(matches!(offload, Some(Offload::Unsupported { .. })), "{fields:?}: {offload:?}");
        }
    }

    #[test]
    fn no_field_of_this_kind_is_left_whatever_the_status() {
        for status in [200, 206, 302, 404, 500] {
            let all = [
                "x-sendfile",
                "x-lighttpd-send-file",
                "x-accel-redirect",
                "x-sendfile2",
                "x-sendfile-temporary",
                "x-lighttpd-send-tempfile",
                "x-accel-charset",
                "x-accel-expires",
                "x-accel-limit-rate",
            ];
            let fields: Vec<_> = all.into_iter().chain(["set-cookie"]).map(|name| (name, "/a")).collect();
            assert_eq!(taken(status, &fields).1, ["set-cookie"], "{status}");
        }
    }
}
