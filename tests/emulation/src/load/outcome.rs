//! What became of one request.

use std::error::Error as _;
use std::fmt;
use std::io;
use std::time::Duration;

use serde::{Serialize, Serializer};

/// Why a request does not count as answered. Printed as `503`, `timeout`, `cut-short`, ...
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Failure {
    /// A complete response with status 400 or above.
    Status(u16),
    /// No connection: refused, unreachable, or no local port left.
    Connect,
    /// The connection ended before the response head, or was reset after it.
    Reset,
    /// The body ended before its `Content-Length`, or without its last chunk.
    CutShort,
    /// What came back is not HTTP/1.1.
    BadResponse,
    /// Not answered whole in time.
    Timeout,
}

impl Failure {
    /// Whether the client was told, in full, that the fault is its own (status 400 to 499).
    pub fn is_clients(self) -> bool {
        matches!(self, Failure::Status(status) if status < 500)
    }

    /// Of an error before the response head.
    pub(super) fn before_head(error: &hyper::Error) -> Self {
        if error.is_parse() { Failure::BadResponse } else { Failure::Reset }
    }

    /// Of an error within the body.
    pub(super) fn within_body(error: &hyper::Error) -> Self {
        let cause = error.source().and_then(|e| e.downcast_ref::<io::Error>());
        match cause.map(io::Error::kind) {
            Some(io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe) => Failure::Reset,
            Some(io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData) => Failure::BadResponse,
            _ => Failure::CutShort,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Status(status) => write!(f, "{status}"),
            Failure::Connect => f.write_str("connect"),
            Failure::Reset => f.write_str("reset"),
            Failure::CutShort => f.write_str("cut-short"),
            Failure::BadResponse => f.write_str("bad-response"),
            Failure::Timeout => f.write_str("timeout"),
        }
    }
}

impl Serialize for Failure {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// One request, measured. Times count from its scheduled arrival.
#[derive(Clone, Debug)]
pub(super) struct Outcome {
    pub(super) class: usize,
    /// Scheduled arrival, as time into the run.
    pub(super) at: Duration,
    /// To the response head; `None`: none came.
    pub(super) ttfb: Option<Duration>,
    /// To the last byte, or to the failure.
    pub(super) total: Duration,
    /// Body bytes received.
    pub(super) bytes: u64,
    pub(super) result: Result<(), Failure>,
}
