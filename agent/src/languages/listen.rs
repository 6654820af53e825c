//! A listener of its own for a language.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    os::fd::OwnedFd,
};

use sluice_process::upgrade::Sockets;

/// Takes the address, by the socket in `inherited` if there is one for it; port 0 takes a free one. In `heritage` there
/// is one then, for the next process: peers take a refused connection for nothing new, but say so. `language` tells
/// listeners apart that have port 0.
///
/// # Errors
/// If it is taken.
pub(crate) fn listen(
    language: &str,
    flag: &str,
    address: SocketAddr,
    inherited: &Sockets,
    heritage: &Sockets,
) -> io::Result<TcpListener> {
    let place = format!("{language} {address}");
    let listener: TcpListener = match inherited.take(&place).pop() {
        Some(socket) => socket.into(),
        None => TcpListener::bind(address).map_err(|error| {
            io::Error::new(error.kind(), format!("cannot listen on {address} ({flag}): {error}"))
        })?,
    };
    listener.set_nonblocking(true)?;
    heritage.add(place, [OwnedFd::from(listener.try_clone()?)]);
    Ok(listener)
}
