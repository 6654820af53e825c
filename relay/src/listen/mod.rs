//! Listening sockets: what was asked for, and the sockets themselves, one per data thread.

mod accept;
mod inherited;
mod spec;
mod tcp;
mod unix;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::tls::Certificates;

pub(crate) use accept::{Accepted, Acceptor, as_stream};
pub use inherited::Inherited;
pub use spec::{ListenSpec, ListenSpecError, Place};
pub use tcp::bind;

/// Connections that may wait to be accepted. More than a burst; the kernel caps it at its own limit.
const BACKLOG: i32 = 4096;

/// A place that could not be listened on.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    #[error("can not listen on {address}: another process already does (see: ss -ltnp 'sport = :{port}')", port = .address.port())]
    InUse { address: SocketAddr },
    #[error("can not listen on {address}: {source}")]
    Other { address: SocketAddr, source: io::Error },
    #[error("can not listen on unix:{path}: another process already does (see: ss -lxp)", path = .0.display())]
    PathInUse(PathBuf),
    #[error("can not listen on unix:{path}: {source}", path = .path.display())]
    Path { path: PathBuf, source: io::Error },
    #[error(
        "no socket was handed over for fd:{wanted}: there are {given}. Socket activation gives them names (FileDescriptorName=) and numbers from 0"
    )]
    NotInherited { wanted: String, given: String },
    #[error("the socket that was handed over for fd:{wanted} can not be used: {source}")]
    Inherited { wanted: String, source: io::Error },
}

/// A socket that listens.
#[derive(Debug)]
pub enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// What is spoken on a listener.
#[derive(Clone, Default)]
pub struct Protocol {
    /// TLS, with HTTP/2 or HTTP/1.1 by ALPN; else in the clear.
    pub tls: Option<Arc<Certificates>>,
    /// In the clear also HTTP/2, by its preface.
    pub h2c: bool,
    /// Each connection must begin with a PROXY header.
    pub proxy: bool,
}

/// One data thread's part of a listener.
pub struct Listener {
    pub socket: Socket,
    pub protocol: Protocol,
}

/// Opens `count` sockets (at least one) for one place.
///
/// Those of an IP address are sockets of their own that share the address, and the kernel spreads connections over
/// them. A Unix socket and one that was handed over exist once, and each thread gets a duplicate.
///
/// # Errors
/// See [`ListenError`].
pub fn open(place: &Place, count: usize, inherited: &Inherited) -> Result<Vec<Socket>, ListenError> {
    match place {
        Place::Ip(address) => Ok(bind(*address, count)?.into_iter().map(Socket::Tcp).collect()),
        Place::Unix { path, mode } => {
            let failed = |source| ListenError::Path { path: path.clone(), source };
            Socket::Unix(unix::bind(path, *mode)?).shared(count).map_err(failed)
        }
        Place::Inherited(name) => {
            let failed = |source| ListenError::Inherited { wanted: name.clone(), source };
            inherited.take(name)?.shared(count).map_err(failed)
        }
    }
}

impl Socket {
    fn shared(self, count: usize) -> io::Result<Vec<Self>> {
        let mut sockets = vec![self];
        while sockets.len() < count {
            sockets.push(sockets[0].try_clone()?);
        }
        Ok(sockets)
    }

    /// The same socket once more: who holds one keeps it open, and the connections that wait in it.
    ///
    /// # Errors
    /// No descriptor is free.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(match self {
            Self::Tcp(socket) => Self::Tcp(socket.try_clone()?),
            Self::Unix(socket) => Self::Unix(socket.try_clone()?),
        })
    }

    /// Its IP address, or `None` for a Unix socket.
    ///
    /// # Errors
    /// The system does not tell.
    pub fn ip_address(&self) -> io::Result<Option<SocketAddr>> {
        match self {
            Self::Tcp(socket) => socket.local_addr().map(Some),
            Self::Unix(_) => Ok(None),
        }
    }

    /// Where a Unix socket is, if it is one and has a name.
    pub fn path(&self) -> Option<PathBuf> {
        match self {
            Self::Tcp(_) => None,
            Self::Unix(socket) => socket.local_addr().ok()?.as_pathname().map(Path::to_owned),
        }
    }
}
