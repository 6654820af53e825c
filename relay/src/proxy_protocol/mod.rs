//! The PROXY protocol, versions 1 and 2: who the client is, in the words of a proxy in front
//! (<https://www.haproxy.org/download/2.9/doc/proxy-protocol.txt>).
//!
//! A parser of our own: two formats of a page each, that must never read past their header and never wait for bytes
//! that can not come. The crates for it either accept more than the specification or copy what we skip.

mod read;
mod v1;
mod v2;

use std::net::SocketAddr;

pub(crate) use read::{Introduction, ProxyRefusal, introduce};

/// Longest header that is accepted, in bytes, with all that version 2 may append (TLS details, names of the cloud).
/// 4 KiB: what proxies send is below 1 KiB; the format would allow 64 KiB.
pub const LONGEST: usize = 4096;

/// What the bytes so far are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// The beginning of a header. No header is longer than [`LONGEST`], so this ends.
    Incomplete,
    Header(Header),
}

/// A whole header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Bytes of the header; what follows is the client's.
    pub length: usize,
    /// Who the client is. `None`: whoever the connection comes from, as for the proxy's own health checks.
    pub source: Option<SocketAddr>,
}

/// Why bytes are no header. The connection is closed, as the specification demands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProxyError {
    #[error("the connection does not begin with a PROXY header")]
    NoHeader,
    #[error("the PROXY header is malformed")]
    Malformed,
    #[error("the PROXY header is too long")]
    TooLong,
    #[error("the PROXY header is of an unknown version or command")]
    Unknown,
}

/// Reads a header at the beginning of `bytes`.
///
/// # Errors
/// What is there can not become a header, whatever follows.
pub fn parse(bytes: &[u8]) -> Result<Parsed, ProxyError> {
    if v2::may_begin(bytes) {
        v2::parse(bytes)
    } else if v1::may_begin(bytes) {
        v1::parse(bytes)
    } else {
        Err(ProxyError::NoHeader)
    }
}

/// Whether one of the two begins with the other.
fn is_prefix_of(bytes: &[u8], signature: &[u8]) -> bool {
    let n = bytes.len().min(signature.len());
    bytes[..n] == signature[..n]
}

#[cfg(test)]
mod tests {
    use super::*;

    const V2: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

    fn header(length: usize, source: Option<&str>) -> Result<Parsed, ProxyError> {
        let source = source.map(|address| address.parse().expect("an address"));
        Ok(Parsed::Header(Header { length, source }))
    }

    /// A version 2 header: version and command, family and protocol, length, what follows.
    fn v2(kind: [u8; 2], length: u16, rest: &[u8]) -> Vec<u8> {
        [&V2[..], &kind, &length.to_be_bytes(), rest].concat()
    }

