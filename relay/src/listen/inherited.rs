//! Sockets that whoever started this process had opened for it (`sd_listen_fds(3)`), or listened on before it.

use std::env;
use std::io;
use std::sync::{Mutex, MutexGuard};

use listenfd::ListenFd;
use sluice_process::upgrade::Sockets;

use super::{ListenError, Place, Socket, handed_over};

/// The sockets that were handed over. There are none unless the environment says that they are for this process.
pub struct Inherited {
    sockets: Mutex<ListenFd>,
    /// `FileDescriptorName=` of each, in order.
    names: Vec<String>,
    /// Of the process before this one.
    former: Sockets,
}

impl Inherited {
    pub fn from_env() -> Self {
        let sockets = ListenFd::from_env();
        let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
        let names =
            if sockets.len() == 0 { Vec::new() } else { names.split(':').map(str::to_owned).collect() };
        Self { sockets: Mutex::new(sockets), names, former: Sockets::default() }
    }

    /// The service manager gave none, or they are not for this.
    pub fn none() -> Self {
        Self { sockets: Mutex::new(ListenFd::empty()), names: Vec::new(), former: Sockets::default() }
    }

    /// And those of the process that this one takes over from.
    pub fn after(self, former: &Sockets) -> Self {
        Self { former: former.clone(), ..self }
    }

    /// What the process before this one listened on for `place`. Each can be taken once.
    pub(super) fn take_place(&self, place: &Place) -> Result<Vec<Socket>, ListenError> {
        handed_over::take(place, &self.former)
    }

    fn sockets(&self) -> MutexGuard<'_, ListenFd> {
        self.sockets.lock().expect("nothing panics while it holds the lock")
    }

    /// The socket of that name, or of that number from 0. Each can be taken once; of several with one name, the first
    /// that is left.
    pub(super) fn take(&self, wanted: &str) -> Result<Socket, ListenError> {
        let by_number = wanted.parse().ok();
        let mut sockets = self.sockets();
        for index in 0..sockets.len() {
            let is_wanted =
                by_number == Some(index) || self.names.get(index).is_some_and(|name| name == wanted);
            if !is_wanted {
                continue;
            }
            let taken = take_any(&mut sockets, index);
            let failed = |source| ListenError::Inherited { wanted: wanted.to_owned(), source };
            if let Some(socket) = taken.map_err(failed)? {
                return Ok(socket);
            }
        }
        Err(ListenError::NotInherited { wanted: wanted.to_owned(), given: self.given(sockets.len()) })
    }

    fn given(&self, count: usize) -> String {
        match count {
            0 => "none".to_owned(),
            _ if self.names.iter().all(String::is_empty) => count.to_string(),
            _ => format!("{count} ({})", self.names.join(", ")),
        }
    }
}

/// TCP or Unix, whichever it is.
fn take_any(sockets: &mut ListenFd, index: usize) -> io::Result<Option<Socket>> {
    let socket = match sockets.take_tcp_listener(index) {
        Ok(socket) => socket.map(Socket::Tcp),
        Err(_) => sockets.take_unix_listener(index)?.map(Socket::Unix),
    };
    match &socket {
        Some(Socket::Tcp(socket)) => socket.set_nonblocking(true)?,
        Some(Socket::Unix(socket)) => socket.set_nonblocking(true)?,
        None => {}
    }
    Ok(socket)
}
