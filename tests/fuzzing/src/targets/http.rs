//! What clients, proxies and instances send: heads and bodies before the HTTP library sees them, the PROXY protocol,
//! responses, and fields that are read further.

use http::Method;
use sluice_agent::compress::{Encoding, fuzzing::negotiate};
use sluice_balancer::decide::sticky::{CookieSource, StickySpec, is_cookie_name};
use sluice_proto::InstanceName;
use sluice_relay::fuzzing::{Reading, Screening, respond, screen as follow};
use sluice_relay::proxy_protocol::{Parsed, parse};
use sluice_relay::trace::{TraceParent, is_request_id};

use super::cuts;

/// What passes does not depend on how it arrives, and the HTTP library reads it as one head of the same length.
pub fn screen(bytes: &[u8]) {
    let whole = follow(bytes, &[]);
    assert!(whole.passed <= bytes.len());
    for cut in [cuts(bytes), (0..bytes.len().min(300)).collect()] {
        assert_same(&whole, &follow(bytes, &cut), &cut);
    }
    if whole.heads > 0 {
        agree_on_head(&bytes[..whole.passed]);
    }
    is_request_id(bytes);
    if let Some(parent) = TraceParent::parse(bytes) {
        // Flags that nobody has defined are not passed on.
        let written = parent.header();
        let again = TraceParent::parse(written.as_bytes()).map(TraceParent::header);
        assert_eq!(again.as_ref(), Some(&written));
    }
}

fn assert_same(whole: &Screening, pieces: &Screening, cut: &[usize]) {
    assert_eq!((&whole.refused, whole.heads), (&pieces.refused, pieces.heads), "cut at {cut:?}");
    // Of a body that is refused, what comes before the piece with the fault has passed, or has not.
    if whole.refused.is_none() {
        assert_eq!(whole.passed, pieces.passed, "cut at {cut:?}");
    }
}

/// The reader that hyper uses must not find another head in bytes that passed.
fn agree_on_head(bytes: &[u8]) {
    let start = bytes.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
    let bytes = &bytes[start..];
    let mut fields = [httparse::EMPTY_HEADER; 256];
    let mut head = httparse::Request::new(&mut fields);
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4);
    match head.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => assert_eq!(Some(length), end, "{}", bytes.escape_ascii()),
        other => panic!("{other:?} for {}", bytes.escape_ascii()),
    }
    let of_framing = |name: &str| {
        head.headers.iter().filter(move |field| field.name.eq_ignore_ascii_case(name)).collect::<Vec<_>>()
    };
    let (lengths, codings) = (of_framing("content-length"), of_framing("transfer-encoding"));
    assert!(lengths.is_empty() || codings.is_empty(), "two framings: {}", bytes.escape_ascii());
    assert!(lengths.windows(2).all(|two| two[0].value == two[1].value), "{}", bytes.escape_ascii());
}

/// What is read of a response does not depend on how it arrives, and its body is of the length that its head says.
pub fn response(bytes: &[u8]) {
    for method in [Method::GET, Method::HEAD] {
        let whole = respond(bytes, &[], &method);
        for cut in [cuts(bytes), (0..bytes.len().min(300)).collect()] {
            assert_eq!(respond(bytes, &cut, &method), whole, "cut at {cut:?}");
        }
        assert_consistent(&whole, &method);
    }
}

fn assert_consistent(reading: &Reading, method: &Method) {
    let Ok((status, fields)) = &reading.head else { return };
    let has_body = method != Method::HEAD && !matches!(status, 101 | 204 | 304);
    assert!(*status == 101 || *status >= 200, "an interim response is none");
    assert!(has_body || reading.body.is_empty() && reading.trailers.is_none() && reading.end.is_some());
    let length = fields.get("content-length").and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if let (true, Some(length)) = (has_body, length) {
        assert!(!fields.contains_key("transfer-encoding"), "two framings");
        assert_eq!(reading.end.is_some(), reading.body.len() as u64 == length);
    }
}

/// What was decided with some bytes stays decided with more, and no header is longer than what is there.
pub fn proxy(bytes: &[u8]) {
    let bytes = &bytes[..bytes.len().min(2 * sluice_relay::proxy_protocol::LONGEST)];
    let whole = parse(bytes);
    if let Ok(Parsed::Header(header)) = whole {
        assert!(header.length <= bytes.len());
        assert_eq!(parse(&bytes[..header.length]), whole, "what follows a header changes nothing");
    }
    if whole == Ok(Parsed::Incomplete) {
        assert!(bytes.len() < sluice_relay::proxy_protocol::LONGEST, "it would wait for ever");
    }
    for cut in cuts(bytes) {
        let some = parse(&bytes[..cut]);
        assert!(some == Ok(Parsed::Incomplete) || some == whole, "{some:?}, then {whole:?}");
    }
}

/// A cookie's name in the first line, and a field with cookies. Whatever others a client has, ours is found after them.
pub fn cookie(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let (name, field) = text.split_once('\n').unwrap_or((&text, ""));
    if !is_cookie_name(name) {
        return;
    }
    let instance: InstanceName = "zope-1".parse().expect("a name");
    for source in [CookieSource::Sluice, CookieSource::Application] {
        let spec = StickySpec::new(name, source);
        let given = spec.preference([field]);
        assert_eq!(spec.preference([field]), given);
        let Some(set) = spec.set_cookie(None, &instance, true) else { continue };
        let pair = set.split(';').next().expect("a first part");
        let theirs = if given.is_some() { "" } else { field };
        let again = spec.preference([pair, theirs]);
        assert_eq!(again.and_then(|again| again.among([(&instance, 1.0)])), Some(&instance), "{set}");
    }
}

/// Codings on offer, a bit each, in the first byte, then `Accept-Encoding`. Nobody gets what was not offered.
pub fn encoding(bytes: &[u8]) {
    let Some((offered, field)) = bytes.split_first() else { return };
    let Ok(field) = str::from_utf8(field) else { return };
    let is_offered = |encoding: &Encoding| offered & (1 << (*encoding as u8)) != 0;
    let offered: Vec<_> = Encoding::ALL.into_iter().filter(is_offered).collect();
    if let Some(chosen) = negotiate(field, &offered) {
        assert!(offered.contains(&chosen), "{chosen:?}");
        let named = field.to_ascii_lowercase();
        assert!(named.contains(chosen.token()) || named.contains('*'), "{field:?} does not name {chosen:?}");
    }
}
