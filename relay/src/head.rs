//! Rewriting of request and response heads on their way through.

use std::net::IpAddr;
use std::time::SystemTime;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Response, StatusCode, Uri, Version, request, response, uri};
use ipnet::IpNet;

use crate::field_names;
use crate::names::{Names, Present};
use crate::police;
use crate::screen::Refusal;
use crate::text;
use crate::trace;

/// Fields that concern one connection only (RFC 9110, 7.6.1), and their relatives of old.
static HOP_BY_HOP: Names<7> = field_names![
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "transfer-encoding",
];

/// All that has to do with the connection. Most messages between Sluice and its neighbours have none of it.
static OF_CONNECTIONS: Names<9> = field_names![
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "transfer-encoding",
    "upgrade",
    "expect",
];

/// What a `Connection` field can not take away: Sluice's own word, and what frames and addresses
/// the message.
static PROTECTED: Names<3> = field_names!["host", "content-length", "upgrade"];

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const REQUEST_START: HeaderName = HeaderName::from_static("x-request-start");

/// Fields by which a proxy vouches for a client. Only a trusted one may set them.
static VOUCHED: Names<7> = field_names![
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-forwarded-host",
    "x-request-start",
    "x-forwarded-port",
    "x-real-ip",
    "forwarded",
];

/// Places in [`VOUCHED`] of what Sluice says itself.
const FOR: usize = 0;
const PROTO: usize = 1;
const HOST: usize = 2;
const START: usize = 3;

/// What Sluice itself puts into a request, besides what it vouches for.
static OWN: Names<3> = field_names!["x-request-id", "traceparent", "via"];

/// What balancer and agent say to each other: [`sluice_proto::headers::ALL`].
static INTERNAL: Names<5> = field_names![
    "x-sluice-class",
    "x-sluice-refused",
    "x-sluice-failed",
    "x-sluice-release",
    "x-sluice-probe",
];

/// Fields that a request gets here: the table has room for them at once.
const ADDED: usize = 8;

/// Fields that say how a request is to be handled, and so must come before it (RFC 9110, 6.5.1).
static OF_HEADS: Names<9> = field_names![
    "authorization",
    "cookie",
    "content-encoding",
    "content-range",
    "content-type",
    "expect",
    "max-forwards",
    "range",
    "trailer",
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
    parts.headers.reserve(ADDED);
    if OF_CONNECTIONS.is_any_in(&parts.headers) {
        change_connection(parts);
    }
    parts.headers.append(header::VIA, via(parts.version));
    if parts.version == Version::HTTP_2 {
        join_cookies(&mut parts.headers);
    }
    vouch(&mut parts.headers, position, origin);
    identify(&mut parts.headers, rng);
    // HTTP/1.0 knows no Host, and 1.1 demands one: "If the authority component is missing [...] a client MUST send a
    // Host header field with an empty field value" (RFC 9112, 3.2).
    if !parts.headers.contains_key(header::HOST) {
        parts.headers.insert(header::HOST, HeaderValue::from_static(""));
    }
    parts.version = Version::HTTP_11;
    Ok(())
}

/// Takes out what concerns the client's connection, and says what concerns the instance's.
fn change_connection(parts: &mut request::Parts) {
    let upgrade = wanted_upgrade(parts);
    let trailers = accepts_trailers(&parts.headers);
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
    let upgraded = parts.status == StatusCode::SWITCHING_PROTOCOLS;
    if OF_CONNECTIONS.is_any_in(&parts.headers) {
        if parts.headers.contains_key(header::TRANSFER_ENCODING) && !police::is_chunked_only(&parts.headers) {
            return Err("Transfer-Encoding other than chunked");
        }
        strip_hop_by_hop(&mut parts.headers);
        if !upgraded {
            parts.headers.remove(header::UPGRADE);
        }
    }
    if upgraded {
        parts.headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    }
    strip_internal(&mut parts.headers);
    parts.version = Version::HTTP_11;
    Ok(())
}

