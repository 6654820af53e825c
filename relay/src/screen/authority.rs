use std::net::Ipv6Addr;

use super::characters::{REG_NAME, all_in};

/// Longer than any name in the DNS (RFC 1035, 3.1) with a port.
const LONGEST: usize = 262;

/// Whether `host` is `uri-host [ ":" port ]` (RFC 9110, 7.2), or empty, for a target without authority.
pub(crate) fn is_authority(host: &[u8]) -> bool {
    if host.len() > LONGEST {
        return false;
    }
    if let Some(literal) = host.strip_prefix(b"[") {
        return is_bracketed(literal);
    }
    let (name, port) = split_port(host);
    all_in(name, &REG_NAME)
        && is_percent_encoded(name)
        && is_port(port)
        && (port.is_none() || !name.is_empty())
}

/// What follows the bracket.
fn is_bracketed(literal: &[u8]) -> bool {
    let Some(end) = literal.iter().position(|byte| *byte == b']') else { return false };
    let (address, rest) = (&literal[..end], &literal[end + 1..]);
    let is_ipv6 = str::from_utf8(address).is_ok_and(|text| text.parse::<Ipv6Addr>().is_ok());
    is_ipv6 && (rest.is_empty() || rest.strip_prefix(b":").is_some_and(|port| is_port(Some(port))))
}

fn split_port(host: &[u8]) -> (&[u8], Option<&[u8]>) {
    match host.iter().position(|byte| *byte == b':') {
        Some(colon) => (&host[..colon], Some(&host[colon + 1..])),
        None => (host, None),
    }
}

/// `port = *DIGIT`; no more than a port has.
fn is_port(port: Option<&[u8]>) -> bool {
    port.is_none_or(|digits| {
        digits.is_empty()
            || digits.iter().all(u8::is_ascii_digit)
                && str::from_utf8(digits).is_ok_and(|text| text.parse::<u16>().is_ok())
    })
}

fn is_percent_encoded(name: &[u8]) -> bool {
    let mut signs = name.iter().enumerate().filter(|(_, byte)| **byte == b'%');
    signs.all(|(at, _)| name.get(at + 1..at + 3).is_some_and(|pair| pair.iter().all(u8::is_ascii_hexdigit)))
}

/// Whether two authorities name the same host and port. `default_port`: of the scheme.
pub(super) fn is_same(one: &[u8], other: &[u8], default_port: &[u8]) -> bool {
    without_port(one, default_port).eq_ignore_ascii_case(without_port(other, default_port))
}

fn without_port<'a>(authority: &'a [u8], default_port: &[u8]) -> &'a [u8] {
    let with_colon = authority.strip_suffix(default_port).unwrap_or(authority);
    with_colon.strip_suffix(b":").unwrap_or(authority)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_names_or_addresses_with_or_without_a_port() {
        for host in [
            "",
            "a.example",
            "A",
            "a_b",
            "a:",
            "a:80",
            "127.0.0.1:8080",
            "[::1]",
            "[2001:db8::1]:443",
            "%41b",
        ] {
            assert!(is_authority(host.as_bytes()), "{host:?}");
        }
        let long = "a".repeat(LONGEST + 1);
        for host in [
            ":80", "a b", "a/b", "u@a", "a:b", "a:65536", "a:-1", "a:80:80", "[::1", "::1", "[::1]x", "[a]",
            "a]", "%4", "%zz", "a?b", "a#b", "a\\b", "a\"", "<a>", "\u{e9}", &long,
        ] {
            assert!(!is_authority(host.as_bytes()), "{host:?}");
        }
    }

    #[test]
    fn a_default_port_makes_no_difference() {
        for (one, other, same) in [
            ("a", "A", true),
            ("a:80", "a", true),
            ("a:", "a", true),
            ("a:80", "a:80", true),
            ("a:8080", "a", false),
            ("a80", "a", false),
            ("a", "b", false),
        ] {
            assert_eq!(is_same(one.as_bytes(), other.as_bytes(), b"80"), same, "{one} {other}");
        }
    }
}
