//! A socket in the file system.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use socket2::{Domain, SockAddr, Socket, Type};

use super::{BACKLOG, ListenError};

/// Listens at `path` for whom `mode` lets connect.
///
/// What a process left behind there is replaced; a file that is no socket, or a socket at which somebody listens, is
/// not. The file stays after the end: who hands a socket over must be able to go, and the next start replaces it.
///
/// # Errors
/// [`ListenError::PathInUse`], [`ListenError::Path`].
pub(super) fn bind(path: &Path, mode: u32) -> Result<UnixListener, ListenError> {
    let failed = |source| ListenError::Path { path: path.to_owned(), source };
    make_room(path)?;
    let listen = || -> io::Result<UnixListener> {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        socket.bind(&SockAddr::unix(path)?)?;
        // Before it listens: until then nobody can connect, whatever the permissions are at first.
        fs::set_permissions(path, Permissions::from_mode(mode))?;
        socket.listen(BACKLOG)?;
        Ok(socket.into())
    };
    listen().map_err(failed)
}

/// Removes a socket at which nobody listens any more.
fn make_room(path: &Path) -> Result<(), ListenError> {
    let failed = |source| ListenError::Path { path: path.to_owned(), source };
    let kind = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata.file_type(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
    };
    if !kind.is_socket() {
        return Err(failed(io::Error::other("a file that is no socket is there")));
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(failed)
        }
        Ok(_) => Err(ListenError::PathInUse(path.to_owned())),
        // Not ours to connect to, so nor to remove.
        Err(error) => Err(failed(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_left_behind_is_replaced_and_one_in_use_is_not() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("s");
        let first = bind(&path, 0o600).expect("free");
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
        let error = bind(&path, 0o600).expect_err("in use");
        assert!(matches!(error, ListenError::PathInUse(_)), "{error}");
        drop(first);
        bind(&path, 0o660).expect("nobody listens any more");
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o660);
    }

    #[test]
    fn a_file_is_never_replaced() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("precious");
        fs::write(&path, "data").expect("written");
        let error = bind(&path, 0o600).expect_err("not a socket").to_string();
        assert!(error.contains("no socket") && error.contains("precious"), "{error}");
        assert_eq!(fs::read(&path).expect("still there"), b"data");
    }
}
