//! When a configuration is read again, and from where: on SIGHUP, and when its file has changed and settled; and what
//! became of it.

mod outcome;

use std::{
    future::pending,
    io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    task::spawn_blocking,
    time::sleep,
};

pub use outcome::{Attempt, ReloadState, Reloads};

use crate::{
    ConfigError,
    config::{Layer, over_file},
};

/// How often the file is looked at. A change is acted on once two looks found the same: 1 to 2 s after the last
/// write. A look is one system call.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// `--watch-config`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WatchConfig {
    /// The file is read again when it changes, and on SIGHUP
    #[default]
    On,
    /// On SIGHUP alone
    Off,
}

/// Why a configuration is read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    Hangup,
    FileChanged,
}

impl Cause {
    /// For logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hangup => "SIGHUP",
            Self::FileChanged => "the file has changed",
        }
    }
}

/// Where options come from: the command line and the environment, which stay as they were, over a file.
#[derive(Clone, Debug)]
pub struct Source<T> {
    args: T,
    file: Option<PathBuf>,
    /// The file as it was before it was read first.
    stamp: Option<Stamp>,
    /// Nothing can change.
    is_fixed: bool,
}

impl<T: Layer + DeserializeOwned + Clone> Source<T> {
    pub fn new(args: T, file: Option<PathBuf>) -> Self {
        let stamp = file.as_deref().and_then(|file| Stamp::of(file).ok());
        Self { args, file, stamp, is_fixed: false }
    }

    /// Options that nobody can change: there is no reason to read them again, and SIGHUP means what it always does.
    pub fn fixed(args: T) -> Self {
        Self { args, file: None, stamp: None, is_fixed: true }
    }

    /// # Errors
    /// If the file can not be read or understood.
    pub fn read(&self) -> Result<T, ConfigError> {
        over_file(self.args.clone(), self.file.as_deref())
    }
}

/// From now on SIGHUP does not end the process, though nobody listens yet: a service manager that was told that the
/// program is ready may ask for a reload at once. To be called within a runtime.
///
/// # Errors
/// If the signal can not be handled.
pub fn outlive_hangups() -> io::Result<()> {
    signal(SignalKind::hangup()).map(drop)
}

/// Says when to read again.
pub struct Triggers {
    hangups: Option<Signal>,
    file: Option<Watched>,
}

struct Watched {
    path: PathBuf,
    settling: Settling,
}

impl Triggers {
    /// To be made within a runtime. From now on SIGHUP does not end the process, unless the source is fixed.
    ///
    /// # Errors
    /// If the signal can not be handled.
    pub fn new<T>(source: &Source<T>, watch: WatchConfig) -> io::Result<Self> {
        let hangups = if source.is_fixed { None } else { Some(signal(SignalKind::hangup())?) };
        let file = source.file.clone().filter(|_| watch == WatchConfig::On);
        let file = file.map(|path| Watched { path, settling: Settling::new(source.stamp) });
        Ok(Self { hangups, file })
    }

    /// Waits for the next reason to read again; cancel safe.
    pub async fn next(&mut self) -> Cause {
        let hangup = async {
            match &mut self.hangups {
                Some(hangups) => hangups.recv().await,
                None => pending().await,
            };
            Cause::Hangup
        };
        let changed = async {
            match &mut self.file {
                Some(watched) => watched.changed().await,
                None => pending().await,
            }
            Cause::FileChanged
        };
        tokio::select! {
            cause = hangup => cause,
            cause = changed => cause,
        }
    }
}

impl Watched {
    async fn changed(&mut self) {
        loop {
            sleep(LOOK_EVERY).await;
            let path = self.path.clone();
            // Not on this thread: the file may be on a network.
            let stamp = spawn_blocking(move || Stamp::of(&path).ok()).await.ok().flatten();
            if self.settling.look(stamp) {
                return;
            }
        }
    }
}

/// Differs after every way to replace a file: written in place, renamed over, or a symbolic link moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    len: u64,
    modified: Option<SystemTime>,
}

impl Stamp {
    fn of(path: &Path) -> io::Result<Self> {
        let meta = std::fs::metadata(path)?;
        Ok(Self { device: meta.dev(), inode: meta.ino(), len: meta.len(), modified: meta.modified().ok() })
    }
}

/// Tells a change that is over from one that is under way: an editor that writes in pieces, or moves the old file
/// away before the new one is there.
#[derive(Debug)]
struct Settling {
    read: Option<Stamp>,
    last: Option<Stamp>,
}

impl Settling {
    fn new(read: Option<Stamp>) -> Self {
        Self { read, last: read }
    }

    /// `stamp`: the file now, if it is there. Whether it is another than the one that was read, and has stayed the
    /// same since the last look. A file that is gone changes nothing.
    fn look(&mut self, stamp: Option<Stamp>) -> bool {
        let stays = self.last == stamp;
        self.last = stamp;
        let due = stays && stamp.is_some() && stamp != self.read;
        if due {
            self.read = stamp;
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(inode: u64, len: u64) -> Option<Stamp> {
        Some(Stamp { device: 1, inode, len, modified: None })
    }

    #[test]
    fn a_change_counts_once_it_is_over() {
        let mut settling = Settling::new(stamp(1, 10));
        for (what, now, due) in [
            ("as it was read", stamp(1, 10), false),
            ("being written", stamp(1, 5), false),
            ("still being written", stamp(1, 20), false),
            ("done", stamp(1, 20), true),
            ("told once", stamp(1, 20), false),
            ("moved away", None, false),
            ("still away", None, false),
            ("another in its place", stamp(2, 20), false),
            ("which stays", stamp(2, 20), true),
            ("away for a moment", None, false),
            ("the same again", stamp(2, 20), false),
            ("and it is the one that was read", stamp(2, 20), false),
        ] {
            assert_eq!(settling.look(now), due, "{what}");
        }
    }

    #[test]
    fn every_way_to_replace_a_file_shows() {
        let dir = tempfile::tempdir().expect("a directory");
        let [path, other] = ["a", "b"].map(|name| dir.path().join(name));
        std::fs::write(&path, "one").expect("written");
        let first = Stamp::of(&path).expect("there");
        std::fs::write(&path, "longer").expect("written");
        let second = Stamp::of(&path).expect("there");
        std::fs::write(&other, "longer").expect("written");
        std::fs::rename(&other, &path).expect("renamed");
        let third = Stamp::of(&path).expect("there");
        assert!(first != second && second != third && first != third);
    }
}
