//! Rewriting of request and response heads on their way through.

use std::net::IpAddr;
use std::time::SystemTime;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Response, StatusCode, Uri, Version, request, response, uri};
use ipnet::IpNet;
use sluice_proto::headers as internal;

use crate::police;
use crate::screen::Refusal;
use crate::text;
use crate::trace::{self, TRACEPARENT};

/// Fields that concern one connection only (RFC 9110, 7.6.1), and their relatives of old.
static HOP_BY_HOP: [HeaderName; 7] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRANSFER_ENCODING,
];

/// What a `Connection` field can not take away: Sluice's own word, and what frames and addresses
/// the message.
static PROTECTED: [HeaderName; 3] = [header::HOST, header::CONTENT_LENGTH, header::UPGRADE];

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const REQUEST_START: HeaderName = HeaderName::from_static("x-request-start");

/// Fields by which a proxy vouches for a client. Only a trusted one may set them.
static VOUCHED: [HeaderName; 7] = [
    FORWARDED_FOR,
    FORWARDED_PROTO,
    FORWARDED_HOST,
    HeaderName::from_static("x-forwarded-port"),
    HeaderName::from_static("x-real-ip"),
    header::FORWARDED,
    REQUEST_START,
];

/// What Sluice itself puts into a request, besides what it vouches for.
static OWN: [HeaderName; 3] = [REQUEST_ID, TRACEPARENT, header::VIA];

/// What balancer and agent say to each other.
static INTERNAL: [HeaderName; internal::ALL.len()] = [
    HeaderName::from_static(internal::CLASS),
    HeaderName::from_static(internal::REFUSED),
    HeaderName::from_static(internal::FAILED),
    HeaderName::from_static(internal::RELEASE),
    HeaderName::from_static(internal::PROBE),
];

/// Fields that a request gets here: the table has room for them at once.
const ADDED: usize = 8;

/// Fields that say how a request is to be handled, and so must come before it (RFC 9110, 6.5.1).
static OF_HEADS: [HeaderName; 9] = [
    header::AUTHORIZATION,
    header::COOKIE,
    header::CONTENT_ENCODING,
    header::CONTENT_RANGE,
    header::CONTENT_TYPE,
    header::EXPECT,
    header::MAX_FORWARDS,
    header::RANGE,
    header::TRAILER,
];

/// `Via` (RFC 9110, 7.6.3): the received version and a pseudonym, since host names are nobody's business.
const VIA_10: HeaderValue = HeaderValue::from_static("1.0 sluice");
const VIA_11: HeaderValue = HeaderValue::from_static("1.1 sluice");
const VIA_20: HeaderValue = HeaderValue::from_static("2.0 sluice");

/// Where a relay stands, and so whom it believes.
#[derive(Clone, Debug)]
pub enum Position {
    /// Clients connect to it. Only proxies in these networks may vouch for somebody else.
    Edge { trusted: Vec<IpNet> },
    /// Behind another Sluice, which has said it all.
    Inner,
}

/// What the connection tells about a request.
#[derive(Clone, Copy, Debug)]
pub struct Origin {
    pub peer: IpAddr,
    /// `http` or `https`.
    pub scheme: &'static str,
    /// When the request arrived, by the wall clock.
    pub arrived: SystemTime,
}

/// Makes a client's request one for an instance.
///
/// Strips what concerns the client's connection and what only Sluice may say, adds who asked and
/// since when. An upgrade's two fields stay. The method, path and query are left as they are.
///
/// # Errors
/// See [`police::check_request`].
pub fn prepare_request(
    parts: &mut request::Parts,
    position: &Position,
    origin: Origin,
    rng: &mut fastrand::Rng,
) -> Result<(), Refusal> {
    police::check_request(parts)?;
    adopt_absolute_target(parts).map_err(Refusal::malformed)?;
    let upgrade = wanted_upgrade(parts);
    let trailers = accepts_trailers(&parts.headers);
    parts.headers.reserve(ADDED);
    strip_hop_by_hop(&mut parts.headers);
    parts.headers.remove(header::EXPECT);
    if upgrade {
        parts.headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    } else {
        parts.headers.remove(header::UPGRADE);
    }
    if trailers {
        parts.headers.insert(header::TE, HeaderValue::from_static("trailers"));
        if !upgrade {
            parts.headers.insert(header::CONNECTION, HeaderValue::from_static("te"));
        }
    }
    parts.headers.append(header::VIA, via(parts.version));
    if parts.version == Version::HTTP_2 {
        join_cookies(&mut parts.headers);
    }
    vouch(&mut parts.headers, position, origin);
    identify(&mut parts.headers, rng);
    // HTTP/1.0 knows no Host, and 1.1 demands one: "If the authority component is missing [...] a client MUST send a
    // Host header field with an empty field value" (RFC 9112, 3.2).
    parts.headers.entry(header::HOST).or_insert(HeaderValue::from_static(""));
    parts.version = Version::HTTP_11;
    Ok(())
}