/// Takes out what balancer and agent say to each other.
pub fn strip_internal(headers: &mut HeaderMap) {
    INTERNAL.remove_from(headers);
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
    let asked = parts.version == Version::HTTP_11
        && names_in_connection(&parts.headers).any(|name| name.eq_ignore_ascii_case("upgrade"));
    let protocol = parts.headers.get(header::UPGRADE).map(HeaderValue::as_bytes);
    asked && protocol.is_some_and(|p| !p.to_ascii_lowercase().windows(3).any(|w| w == b"h2c"))
}

/// Takes out what only a head may say, and what only Sluice may.
pub(crate) fn strip_from_trailers(trailers: &mut HeaderMap) {
    strip_lookalikes(trailers);
    VOUCHED.remove_from(trailers);
    HOP_BY_HOP.remove_from(trailers);
    PROTECTED.remove_from(trailers);
    OWN.remove_from(trailers);
    OF_HEADS.remove_from(trailers);
    strip_internal(trailers);
}

fn accepts_trailers(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::TE).iter().filter_map(|v| v.to_str().ok());
    values.flat_map(|v| v.split(',')).any(|v| v.trim().eq_ignore_ascii_case("trailers"))
}

/// Field names listed in `Connection`, in upper or lower case.
fn names_in_connection(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let values = headers.get_all(header::CONNECTION).iter().filter_map(|v| v.to_str().ok());
    values.flat_map(|v| v.split(',')).map(str::trim)
}

fn strip_hop_by_hop(headers: &mut HeaderMap) {
    // What nearly all say names no field, or one that goes anyway.
    let usual = |name: &str| ["keep-alive", "close"].iter().any(|usual| name.eq_ignore_ascii_case(usual));
    let named: Vec<HeaderName> = names_in_connection(headers)
        .filter(|name| !usual(name))
        .filter_map(|name| name.parse().ok())
        .collect();
    named.iter().filter(|name| !PROTECTED.contains(name)).for_each(|name| {
        headers.remove(name);
    });
    HOP_BY_HOP.remove_from(headers);
}

/// Takes out fields that an application could mistake for one of those that Sluice vouches for: what follows CGI
/// (RFC 3875, 4.1.18), as WSGI and Rack do, sees `-` and `_` as the same.
fn strip_lookalikes(headers: &mut HeaderMap) {
    let has_underscore = |name: &HeaderName| name.as_str().bytes().any(|b| b == b'_');
    let lookalikes: Vec<HeaderName> =
        headers.keys().filter(|name| has_underscore(name) && is_lookalike(name)).cloned().collect();
    lookalikes.iter().for_each(|name| {
        headers.remove(name);
    });
}

fn is_lookalike(name: &HeaderName) -> bool {
    let dashed = name.as_str().replace('_', "-");
    HeaderName::try_from(dashed).is_ok_and(|name| {
        VOUCHED.contains(&name)
            || HOP_BY_HOP.contains(&name)
            || PROTECTED.contains(&name)
            || OWN.contains(&name)
            || INTERNAL.contains(&name)
    })
}

/// Says for whom the request is made.
fn vouch(headers: &mut HeaderMap, position: &Position, origin: Origin) {
    strip_lookalikes(headers);
    let mut said = VOUCHED.within(headers);
    match position {
        Position::Edge { trusted } => {
            strip_internal(headers);
            if !trusted.iter().any(|net| net.contains(&origin.peer.to_canonical())) {
                VOUCHED.remove(said, headers);
                said = Present::NONE;
            }
            append_forwarded_for(headers, origin.peer);
        }
        Position::Inner if !said.has(FOR) => append_forwarded_for(headers, origin.peer),
        Position::Inner => {}
    }
    if !said.has(PROTO) {
        headers.insert(FORWARDED_PROTO, HeaderValue::from_static(origin.scheme));
    }
    if !said.has(HOST)
        && let Some(host) = headers.get(header::HOST).filter(|host| !host.is_empty()).cloned()
    {
        headers.insert(FORWARDED_HOST, host);
    }
    if !said.has(START) {
        headers.insert(REQUEST_START, trace::request_start(origin.arrived));
    }
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
