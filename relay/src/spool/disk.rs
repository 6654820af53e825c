//! Threads for what a disk may make wait: no data thread reads, writes or closes a spool file itself.

use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::Builder;

use tokio::sync::oneshot;

/// Disks and page caches do not get faster by more. All of them stuck on a disk that does not answer hold up spooling
/// and nothing else, which is why they are not the runtime's: those also look up names.
const THREADS: usize = 4;

/// Where spool files come from.
pub trait Files: Send + Sync {
    /// A new file without a name. Blocks.
    ///
    /// # Errors
    /// Those of the file system.
    fn create(&self) -> io::Result<Arc<dyn SpoolFile>>;
}

/// A file that belongs to one body. What it does blocks.
pub trait SpoolFile: Send + Sync {
    /// # Errors
    /// Those of the file system; some may have been written.
    fn write_all_at(&self, bytes: &[u8], at: u64) -> io::Result<()>;
    /// # Errors
    /// Those of the file system; `UnexpectedEof` if the file ends before `into` is full.
    fn read_exact_at(&self, into: &mut [u8], at: u64) -> io::Result<()>;
}

/// Files in a directory, gone with their last descriptor: also after `kill -9`, nothing is left.
#[derive(Debug)]
pub struct Directory(pub PathBuf);

impl Files for Directory {
    fn create(&self) -> io::Result<Arc<dyn SpoolFile>> {
        // O_TMPFILE, or a name that is removed at once where the file system has no such thing.
        Ok(Arc::new(tempfile::tempfile_in(&self.0)?))
    }
}

impl SpoolFile for std::fs::File {
    fn write_all_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        FileExt::write_all_at(self, bytes, at)
    }

    fn read_exact_at(&self, into: &mut [u8], at: u64) -> io::Result<()> {
        FileExt::read_exact_at(self, into, at)
    }
}

type Job = Box<dyn FnOnce() + Send>;

/// Runs jobs in the order in which they come. Threads start with the first one.
#[derive(Default)]
pub(super) struct Disk {
    jobs: OnceLock<Sender<Job>>,
}

impl Disk {
    /// What `work` returns. The receiver may be dropped; the work is done all the same.
    pub(super) fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> oneshot::Receiver<T> {
        let (reply, result) = oneshot::channel();
        self.detach(move || drop(reply.send(work())));
        result
    }

    /// Does `work` some time.
    pub(super) fn detach(&self, work: impl FnOnce() + Send + 'static) {
        // Without a thread the job is dropped here, and its reply with it, which is an answer.
        let _no_thread = self.jobs.get_or_init(start).send(Box::new(work));
    }
}

/// Threads that end when nobody can give them anything any more.
fn start() -> Sender<Job> {
    let (sender, jobs) = channel::<Job>();
    let jobs = Arc::new(Mutex::new(jobs));
    for index in 0..THREADS {
        let jobs = jobs.clone();
        if let Err(error) = Builder::new().name(format!("spool-{index}")).spawn(move || work(&jobs)) {
            tracing::warn!(%error, "can not start a thread for spool files");
        }
    }
    sender
}

fn work(jobs: &Mutex<Receiver<Job>>) {
    loop {
        let next = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        match next {
            Ok(job) => job(),
            Err(_nobody_left) => return,
        }
    }
}
