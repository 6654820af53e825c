//! From what a field says to a root and a path beneath it.
//!
//! What is decided here is which root is meant. That nothing outside it is reached is the kernel's part
//! ([`super::open`]): text alone says little about where a path leads.

use std::{
    ffi::OsString,
    os::unix::ffi::OsStringExt,
    path::{Path, PathBuf},
};

use super::{Offload, Refusal};

/// Longest path that Linux takes, in bytes: `PATH_MAX` without the NUL.
const LONGEST: usize = 4095;

/// What may be sent.
#[derive(Clone, Debug, Default)]
pub struct Roots {
    /// By the beginning of an absolute path.
    directories: Vec<Directory>,
    /// By the beginning of an internal URI.
    uris: Vec<Uri>,
}

#[derive(Clone, Debug)]
struct Directory {
    /// How the application may spell it.
    spelled: PathBuf,
    root: PathBuf,
}

#[derive(Clone, Debug)]
struct Uri {
    /// Starts and ends with a slash.
    prefix: String,
    root: PathBuf,
}

/// Where a file is to be found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub root: PathBuf,
    /// Relative, not empty, without `.` and `..`.
    pub beneath: PathBuf,
}

impl Roots {
    /// `real`: `dir` without symbolic links. Applications resolve paths or do not, so either spelling is taken.
    pub fn add_directory(&mut self, dir: PathBuf, real: PathBuf) {
        if real != dir {
            self.directories.push(Directory { spelled: real, root: dir.clone() });
        }
        self.directories.push(Directory { spelled: dir.clone(), root: dir });
    }

    /// `prefix` starts and ends with a slash.
    pub fn add_uri(&mut self, prefix: String, dir: PathBuf) {
        self.uris.push(Uri { prefix, root: dir });
    }

    /// In the deepest directory, if several fit.
    fn by_path(&self, path: &Path) -> Option<Place> {
        let fits = |directory: &Directory| {
            // By whole names: /srv/blobs is no beginning of /srv/blobs-private/x.
            let beneath = path.strip_prefix(&directory.spelled).ok()?;
            let place = Place { root: directory.root.clone(), beneath: beneath.to_owned() };
            Some((directory.spelled.components().count(), place))
        };
        let fitting = self.directories.iter().filter_map(fits);
        fitting.max_by_key(|(depth, _)| *depth).map(|(_, place)| place)
    }

    fn by_uri(&self, uri: &[u8]) -> Option<Place> {
        let fits = |mapped: &Uri| {
            let beneath = uri.strip_prefix(mapped.prefix.as_bytes())?;
            let beneath = beneath.iter().skip_while(|byte| **byte == b'/').copied().collect();
            let place = Place { root: mapped.root.clone(), beneath: path_of(beneath) };
            Some((mapped.prefix.len(), place))
        };
        let fitting = self.uris.iter().filter_map(fits);
        fitting.max_by_key(|(length, _)| *length).map(|(_, place)| place)
    }
}

/// Where the file is to be found that the application named.
///
/// Values are percent-decoded once, as nginx, lighttpd and mod_xsendfile do.
///
/// # Errors
/// [`Refusal::NoRoot`], [`Refusal::Unsupported`], [`Refusal::Malformed`], [`Refusal::Outside`].
pub fn locate(offload: &Offload, roots: &Roots) -> Result<Place, Refusal> {
    let place = match offload {
        Offload::Unsupported { .. } => return Err(Refusal::Unsupported),
        Offload::Sendfile(_) if roots.directories.is_empty() => return Err(Refusal::NoRoot),
        Offload::Redirect(_) if roots.uris.is_empty() => return Err(Refusal::NoRoot),
        Offload::Sendfile(path) => roots.by_path(&path_of(plain(path.as_bytes())?)),
        Offload::Redirect(uri) => {
            // Its query was for nginx's other modules.
            let path = uri.as_bytes().split(|byte| *byte == b'?').next().unwrap_or_default();
            roots.by_uri(&plain(path)?)
        }
    };
    let place = place.ok_or(Refusal::Outside)?;
    if place.beneath.as_os_str().is_empty() { Err(Refusal::NotAFile) } else { Ok(place) }
}

