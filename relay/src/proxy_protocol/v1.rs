//! Version 1: a line of text.

use std::net::{IpAddr, SocketAddr};

use super::{Header, Parsed, ProxyError, is_prefix_of};

const SIGNATURE: &[u8] = b"PROXY ";

/// "So a 108-byte buffer is always enough to store all the line and a trailing zero for string processing."
const LONGEST: usize = 107;

pub(super) fn may_begin(bytes: &[u8]) -> bool {
    is_prefix_of(bytes, SIGNATURE)
}

pub(super) fn parse(bytes: &[u8]) -> Result<Parsed, ProxyError> {
    let within = &bytes[..bytes.len().min(LONGEST)];
    let Some(end) = within.iter().position(|byte| *byte == b'\r' || *byte == b'\n') else {
        return if bytes.len() < LONGEST { Ok(Parsed::Incomplete) } else { Err(ProxyError::TooLong) };
    };
    if end + 2 > LONGEST {
        return Err(ProxyError::TooLong);
    }
    match &bytes[end..] {
        [b'\r', b'\n', ..] => {}
        [b'\r'] => return Ok(Parsed::Incomplete),
        _ => return Err(ProxyError::Malformed),
    }
    let line = bytes.get(SIGNATURE.len()..end).and_then(|line| std::str::from_utf8(line).ok());
    let source = source(line.ok_or(ProxyError::Malformed)?).ok_or(ProxyError::Malformed)?;
    Ok(Parsed::Header(Header { length: end + 2, source }))
}

/// What follows `PROXY `. The inner `None`: unknown to the proxy.
fn source(line: &str) -> Option<Option<SocketAddr>> {
    let mut parts = line.split(' ');
    let is_family = match parts.next()? {
        // "the receiver must ignore anything presented before the CRLF"
        "UNKNOWN" => return Some(None),
        "TCP4" => IpAddr::is_ipv4,
        "TCP6" => IpAddr::is_ipv6,
        _ => return None,
    };
    let mut address = || parts.next()?.parse::<IpAddr>().ok().filter(is_family);
    let (source, _destination) = (address()?, address()?);
    let (source_port, _destination_port) = (port(parts.next()?)?, port(parts.next()?)?);
    parts.next().is_none().then(|| Some(SocketAddr::new(source, source_port)))
}

/// Decimal digits without a sign or leading zeros.
fn port(text: &str) -> Option<u16> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| plain)
}
