//! `--listen ADDR[,tls=CERT:KEY]...[,h2c][,proxy][,mode=OCTAL]`.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::tls::CertFiles;

/// Where and how to listen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ListenSpec {
    pub place: Place,
    /// TLS with these certificates, of which a client's SNI chooses; the first is for all others. None: no TLS.
    pub tls: Vec<CertFiles>,
    /// HTTP/2 with prior knowledge as well as HTTP/1.1, in the clear.
    pub h2c: bool,
    /// Each connection begins with a PROXY header.
    pub proxy: bool,
}

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    Ip(SocketAddr),
    Unix {
        path: PathBuf,
        /// Who may connect, as file permissions.
        mode: u32,
    },
    /// A socket that the service manager hands over, by its name or number.
    Inherited(String),
}

/// Owner and group: a front proxy in the same group, and nobody else on the host.
const DEFAULT_MODE: u32 = 0o660;

/// Longest path of a Unix socket, in bytes (`sun_path`, less its end).
const LONGEST_PATH: usize = 107;

/// Why a listening address was refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ListenSpecError {
    #[error(
        "{0:?} is not an address to listen on: give IP:PORT, such as 127.0.0.1:8080 or [::]:80, unix:PATH, or fd:NAME"
    )]
    Address(String),
    #[error(
        "{0:?} is not an option of a listener: there are tls=CERT:KEY, h2c, proxy and, for unix:, mode=OCTAL"
    )]
    Option(String),
    #[error("{0:?}: give two files, the certificate and its key, as tls=CERT:KEY")]
    Tls(String),
    #[error("{0:?}: give permissions as mode=0660, for a unix: address")]
    Mode(String),
    #[error("{0:?}: tls= and h2c exclude each other: with TLS, HTTP/2 is offered anyway")]
    TlsWithH2c(String),
}

impl From<SocketAddr> for ListenSpec {
    /// HTTP/1.1 in the clear.
    fn from(address: SocketAddr) -> Self {
        Place::Ip(address).into()
    }
}

impl From<Place> for ListenSpec {
    fn from(place: Place) -> Self {
        Self { place, tls: Vec::new(), h2c: false, proxy: false }
    }
}

impl ListenSpec {
    /// The address, if it is an IP address without any options.
    pub fn plain_address(&self) -> Option<SocketAddr> {
        match self {
            Self { place: Place::Ip(address), tls, h2c: false, proxy: false } if tls.is_empty() => {
                Some(*address)
            }
            _ => None,
        }
    }

    fn set(&mut self, option: &str) -> Result<(), ListenSpecError> {
        match option.split_once('=') {
            None if option == "h2c" => self.h2c = true,
            None if option == "proxy" => self.proxy = true,
            Some(("tls", files)) => {
                let files = files.parse().map_err(|_| ListenSpecError::Tls(option.to_owned()))?;
                self.tls.push(files);
            }
            Some(("mode", digits)) => {
                self.set_mode(digits).ok_or_else(|| ListenSpecError::Mode(option.to_owned()))?
            }
            _ => return Err(ListenSpecError::Option(option.to_owned())),
        }
        Ok(())
    }

    fn set_mode(&mut self, digits: &str) -> Option<()> {
        let Place::Unix { mode, .. } = &mut self.place else { return None };
        *mode = u32::from_str_radix(digits, 8).ok().filter(|mode| *mode <= 0o777)?;
        Some(())
    }
}

impl FromStr for Place {
    type Err = ListenSpecError;

    fn from_str(text: &str) -> Result<Self, ListenSpecError> {
        let refused = || ListenSpecError::Address(text.to_owned());
        if let Some(path) = text.strip_prefix("unix:") {
            let fits = (1..=LONGEST_PATH).contains(&path.len());
            return if fits {
                Ok(Self::Unix { path: path.into(), mode: DEFAULT_MODE })
            } else {
                Err(refused())
            };
        }
        match text.strip_prefix("fd:") {
            Some("") => Err(refused()),
            Some(name) => Ok(Self::Inherited(name.to_owned())),
            None => text.parse().map(Self::Ip).map_err(|_| refused()),
        }
    }
}

impl FromStr for ListenSpec {
    type Err = ListenSpecError;

    fn from_str(text: &str) -> Result<Self, ListenSpecError> {
        let mut parts = text.split(',');
        let mut spec = Self::from(parts.next().unwrap_or_default().parse::<Place>()?);
        parts.try_for_each(|option| spec.set(option))?;
        if spec.h2c && !spec.tls.is_empty() {
            return Err(ListenSpecError::TlsWithH2c(text.to_owned()));
        }
        Ok(spec)
    }
}

impl TryFrom<String> for ListenSpec {
    type Error = ListenSpecError;
    fn try_from(text: String) -> Result<Self, ListenSpecError> {
        text.parse()
    }
}

impl From<ListenSpec> for String {
    fn from(spec: ListenSpec) -> Self {
        spec.to_string()
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Unix { path, .. } => write!(f, "unix:{}", path.display()),
            Self::Inherited(name) => write!(f, "fd:{name}"),
        }
    }
}

impl fmt::Display for ListenSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.place.fmt(f)?;
        for CertFiles { cert, key } in &self.tls {
            write!(f, ",tls={}:{}", cert.display(), key.display())?;
        }
        if self.h2c {
            f.write_str(",h2c")?;
        }
        if self.proxy {
            f.write_str(",proxy")?;
        }
        match self.place {
            Place::Unix { mode, .. } if mode != DEFAULT_MODE => write!(f, ",mode={mode:04o}"),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn specs_read_back_as_they_are_written() {
        for text in [
            "[::1]:80",
            "0.0.0.0:443,tls=/etc/a.pem:/etc/a.key",
            "0.0.0.0:443,tls=a.pem:a.key,tls=b.pem:b.key,proxy",
            "127.0.0.1:80,h2c",
            "127.0.0.1:80,h2c,proxy",
            "unix:/run/sluice.sock",
            "unix:/run/sluice.sock,proxy,mode=0600",
            "fd:web",
            "fd:0,tls=a:b",
        ] {
            assert_eq!(text.parse::<ListenSpec>().expect(text).to_string(), text);
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let long = format!("unix:/{}", "x".repeat(LONGEST_PATH));
        for (text, part) in [
            ("8080", "IP:PORT"),
            ("unix:", "unix:PATH"),
            (&long, "unix:PATH"),
            ("fd:", "fd:NAME"),
            ("127.0.0.1:80,tsl=a:b", "tsl=a:b"),
            ("127.0.0.1:80,h2c=1", "h2c=1"),
            ("127.0.0.1:80,tls=a", "tls=CERT:KEY"),
            ("127.0.0.1:80,tls=a:b:c", "tls=CERT:KEY"),
            ("127.0.0.1:80,tls=:b", "tls=CERT:KEY"),
            ("127.0.0.1:80,mode=0600", "unix:"),
            ("unix:/a,mode=rw", "mode=0660"),
            ("unix:/a,mode=1777", "mode=0660"),
            ("127.0.0.1:80,tls=a:b,h2c", "exclude"),
        ] {
            let error = text.parse::<ListenSpec>().expect_err(text).to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn only_a_plain_ip_address_is_plain() {
        for (text, plain) in [
            ("127.0.0.1:1", true),
            ("127.0.0.1:1,h2c", false),
            ("127.0.0.1:1,tls=a:b", false),
            ("unix:/a", false),
        ] {
            assert_eq!(text.parse::<ListenSpec>().expect(text).plain_address().is_some(), plain, "{text}");
        }
    }
}
