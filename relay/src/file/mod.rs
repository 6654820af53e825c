//! Bodies that come from files of this host.
//!
//! ```text
//!   file ──splice──► pipe ──splice──► client's socket        on a blocking thread │ on the data thread
//!     │ Reader         │ Outlet            ▲ ClientIo
//!     └── as many bytes ──► Piped ──► HTTP library           as for bodies from a socket: see `splice`
//! ```
//!
//! A disk may take any time, and the kernel has no way to read a file that says "not now". So nothing of a file is
//! read on a data thread: a blocking thread fills the client's pipe (or a buffer, where there is no pipe) with up to
//! 512 KiB, or several pipes for a client that takes them quickly, and the data thread goes on when it is told. At most `READERS` files
//! are read at a time; a disk that hangs takes no more threads than that, and leaves some for looking up names.

mod body;
mod read;
#[cfg(test)]
mod tests;

use std::fs::{File, Metadata};
use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

pub(crate) use body::FileBody;

/// Files read at the same time in one process. 64: more than any disk has queues for, an eighth of the blocking
/// threads that one runtime starts.
const READERS: usize = 64;

static TURNS: Semaphore = Semaphore::const_new(READERS);

/// A regular file that was opened, and what it was then.
#[derive(Clone, Debug)]
pub struct OpenFile {
    file: Arc<File>,
    length: u64,
    modified: SystemTime,
}

impl OpenFile {
    /// `metadata` is `file`'s own.
    ///
    /// # Errors
    /// If the file system keeps no times.
    pub fn new(file: File, metadata: &Metadata) -> io::Result<Self> {
        Ok(Self { file: Arc::new(file), length: metadata.len(), modified: metadata.modified()? })
    }

    /// Whether the first `needed` bytes may still be what they were when the file was opened. One that has grown since
    /// was appended to; one that was written to without growing was written over.
    ///
    /// # Errors
    /// Those of `fstat`.
    fn is_as_it_was(&self, needed: u64) -> io::Result<bool> {
        let now = self.file.metadata()?;
        let written_over = now.len() <= self.length && now.modified()? != self.modified;
        Ok(now.len() >= needed && !written_over)
    }
}

/// A piece of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Segment {
    Bytes(Bytes),
    /// `length` bytes of the file, from the offset `from` on.
    File {
        from: u64,
        length: u64,
    },
}

impl Segment {
    pub fn length(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::File { length, .. } => *length,
        }
    }
}

/// Does `work`, which waits for a disk, on a blocking thread.
///
/// # Errors
/// `TimedOut` if it is not done within `limit`; its turn is only over when it is done all the same.
pub async fn at_disk<T: Send + 'static>(
    limit: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    let done = async {
        let turn = TURNS.acquire().await.expect("it is never closed");
        let work = move || {
            let _turn = turn;
            work()
        };
        // An error: it panicked, or this runtime ends.
        spawn_blocking(work).await.map_err(io::Error::other)
    };
    timeout(limit, done).await.unwrap_or_else(|_late| Err(io::ErrorKind::TimedOut.into()))
}