fn via(received: Version) -> HeaderValue {
    match received {
        Version::HTTP_10 => VIA_10,
        Version::HTTP_2 => VIA_20,
        _ => VIA_11,
    }
}

/// RFC 9113, 8.2.3: "If there are multiple Cookie header fields after decompression, these MUST be concatenated into a
/// single octet string using the two-octet delimiter of 0x3b, 0x20 (the ASCII string "; ") before being passed into a
/// non-HTTP/2 context".
fn join_cookies(headers: &mut HeaderMap) {
    let crumbs: Vec<_> = headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if crumbs.len() > 1 {
        let whole = HeaderValue::from_bytes(&crumbs.join(&b"; "[..])).expect("joined from values");
        headers.insert(header::COOKIE, whole);
    }
}

/// Makes an instance's response one for the client.
///
/// # Errors
/// A phrase, if the response's framing can be read in two ways.
pub fn prepare_response(parts: &mut response::Parts) -> Result<(), &'static str> {
    if parts.headers.contains_key(header::TRANSFER_ENCODING) && !police::is_chunked_only(&parts.headers) {
        return Err("Transfer-Encoding other than chunked");
    }
    let upgraded = parts.status == StatusCode::SWITCHING_PROTOCOLS;
    strip_hop_by_hop(&mut parts.headers);
    if upgraded {
        parts.headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    } else {
        parts.headers.remove(header::UPGRADE);
    }
    remove_all(&mut parts.headers, &INTERNAL);
    parts.version = Version::HTTP_11;
    Ok(())
}

/// Whether the instance keeps the connection after this response (RFC 9112, 9.3).
pub(crate) fn is_persistent<B>(response: &Response<B>) -> bool {
    let values = || response.headers().get_all(header::CONNECTION).iter();
    let options = || values().flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    let says = |option: &[u8]| options().any(|one| one.trim_ascii().eq_ignore_ascii_case(option));
    if response.version() < Version::HTTP_11 {
        says(b"keep-alive") && !says(b"close")
    } else {
        !says(b"close")
    }
}

/// RFC 9112, 3.2.2: "When a proxy receives a request with an absolute-form of request-target, the
/// proxy MUST ignore the received Host header field (if any) and instead replace it with the host
/// information of the request-target."
fn adopt_absolute_target(parts: &mut request::Parts) -> Result<(), &'static str> {
    let Some(authority) = parts.uri.authority() else { return Ok(()) };
    let host = HeaderValue::from_str(authority.as_str()).map_err(|_| "invalid request target")?;
    parts.headers.insert(header::HOST, host);
    let mut target = uri::Parts::default();
    target.path_and_query = parts.uri.path_and_query().cloned();
    parts.uri = Uri::from_parts(target).map_err(|_| "invalid request target")?;
    Ok(())
}

/// Whether the client asks to change to a protocol that Sluice tunnels. Not h2c: a tunnel would
/// carry requests that nobody checks.
fn wanted_upgrade(parts: &request::Parts) -> bool {
    let asked =
        parts.version == Version::HTTP_11 && names_in_connection(&parts.headers).any(|n| n == "upgrade");
    let protocol = parts.headers.get(header::UPGRADE).map(HeaderValue::as_bytes);
    asked && protocol.is_some_and(|p| !p.to_ascii_lowercase().windows(3).any(|w| w == b"h2c"))
}

/// Takes out what only a head may say, and what only Sluice may.
pub(crate) fn strip_from_trailers(trailers: &mut HeaderMap) {
    strip_lookalikes(trailers);
    let of_heads = [&VOUCHED[..], &HOP_BY_HOP, &PROTECTED, &OWN, &OF_HEADS].into_iter().flatten();
    of_heads.for_each(|name| {
        trailers.remove(name);
    });
    remove_all(trailers, &INTERNAL);
}

