//! The response that is made of an application's head and a file: RFC 9110 on values.

use std::{
    fs::Metadata,
    os::unix::fs::MetadataExt,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, StatusCode,
    header::{
        ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LANGUAGE,
        CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, EXPIRES, LAST_MODIFIED, RANGE, TRAILER,
    },
    request, response,
};
use sluice_relay::{field_names, file::Segment, names::Names};

use super::{
    conditions::{Tag, Validators, Verdict, evaluate, if_range_holds},
    ranges::{ByteRange, Selection, select},
};

/// What of a request matters to a file.
static RELEVANT: Names<6> = field_names![
    "if-match",
    "if-none-match",
    "if-modified-since",
    "if-unmodified-since",
    "if-range",
    "range",
];

/// What the application says about the placeholder that it sent, not about the file.
static OF_THE_PLACEHOLDER: [HeaderName; 7] = [
    CONTENT_LENGTH,
    CONTENT_RANGE,
    TRAILER,
    HeaderName::from_static("content-md5"),
    HeaderName::from_static("digest"),
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("repr-digest"),
];

/// What describes a body that is not sent.
static OF_THE_CONTENT: [HeaderName; 4] =
    [CONTENT_TYPE, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_DISPOSITION];

/// For how long after it was written a file may be written again without showing it. 2 s: the coarsest clock of a file
/// system in use (FAT).
const UNSETTLED: Duration = Duration::from_secs(2);

/// What a request asks for, as far as it matters.
#[derive(Clone, Debug)]
pub struct Asked {
    method: Method,
    fields: HeaderMap,
}

impl Asked {
    pub fn of(request: &request::Parts) -> Self {
        let mut fields = HeaderMap::new();
        for (name, value) in request.headers.iter().filter(|(name, _)| RELEVANT.contains(name)) {
            fields.append(name, value.clone());
        }
        Self { method: request.method.clone(), fields }
    }
}

/// What is known of a file.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    pub length: u64,
    pub inode: u64,
    /// Nanoseconds since 1970.
    pub modified: i128,
}

impl Facts {
    pub fn of(metadata: &Metadata) -> Self {
        let modified = i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec());
        Self { length: metadata.len(), inode: metadata.ino(), modified }
    }

    /// Times before 1970 are taken for it: dates of HTTP do not go back further.
    fn modified_at(&self) -> SystemTime {
        let nanos = u64::try_from(self.modified.max(0)).unwrap_or(u64::MAX);
        SystemTime::UNIX_EPOCH + Duration::from_nanos(nanos)
    }

    /// RFC 9110, 8.8.1: weak while the same time may come to stand for another content.
    fn tag(&self, now: SystemTime) -> String {
        let weak = if now < self.modified_at() + UNSETTLED { "W/" } else { "" };
        format!("{weak}\"{:x}-{:x}-{:x}\"", self.inode, self.length, self.modified)
    }
}

/// What is sent of a file, as a metric label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Whole,
    Range,
    Ranges,
    /// The head alone, as asked for.
    Head,
    NotModified,
    PreconditionFailed,
    Unsatisfiable,
}

impl Kind {
    pub const ALL: [Self; 7] = [
        Self::Whole,
        Self::Range,
        Self::Ranges,
        Self::Head,
        Self::NotModified,
        Self::PreconditionFailed,
        Self::Unsatisfiable,
    ];

    pub fn label(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::Range => "range",
            Self::Ranges => "ranges",
            Self::Head => "head",
            Self::NotModified => "not_modified",
            Self::PreconditionFailed => "precondition_failed",
            Self::Unsatisfiable => "unsatisfiable",
        }
    }
}

/// A response in full: its head, and what of the file its body is made of.
#[derive(Debug)]
pub struct Reply {
    pub head: response::Parts,
    pub segments: Vec<Segment>,
    pub kind: Kind,
}

