//! Starting the program that lies where this one was started from.

use std::{
    env, io,
    os::{fd::OwnedFd, unix::net::UnixStream},
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use super::UpgradeError;

/// Says that standard input is the wire to the predecessor, whose process id is its value. Like `LISTEN_PID`, so that
/// whoever inherits the environment by accident does not feel meant.
pub(super) const VARIABLE: &str = "SLUICE_PREDECESSOR";

/// Of the service manager, for this process alone: its sockets are handed over under their names, and a watchdog is for
/// whatever the main process is.
const NOT_INHERITED: [&str; 4] = ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "WATCHDOG_PID"];

/// For a process that gave up to end by itself, so that its exit code can be told.
const LAST_BREATH: Duration = Duration::from_secs(1);

/// Starts the program by the name that this process was started by, with the same arguments: what lies there now may be
/// another version. (`/proc/self/exe` would be the old file.) `wire` is its standard input.
pub(super) fn launch(wire: UnixStream) -> Result<Child, UpgradeError> {
    let mut arguments = env::args_os();
    let nameless = || UpgradeError::Start(io::Error::other("this process was started without a name"));
    let program = arguments.next().ok_or_else(nameless)?;
    let mut command = Command::new(program);
    command.args(arguments).env(VARIABLE, std::process::id().to_string());
    NOT_INHERITED.iter().for_each(|name| _ = command.env_remove(name));
    command.stdin(Stdio::from(OwnedFd::from(wire))).spawn().map_err(UpgradeError::Start)
}

/// Sees that a process that will not succeed ends. How it did, if by itself.
pub(super) fn end(child: &mut Child) -> String {
    let until = Instant::now() + LAST_BREATH;
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return format!("; it ended with {status}"),
            Ok(None) if Instant::now() < until => sleep(Duration::from_millis(10)),
            _ => break,
        }
    }
    match child.kill().and_then(|()| child.wait()) {
        Ok(_) => "; it was ended".to_owned(),
        Err(error) => format!("; it can not be ended: {error}"),
    }
}
