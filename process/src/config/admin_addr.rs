//! `--admin ADDR[,tls=CERT:KEY[,client-ca=FILE]]`, and other addresses of the control plane.

use std::{fmt, net::SocketAddr, str::FromStr};

use super::ConfigError;
use crate::tls::{CertError, CertFiles, ServerTlsFiles};

/// Where the admin server listens, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminSpec {
    pub addr: SocketAddr,
    /// `None`: in the clear.
    pub tls: Option<ServerTlsFiles>,
}

/// Why the admin server's address was refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum AdminSpecError {
    #[error("{0:?} is not an address to listen on: give IP:PORT, such as 127.0.0.1:9900")]
    Address(String),
    #[error("{0:?} is not an option of this address: there are tls=CERT:KEY and, with it, client-ca=FILE")]
    Option(String),
    #[error("{0:?}: give two files, the certificate and its key, once, as tls=CERT:KEY")]
    Tls(String),
    #[error(
        "{0:?}: client certificates are shown over TLS: give tls=CERT:KEY before client-ca=FILE, each once"
    )]
    ClientCa(String),
}

impl From<SocketAddr> for AdminSpec {
    fn from(addr: SocketAddr) -> Self {
        Self { addr, tls: None }
    }
}

impl AdminSpec {
    /// Whether who changes something must show a certificate.
    pub fn asks_for_certificates(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some())
    }

    /// # Errors
    /// If its files can not be used, or if others can reach the address while nothing tells friend from stranger.
    pub fn check(&self, has_token: bool) -> Result<(), ConfigError> {
        let refused = |error: CertError| ConfigError::value("--admin", self, error.to_string());
        self.tls.as_ref().map_or(Ok(()), |tls| tls.check().map_err(refused))?;
        // ::ffff:127.0.0.1 is loopback as well, which `IpAddr::is_loopback` alone does not see.
        if has_token || self.asks_for_certificates() || self.addr.ip().to_canonical().is_loopback() {
            return Ok(());
        }
        Err(ConfigError::value(
            "--admin",
            self,
            "it can be reached from other machines; set --token-file, or client-ca=FILE for client certificates, \
             or bind to loopback (127.0.0.1 or [::1])",
        ))
    }

    fn set(&mut self, option: &str) -> Result<(), AdminSpecError> {
        match (option.split_once('='), &mut self.tls) {
            (Some(("tls", files)), tls @ None) => {
                let cert = files.parse().map_err(|_| AdminSpecError::Tls(option.to_owned()))?;
                *tls = Some(ServerTlsFiles { cert, client_ca: None });
            }
            (Some(("tls", _)), Some(_)) => return Err(AdminSpecError::Tls(option.to_owned())),
            (Some(("client-ca", file)), Some(tls)) if tls.client_ca.is_none() && !file.is_empty() => {
                tls.client_ca = Some(file.into());
            }
            (Some(("client-ca", _)), _) => return Err(AdminSpecError::ClientCa(option.to_owned())),
            _ => return Err(AdminSpecError::Option(option.to_owned())),
        }
        Ok(())
    }
}

impl FromStr for AdminSpec {
    type Err = AdminSpecError;

    fn from_str(text: &str) -> Result<Self, AdminSpecError> {
        let mut parts = text.split(',');
        let addr = parts.next().unwrap_or_default();
        let addr: SocketAddr = addr.parse().map_err(|_| AdminSpecError::Address(addr.to_owned()))?;
        let mut spec = Self::from(addr);
        parts.try_for_each(|option| spec.set(option))?;
        Ok(spec)
    }
}

impl fmt::Display for AdminSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.addr.fmt(f)?;
        let Some(ServerTlsFiles { cert: CertFiles { cert, key }, client_ca }) = &self.tls else {
            return Ok(());
        };
        write!(f, ",tls={}:{}", cert.display(), key.display())?;
        client_ca.as_ref().map_or(Ok(()), |file| write!(f, ",client-ca={}", file.display()))
    }
}

crate::serde_as_text!(AdminSpec, "an address such as \"127.0.0.1:9900\"");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_others_reach_needs_a_token() {
        for (addr, open_without_token) in [
            ("127.0.0.1:9900", true),
            ("127.8.8.8:9900", true),
            ("[::1]:9900", true),
            ("[::ffff:127.0.0.1]:9900", true),
            ("0.0.0.0:9900", false),
            ("[::]:9900", false),
            ("10.0.0.1:9900", false),
        ] {
            let spec: AdminSpec = addr.parse().expect("a socket address");
            assert!(spec.check(true).is_ok(), "{addr}");
            assert_eq!(spec.check(false).is_ok(), open_without_token, "{addr}");
        }
    }

    #[test]
    fn the_refusal_names_all_cures() {
        let message = AdminSpec::from(SocketAddr::from(([0, 0, 0, 0], 9900))).check(false);
        let message = message.expect_err("open to all").to_string();
        for part in ["--admin", "0.0.0.0:9900", "--token-file", "client-ca", "loopback"] {
            assert!(message.contains(part), "{message}");
        }
    }

    #[test]
    fn what_is_written_is_what_was_read() {
        for text in ["127.0.0.1:9900", "[::1]:9900,tls=/c:/k", "0.0.0.0:1,tls=c:k,client-ca=/ca"] {
            let spec: AdminSpec = text.parse().expect(text);
            assert_eq!(spec.to_string(), text);
            assert_eq!(spec.asks_for_certificates(), text.contains("client-ca"), "{text}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused_by_what_is_wrong_with_it() {
        for (text, part) in [
            ("9900", "IP:PORT"),
            ("", "IP:PORT"),
            ("127.0.0.1:1,h2c", "not an option"),
            ("127.0.0.1:1,tls=c", "two files"),
            ("127.0.0.1:1,tls=a:b:c", "two files"),
            ("127.0.0.1:1,tls=a:b,tls=c:d", "once"),
            ("127.0.0.1:1,client-ca=ca", "before client-ca"),
            ("127.0.0.1:1,tls=c:k,client-ca=", "client-ca=FILE"),
            ("127.0.0.1:1,tls=c:k,client-ca=a,client-ca=b", "each once"),
        ] {
            let error = text.parse::<AdminSpec>().expect_err(text).to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn files_that_can_not_be_used_are_named() {
        let spec: AdminSpec = "127.0.0.1:1,tls=/none/c.pem:/none/k.pem".parse().expect("well formed");
        let message = spec.check(true).expect_err("no such file").to_string();
        assert!(message.contains("/none/c.pem"), "{message}");
    }
}