/// Makes the response. `head` is the application's: type, disposition, cookies, cache fields and validators of its own
/// are kept, what it says about its placeholder is not.
pub fn compose(
    mut head: response::Parts,
    asked: &Asked,
    facts: &Facts,
    now: SystemTime,
    rng: &mut fastrand::Rng,
) -> Reply {
    for name in &OF_THE_PLACEHOLDER {
        head.headers.remove(name);
    }
    head.status = StatusCode::OK;
    add_validators(&mut head.headers, facts, now);
    let is_get = asked.method == Method::GET;
    if !is_get && asked.method != Method::HEAD {
        return whole(head, facts.length);
    }
    match evaluate(&asked.fields, validators(&head.headers)) {
        Verdict::NotModified => return not_modified(head),
        Verdict::Failed => return failed(head, StatusCode::PRECONDITION_FAILED, Kind::PreconditionFailed),
        Verdict::Proceed if is_get => {}
        // "A server MUST ignore a Range header field received with a request method that is unrecognized or for which
        // range handling is not defined. For this specification, GET is the only method [...]" (RFC 9110, 14.2).
        Verdict::Proceed => {
            set_length(&mut head.headers, facts.length);
            return Reply { head, segments: Vec::new(), kind: Kind::Head };
        }
    }
    match selection(&head.headers, asked, facts.length, now) {
        Selection::Whole => whole(head, facts.length),
        Selection::One(range) => one_range(head, range, facts.length),
        Selection::Several(ranges) => several_ranges(head, &ranges, facts.length, rng),
        Selection::Unsatisfiable => {
            let mut reply = failed(head, StatusCode::RANGE_NOT_SATISFIABLE, Kind::Unsatisfiable);
            set(&mut reply.head.headers, CONTENT_RANGE, format!("bytes */{}", facts.length));
            reply
        }
    }
}

/// Those of the file, where the application has given none.
fn add_validators(headers: &mut HeaderMap, facts: &Facts, now: SystemTime) {
    if !headers.contains_key(ETAG) {
        set(headers, ETAG, facts.tag(now));
    }
    if !headers.contains_key(LAST_MODIFIED) {
        // "An origin server with a clock MUST NOT generate a Last-Modified date that is later than the server's time of
        // message origination" (RFC 9110, 8.8.2.1).
        set(headers, LAST_MODIFIED, httpdate::fmt_http_date(facts.modified_at().min(now)));
    }
    if !headers.contains_key(ACCEPT_RANGES) {
        headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    }
}

fn validators(headers: &HeaderMap) -> Validators<'_> {
    let date = headers.get(LAST_MODIFIED).and_then(|value| value.to_str().ok());
    Validators {
        tag: headers.get(ETAG).and_then(|value| Tag::parse(value.as_bytes())),
        modified: date.and_then(|date| httpdate::parse_http_date(date).ok()),
    }
}

fn selection(headers: &HeaderMap, asked: &Asked, length: u64, now: SystemTime) -> Selection {
    let mut values = asked.fields.get_all(RANGE).iter();
    let accepts =
        headers.get(ACCEPT_RANGES).is_none_or(|units| !units.as_bytes().eq_ignore_ascii_case(b"none"));
    match (values.next(), values.next()) {
        (Some(range), None) if accepts && if_range_holds(&asked.fields, validators(headers), now) => {
            select(range.as_bytes(), length)
        }
        _ => Selection::Whole,
    }
}

fn whole(mut head: response::Parts, length: u64) -> Reply {
    set_length(&mut head.headers, length);
    Reply { head, segments: vec![Segment::File { from: 0, length }], kind: Kind::Whole }
}

/// RFC 9110, 15.4.5: validators and what caches need, and nothing about content.
fn not_modified(mut head: response::Parts) -> Reply {
    head.status = StatusCode::NOT_MODIFIED;
    remove_content(&mut head.headers);
    Reply { head, segments: Vec::new(), kind: Kind::NotModified }
}

/// Neither a cache nor a client may take this for the file, whatever the application says about that one.
fn failed(mut head: response::Parts, status: StatusCode, kind: Kind) -> Reply {
    head.status = status;
    remove_content(&mut head.headers);
    for name in [ETAG, LAST_MODIFIED, EXPIRES] {
        head.headers.remove(name);
    }
    head.headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    set_length(&mut head.headers, 0);
    Reply { head, segments: Vec::new(), kind }
}