fn path_of(bytes: Vec<u8>) -> PathBuf {
    OsString::from_vec(bytes).into()
}

/// Decodes an absolute path, and refuses what no application has a reason to send.
fn plain(value: &[u8]) -> Result<Vec<u8>, Refusal> {
    let path = unescape(value).ok_or(Refusal::Malformed)?;
    let names_itself = |name: &[u8]| name == b"." || name == b"..";
    let malformed = path.first() != Some(&b'/')
        || path.len() > LONGEST
        || path.contains(&0)
        || path.split(|byte| *byte == b'/').any(names_itself)
        || (path.ends_with(b"/") && path.len() > 1);
    if malformed { Err(Refusal::Malformed) } else { Ok(path) }
}

/// `None` if a percent sign is not followed by two hexadecimal digits (RFC 3986, 2.1).
fn unescape(value: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(value.len());
    let mut rest = value.iter();
    while let Some(&byte) = rest.next() {
        if byte == b'%' {
            let mut digit = || rest.next().and_then(|digit| char::from(*digit).to_digit(16));
            let (high, low) = (digit()?, digit()?);
            out.push(u8::try_from(16 * high + low).ok()?);
        } else {
            out.push(byte);
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn roots() -> Roots {
        let mut roots = Roots::default();
        roots.add_directory("/srv/blobs".into(), "/mnt/disk/blobs".into());
        roots.add_directory("/srv/blobs/deep".into(), "/srv/blobs/deep".into());
        roots.add_directory("/srv/blobs-private-not".into(), "/srv/blobs-private-not".into());
        roots.add_uri("/internal/".into(), "/srv/accel".into());
        roots.add_uri("/internal/deep/".into(), "/srv/other".into());
        roots
    }

    fn sendfile(value: &[u8]) -> Offload {
        Offload::Sendfile(HeaderValue::from_bytes(value).expect("a field's value"))
    }

    fn redirect(value: &[u8]) -> Offload {
        Offload::Redirect(HeaderValue::from_bytes(value).expect("a field's value"))
    }

    #[test]
    fn a_path_belongs_to_the_deepest_root_that_it_is_beneath() {
        for (value, root, beneath) in [
            ("/srv/blobs/a", "/srv/blobs", "a"),
            ("/srv/blobs/a/b.blob", "/srv/blobs", "a/b.blob"),
            ("//srv///blobs//a", "/srv/blobs", "a"),
            ("/mnt/disk/blobs/a", "/srv/blobs", "a"),
            ("/srv/blobs/deep/a", "/srv/blobs/deep", "a"),
            ("/srv/blobs/deeper", "/srv/blobs", "deeper"),
            ("/srv/blobs-private-not/a", "/srv/blobs-private-not", "a"),
            ("/srv/blobs/100%25.pdf", "/srv/blobs", "100%.pdf"),
            ("/srv/blobs/%41+%2B", "/srv/blobs", "A++"),
            ("/srv/blobs/%252e%252e", "/srv/blobs", "%2e%2e"),
            ("/srv/blobs/...", "/srv/blobs", "..."),
            ("/srv/blobs/a?b#c", "/srv/blobs", "a?b#c"),
        ] {
            let place = Place { root: root.into(), beneath: beneath.into() };
            assert_eq!(locate(&sendfile(value.as_bytes()), &roots()), Ok(place), "{value}");
        }
        let latin1 = locate(&sendfile(b"/srv/blobs/caf\xe9"), &roots()).expect("bytes as they are");
        assert_eq!(latin1.beneath, path_of(b"caf\xe9".to_vec()));
    }

    #[test]
    fn a_uri_is_mapped_by_its_longest_prefix() {
        for (value, root, beneath) in [
            ("/internal/a", "/srv/accel", "a"),
            ("/internal//a/b", "/srv/accel", "a/b"),
            ("/internal/srv/blobs/a?x=/../y", "/srv/accel", "srv/blobs/a"),
            ("/internal/deep/a", "/srv/other", "a"),
            ("/internal/a%20b", "/srv/accel", "a b"),
            ("/intern%61l/a", "/srv/accel", "a"),
        ] {
            let place = Place { root: root.into(), beneath: beneath.into() };
            assert_eq!(locate(&redirect(value.as_bytes()), &roots()), Ok(place), "{value}");
        }
    }

    #[test]
    fn what_is_no_path_or_beneath_no_root_is_told_apart() {
        use Refusal::{Malformed, NotAFile, Outside};
        for (offload, wanted) in [
            (sendfile(b"srv/blobs/a"), Malformed),
            (sendfile(b"./srv/blobs/a"), Malformed),
            (sendfile(b"file:///srv/blobs/a"), Malformed),
            (sendfile(b"/srv/blobs/../blobs/a"), Malformed),
            (sendfile(b"/srv/blobs/%2e%2e/a"), Malformed),
            (sendfile(b"/srv/blobs/%2E./a"), Malformed),
            (sendfile(b"/srv/blobs/./a"), Malformed),
            (sendfile(b"/srv/blobs/a/."), Malformed),
            (sendfile(b"/srv/blobs/a/"), Malformed),
            (sendfile(b"/srv/blobs/"), Malformed),
            (sendfile(b"/srv/blobs/a%00"), Malformed),
            (sendfile(b"/srv/blobs/a%"), Malformed),
            (sendfile(b"/srv/blobs/a%4"), Malformed),
            (sendfile(b"/srv/blobs/a%zz"), Malformed),
            (sendfile(b"/srv/blobs/a%+4"), Malformed),
            (sendfile(b"/srv/blobs/a%u0041"), Malformed),
            (sendfile(b"/srv/blobs"), NotAFile),
            (sendfile(b"/"), Outside),
            (sendfile(b"/etc/passwd"), Outside),
            (sendfile(b"/srv/blobs-private/a"), Outside),
            (sendfile(b"/srv/blob"), Outside),
            (sendfile(b"/SRV/BLOBS/a"), Outside),
            (sendfile(b"/internal/a"), Outside),
            (redirect(b"/srv/blobs/a"), Outside),
            (redirect(b"/internal"), Outside),
            (redirect(b"//internal/a"), Outside),
            (redirect(b"/internal?/a"), Outside),
            (redirect(b"@named"), Malformed),
            (redirect(b"http://site/internal/a"), Malformed),
            (redirect(b"/internal/../a"), Malformed),
            (redirect(b"/internal/%2e%2e/a"), Malformed),
            (redirect(b"/internal/a%3F/../b"), Malformed),
            (redirect(b"/internal/"), Malformed),
        ] {
            assert_eq!(locate(&offload, &roots()), Err(wanted), "{offload:?}");
        }
        let long = |n: usize| sendfile(&[b"/srv/blobs/".as_slice(), &b"a/".repeat(n), b"a"].concat());
        assert!(locate(&long((LONGEST - 12) / 2), &roots()).is_ok(), "just short enough");
        assert_eq!(locate(&long(LONGEST / 2), &roots()), Err(Malformed));
    }

    #[test]
    fn each_kind_of_field_needs_a_root_of_its_own() {
        let mut only_directories = Roots::default();
        assert_eq!(locate(&sendfile(b"/a"), &only_directories), Err(Refusal::NoRoot));
        only_directories.add_directory("/srv".into(), "/srv".into());
        assert_eq!(locate(&redirect(b"/srv/a"), &only_directories), Err(Refusal::NoRoot));
        let mut only_uris = Roots::default();
        only_uris.add_uri("/srv/".into(), "/srv".into());
        assert_eq!(locate(&sendfile(b"/srv/a"), &only_uris), Err(Refusal::NoRoot));
    }
}