    #[test]
    fn version_1() {
        let max = "PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n";
        let long_unknown = format!("PROXY UNKNOWN {}\r\n", "x".repeat(91));
        let too_long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(92));
        assert_eq!((long_unknown.len(), too_long.len()), (107, 108));
        for (text, expected) in [
            ("PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n", header(42, Some("192.0.2.1:56324"))),
            ("PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\nGET / HTTP", header(42, Some("192.0.2.1:56324"))),
            ("PROXY TCP6 2001:db8::1 ::1 1 443\r\n", header(34, Some("[2001:db8::1]:1"))),
            (max, header(max.len(), Some("[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535"))),
            ("PROXY UNKNOWN\r\n", header(15, None)),
            ("PROXY UNKNOWN ffff::1 anything at all\r\n", header(39, None)),
            (&long_unknown, header(107, None)),
            ("", Ok(Parsed::Incomplete)),
            ("P", Ok(Parsed::Incomplete)),
            ("PROXY ", Ok(Parsed::Incomplete)),
            ("PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r", Ok(Parsed::Incomplete)),
            (&too_long, Err(ProxyError::TooLong)),
            (&too_long[..107], Err(ProxyError::TooLong)),
            ("GET / HTTP/1.1\r\n", Err(ProxyError::NoHeader)),
            ("POST / HTTP/1.1\r\n", Err(ProxyError::NoHeader)),
            ("PROXYTCP4 192.0.2.1 192.0.2.2 1 2\r\n", Err(ProxyError::NoHeader)),
            ("proxy TCP4 192.0.2.1 192.0.2.2 1 2\r\n", Err(ProxyError::NoHeader)),
            ("PROXY TCP5 192.0.2.1 192.0.2.2 1 2\r\n", Err(ProxyError::Malformed)),
            ("PROXY UNKNOWNX\r\n", Err(ProxyError::Malformed)),
            ("PROXY TCP4 ::1 192.0.2.2 1 2\r\n", Err(ProxyError::Malformed)),
            ("PROXY TCP6 192.0.2.1 ::1 1 2\r\n", Err(ProxyError::Malformed)),
            ("PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n", Err(ProxyError::Malformed)),
            ("PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3\r\n", Err(ProxyError::Malformed)),
            ("PROXY TCP4  192.0.2.1 192.0.2.2 1 2\r\n", Err(ProxyError::Malformed)),
            ("PROXY TCP4 192.0.2.1 192.0.2.2 1 2 \r\n", Err(ProxyError::Malformed)),
            ("PROXY TCP4 192.0.2.1 192.0.2.2 65536 2\r\n", Err(ProxyError::Malformed)),
            ("PROXY TCP4 192.0.2.1 192.0.2.2 +1 2\r\n", Err(ProxyError::Malformed)),
            ("PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n", Err(ProxyError::Malformed)),
            ("PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n", Err(ProxyError::Malformed)),
            ("PROXY TCP4 192.0.2.1 192.0.2.2 1 2\rX", Err(ProxyError::Malformed)),
            ("PROXY TCP4 192.0.2.1\0 192.0.2.2 1 2\r\n", Err(ProxyError::Malformed)),
            ("PROXY TCP4\r\n", Err(ProxyError::Malformed)),
            ("PROXY \r\n", Err(ProxyError::Malformed)),
        ] {
            assert_eq!(parse(text.as_bytes()), expected, "{text:?}");
        }
        assert_eq!(parse(b"PROXY TCP4 \xff\xff 192.0.2.2 1 2\r\n"), Err(ProxyError::Malformed));
    }

    #[test]
    fn version_2() {
        let ip4 = [192, 0, 2, 1, 192, 0, 2, 2, 0xdc, 0x04, 0x01, 0xbb];
        let ip6: Vec<u8> =
            [&[0x20, 1, 0xd, 0xb8][..], &[0; 11], &[1], &[0; 15], &[1], &[0, 7, 1, 0xbb]].concat();
        let with_tlv = [&ip4[..], &[4, 0, 1, 0xff]].concat();
        let unix = [b'x'; 216];
        let full = vec![0; LONGEST - 16];
        for (case, bytes, expected) in [
            ("TCP over IPv4", v2([0x21, 0x11], 12, &ip4), header(28, Some("192.0.2.1:56324"))),
            (
                "and a request",
                v2([0x21, 0x11], 12, &[&ip4[..], b"GET"].concat()),
                header(28, Some("192.0.2.1:56324")),
            ),
            ("TCP over IPv6", v2([0x21, 0x21], 36, &ip6), header(52, Some("[2001:db8::1]:7"))),
            ("more is skipped", v2([0x21, 0x11], 16, &with_tlv), header(32, Some("192.0.2.1:56324"))),
            ("LOCAL", v2([0x20, 0x00], 0, &[]), header(16, None)),
            ("LOCAL with an address", v2([0x20, 0x11], 12, &ip4), header(28, None)),
            ("unspecified", v2([0x21, 0x00], 0, &[]), header(16, None)),
            ("unspecified, with more", v2([0x21, 0x00], 3, &[1, 2, 3]), header(19, None)),
            ("Unix", v2([0x21, 0x31], 216, &unix), header(232, None)),
            ("the longest", v2([0x21, 0x00], 4080, &full), header(LONGEST, None)),
            ("nothing yet", Vec::new(), Ok(Parsed::Incomplete)),
            ("a part of the signature", V2[..5].to_vec(), Ok(Parsed::Incomplete)),
            ("the signature", V2.to_vec(), Ok(Parsed::Incomplete)),
            ("no length yet", v2([0x21, 0x11], 12, &[])[..15].to_vec(), Ok(Parsed::Incomplete)),
            ("a part of the address", v2([0x21, 0x11], 12, &ip4[..11]), Ok(Parsed::Incomplete)),
            ("a byte too long", v2([0x21, 0x00], 4081, &[]), Err(ProxyError::TooLong)),
            ("as long as can be said", v2([0x21, 0x11], u16::MAX, &ip4), Err(ProxyError::TooLong)),
            ("version 1 in binary", v2([0x11, 0x11], 12, &ip4), Err(ProxyError::Unknown)),
            ("version 3", v2([0x31, 0x11], 12, &ip4), Err(ProxyError::Unknown)),
            ("command 2", v2([0x22, 0x11], 12, &ip4), Err(ProxyError::Unknown)),
            ("UDP", v2([0x21, 0x12], 12, &ip4), Err(ProxyError::Malformed)),
            ("family 4", v2([0x21, 0x41], 12, &ip4), Err(ProxyError::Malformed)),
            ("protocol 3", v2([0x21, 0x13], 12, &ip4), Err(ProxyError::Malformed)),
            ("no room for the address", v2([0x21, 0x11], 11, &ip4), Err(ProxyError::Malformed)),
            ("no room for IPv6", v2([0x21, 0x21], 12, &ip4), Err(ProxyError::Malformed)),
            ("another signature", b"\r\n\r\n\0\r\nQUIX\n".to_vec(), Err(ProxyError::NoHeader)),
            ("empty lines before a request", b"\r\n\r\nGET".to_vec(), Err(ProxyError::NoHeader)),
            ("TLS", vec![0x16, 0x03, 0x01], Err(ProxyError::NoHeader)),
        ] {
            assert_eq!(parse(&bytes), expected, "{case}");
        }
    }

    /// Random bytes after good beginnings: never a panic, never a length beyond what is there, and what is decided
    /// with some bytes stays decided with more.
    #[test]
    fn whatever_comes_is_decided_and_stays_so() {
        let seed = fastrand::u64(..);
        println!("seed {seed}");
        let mut rng = fastrand::Rng::with_seed(seed);
        let beginnings: [&[u8]; 5] = [b"PROXY TCP4 ", b"PROXY TCP6 ::1 ", &V2, b"PROXY UNKNOWN", b""];
        for _ in 0..20_000 {
            let mut bytes = beginnings[rng.usize(..beginnings.len())].to_vec();
            let more = rng.usize(..150);
            bytes.extend(std::iter::repeat_with(|| rng.u8(..)).take(more));
            let mut decided = None;
            for end in 0..=bytes.len() {
                let now = parse(&bytes[..end]);
                if let Ok(Parsed::Header(header)) = now {
                    assert!(header.length <= end, "{bytes:?}");
                }
                match decided {
                    Some(before) => assert_eq!(now, before, "{bytes:?}"),
                    None if now != Ok(Parsed::Incomplete) => decided = Some(now),
                    None => {}
                }
            }
        }
    }
}
