//! Listening sockets: what was asked for, and the sockets themselves, one per data thread.

mod accept;
mod handed_over;
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
pub use handed_over::{bequeath, spread};
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
    #[error("the socket for {place} that the process before this one listened on can not be used: {source}")]
    HandedOver { place: String, source: io::Error },
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

/// Opens the sockets of one place, for [`spread`] to give to data threads.
///
/// Of an IP address there are `count` (at least one) that share the address, and the kernel spreads connections over
/// them; a Unix socket and one of the service manager's exist once. Those of the process before this one are as many as it
/// had: connections may wait in each.
///
/// # Errors
/// See [`ListenError`].
pub fn open(place: &Place, count: usize, inherited: &Inherited) -> Result<Vec<Socket>, ListenError> {
    let handed_over = inherited.take_place(place)?;
    if !handed_over.is_empty() {
        return Ok(handed_over);
    }
    match place {
        Place::Ip(address) => Ok(bind(*address, count)?.into_iter().map(Socket::Tcp).collect()),
        Place::Unix { path, mode } => Ok(vec![Socket::Unix(unix::bind(path, *mode)?)]),
        Place::Inherited(name) => Ok(vec![inherited.take(name)?]),
    }
}

impl Socket {
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
