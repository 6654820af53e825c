//! The access log: a line per request, written by a thread of its own.

mod escape;
mod field;
mod format;
#[cfg(test)]
mod tests;
mod writer;

use std::path::PathBuf;
use std::{fmt, io};

use sluice_process::RunError;
use sluice_process::config::ConfigError;

pub use format::AccessFormat;

use crate::observe::Finished;
pub(super) use writer::Metrics as AccessMetrics;
use writer::Writer;

/// What is logged, and where.
#[derive(Clone, Debug, PartialEq)]
pub struct AccessLogSpec {
    pub file: Destination,
    pub format: AccessFormat,
    /// Share of the requests that get a line, above 0 to 1. Those that failed always do.
    pub sample: f64,
}

/// Where lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    Stdout,
    File(PathBuf),
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdout => f.write_str("the standard output"),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

/// The way to the thread that writes.
pub(super) struct AccessLog {
    format: AccessFormat,
    sample: f64,
    writer: Writer,
}

impl AccessLog {
    pub(super) fn open(spec: &AccessLogSpec, metrics: AccessMetrics) -> Result<Self, RunError> {
        let refused = |e: io::Error| {
            ConfigError::value("access-log", &spec.file, format!("a file that can be written ({e})"))
        };
        let writer = Writer::start(spec.file.clone(), metrics).map_err(refused)?;
        Ok(Self { format: spec.format.clone(), sample: spec.sample, writer })
    }

    /// Never waits: a line that finds no place is lost, and counted.
    pub(super) fn tell(&self, finished: &Finished<'_>) {
        if self.sample >= 1.0 || finished.is_notable() || fastrand::f64() < self.sample {
            self.writer.append(self.format.line(finished));
        }
    }

    pub(super) fn reopen(&self) {
        self.writer.reopen();
    }

    pub(super) fn close(&self) {
        self.writer.close();
    }
}
