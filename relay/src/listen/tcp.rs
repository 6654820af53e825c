//! Sockets on an IP address: one per data thread, and nobody else's.

use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Socket, Type};

use super::{BACKLOG, ListenError};

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
}