fn accepts_trailers(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::TE).iter().filter_map(|v| v.to_str().ok());
    values.flat_map(|v| v.split(',')).any(|v| v.trim().eq_ignore_ascii_case("trailers"))
}

/// Field names listed in `Connection`, in lower case.
fn names_in_connection(headers: &HeaderMap) -> impl Iterator<Item = String> {
    let values = headers.get_all(header::CONNECTION).iter().filter_map(|v| v.to_str().ok());
    values.flat_map(|v| v.split(',')).map(|v| v.trim().to_ascii_lowercase())
}

fn strip_hop_by_hop(headers: &mut HeaderMap) {
    if headers.contains_key(header::CONNECTION) {
        let named: Vec<_> =
            names_in_connection(headers).filter_map(|n| n.parse::<HeaderName>().ok()).collect();
        named.iter().filter(|name| !PROTECTED.contains(name)).for_each(|name| {
            headers.remove(name);
        });
    }
    remove_all(headers, &HOP_BY_HOP);
}

/// Takes out those of `names` that are there. Mostly none is: to compare names is cheaper than to hash each.
fn remove_all(headers: &mut HeaderMap, names: &[HeaderName]) {
    for name in names.iter().filter(|name| headers.keys().any(|there| there == *name)).collect::<Vec<_>>() {
        headers.remove(name);
    }
}

/// Takes out fields that an application could mistake for one of those that Sluice vouches for: what follows CGI
/// (RFC 3875, 4.1.18), as WSGI and Rack do, sees `-` and `_` as the same.
fn strip_lookalikes(headers: &mut HeaderMap) {
    let lookalikes: Vec<HeaderName> =
        headers.keys().filter(|name| name.as_str().contains('_') && is_lookalike(name)).cloned().collect();
    lookalikes.iter().for_each(|name| {
        headers.remove(name);
    });
}

fn is_lookalike(name: &HeaderName) -> bool {
    let dashed = name.as_str().replace('_', "-");
    let of = |names: &[HeaderName]| names.iter().any(|name| *name == *dashed);
    of(&VOUCHED) || of(&HOP_BY_HOP) || of(&PROTECTED) || of(&OWN) || internal::ALL.contains(&dashed.as_str())
}

/// Says for whom the request is made.
fn vouch(headers: &mut HeaderMap, position: &Position, origin: Origin) {
    strip_lookalikes(headers);
    match position {
        Position::Edge { trusted } => {
            remove_all(headers, &INTERNAL);
            if !trusted.iter().any(|net| net.contains(&origin.peer.to_canonical())) {
                remove_all(headers, &VOUCHED);
            }
            append_forwarded_for(headers, origin.peer);
        }
        Position::Inner if !headers.contains_key(FORWARDED_FOR) => append_forwarded_for(headers, origin.peer),
        Position::Inner => {}
    }
    headers.entry(FORWARDED_PROTO).or_insert(HeaderValue::from_static(origin.scheme));
    if let Some(host) = headers.get(header::HOST).filter(|host| !host.is_empty()).cloned() {
        headers.entry(FORWARDED_HOST).or_insert(host);
    }
    headers.entry(REQUEST_START).or_insert_with(|| trace::request_start(origin.arrived));
}

/// One field, however many the request had: readers differ on which of several they believe.
fn append_forwarded_for(headers: &mut HeaderMap, peer: IpAddr) {
    let peer = text::address(peer.to_canonical());
    if !headers.contains_key(FORWARDED_FOR) {
        headers.insert(FORWARDED_FOR, peer.header());
        return;
    }
    let earlier = headers.get_all(FORWARDED_FOR).iter().filter_map(|v| v.to_str().ok());
    let mut chain = earlier.collect::<Vec<_>>().join(", ");
    if !chain.is_empty() {
        chain.push_str(", ");
    }
    let chain = [chain.as_bytes(), peer.as_bytes()].concat();
    headers.insert(FORWARDED_FOR, HeaderValue::try_from(chain).expect("joined from values and an address"));
}

/// Keeps what the client or an earlier hop named the request, if it is well-formed.
fn identify(headers: &mut HeaderMap, rng: &mut fastrand::Rng) {
    if !headers.get(REQUEST_ID).is_some_and(|id| trace::is_request_id(id.as_bytes())) {
        headers.insert(REQUEST_ID, trace::request_id(rng));
    }
    trace::take_up(headers, rng);
}

#[cfg(test)]
mod tests;
