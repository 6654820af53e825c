//! What spooling counts.

use std::fmt;
use std::io;

use prometheus::{IntCounter, IntCounterVec, Registry};
use sluice_process::metrics::{counter, counters};

/// Why a body could not be spooled any further, as a metric label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// No file could be made.
    Create,
    /// The disk, a quota or a limit on file sizes is full.
    Full,
    /// Another error of a write.
    Write,
    /// The disk did not answer in time.
    Stalled,
    /// What was written can not be read: the only one that costs a response.
    Read,
}

impl Fault {
    pub const ALL: [Self; 5] = [Self::Create, Self::Full, Self::Write, Self::Stalled, Self::Read];

    pub fn label(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Full => "full",
            Self::Write => "write",
            Self::Stalled => "stalled",
            Self::Read => "read",
        }
    }

    pub(super) fn of_write(error: &io::Error) -> Self {
        use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
        match error.kind() {
            FileTooLarge | QuotaExceeded | StorageFull => Self::Full,
            _ => Self::Write,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Create => "no spool file can be made",
            Self::Full => "the spool's disk is full",
            Self::Write => "a spool file can not be written",
            Self::Stalled => "the spool's disk does not answer",
            Self::Read => "a spool file can not be read",
        })
    }
}

/// Handles into the registry; cheap to clone.
#[derive(Clone)]
pub struct SpoolMetrics {
    faults: IntCounterVec,
    /// Bytes written to spool files.
    pub(super) written: IntCounter,
    /// Bodies that had to wait for room, once each.
    pub(crate) throttled: IntCounter,
}

impl SpoolMetrics {
    /// Registers everything.
    ///
    /// # Panics
    /// If called twice for one registry.
    pub fn register(registry: &Registry) -> Self {
        let this = Self {
            faults: counters(
                registry,
                "sluice_spool_faults_total",
                "Bodies that could not be spooled any further, by reason; they went on at the pace of their reader. Growing: look at the disk of --spool-dir.",
                &["reason"],
            ),
            written: counter(
                registry,
                "sluice_spool_written_bytes_total",
                "Bytes of bodies written to spool files.",
            ),
            throttled: counter(
                registry,
                "sluice_spool_throttled_total",
                "Responses whose instance had to wait for a slow client. Growing: raise the limits of --spool-size and --spool-total, or see sluice_spool_faults_total.",
            ),
        };
        Fault::ALL.iter().for_each(|fault| drop(this.faults.with_label_values(&[fault.label()])));
        this
    }

    pub(super) fn failed(&self, fault: Fault) {
        self.faults.with_label_values(&[fault.label()]).inc();
    }

    /// Of every reason.
    pub(super) fn faults(&self) -> u64 {
        Fault::ALL.iter().map(|fault| self.faults.with_label_values(&[fault.label()]).get()).sum()
    }
}
