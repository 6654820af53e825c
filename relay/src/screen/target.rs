//! The request line (RFC 9112, 3).

use http::StatusCode;

use super::authority::{is_authority, is_same};
use super::characters::{PATH, QUERY, TOKEN, all_in};
use super::refusal::Refusal;

/// Longer than any registered method, and than any extension in use.
const LONGEST_METHOD: usize = 32;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    Http10,
    Http11,
}

/// A request line that has one meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RequestLine<'a> {
    pub(super) version: Version,
    authority: Option<Authority<'a>>,
}

/// Of a target in absolute form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Authority<'a> {
    name: &'a [u8],
    default_port: &'static [u8],
}

impl<'a> RequestLine<'a> {
    /// `line`: without its end. Exactly one space between its parts: readers that are lenient about more differ on
    /// where the target ends.
    pub(super) fn read(line: &'a [u8]) -> Result<Self, Refusal> {
        let mut parts = line.splitn(3, |byte| *byte == b' ');
        let (Some(method), Some(target), Some(version)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(Refusal::malformed("the request line is not METHOD SP TARGET SP VERSION"));
        };
        check_method(method)?;
        let version = read_version(version)?;
        Ok(Self { version, authority: read_target(method, target)? })
    }

    /// RFC 9112, 3.2.2: "a client MUST send a Host header field [...] with a field value identical to that authority".
    pub(super) fn agrees_with(&self, host: &[u8]) -> bool {
        self.authority.is_none_or(|authority| is_same(authority.name, host, authority.default_port))
    }
}

fn check_method(method: &[u8]) -> Result<(), Refusal> {
    if method.is_empty() || !all_in(method, &TOKEN) {
        return Err(Refusal::malformed("the method is not a token"));
    }
    if method.len() > LONGEST_METHOD {
        return Err(Refusal::with_status(StatusCode::NOT_IMPLEMENTED, "a method of more than 32 bytes"));
    }
    Ok(())
}

fn read_version(version: &[u8]) -> Result<Version, Refusal> {
    match version {
        b"HTTP/1.1" => Ok(Version::Http11),
        b"HTTP/1.0" => Ok(Version::Http10),
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            let status = StatusCode::HTTP_VERSION_NOT_SUPPORTED;
            Err(Refusal::with_status(status, "only HTTP/1.0 and HTTP/1.1 are spoken here"))
        }
        _ => Err(Refusal::malformed("the request line does not end with a version")),
    }
}

fn read_target<'a>(method: &[u8], target: &'a [u8]) -> Result<Option<Authority<'a>>, Refusal> {
    if method == b"CONNECT" {
        return Err(Refusal::with_status(StatusCode::NOT_IMPLEMENTED, "CONNECT is not for a reverse proxy"));
    }
    if target == b"*" {
        let known = if method == b"OPTIONS" { Ok(None) } else { Err("the target * is for OPTIONS only") };
        return known.map_err(Refusal::malformed);
    }
    if target.first() == Some(&b'/') {
        return check_path(target).map(|()| None);
    }
    let Some((rest, default_port)) = without_scheme(target) else {
        return Err(Refusal::malformed("the target is neither a path nor an http or https URL"));
    };
    let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?')).unwrap_or(rest.len());
    let (name, path) = rest.split_at(end);
    if name.is_empty() || !is_authority(name) {
        return Err(Refusal::malformed("the target's authority is not valid"));
    }
    check_path(path)?;
    Ok(Some(Authority { name, default_port }))
}

/// The URL after its scheme, and the scheme's port.
fn without_scheme(target: &[u8]) -> Option<(&[u8], &'static [u8])> {
    let schemes: [(&[u8], &'static [u8]); 2] = [(b"http://", b"80"), (b"https://", b"443")];
    schemes.into_iter().find_map(|(scheme, port)| {
        let matches = target.get(..scheme.len())?.eq_ignore_ascii_case(scheme);
        matches.then(|| (&target[scheme.len()..], port))
    })
}

fn check_path(path_and_query: &[u8]) -> Result<(), Refusal> {
    let (path, query) = match path_and_query.iter().position(|byte| *byte == b'?') {
        Some(mark) => (&path_and_query[..mark], &path_and_query[mark + 1..]),
        None => (path_and_query, &[][..]),
    };
    if all_in(path, &PATH) && all_in(query, &QUERY) {
        return Ok(());
    }
    Err(Refusal::malformed("the target has characters that must be percent-encoded"))
}
