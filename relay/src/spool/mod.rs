//! Where bodies wait for who takes them: first memory, then a file, both within limits; then their sender waits.
//!
//! ```text
//!  sender ──► Store::push ── memory ── file ──► Store::pop ──► taker
//!                │             │         │
//!                │             └ budget ─┘   each body's and everybody's limits
//!                └─ Transfer ──► disk        threads for what may block
//! ```
//!
//! | module | what | waits for |
//! |---|---|---|
//! | `budget` | who may take how much | nothing |
//! | `store` | what lies where, in order; says what is to be written or read | nothing |
//! | `disk` | files and the threads that use them | the disk |
//! | `transfer` | a store's reads and writes, without blocking | `disk` |

mod budget;
mod disk;
mod metrics;
mod store;
#[cfg(test)]
mod tests;
mod transfer;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

pub use budget::Allowance;
use budget::{Pool, Share};
use disk::Disk;
pub use disk::{Directory, Files, SpoolFile};
pub use metrics::{Fault, SpoolMetrics};
pub(crate) use transfer::Spooled;

/// After a disk did not answer it is left alone for this long. 10 s: each body that tries would hold its sender up.
const LEFT_ALONE: Duration = Duration::from_secs(10);

/// Faults of one kind are logged this often: a full disk fails every body.
const LOGGED_EVERY: Duration = Duration::from_secs(10);

/// Every limit of the spool, with its default and the reason for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpoolLimits {
    /// 1 MiB each: a page with all that it inlines. 256 MiB in all.
    pub memory: Allowance,
    /// 1 GiB each: as nginx' `proxy_max_temp_file_size`. 8 GiB in all: of a disk that has other uses.
    pub files: Allowance,
    /// `None`: no files.
    pub directory: Option<PathBuf>,
}

impl Default for SpoolLimits {
    fn default() -> Self {
        const MIB: u64 = 1024 * 1024;
        Self {
            memory: Allowance { each: MIB, total: 256 * MIB },
            files: Allowance { each: 1024 * MIB, total: 8192 * MIB },
            directory: None,
        }
    }
}

/// Room for the bodies of one process. Used from every data thread.
pub struct Spool {
    memory: Arc<Pool>,
    files: Arc<Pool>,
    source: Option<Arc<dyn Files>>,
    disk: Disk,
    metrics: SpoolMetrics,
    trouble: Mutex<Trouble>,
    /// Bytes of a body that memory and file together may hold, if nobody else needed them.
    longest: u64,
}

/// What went wrong last.
#[derive(Default)]
struct Trouble {
    last: Option<(Fault, Instant)>,
    left_alone_until: Option<Instant>,
}

/// How much lies where at the moment, in bytes, and what went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpoolUse {
    pub memory: u64,
    pub files: u64,
    /// Since the start.
    pub faults: u64,
    /// The last one, and how long ago it was.
    pub last_fault: Option<(Fault, Duration)>,
}

impl Spool {
    pub fn new(limits: &SpoolLimits, metrics: SpoolMetrics) -> Arc<Self> {
        let directory = limits.directory.clone().filter(|_| limits.files.each > 0);
        let files = directory.map(|directory| Arc::new(Directory(directory)) as Arc<dyn Files>);
        Self::with_files(limits, files, metrics)
    }

    /// With files from elsewhere.
    pub fn with_files(
        limits: &SpoolLimits,
        files: Option<Arc<dyn Files>>,
        metrics: SpoolMetrics,
    ) -> Arc<Self> {
        let in_files = if files.is_some() { limits.files.each.min(limits.files.total) } else { 0 };
        Arc::new(Self {
            memory: Pool::new(limits.memory),
            files: Pool::new(limits.files),
            source: files,
            disk: Disk::default(),
            metrics,
            trouble: Mutex::default(),
            longest: limits.memory.each.saturating_add(in_files),
        })
    }

    /// Whether a body of that many bytes would find room now. An estimate: others may be quicker.
    pub fn has_room_for(&self, bytes: u64) -> bool {
        let in_memory = Share::of(&self.memory).grants(bytes);
        in_memory || (bytes <= self.longest && self.may_write() && Share::of(&self.files).grants(bytes))
    }

    pub fn usage(&self) -> SpoolUse {
        let last = self.trouble().last;
        SpoolUse {
            memory: self.memory.used(),
            files: self.files.used(),
            faults: self.metrics.faults(),
            last_fault: last.map(|(fault, at)| (fault, at.elapsed())),
        }
    }

    /// Tries, without waiting, to make a file, so that a directory that can not be used is heard of at the start.
    pub fn probe(self: &Arc<Self>) {
        let Some(source) = self.source.clone() else { return };
        let spool = Arc::downgrade(self);
        self.disk.detach(move || {
            if let (Err(error), Some(spool)) = (source.create(), spool.upgrade()) {
                spool.failed(Fault::Create, Some(&error));
            }
        });
    }

    pub(crate) fn metrics(&self) -> &SpoolMetrics {
        &self.metrics
    }

    /// Whether files are to be had.
    fn may_write(&self) -> bool {
        self.source.is_some() && self.trouble().left_alone_until.is_none_or(|until| Instant::now() >= until)
    }

    fn failed(&self, fault: Fault, error: Option<&std::io::Error>) {
        self.metrics.failed(fault);
        let now = Instant::now();
        let mut trouble = self.trouble();
        if fault == Fault::Stalled {
            trouble.left_alone_until = Some(now + LEFT_ALONE);
        }
        let is_news = trouble.last.is_none_or(|(last, at)| last != fault || now - at >= LOGGED_EVERY);
        if is_news {
            trouble.last = Some((fault, now));
            drop(trouble);
            let error = error.map(tracing::field::display);
            tracing::warn!(reason = fault.label(), error, "{fault}");
        }
    }

    fn trouble(&self) -> std::sync::MutexGuard<'_, Trouble> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