fn remove_content(headers: &mut HeaderMap) {
    for name in &OF_THE_CONTENT {
        headers.remove(name);
    }
}

fn one_range(mut head: response::Parts, range: ByteRange, length: u64) -> Reply {
    head.status = StatusCode::PARTIAL_CONTENT;
    set(&mut head.headers, CONTENT_RANGE, content_range(range, length));
    set_length(&mut head.headers, range.length());
    Reply { head, segments: vec![segment(range)], kind: Kind::Range }
}

/// RFC 9110, 14.6: multipart/byteranges.
fn several_ranges(
    mut head: response::Parts,
    ranges: &[ByteRange],
    length: u64,
    rng: &mut fastrand::Rng,
) -> Reply {
    head.status = StatusCode::PARTIAL_CONTENT;
    // Not to be found in a file but by chance: 1 in 2^128.
    let boundary = format!("{:032x}", rng.u128(..));
    let content_type = head.headers.get(CONTENT_TYPE).cloned();
    let mut segments = Vec::with_capacity(2 * ranges.len() + 1);
    for range in ranges {
        segments.push(Segment::Bytes(part_head(&boundary, content_type.as_ref(), *range, length)));
        segments.push(segment(*range));
    }
    segments.push(Segment::Bytes(format!("\r\n--{boundary}--\r\n").into()));
    set(&mut head.headers, CONTENT_TYPE, format!("multipart/byteranges; boundary={boundary}"));
    set_length(&mut head.headers, segments.iter().map(Segment::length).sum());
    Reply { head, segments, kind: Kind::Ranges }
}

fn part_head(boundary: &str, content_type: Option<&HeaderValue>, range: ByteRange, length: u64) -> Bytes {
    let mut part = format!("\r\n--{boundary}\r\n").into_bytes();
    if let Some(content_type) = content_type {
        part.extend_from_slice(b"Content-Type: ");
        part.extend_from_slice(content_type.as_bytes());
        part.extend_from_slice(b"\r\n");
    }
    part.extend_from_slice(format!("Content-Range: {}\r\n\r\n", content_range(range, length)).as_bytes());
    part.into()
}

fn segment(range: ByteRange) -> Segment {
    Segment::File { from: range.first, length: range.length() }
}

fn content_range(range: ByteRange, length: u64) -> String {
    format!("bytes {}-{}/{length}", range.first, range.last)
}

fn set_length(headers: &mut HeaderMap, length: u64) {
    headers.insert(CONTENT_LENGTH, length.into());
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: String) {
    headers.insert(name, HeaderValue::try_from(value).expect("made of ASCII here"));
}

#[cfg(test)]
mod tests {
    use http::{Request, Response};

    use super::*;

    /// 1994-11-06 08:49:37, the RFC's favourite.
    const WRITTEN: u64 = 784_111_777;
    const THEN: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const FACTS: Facts = Facts { length: 1000, inode: 0xab, modified: WRITTEN as i128 * 1_000_000_000 + 5 };
    const TAG: &str = "\"ab-3e8-ae1b981bc490a05\"";

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn asked(method: &str, fields: &[(&str, &str)]) -> Asked {
        let mut request = Request::builder().method(method);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        Asked::of(&request.body(()).expect("a valid request").into_parts().0)
    }

    /// What an application says, as collective.xsendfile leaves it.
    fn named(more: &[(&str, &str)]) -> response::Parts {
        let mut response = Response::builder()
            .header("content-type", "image/jpeg")
            .header("content-disposition", "attachment; filename*=UTF-8''a.jpg")
            .header("content-length", "37")
            .header("cache-control", "max-age=60, public")
            .header("set-cookie", "a=b");
        for (name, value) in more {
            response = response.header(*name, *value);
        }
        response.body(()).expect("a valid response").into_parts().0
    }

    fn reply(head: response::Parts, asked: &Asked) -> Reply {
        compose(head, asked, &FACTS, at(WRITTEN + 1000), &mut fastrand::Rng::with_seed(1))
    }

