//! Directories from which files are sent in the application's stead: `--xsendfile-root`, `--xsendfile-uri`.

use std::{
    collections::HashSet,
    fmt,
    path::{Component, Path, PathBuf},
    str::FromStr,
};

use sluice_process::ConfigError;
use sluice_proto::Mode;

/// An internal URI and the directory that it stands for: `/internal/=/srv/files`, as nginx' `alias`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct UriRoot {
    /// Starts and ends with a slash.
    pub prefix: String,
    pub dir: PathBuf,
}

/// Why a mapping was refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a mapping: give the beginning of a URI and a directory, such as /internal/=/srv/files")]
pub struct UriRootError(String);

impl FromStr for UriRoot {
    type Err = UriRootError;

    fn from_str(text: &str) -> Result<Self, UriRootError> {
        let parts = text.split_once('=').filter(|(prefix, dir)| prefix.starts_with('/') && !dir.is_empty());
        let (prefix, dir) = parts.ok_or_else(|| UriRootError(text.to_owned()))?;
        let slash = if prefix.ends_with('/') { "" } else { "/" };
        Ok(Self { prefix: format!("{prefix}{slash}"), dir: dir.into() })
    }
}

impl fmt::Display for UriRoot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.prefix, self.dir.display())
    }
}

sluice_process::serde_as_text!(UriRoot, "a URI and a directory such as \"/internal/=/srv/files\"");

/// Refuses what can not be meant. Whether the directories are there is seen at the start.
pub(super) fn check(dirs: &[PathBuf], uris: &[UriRoot], mode: Mode) -> Result<(), ConfigError> {
    let mut seen = HashSet::new();
    for dir in dirs {
        let refused = |why: &str| Err(ConfigError::value("--xsendfile-root", dir.display(), why));
        match unusable(dir, mode) {
            Some(why) => return refused(why),
            None if !seen.insert(dir) => return refused("give each directory once"),
            None => {}
        }
    }
    let mut prefixes = HashSet::new();
    for uri in uris {
        let refused = |why: &str| Err(ConfigError::value("--xsendfile-uri", uri, why));
        match unusable(&uri.dir, mode) {
            Some(why) => return refused(why),
            None if !prefixes.insert(&uri.prefix) => return refused("give each URI once"),
            None => {}
        }
    }
    Ok(())
}

fn unusable(dir: &Path, mode: Mode) -> Option<&'static str> {
    if mode == Mode::Passive {
        Some("an agent in mode passive sees no responses")
    } else if !dir.is_absolute() || dir.components().any(|part| part == Component::ParentDir) {
        Some("give an absolute path without ..")
    } else if dir.parent().is_none() {
        Some("the whole machine is no directory of files to be sent")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mapping_is_a_uri_and_a_directory() {
        for (text, prefix, dir) in [
            ("/internal/=/srv/files", "/internal/", "/srv/files"),
            ("/internal=/srv/files", "/internal/", "/srv/files"),
            ("/=/srv/files", "/", "/srv/files"),
            ("/a/=/srv/b=c", "/a/", "/srv/b=c"),
        ] {
            let uri: UriRoot = text.parse().expect(text);
            assert_eq!((uri.prefix.as_str(), uri.dir.as_path()), (prefix, Path::new(dir)), "{text}");
            assert_eq!(uri.to_string().parse(), Ok(uri), "{text}");
        }
        for text in ["", "/srv/files", "=/srv/files", "internal/=/srv", "/internal/=", "@named=/srv"] {
            assert!(text.parse::<UriRoot>().is_err(), "{text}");
        }
    }
}
