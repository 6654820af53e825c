//! Names and addresses, checked once where they enter.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::Arc;

use crate::text::text_on_the_wire;

/// Why a name or an address was refused: what was given, and what is accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {value:?} is not valid: {accepted}")]
pub struct NameError {
    what: &'static str,
    value: String,
    accepted: &'static str,
}

const NAME_ACCEPTED: &str = "1 to 128 of A-Z a-z 0-9 . _ : - [ ]";

fn is_name(text: &str) -> bool {
    (1..=128).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._:-[]".contains(&b))
}

/// Declares a checked, cheaply cloned name.
macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type(Arc<str>);

        impl $type {
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $type {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                if is_name(text) {
                    Ok(Self(text.into()))
                } else {
                    Err(NameError { what: $what, value: clipped(text), accepted: NAME_ACCEPTED })
                }
            }
        }

        text_on_the_wire!($type, $what);

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }
    };
}

name!(
    /// One application server process; unique within its service.
    InstanceName,
    "instance name"
);
name!(
    /// One application with its own instances, classes, plan and queue.
    ServiceName,
    "service name"
);
name!(
    /// Drawn anew by each start of an agent, so that a restart is not taken for a replay.
    BootId,
    "boot id"
);

impl ServiceName {
    /// The service of a site that names none.
    pub const DEFAULT: &'static str = "default";
}

impl Default for ServiceName {
    fn default() -> Self {
        Self(Self::DEFAULT.into())
    }
}

/// Where to connect: `host:port`, an IP address or a name that is resolved at each connect; or a Unix socket on the
/// same host.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Target {
    text: Arc<str>,
    literal: Option<SocketAddr>,
}

const TARGET_ACCEPTED: &str = "host:port, such as 127.0.0.1:8081, [::1]:8081 or app1.example.org:8081, or unix:/path of letters, digits and . _ - /";

impl Target {
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The address, if the host is an IP address; `None`: the name must be resolved.
    pub fn literal(&self) -> Option<SocketAddr> {
        self.literal
    }

    /// The path, if it is a Unix socket.
    pub fn path(&self) -> Option<&str> {
        self.text.strip_prefix(UNIX)
    }
}

const UNIX: &str = "unix:";

/// Absolute, at most 107 bytes as the system allows, and of characters that need no quoting anywhere.
fn is_socket_path(path: &str) -> bool {
    path.len() <= 107
        && path.starts_with('/')
        && path.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-/".contains(&b))
}

impl From<SocketAddr> for Target {
    fn from(addr: SocketAddr) -> Self {
        Self { text: addr.to_string().into(), literal: Some(addr) }
    }
}

impl FromStr for Target {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let refused = || NameError { what: "address", value: clipped(text), accepted: TARGET_ACCEPTED };
        if let Some(path) = text.strip_prefix(UNIX) {
            return if is_socket_path(path) {
                Ok(Self { text: text.into(), literal: None })
            } else {
                Err(refused())
            };
        }
        let literal = text.parse::<SocketAddr>().ok();
        let (host, port) = text.rsplit_once(':').ok_or_else(refused)?;
        let port_ok = port.parse::<u16>().is_ok_and(|p| p > 0);
        let host_ok = literal.is_some() || is_host_name(host);
        if port_ok && host_ok { Ok(Self { text: text.into(), literal }) } else { Err(refused()) }
    }
}

/// Letters, digits, dots and hyphens (RFC 1123), and underscores, which container networks use.
fn is_host_name(host: &str) -> bool {
    (1..=253).contains(&host.len()) && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

text_on_the_wire!(Target, "an address");

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Keeps an error message short whatever was sent.
fn clipped(text: &str) -> String {
    text.chars().take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_at_the_door() {
        for good in ["a", "zope-1", "10.0.0.7:8081", "[::1]:8081", &"x".repeat(128)] {
            assert!(good.parse::<InstanceName>().is_ok(), "{good}");
        }
        for bad in ["", "a b", "a\nb", "é", "a/b", &"x".repeat(129)] {
            assert!(bad.parse::<InstanceName>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn targets_are_host_and_port() {
        for (text, literal) in [
            ("127.0.0.1:80", true),
            ("[::1]:8081", true),
            ("localhost:8081", false),
            ("app_1.internal:1", false),
        ] {
            let target: Target = text.parse().expect(text);
            assert_eq!((target.as_str(), target.literal().is_some()), (text, literal));
            assert_eq!(target.path(), None);
        }
        let socket: Target = "unix:/run/zope-1.sock".parse().expect("a path");
        assert_eq!((socket.path(), socket.literal()), (Some("/run/zope-1.sock"), None));
        for bad in [
            "",
            "8080",
            ":8080",
            "localhost",
            "localhost:0",
            "localhost:70000",
            "a b:1",
            "::1:8081x",
            "http://x:1",
            "unix:",
            "unix:run/x",
            "unix:/a b",
            &format!("unix:/{}", "x".repeat(107)),
        ] {
            assert!(bad.parse::<Target>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn an_error_names_the_value_and_what_is_accepted() {
        let error = "a b".parse::<ServiceName>().expect_err("a space is refused");
        assert_eq!(
            error.to_string(),
            "service name \"a b\" is not valid: 1 to 128 of A-Z a-z 0-9 . _ : - [ ]"
        );
    }
}
