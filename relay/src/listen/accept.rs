//! Accepting on one data thread.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use super::{Listener, Protocol, Socket};
use crate::sockets::prepare_listener;

/// A listener at work.
pub(crate) struct Acceptor {
    socket: Listening,
    pub(crate) protocol: Protocol,
}

enum Listening {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// A client's connection.
pub(crate) struct Accepted {
    pub(crate) stream: TcpStream,
    /// `None`: it came over a Unix socket, from this host.
    pub(crate) address: Option<SocketAddr>,
}

impl Acceptor {
    /// # Errors
    /// The runtime can not watch one more descriptor.
    pub(crate) fn new(listener: Listener) -> io::Result<Self> {
        let socket = match listener.socket {
            Socket::Tcp(socket) => TcpListener::from_std(socket)?.into(),
            Socket::Unix(socket) => Listening::Unix(UnixListener::from_std(socket)?),
        };
        Ok(Self { socket, protocol: listener.protocol })
    }

    pub(crate) async fn accept(&self) -> io::Result<Accepted> {
        match &self.socket {
            Listening::Tcp(socket) => {
                let (stream, address) = socket.accept().await?;
                Ok(Accepted { stream, address: Some(address) })
            }
            Listening::Unix(socket) => {
                let (stream, _unnamed) = socket.accept().await?;
                Ok(Accepted { stream: as_stream(stream)?, address: None })
            }
        }
    }
}

/// A Unix connection in the type that all of the relay uses. Reading, writing, splicing, readiness, shutdown and
/// errors are the same system calls for both; a type of its own would make the relay's path generic for nothing. What
/// only TCP has (`sockets.rs`) is not asked of it.
pub(crate) fn as_stream(stream: UnixStream) -> io::Result<TcpStream> {
    TcpStream::from_std(OwnedFd::from(stream.into_std()?).into())
}

impl From<TcpListener> for Acceptor {
    /// HTTP/1.1 in the clear.
    fn from(socket: TcpListener) -> Self {
        Self { socket: socket.into(), protocol: Protocol::default() }
    }
}

impl From<TcpListener> for Listening {
    fn from(socket: TcpListener) -> Self {
        prepare_listener(&socket);
        Self::Tcp(socket)
    }
}
