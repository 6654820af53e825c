//! What keeps slow clients away from workers: uploads are taken in before, responses are read at once.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Request, header, response};
use http_body::Body as _;
use sluice_proto::headers;
use sluice_relay::{ClientBody, Failure, ReplyBody, field_names, is_upgrade, names::Names};

use super::{classes::Class, exchange::Exchange};
use crate::shared::Shared;

/// As in nginx: `no` makes the client and the instance keep pace, `yes` does not, whatever the response is. Not for
/// clients.
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// The same, to be taken out once all have read it.
pub(super) static NOT_FOR_CLIENTS: Names<1> = field_names!["x-accel-buffering"];

/// Below this length the connection to the client takes all of a response at once, whatever the client does.
const SHORT: u64 = 64 * 1024;

/// A class with lengths may take this long from head to end and is still said to free its worker with the first byte. A
/// word that comes too early costs the next request so much waiting at the gate; one that does not come costs the worker
/// for as long as the client takes, which is minutes for what takes seconds here. 5 s: a file of some 100 MB.
const SOON: Duration = Duration::from_secs(5);

/// The same of a class without lengths: what makes its response as it sends it is to be seen to hold its worker.
const AT_ONCE: Duration = Duration::from_millis(250);

/// Whether the request's body is to be here before the instance gets any of it.
pub(super) fn is_to_be_taken_in(class: &Class, request: &Request<ClientBody>) -> bool {
    !request.body().is_empty() && class.buffered.uploads && !is_upgrade(request)
}

/// The request with its body in the agent, as far as there is room for it.
///
/// # Errors
/// The client broke it off, or sent what is not valid.
pub(super) async fn take_in(
    shared: &Shared,
    request: Request<ClientBody>,
) -> Result<Request<ClientBody>, Failure> {
    let (parts, body) = request.into_parts();
    let progress = body.progress();
    let broken_off = |_| progress.failure().unwrap_or(Failure::ClientGone);
    let body = body.taken_in(&shared.spool).await.map_err(broken_off)?;
    Ok(Request::from_parts(parts, body))
}

/// The response, read from the instance as fast as that writes it. Tells the balancer if the worker is free soon.
pub(super) fn drain(
    shared: &Shared,
    class: &Class,
    parts: &mut response::Parts,
    body: ReplyBody<Exchange>,
) -> ReplyBody<Exchange> {
    let length = body.size_hint().exact();
    if length.is_some_and(|length| length < SHORT) || !is_to_be_read_at_once(class, &parts.headers) {
        return body;
    }
    let has_room = length.is_none_or(|length| shared.spool.has_room_for(length));
    if has_room && is_free_soon(length, class.tail()) {
        parts.headers.insert(headers::RELEASE, HeaderValue::from_static(headers::FIRST_BYTE));
    }
    body.drained(&shared.spool)
}

fn is_to_be_read_at_once(class: &Class, head: &HeaderMap) -> bool {
    class.buffered.responses && asked_for(head).unwrap_or_else(|| !is_stream(head))
}

/// Whether the worker is free so soon after the head that the balancer need not wait for the end, which is late if the
/// client is slow. `tail`: from the head to the last byte, as the class was so far.
fn is_free_soon(length: Option<u64>, tail: Option<Duration>) -> bool {
    match length {
        // What has a length is mostly there already.
        Some(_) => tail.is_none_or(|tail| tail <= SOON),
        None => tail.is_some_and(|tail| tail <= AT_ONCE),
    }
}

fn asked_for(headers: &HeaderMap) -> Option<bool> {
    let value = headers.get(X_ACCEL_BUFFERING)?.as_bytes();
    [("yes", true), ("no", false)]
        .into_iter()
        .find_map(|(word, means)| value.eq_ignore_ascii_case(word.as_bytes()).then_some(means))
}

/// What comes bit by bit for as long as somebody listens: it is of no use later, and never ends.
fn is_stream(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    ["text/event-stream", "multipart/x-mixed-replace"].iter().any(|stream| kind.eq_ignore_ascii_case(stream))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_balancer_is_told_of_long_responses_that_come_at_once() {
        let [short, medium, long] = [250, 251, 5001].map(|ms| Some(Duration::from_millis(ms)));
        for (case, length, tail, told) in [
            ("a blob of a class that is not known", Some(SHORT), None, true),
            ("a blob that comes at once", Some(SHORT), short, true),
            ("a large blob", Some(SHORT), medium, true),
            ("a blob that is made as it goes", Some(SHORT), long, false),
            ("no length, not known", None, None, false),
            ("no length, comes at once", None, short, true),
            ("no length, made as it goes", None, medium, false),
        ] {
            assert_eq!(is_free_soon(length, tail), told, "{case}");
        }
    }

    #[test]
    fn streams_and_what_the_application_says() {
        let headers = |name: HeaderName, value: &'static str| {
            HeaderMap::from_iter([(name, HeaderValue::from_static(value))])
        };
        for (kind, expected) in [
            ("text/event-stream", true),
            ("Text/Event-Stream; charset=utf-8", true),
            ("multipart/x-mixed-replace;boundary=x", true),
            ("text/event-streams", false),
            ("text/html", false),
        ] {
            assert_eq!(is_stream(&headers(header::CONTENT_TYPE, kind)), expected, "{kind}");
        }
        for (value, expected) in [("no", Some(false)), ("Yes", Some(true)), ("1", None)] {
            assert_eq!(asked_for(&headers(X_ACCEL_BUFFERING, value)), expected, "{value}");
        }
        assert_eq!(asked_for(&HeaderMap::new()), None);
    }
}
