//! What is told of each request once it is over: a line for the access log, spans for a trace collector.
//!
//! ```text
//!  data threads:  Trail (while it is under way) ──► Finished ──► line ──► bounded channel ──► `access-log` thread ──► file
//!                                                     │
//!                                                     └────────► spans ─► bounded channel ──► control plane ──► OTLP
//! ```
//!
//! A full channel loses what does not fit, and counts it: nobody who watches may slow a request.

pub mod access;
mod client;
mod finished;
mod trail;

use std::sync::Arc;

use ipnet::IpNet;
use prometheus::Registry;
use sluice_process::RunError;

pub use access::{AccessFormat, AccessLogSpec, Destination};
pub use finished::Finished;
pub use trail::{Asked, Ended, Trail};

use access::AccessLog;

/// Who is told.
pub struct Observers {
    /// Proxies whose word on the client counts.
    trusted: Vec<IpNet>,
    access: Option<AccessLog>,
}

impl Observers {
    /// Opens what is configured. `None`: nobody wants to know.
    ///
    /// # Errors
    /// If the access log can not be opened.
    pub fn open(
        access: Option<&AccessLogSpec>,
        trusted: &[IpNet],
        registry: &Registry,
    ) -> Result<Option<Arc<Self>>, RunError> {
        let access = access.map(|spec| AccessLog::open(spec, registry)).transpose()?;
        Ok(access.is_some().then(|| Arc::new(Self { trusted: trusted.to_owned(), access })))
    }

    fn tell(&self, finished: &Finished<'_>) {
        if let Some(access) = &self.access {
            access.tell(finished);
        }
    }

    /// The access log's file was renamed: begins a new one.
    pub fn reopen(&self) {
        if let Some(access) = &self.access {
            access.reopen();
        }
    }

    /// Waits until everything is written.
    pub fn close(&self) {
        if let Some(access) = &self.access {
            access.close();
        }
    }
}
