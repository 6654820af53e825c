//! Kernel pipes through which bodies pass without being copied, and the store of idle ones.

use std::cell::RefCell;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};

/// What a pipe holds at most, in bytes, and so the longest piece of a body that is on its way at a time.
/// 512 KiB: 64 KiB cost up to twice the CPU, 1 MiB gained little and slow clients would hold more.
pub(crate) const CAPACITY: usize = 512 * 1024;

/// Pipes of this process. 128: with [`CAPACITY`] all that Linux lets a user have at full size
/// (`pipe-user-pages-soft`, 64 MiB), and 256 descriptors. Bodies beyond that are copied.
const MOST: usize = 128;

/// Idle pipes that a thread keeps: a new one costs four system calls.
const MOST_IDLE: usize = 16;

static LIVE: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static IDLE: RefCell<Vec<Pipe>> = const { RefCell::new(Vec::new()) };
}

/// A pipe and how much is in it.
#[derive(Debug)]
pub(crate) struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
    held: usize,
    _place: Place,
}

impl Pipe {
    /// An empty pipe. `None`: there are too many already, or no descriptors, or the system has no such thing.
    pub(crate) fn take() -> Option<Self> {
        let idle = IDLE.with_borrow_mut(Vec::pop);
        idle.or_else(|| SUPPORTED.then(Self::new).flatten())
    }

    fn new() -> Option<Self> {
        let place = Place::take(&LIVE)?;
        let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).ok()?;
        // A user who has many pipes gets them small, which is slower but does no harm.
        if let Err(error) = fcntl_setpipe_size(&write, CAPACITY) {
            tracing::debug!(%error, "a pipe of less than {CAPACITY} bytes");
        }
        Some(Self { read, write, held: 0, _place: place })
    }

    /// Keeps the pipe for the next body, if nothing of this one is left in it.
    pub(crate) fn give_back(self) {
        IDLE.with_borrow_mut(|idle| {
            if self.held == 0 && idle.len() < MOST_IDLE {
                idle.push(self);
            }
        });
    }

    /// Pipes that this thread keeps.
    #[cfg(test)]
    pub(crate) fn idle() -> usize {
        IDLE.with_borrow(Vec::len)
    }

    /// Bytes in the pipe.
    pub(crate) fn held(&self) -> usize {
        self.held
    }

    /// Moves up to `most` bytes out of a socket. Zero: the socket's other side has closed.
    ///
    /// # Errors
    /// `WouldBlock` if the socket has nothing; only to be trusted with an empty pipe, as a full one says the same.
    pub(crate) fn fill(&mut self, from: impl AsFd, most: usize) -> io::Result<usize> {
        let n = move_bytes(from, &self.write, most)?;
        self.held += n;
        Ok(n)
    }

    /// Moves up to `most` bytes out of a file, from the offset `from` on. Zero: it is not that long. The pipe must be
    /// empty. Waits for the disk.
    ///
    /// # Errors
    /// `InvalidInput` if the file system can not do it; those of the disk.
    pub(crate) fn fill_from_file(&mut self, file: impl AsFd, from: u64, most: usize) -> io::Result<usize> {
        let mut from = from;
        let n = splice(file, Some(&mut from), &self.write, None, most, SpliceFlags::MOVE)?;
        self.held += n;
        Ok(n)
    }

    /// Moves up to `most` bytes of what it holds into a socket.
    ///
    /// # Errors
    /// `WouldBlock` if the socket takes nothing at the moment.
    pub(crate) fn drain(&mut self, to: impl AsFd, most: usize) -> io::Result<usize> {
        let n = move_bytes(&self.read, to, most.min(self.held))?;
        self.held -= n;
        Ok(n)
    }
}

fn move_bytes(from: impl AsFd, to: impl AsFd, most: usize) -> io::Result<usize> {
    Ok(splice(from, None, to, None, most, SpliceFlags::NONBLOCK | SpliceFlags::MOVE)?)
}

/// One of [`MOST`].
#[derive(Debug)]
struct Place(&'static AtomicUsize);

impl Place {
    fn take(live: &'static AtomicUsize) -> Option<Self> {
        let one_more = |live| (live < MOST).then_some(live + 1);
        live.fetch_update(Relaxed, Relaxed, one_more).is_ok().then_some(Self(live))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// Whether this system moves bytes between sockets and pipes: some sandboxes do not.
static SUPPORTED: LazyLock<bool> = LazyLock::new(|| match try_out() {
    Ok(works) => works,
    Err(error) => {
        tracing::info!(%error, "long bodies are copied: splice is not available");
        false
    }
});

fn try_out() -> io::Result<bool> {
    let ((mut left, near), (far, mut right)) = (UnixStream::pair()?, UnixStream::pair()?);
    let Some(mut pipe) = Pipe::new() else { return Ok(false) };
    left.write_all(b"ok")?;
    pipe.fill(&near, 2)?;
    pipe.drain(&far, 2)?;
    let mut arrived = [0; 2];
    right.set_nonblocking(true)?;
    right.read_exact(&mut arrived)?;
    Ok(&arrived == b"ok")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_holds_what_was_put_in_and_is_kept_only_when_empty() {
        let ((mut left, near), (far, mut right)) =
            (UnixStream::pair().expect("descriptors"), UnixStream::pair().expect("descriptors"));
        let mut pipe = Pipe::take().expect("pipes are supported here");
        left.write_all(b"hello").expect("room");
        assert_eq!(pipe.fill(&near, 4).expect("there are bytes"), 4);
        assert_eq!(pipe.drain(&far, 3).expect("there is room"), 3);
        assert_eq!(pipe.held(), 1);
        assert_eq!(pipe.drain(&far, 100).expect("there is room"), 1, "only what it holds");
        let mut arrived = [0; 4];
        right.read_exact(&mut arrived).expect("it was moved");
        assert_eq!(&arrived, b"hell");

        assert_eq!(pipe.fill(&near, 100).expect("one is left"), 1);
        pipe.give_back();
        assert_eq!(Pipe::idle(), 0, "with a byte in it");
        Pipe::take().expect("a new one").give_back();
        assert_eq!(Pipe::idle(), 1);
    }

    #[test]
    fn there_are_never_too_many() {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let mut places: Vec<_> = std::iter::from_fn(|| Place::take(&COUNT)).collect();
        assert_eq!(places.len(), MOST);
        places.pop();
        assert!(Place::take(&COUNT).is_some(), "one was given back");
    }

    #[test]
    fn a_thread_keeps_some_and_closes_the_others() {
        let pipes: Vec<_> = (0..MOST_IDLE + 2).filter_map(|_| Pipe::take()).collect();
        assert_eq!(pipes.len(), MOST_IDLE + 2);
        pipes.into_iter().for_each(Pipe::give_back);
        assert_eq!(Pipe::idle(), MOST_IDLE);
    }
}
