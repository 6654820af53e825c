//! Opens files beneath a directory, and nothing else.
//!
//! The kernel resolves the path (`openat2` with `RESOLVE_BENEATH`, Linux 5.6): no `..`, symbolic link, rename in a race
//! or magic link of `/proc` leads out, because each step is checked where it is taken. Symbolic links that stay
//! beneath the root are followed; absolute ones lead out by definition. What was opened is then looked at by its
//! descriptor, so that what is judged is what is sent.

use std::{
    fs::{File, Metadata},
    io,
    path::Path,
};

use rustix::{
    fs::{Mode, OFlags, ResolveFlags, open, openat2},
    io::Errno,
};

use super::Refusal;

/// `RESOLVE_BENEATH` gives up when something on the way is renamed at that moment. 16: each time is chance, unless
/// somebody does nothing but rename.
const ATTEMPTS: u32 = 16;

/// Opens the regular file `path` beneath `root`, for reading. Waits for the disk.
///
/// The root is opened anew each time: it may be a mount, or a link to the newest release, that changes.
///
/// # Errors
/// Why it is not to be sent.
pub fn beneath(root: &Path, path: &Path) -> Result<(File, Metadata), Refusal> {
    let root = open_root(root).map_err(|_| Refusal::Unreadable)?;
    let file = resolve(&root, path).map_err(refusal)?;
    let metadata = file.metadata().map_err(|_| Refusal::Unreadable)?;
    if metadata.is_file() { Ok((file, metadata)) } else { Err(Refusal::NotAFile) }
}

/// Whether `root` can be used, here and now.
///
/// # Errors
/// It is no directory, it can not be opened, or this system can not resolve paths safely.
pub fn probe(root: &Path) -> io::Result<()> {
    let root = open_root(root)?;
    match openat2(root, ".", OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), BENEATH) {
        Ok(_) => Ok(()),
        Err(Errno::NOSYS | Errno::PERM) => {
            Err(io::Error::other("this system has no openat2, so files can not be opened safely (Linux 5.6)"))
        }
        Err(error) => Err(error.into()),
    }
}

const BENEATH: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_MAGICLINKS);

fn open_root(root: &Path) -> rustix::io::Result<File> {
    open(root, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).map(File::from)
}

fn resolve(root: &File, path: &Path) -> rustix::io::Result<File> {
    // NONBLOCK: opening a pipe must not wait for its writer. NOCTTY: nor a terminal become ours.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    for _ in 1..ATTEMPTS {
        match openat2(root, path, flags, Mode::empty(), BENEATH) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            result => return result.map(File::from),
        }
    }
    openat2(root, path, flags, Mode::empty(), BENEATH).map(File::from)
}

fn refusal(error: Errno) -> Refusal {
    match error {
        Errno::NOENT | Errno::NOTDIR => Refusal::Missing,
        Errno::XDEV | Errno::LOOP => Refusal::Outside,
        Errno::NAMETOOLONG | Errno::INVAL => Refusal::Malformed,
        // Sockets, and devices without a driver.
        Errno::NXIO | Errno::NODEV | Errno::ISDIR => Refusal::NotAFile,
        Errno::ACCESS | Errno::PERM => Refusal::Forbidden,
        _ => Refusal::Unreadable,
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        io::Read,
        os::unix::fs::symlink,
        sync::atomic::{AtomicBool, Ordering::Relaxed},
        thread,
    };

    use super::*;

    const SECRET: &str = "secret";

    /// A root with a file, and something beside it.
    fn site() -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("a temporary directory");
        fs::create_dir_all(dir.path().join("root/real")).expect("room");
        fs::create_dir(dir.path().join("beside")).expect("room");
        fs::write(dir.path().join("root/real/file"), "public").expect("room");
        fs::write(dir.path().join("beside/file"), SECRET).expect("room");
        dir
    }

    /// Ends the other thread, also if this one panics.
    struct Stop<'a>(&'a AtomicBool);

    impl Drop for Stop<'_> {
        fn drop(&mut self) {
            self.0.store(true, Relaxed);
        }
    }

    /// Somebody swaps a directory on the way for a link that leads out, all the time.
    #[test]
    fn no_race_leads_out() {
        let dir = site();
        let root = dir.path().join("root");
        let (way, spare) = (root.join("way"), root.join("spare"));
        symlink("real", &way).expect("a link");
        let done = AtomicBool::new(false);
        let (sent, refused) = thread::scope(|scope| {
            let _stop = Stop(&done);
            scope.spawn(|| {
                let targets = ["../beside", "real", "real/../../beside", "real", "/proc/self/cwd"];
                for target in targets.iter().cycle().take_while(|_| !done.load(Relaxed)) {
                    symlink(target, &spare).expect("a link");
                    fs::rename(&spare, &way).expect("swapped");
                }
            });
            let (mut sent, mut refused) = (0, 0);
            // Both must have been met, however the threads are scheduled; and then some.
            while sent < 200 || refused < 200 {
                match beneath(&root, Path::new("way/file")) {
                    Ok((mut file, _)) => {
                        let mut content = String::new();
                        file.read_to_string(&mut content).expect("text");
                        assert_eq!(content, "public");
                        sent += 1;
                    }
                    Err(_) => refused += 1,
                }
            }
            (sent, refused)
        });
        println!("{sent} sent, {refused} refused");
    }

    #[test]
    fn links_that_stay_beneath_are_followed() {
        let dir = site();
        let root = dir.path().join("root");
        symlink("real/file", root.join("link")).expect("a link");
        symlink("../root/real/file", root.join("out-and-in")).expect("a link");
        symlink(root.join("real/file"), root.join("absolute")).expect("a link");
        symlink("loop", root.join("loop")).expect("a link");
        let opened = |path: &str| beneath(&root, Path::new(path)).map(|(_, metadata)| metadata.len());
        assert_eq!(opened("link"), Ok(6));
        for path in ["out-and-in", "absolute", "loop"] {
            assert_eq!(opened(path), Err(Refusal::Outside), "{path}");
        }
        assert_eq!(opened("real"), Err(Refusal::NotAFile));
        assert_eq!(opened("none"), Err(Refusal::Missing));
        assert_eq!(opened("real/file/more"), Err(Refusal::Missing));
    }

    #[test]
    fn a_root_is_looked_at_anew_and_must_be_a_directory() {
        let dir = site();
        let current = dir.path().join("current");
        symlink("root", &current).expect("a link");
        let length = || beneath(&current, Path::new("real/file")).map(|(_, metadata)| metadata.len());
        assert_eq!(length(), Ok(6));
        fs::remove_file(&current).expect("it is there");
        assert_eq!(length(), Err(Refusal::Unreadable));
        symlink("beside", &current).expect("a link");
        assert_eq!(length(), Err(Refusal::Missing), "the new one has no such file");
        probe(&current).expect("a directory");
        probe(&dir.path().join("beside/file")).expect_err("a file");
        probe(&dir.path().join("none")).expect_err("nothing");
    }
}
