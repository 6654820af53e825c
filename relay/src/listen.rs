//! Listening sockets: one per data thread on the same address, and nobody else's.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use socket2::{Domain, Socket, Type};

/// Connections that may wait to be accepted. More than a burst; the kernel caps it at its own limit.
const BACKLOG: i32 = 4096;

/// Where and how to listen: `ADDR[,tls=CERT:KEY][,h2c][,proxy]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ListenSpec {
    pub address: SocketAddr,
}

/// Why a listening address was refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ListenSpecError {
    #[error("{0:?} is not an address to listen on: give IP:PORT, such as 127.0.0.1:8080 or [::]:80")]
    Address(String),
    #[error("{0:?} is not an option of a listener: this release knows none")]
    Option(String),
    #[error("the listener option {0:?} is not available in this release: put a TLS or HTTP/2 proxy in front")]
    Unavailable(String),
}

impl FromStr for ListenSpec {
    type Err = ListenSpecError;

    fn from_str(text: &str) -> Result<Self, ListenSpecError> {
        let mut parts = text.split(',');
        let address = parts.next().unwrap_or_default();
        let address = address.parse().map_err(|_| ListenSpecError::Address(address.to_owned()))?;
        if let Some(option) = parts.next() {
            let known = option == "h2c" || option == "proxy" || option.starts_with("tls=");
            let error = if known { ListenSpecError::Unavailable } else { ListenSpecError::Option };
            return Err(error(option.to_owned()));
        }
        Ok(Self { address })
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

impl fmt::Display for ListenSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)
    }
}

/// An address that could not be listened on.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    #[error("can not listen on {address}: another process already does (see: ss -ltnp 'sport = :{port}')", port = .address.port())]
    InUse { address: SocketAddr },
    #[error("can not listen on {address}: {source}")]
    Other { address: SocketAddr, source: io::Error },
}

/// Opens `count` sockets (at least one) that share `address`; the kernel spreads connections over them.
///
/// # Errors
/// [`ListenError::InUse`] if anybody else listens there, even with `SO_REUSEPORT`.
pub fn bind(address: SocketAddr, count: usize) -> Result<Vec<TcpListener>, ListenError> {
    let sockets = || -> io::Result<Vec<TcpListener>> {
        // The first binds alone, so that a stranger's listener is a conflict, and admits our own
        // only afterwards. The port is held from then on: there is no moment for a race.
        let first = socket(address)?;
        first.bind(&address.into())?;
        first.set_reuse_port(true)?;
        let taken = first.local_addr()?.as_socket().expect("bound to an IP address");
        let mut sockets = vec![first];
        for _ in 1..count {
            let next = socket(address)?;
            next.set_reuse_port(true)?;
            next.bind(&taken.into())?;
            sockets.push(next);
        }
        sockets.into_iter().map(listening).collect()
    };
    sockets().map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => ListenError::InUse { address },
        _ => ListenError::Other { address, source },
    })
}

fn socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    // A restart must not wait for connections of the last run to time out.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn listening(socket: Socket) -> io::Result<TcpListener> {
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_sockets_share_an_address_and_nobody_else_gets_it() {
        let any = "127.0.0.1:0".parse().expect("an address");
        let ours = bind(any, 4).expect("a free port");
        let address = ours[0].local_addr().expect("bound");
        assert!(ours.iter().all(|s| s.local_addr().expect("bound") == address));
        let error = bind(address, 2).expect_err("taken").to_string();
        assert!(error.contains(&address.to_string()), "{error}");
        drop(ours);
        bind(address, 2).expect("free again");
    }

    #[test]
    fn all_sockets_get_connections() {
        let ours = bind("127.0.0.1:0".parse().expect("an address"), 2).expect("a free port");
        let address = ours[0].local_addr().expect("bound");
        // The kernel hashes the client's port: of 64 connections some go to each of two sockets.
        let clients: Vec<_> =
            (0..64).map(|_| std::net::TcpStream::connect(address).expect("accepted")).collect();
        let counts: Vec<_> = ours.iter().map(|s| std::iter::from_fn(|| s.accept().ok()).count()).collect();
        assert_eq!(counts.iter().sum::<usize>(), clients.len());
        assert!(counts.iter().all(|n| *n > 0), "{counts:?}");
    }

    #[test]
    fn specs_say_what_they_want() {
        assert_eq!("[::1]:80".parse::<ListenSpec>().expect("valid").to_string(), "[::1]:80");
        for (text, part) in
            [("8080", "IP:PORT"), ("127.0.0.1:80,h2c", "h2c"), ("127.0.0.1:80,tsl=a:b", "tsl=a:b")]
        {
            let error = text.parse::<ListenSpec>().expect_err(text).to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}
