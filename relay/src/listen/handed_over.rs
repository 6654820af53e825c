//! Sockets from process to process, and from a place to its data threads.

use std::io;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;

use sluice_process::upgrade::Sockets;
use socket2::{Domain, SockRef};

use super::{ListenError, Place, Socket};

/// The sockets that the process before this one listened on for `place`; none if it did not.
pub(super) fn take(place: &Place, sockets: &Sockets) -> Result<Vec<Socket>, ListenError> {
    let failed = |source| ListenError::HandedOver { place: place.to_string(), source };
    sockets.take(&place.to_string()).into_iter().map(|socket| listening(socket).map_err(failed)).collect()
}

fn listening(descriptor: OwnedFd) -> io::Result<Socket> {
    let socket = SockRef::from(&descriptor);
    let is_unix = socket.domain()? == Domain::UNIX;
    socket.set_nonblocking(true)?;
    Ok(match is_unix {
        true => Socket::Unix(UnixListener::from(descriptor)),
        false => Socket::Tcp(TcpListener::from(descriptor)),
    })
}

/// Leaves duplicates of a place's sockets in `heritage`.
///
/// # Errors
/// No more descriptors.
pub fn bequeath(place: &Place, sockets: &[Socket], heritage: &Sockets) -> io::Result<()> {
    let duplicates: Vec<OwnedFd> =
        sockets.iter().map(|socket| socket.try_clone().map(OwnedFd::from)).collect::<io::Result<_>>()?;
    heritage.add(place.to_string(), duplicates);
    Ok(())
}

/// Which of `sockets` sockets each of `threads` threads accepts on (both at least 1): every thread has one, and every
/// socket has a thread, as connections wait in each.
fn shares(sockets: usize, threads: usize) -> Vec<Vec<usize>> {
    let share = |thread: usize| match thread < sockets {
        true => (thread..sockets).step_by(threads).collect(),
        false => vec![thread % sockets],
    };
    (0..threads).map(share).collect()
}

/// Duplicates of a place's sockets (at least one) for each of `threads` threads.
///
/// # Errors
/// No more descriptors.
pub fn spread(sockets: &[Socket], threads: usize) -> io::Result<Vec<Vec<Socket>>> {
    let share = |share: Vec<usize>| share.into_iter().map(|index| sockets[index].try_clone()).collect();
    shares(sockets.len(), threads).into_iter().map(share).collect()
}

impl From<Socket> for OwnedFd {
    fn from(socket: Socket) -> Self {
        match socket {
            Socket::Tcp(socket) => socket.into(),
            Socket::Unix(socket) => socket.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listen::{Inherited, open};

    #[test]
    fn every_thread_has_a_socket_and_every_socket_a_thread() {
        for (sockets, threads, expected) in [
            (1, 1, vec![vec![0]]),
            (2, 2, vec![vec![0], vec![1]]),
            (1, 3, vec![vec![0], vec![0], vec![0]]),
            (2, 3, vec![vec![0], vec![1], vec![0]]),
            (3, 2, vec![vec![0, 2], vec![1]]),
            (5, 2, vec![vec![0, 2, 4], vec![1, 3]]),
            (4, 1, vec![vec![0, 1, 2, 3]]),
        ] {
            assert_eq!(shares(sockets, threads), expected, "{sockets} sockets, {threads} threads");
        }
    }

    fn heritage(place: &Place, sockets: &[Socket]) -> Sockets {
        let heritage = Sockets::default();
        bequeath(place, sockets, &heritage).expect("descriptors");
        heritage
    }

    #[test]
    fn the_very_sockets_are_listened_on_with_what_waits_in_them() {
        let place: Place = "127.0.0.1:0".parse().expect("a place");
        let old = open(&place, 2, &Inherited::from_env()).expect("a free port");
        let address = old[0].ip_address().expect("bound").expect("an IP address");
        let heritage = heritage(&place, &old);
        // The kernel spreads them over both sockets.
        let waiting: Vec<_> =
            (0..16).map(|_| std::net::TcpStream::connect(address).expect("it listens")).collect();
        drop(old);
        for threads in [3, 1] {
            let inherited = Inherited::from_env().after(&heritage_of(&heritage));
            let new = open(&place, threads, &inherited).expect("handed over");
            assert_eq!((new.len(), new[0].ip_address().expect("bound")), (2, Some(address)));
            assert_eq!(spread(&new, threads).expect("descriptors").len(), threads);
        }
        let new = open(&place, 1, &Inherited::from_env().after(&heritage)).expect("handed over");
        let accepted = |socket: &Socket| match socket {
            Socket::Tcp(socket) => std::iter::from_fn(|| socket.accept().ok()).count(),
            Socket::Unix(_) => 0,
        };
        assert_eq!(new.iter().map(accepted).sum::<usize>(), waiting.len(), "none was reset");
        assert!(heritage.places().is_empty(), "taken");
    }

    /// A copy, as each process gets one.
    fn heritage_of(sockets: &Sockets) -> Sockets {
        let copy = Sockets::default();
        for place in sockets.places() {
            let all = sockets.take(&place);
            copy.add(place.clone(), all.iter().map(|socket| socket.try_clone().expect("descriptors")));
            sockets.add(place, all);
        }
        copy
    }

    #[test]
    fn a_place_that_is_not_the_same_is_not_found_and_an_address_in_use_stays_an_error() {
        let place: Place = "127.0.0.1:0".parse().expect("a place");
        let old = open(&place, 1, &Inherited::from_env()).expect("a free port");
        let address = old[0].ip_address().expect("bound").expect("an IP address");
        let inherited = Inherited::from_env().after(&heritage(&place, &old));
        let error = open(&Place::Ip(address), 1, &inherited).expect_err("it is in use");
        assert!(matches!(error, ListenError::InUse { .. }), "{error}");
    }

    #[test]
    fn a_unix_socket_keeps_its_file() {
        let dir = tempfile::tempdir().expect("a directory");
        let place: Place = format!("unix:{}/s", dir.path().display()).parse().expect("a place");
        let old = open(&place, 1, &Inherited::from_env()).expect("free");
        let heritage = heritage(&place, &old);
        drop(old);
        let _waits = std::os::unix::net::UnixStream::connect(dir.path().join("s")).expect("it listens");
        let new = open(&place, 2, &Inherited::from_env().after(&heritage)).expect("handed over");
        assert!(matches!(&new[0], Socket::Unix(socket) if socket.accept().is_ok()));
    }
}
