//! Version 2: binary.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{Header, LONGEST, Parsed, ProxyError, is_prefix_of};

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version and command, family and protocol, length of the rest.
const FIXED: usize = 16;

const LOCAL: u8 = 0x20;
const PROXY: u8 = 0x21;

pub(super) fn may_begin(bytes: &[u8]) -> bool {
    is_prefix_of(bytes, SIGNATURE)
}

pub(super) fn parse(bytes: &[u8]) -> Result<Parsed, ProxyError> {
    let Some((fixed, rest)) = bytes.split_at_checked(FIXED) else { return Ok(Parsed::Incomplete) };
    let (command, family) = (fixed[12], fixed[13]);
    let rest_length = usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    if command != LOCAL && command != PROXY {
        return Err(ProxyError::Unknown);
    }
    if FIXED + rest_length > LONGEST {
        return Err(ProxyError::TooLong);
    }
    // Refused before it is waited for.
    if command == PROXY && rest_length < address_length(family)? {
        return Err(ProxyError::Malformed);
    }
    let Some(rest) = rest.get(..rest_length) else { return Ok(Parsed::Incomplete) };
    let source = if command == PROXY { source(family, rest) } else { None };
    Ok(Parsed::Header(Header { length: FIXED + rest_length, source }))
}

/// Bytes of the two addresses and ports of that family and protocol. Only streams are for a stream socket.
fn address_length(family: u8) -> Result<usize, ProxyError> {
    match family {
        0x00 => Ok(0),
        0x11 => Ok(12),
        0x21 => Ok(36),
        0x31 => Ok(216),
        _ => Err(ProxyError::Malformed),
    }
}

/// `None` for those that are no IP addresses. What follows the addresses is skipped: nothing in it is needed here.
fn source(family: u8, rest: &[u8]) -> Option<SocketAddr> {
    let (ip, ports): (IpAddr, &[u8]) = match family {
        0x11 => (Ipv4Addr::from(*rest.first_chunk::<4>()?).into(), rest.get(8..)?),
        0x21 => (Ipv6Addr::from(*rest.first_chunk::<16>()?).into(), rest.get(32..)?),
        _ => return None,
    };
    Some(SocketAddr::new(ip, u16::from_be_bytes(*ports.first_chunk::<2>()?)))
}
