//! The shared secret between agents, operators and balancers, read from a file that may be replaced at any time.

use std::{
    fs::{File, Metadata},
    io::{self, Read as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use subtle::ConstantTimeEq as _;
use tokio::time::Instant;

use crate::ConfigError;

/// A look at the file costs a system call: often enough for an operator, too seldom to matter to a flood.
const CHECK_EVERY: Duration = Duration::from_secs(1);

/// Far more than any token, far less than a log file given by mistake.
const LARGEST: u64 = 4096;

/// A token and the file that it came from. A file that changes is read again; one that can no longer be used is
/// logged, and the last good token stays in force, so that a half-done rotation locks nobody out.
#[derive(Debug)]
pub struct TokenFile {
    path: PathBuf,
    // A lock and not a lock-free cell: only the control plane reads it.
    state: Mutex<State>,
}

struct State {
    token: Arc<str>,
    stamp: Stamp,
    checked_at: Instant,
    /// What was last logged, so that a file that stays bad is logged once and not every second.
    complaint: Option<String>,
}

/// By hand: a token must not get into a log by way of `{:?}`.
impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").field("complaint", &self.complaint).finish_non_exhaustive()
    }
}

/// Differs after every way to replace a file: rewritten in place, renamed over, or a symbolic link moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    len: u64,
    modified: Option<SystemTime>,
}

/// Why a token file can not be used.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    #[error("cannot read token file {}: {source}", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("token file {} holds {found}: it must hold one token of visible ASCII characters and nothing else", path.display())]
    Unusable { path: PathBuf, found: &'static str },
}

impl From<TokenError> for ConfigError {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::Unreadable { ref path, .. } | TokenError::Unusable { ref path, .. } => {
                Self::value("--token-file", path.display(), error.to_string())
            }
        }
    }
}

impl TokenFile {
    /// Reads the token, without the white space around it. Warns if every user of the machine can read the file.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, TokenError> {
        Self::open_at(path.into(), Instant::now())
    }

    fn open_at(path: PathBuf, now: Instant) -> Result<Self, TokenError> {
        let (token, stamp, meta) = read(&path)?;
        if meta.mode() & 0o004 != 0 {
            tracing::warn!(path = %path.display(), "every user of this machine can read the token file: chmod 600 it");
        }
        let state = Mutex::new(State { token, stamp, checked_at: now, complaint: None });
        Ok(Self { path, state })
    }

    /// Whether `presented` is the token, in a time that depends on neither of the two beyond their lengths.
    pub fn matches(&self, presented: &str) -> bool {
        self.current().as_bytes().ct_eq(presented.as_bytes()).into()
    }

    /// The token in force now, for a client to present.
    pub fn current(&self) -> Arc<str> {
        self.current_at(Instant::now())
    }

    fn current_at(&self, now: Instant) -> Arc<str> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if now.saturating_duration_since(state.checked_at) >= CHECK_EVERY {
            state.checked_at = now;
            self.refresh(&mut state);
        }
        Arc::clone(&state.token)
    }

    fn refresh(&self, state: &mut State) {
        let unchanged = std::fs::metadata(&self.path).is_ok_and(|meta| stamp(&meta) == state.stamp);
        if unchanged {
            state.complaint = None; // a bad file that was put back as it was
            return;
        }
        match read(&self.path) {
            Ok((token, stamp, _)) => {
                tracing::info!(path = %self.path.display(), "token file changed: the new token is in force");
                *state = State { token, stamp, checked_at: state.checked_at, complaint: None };
            }
            Err(error) => {
                let complaint = error.to_string();
                if state.complaint.as_ref() != Some(&complaint) {
                    tracing::error!("{complaint}; the old token stays in force");
                }
                state.complaint = Some(complaint);
            }
        }
    }
}