    fn field<'a>(reply: &'a Reply, name: &str) -> Option<&'a str> {
        reply.head.headers.get(name).map(|value| value.to_str().expect("ASCII"))
    }

    #[test]
    fn the_whole_file_is_sent_with_what_the_application_says_about_it() {
        let reply =
            reply(named(&[("content-md5", "x"), ("content-range", "bytes 0-1/2")]), &asked("GET", &[]));
        assert_eq!((reply.head.status, reply.kind), (StatusCode::OK, Kind::Whole));
        assert_eq!(reply.segments, [Segment::File { from: 0, length: 1000 }]);
        for (name, value) in [
            ("content-length", Some("1000")),
            ("content-type", Some("image/jpeg")),
            ("content-disposition", Some("attachment; filename*=UTF-8''a.jpg")),
            ("cache-control", Some("max-age=60, public")),
            ("set-cookie", Some("a=b")),
            ("accept-ranges", Some("bytes")),
            ("etag", Some(TAG)),
            ("last-modified", Some(THEN)),
            ("content-md5", None),
            ("content-range", None),
        ] {
            assert_eq!(field(&reply, name), value, "{name}");
        }
    }

    #[test]
    fn each_request_gets_what_it_asks_for() {
        use Kind::{Head, NotModified, PreconditionFailed, Range, Ranges, Unsatisfiable, Whole};
        for (method, fields, status, kind, length) in [
            ("GET", &[] as &[_], 200, Whole, Some("1000")),
            ("HEAD", &[], 200, Head, Some("1000")),
            ("HEAD", &[("range", "bytes=0-1")], 200, Head, Some("1000")),
            ("HEAD", &[("if-none-match", TAG)], 304, NotModified, None),
            ("POST", &[("range", "bytes=0-1"), ("if-none-match", "*")], 200, Whole, Some("1000")),
            ("GET", &[("range", "bytes=0-9")], 206, Range, Some("10")),
            ("GET", &[("range", "bytes=-1")], 206, Range, Some("1")),
            ("GET", &[("range", "bytes=1000-")], 416, Unsatisfiable, Some("0")),
            ("GET", &[("range", "nonsense")], 200, Whole, Some("1000")),
            ("GET", &[("range", "bytes=0-0"), ("range", "bytes=1-1")], 200, Whole, Some("1000")),
            ("GET", &[("range", "bytes=0-0,-1")], 206, Ranges, Some("240")),
            ("GET", &[("range", "bytes=0-0"), ("if-range", TAG)], 206, Range, Some("1")),
            ("GET", &[("range", "bytes=0-0"), ("if-range", THEN)], 206, Range, Some("1")),
            ("GET", &[("range", "bytes=0-0"), ("if-range", "\"other\"")], 200, Whole, Some("1000")),
            ("GET", &[("range", "bytes=9999-"), ("if-range", "\"other\"")], 200, Whole, Some("1000")),
            ("GET", &[("range", "bytes=0-0"), ("if-none-match", TAG)], 304, NotModified, None),
            ("GET", &[("range", "bytes=0-0"), ("if-match", "\"x\"")], 412, PreconditionFailed, Some("0")),
            ("GET", &[("range", "bytes=0-0"), ("if-match", TAG)], 206, Range, Some("1")),
            ("GET", &[("if-modified-since", THEN)], 304, NotModified, None),
        ] {
            let reply = reply(named(&[]), &asked(method, fields));
            let told = (reply.head.status.as_u16(), reply.kind, field(&reply, "content-length"));
            assert_eq!(told, (status, kind, length), "{method} {fields:?}");
            let sent: u64 = reply.segments.iter().map(Segment::length).sum();
            let wanted =
                length.filter(|_| method != "HEAD").map_or(0, |length| length.parse().expect("a number"));
            assert_eq!(sent, wanted, "{method} {fields:?}: the body is as long as its head says");
            assert_eq!(field(&reply, "set-cookie"), Some("a=b"), "{method} {fields:?}");
        }
    }

    #[test]
    fn a_range_says_where_it_belongs() {
        let reply = reply(named(&[]), &asked("GET", &[("range", "bytes=200-299")]));
        assert_eq!(field(&reply, "content-range"), Some("bytes 200-299/1000"));
        assert_eq!(field(&reply, "content-type"), Some("image/jpeg"));
        assert_eq!(reply.segments, [Segment::File { from: 200, length: 100 }]);
    }

    #[test]
    fn several_ranges_are_parts_with_a_head_each() {
        let reply = reply(named(&[]), &asked("GET", &[("range", "bytes=900-, 0-9")]));
        let boundary = field(&reply, "content-type")
            .and_then(|value| value.strip_prefix("multipart/byteranges; boundary="))
            .expect("it says how its parts are told apart");
        assert_eq!(field(&reply, "content-range"), None);
        let part = |range: &str| {
            let head = format!(
                "\r\n--{boundary}\r\nContent-Type: image/jpeg\r\nContent-Range: bytes {range}/1000\r\n\r\n"
            );
            Segment::Bytes(head.into())
        };
        let wanted = [
            part("900-999"),
            Segment::File { from: 900, length: 100 },
            part("0-9"),
            Segment::File { from: 0, length: 10 },
            Segment::Bytes(format!("\r\n--{boundary}--\r\n").into()),
        ];
        assert_eq!(reply.segments, wanted);
    }

    #[test]
    fn what_is_no_file_does_not_look_like_one() {
        let failed = reply(named(&[("expires", THEN)]), &asked("GET", &[("range", "bytes=5000-")]));
        assert_eq!(field(&failed, "content-range"), Some("bytes */1000"));
        assert_eq!(field(&failed, "cache-control"), Some("no-store"), "caches would take it for the file's");
        for name in ["content-type", "content-disposition", "etag", "last-modified", "expires"] {
            assert_eq!(field(&failed, name), None, "{name}");
        }
        let known = reply(named(&[]), &asked("GET", &[("if-none-match", TAG)]));
        assert_eq!((field(&known, "etag"), field(&known, "content-type")), (Some(TAG), None));
        assert_eq!(field(&known, "cache-control"), Some("max-age=60, public"));
    }

    #[test]
    fn the_applications_own_validators_hold() {
        let own = [("etag", "\"own\""), ("last-modified", "Mon, 01 Jan 1990 00:00:00 GMT")];
        for (fields, status) in [
            (&[("if-none-match", "\"own\"")] as &[_], 304),
            (&[("if-none-match", TAG)], 200),
            (&[("if-modified-since", "Mon, 01 Jan 1990 00:00:00 GMT")], 304),
            (&[("range", "bytes=0-0"), ("if-range", "\"own\"")], 206),
            (&[("range", "bytes=0-0"), ("if-range", TAG)], 200),
        ] {
            let reply = reply(named(&own), &asked("GET", fields));
            assert_eq!(reply.head.status, status, "{fields:?}");
            assert_eq!(field(&reply, "etag"), Some("\"own\""));
        }
        let none = reply(named(&[("accept-ranges", "none")]), &asked("GET", &[("range", "bytes=0-0")]));
        assert_eq!((none.kind, field(&none, "accept-ranges")), (Kind::Whole, Some("none")));
    }

    #[test]
    fn a_file_just_written_has_weak_validators() {
        let seen_at = |seconds| {
            let asked = asked("GET", &[]);
            compose(named(&[]), &asked, &FACTS, at(seconds), &mut fastrand::Rng::with_seed(1))
        };
        assert_eq!(field(&seen_at(WRITTEN + 2), "etag"), Some(&*format!("W/{TAG}")));
        assert_eq!(field(&seen_at(WRITTEN + 3), "etag"), Some(TAG));
        let future = seen_at(WRITTEN - 3600);
        assert_eq!(
            field(&future, "last-modified"),
            Some("Sun, 06 Nov 1994 07:49:37 GMT"),
            "never later than now"
        );
    }

    #[test]
    fn an_empty_file_is_sent_whole() {
        let facts = Facts { length: 0, ..FACTS };
        let asked = asked("GET", &[("range", "bytes=0-")]);
        let reply = compose(named(&[]), &asked, &facts, at(WRITTEN + 9), &mut fastrand::Rng::with_seed(1));
        assert_eq!((reply.kind, field(&reply, "content-length")), (Kind::Whole, Some("0")));
    }
}
