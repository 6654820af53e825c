use std::{fmt, net::IpAddr};

/// A name to be looked up again and again.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Name {
    /// A and AAAA.
    Host { host: String, port: u16 },
    /// SRV, which has the ports.
    Service(String),
}

/// RFC 1035, 2.3.4, as text.
const LONGEST_NAME: usize = 253;

impl Name {
    /// `NAME:PORT`; `None` if it is anything else. An address needs no look-up.
    pub fn host(text: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        let port = port.parse().ok().filter(|port| *port != 0)?;
        (is_name(host) && host.parse::<IpAddr>().is_err())
            .then(|| Self::Host { host: host.to_ascii_lowercase(), port })
    }

    /// `_SERVICE._PROTOCOL.NAME` (RFC 2782); `None` if it is anything else.
    pub fn service(text: &str) -> Option<Self> {
        let labels = text.split('.').take_while(|label| label.starts_with('_')).count();
        (is_name(text) && labels == 2).then(|| Self::Service(text.to_ascii_lowercase()))
    }

    /// Which records it is looked up by: `dns` or `srv`, as users write it before the name.
    pub fn scheme(&self) -> &'static str {
        match self {
            Self::Host { .. } => "dns",
            Self::Service(_) => "srv",
        }
    }
}

fn is_name(text: &str) -> bool {
    let text = text.strip_suffix('.').unwrap_or(text);
    let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    text.len() <= LONGEST_NAME
        && text.split('.').all(|label| (1..=63).contains(&label.len()) && label.bytes().all(good))
}

/// Without the scheme.
impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host { host, port } => write!(f, "{host}:{port}"),
            Self::Service(name) => f.write_str(name),
        }
    }
}