/// The stamp is of the very file that was read, even if another takes its place meanwhile.
fn read(path: &Path) -> Result<(Arc<str>, Stamp, Metadata), TokenError> {
    let unreadable = |source| TokenError::Unreadable { path: path.to_owned(), source };
    let file = File::open(path).map_err(unreadable)?;
    let meta = file.metadata().map_err(unreadable)?;
    let mut bytes = Vec::new();
    file.take(LARGEST + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    let token = parse(&bytes).map_err(|found| TokenError::Unusable { path: path.to_owned(), found })?;
    Ok((token.into(), stamp(&meta), meta))
}

fn parse(bytes: &[u8]) -> Result<&str, &'static str> {
    let token = bytes.trim_ascii();
    match str::from_utf8(token) {
        _ if bytes.len() as u64 > LARGEST => Err("more than 4 KiB"),
        _ if token.is_empty() => Err("no token"),
        Ok(text) if token.iter().all(u8::is_ascii_graphic) => Ok(text),
        _ => Err("white space, control or non-ASCII characters within the token"),
    }
}

fn stamp(meta: &Metadata) -> Stamp {
    Stamp { inode: meta.ino(), len: meta.len(), modified: meta.modified().ok() }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    struct Fixture {
        dir: tempfile::TempDir,
        path: PathBuf,
        opened_at: Instant,
        token: TokenFile,
    }

    fn opened(content: &str) -> Fixture {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("token");
        fs::write(&path, content).expect("a token file");
        let opened_at = Instant::now();
        let token = TokenFile::open_at(path.clone(), opened_at).expect("a usable token");
        Fixture { dir, path, opened_at, token }
    }

    impl Fixture {
        fn token_after(&self, millis: u64) -> Arc<str> {
            self.token.current_at(self.opened_at + Duration::from_millis(millis))
        }

        /// As orchestrators do: a new file takes the name of the old.
        fn replace(&self, content: &str) {
            let next = self.dir.path().join("next");
            fs::write(&next, content).expect("a new file");
            fs::rename(next, &self.path).expect("put in place");
        }
    }

    #[test]
    fn the_token_is_trimmed_and_compared_whole() {
        let fixture = opened("  s3cret\n");
        assert_eq!(&*fixture.token.current(), "s3cret");
        for (presented, same) in
            [("s3cret", true), ("s3cre", false), ("s3crets", false), ("S3cret", false), ("", false)]
        {
            assert_eq!(fixture.token.matches(presented), same, "{presented:?}");
        }
    }

    #[test]
    fn a_file_without_a_usable_token_is_refused_by_name() {
        let large = "x".repeat(4097);
        for content in ["", " \n", "two words", "caf\u{e9}", "a\nb", &large] {
            let dir = tempfile::tempdir().expect("a temporary directory");
            let path = dir.path().join("token");
            fs::write(&path, content).expect("a token file");
            let message = TokenFile::open(&path).expect_err(content).to_string();
            assert!(message.contains(&path.display().to_string()), "{message}");
        }
        let missing = TokenFile::open("/no/such/token").expect_err("no such file");
        let error = ConfigError::from(missing).to_string();
        assert!(error.contains("--token-file") && error.contains("/no/such/token"), "{error}");
    }

    #[test]
    fn a_changed_file_is_read_again_but_only_looked_at_once_a_second() {
        let fixture = opened("old");
        fixture.replace("new");
        assert_eq!(&*fixture.token_after(999), "old");
        assert_eq!(&*fixture.token_after(1000), "new");
        fixture.replace("newer");
        assert_eq!(&*fixture.token_after(1999), "new");
        assert_eq!(&*fixture.token_after(2000), "newer");
    }

    #[test]
    fn rewriting_in_place_counts_as_a_change() {
        let fixture = opened("old");
        fs::write(&fixture.path, "longer").expect("written in place");
        assert_eq!(&*fixture.token_after(1000), "longer");
    }

    #[test]
    fn the_old_token_outlives_a_bad_or_missing_file() {
        let fixture = opened("old");
        fixture.replace("");
        assert_eq!(&*fixture.token_after(1000), "old");
        fs::remove_file(&fixture.path).expect("removed");
        assert_eq!(&*fixture.token_after(2000), "old");
        fixture.replace("new");
        assert_eq!(&*fixture.token_after(3000), "new");
    }

    #[test]
    fn a_token_is_not_printed() {
        assert!(!format!("{:?}", opened("s3cret").token).contains("s3cret"));
    }
}
