//! Who asked, seen through the proxies that are trusted.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName};
use ipnet::IpNet;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The last address in `X-Forwarded-For` that is not a trusted proxy's, or the first if all are. `peer`, which the
/// relay has put there last, if there is none. What stands before an untrusted address is its word alone.
pub(super) fn client(headers: &HeaderMap, trusted: &[IpNet], peer: IpAddr) -> IpAddr {
    let chain = headers.get(FORWARDED_FOR).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mut client = peer.to_canonical();
    for address in chain.rsplit(',').map_while(|text| text.trim().parse::<IpAddr>().ok()) {
        client = address.to_canonical();
        if !trusted.iter().any(|net| net.contains(&client)) {
            break;
        }
    }
    client
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn only_trusted_proxies_are_looked_through() {
        let trusted: Vec<IpNet> =
            ["127.0.0.0/8", "10.0.0.0/8"].map(|net| net.parse().expect("a network")).into();
        for (chain, expected) in [
            ("192.0.2.7", "192.0.2.7"),
            ("192.0.2.7, 127.0.0.1", "192.0.2.7"),
            ("203.0.113.9, 192.0.2.7, 10.1.1.1, 127.0.0.1", "192.0.2.7"),
            ("10.2.2.2, 127.0.0.1", "10.2.2.2"),
            ("unknown, 10.2.2.2", "10.2.2.2"),
            ("2001:db8::1, 127.0.0.1", "2001:db8::1"),
            ("::ffff:192.0.2.7, 127.0.0.1", "192.0.2.7"),
            ("garbage", "127.0.0.1"),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(FORWARDED_FOR, HeaderValue::from_static(chain));
            let found = client(&headers, &trusted, IpAddr::from([127, 0, 0, 1]));
            assert_eq!(found.to_string(), expected, "{chain}");
        }
        assert_eq!(
            client(&HeaderMap::new(), &trusted, IpAddr::from([192, 0, 2, 1])).to_string(),
            "192.0.2.1"
        );
    }
}
