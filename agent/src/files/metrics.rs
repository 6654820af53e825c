//! What is counted about files that are sent in an application's stead.

use prometheus::{IntCounter, IntCounterVec, Registry};
use sluice_process::metrics::{counter, counters};

use super::{Refusal, reply::Kind};

pub(super) struct FileMetrics {
    answers: IntCounterVec,
    refusals: IntCounterVec,
    pub(super) bytes: IntCounter,
}

impl FileMetrics {
    /// Registers everything.
    ///
    /// # Panics
    /// If called twice for one registry.
    pub(super) fn register(registry: &Registry) -> Self {
        let this = Self {
            answers: counters(
                registry,
                "sluice_agent_files_total",
                "Responses that the agent made of a file which the application named, by what was sent of it.",
                &["sent"],
            ),
            refusals: counters(
                registry,
                "sluice_agent_file_refusals_total",
                "Files that the application named and the agent did not send, by reason; the log has the path. no_root, outside: see --xsendfile-root. forbidden: the agent's user may not read what the application may.",
                &["reason"],
            ),
            bytes: counter(
                registry,
                "sluice_agent_file_bytes_total",
                "Body bytes that the agent sent of files which the application named.",
            ),
        };
        Kind::ALL.iter().for_each(|kind| drop(this.answers.with_label_values(&[kind.label()])));
        Refusal::ALL.iter().for_each(|refusal| drop(this.refusals.with_label_values(&[refusal.label()])));
        this
    }

    pub(super) fn answered(&self, kind: Kind) {
        self.answers.with_label_values(&[kind.label()]).inc();
    }

    pub(super) fn refused(&self, refusal: Refusal) {
        self.refusals.with_label_values(&[refusal.label()]).inc();
    }
}
