//! `user:password` from a file, for HTTP Basic authentication (RFC 7617).

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
};

/// Far more than anybody's name and password, far less than a log file given by mistake.
const LARGEST: u64 = 4096;

/// Not printed by `{:?}`: a password must not get into a log.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    pub user: String,
    pub password: String,
}

/// Why a file with credentials can not be used.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    #[error("cannot read {}: {source}", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("{} holds something else than one line USER:PASSWORD of at most {LARGEST} bytes", .0.display())]
    Malformed(PathBuf),
}

impl Credentials {
    /// # Errors
    /// If the file can not be read, or holds something else.
    pub fn read(path: &Path) -> Result<Self, CredentialsError> {
        let unreadable = |source| CredentialsError::Unreadable { path: path.to_owned(), source };
        let malformed = || CredentialsError::Malformed(path.to_owned());
        if fs::metadata(path).map_err(unreadable)?.len() > LARGEST {
            return Err(malformed());
        }
        let bytes = fs::read(path).map_err(unreadable)?;
        String::from_utf8(bytes).ok().and_then(|text| Self::parse(&text)).ok_or_else(malformed)
    }

    /// "The user-id and password MUST NOT contain any control characters", nor the user-id a colon. The line break
    /// at the end of the file belongs to neither.
    fn parse(text: &str) -> Option<Self> {
        let line = text.strip_suffix('\n').unwrap_or(text);
        let line = line.strip_suffix('\r').unwrap_or(line);
        let (user, password) = line.split_once(':')?;
        let is_usable = !user.is_empty() && !line.chars().any(char::is_control);
        is_usable.then(|| Self { user: user.to_owned(), password: password.to_owned() })
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("user", &self.user).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_and_nothing_else() {
        for (text, user, password) in [
            ("admin:secret\n", "admin", "secret"),
            ("admin:secret", "admin", "secret"),
            ("admin:secret\r\n", "admin", "secret"),
            ("admin:se:cr et ", "admin", "se:cr et "),
            ("admin:\n", "admin", ""),
        ] {
            let read = Credentials::parse(text).expect(text);
            assert_eq!((read.user.as_str(), read.password.as_str()), (user, password), "{text:?}");
            assert!(password.is_empty() || !format!("{read:?}").contains(password), "{read:?}");
        }
        for text in ["", "\n", "admin", ":secret", "admin:secret\n\n", "a:b\nc:d\n", "a:b\tc"] {
            assert_eq!(Credentials::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_file_that_can_not_be_used_is_named() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("credentials");
        let error = Credentials::read(&path).expect_err("no file").to_string();
        assert!(error.contains("credentials"), "{error}");
        fs::write(&path, "a:".repeat(4096)).expect("a file");
        let error = Credentials::read(&path).expect_err("too long").to_string();
        assert!(error.contains("USER:PASSWORD") && error.contains("credentials"), "{error}");
        fs::write(&path, "admin:secret\n").expect("a file");
        assert_eq!(Credentials::read(&path).expect("one line").user, "admin");
    }
}
