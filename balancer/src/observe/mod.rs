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
pub mod otlp;
mod trail;

use std::sync::Arc;

use ipnet::IpNet;
use prometheus::Registry;
use sluice_process::{RunError, Watch};

pub use access::{AccessFormat, AccessLogSpec, Destination};
pub use finished::Finished;
pub use otlp::{Exporter, OtlpSpec};
pub use trail::{Asked, Ended, Trail};

use access::AccessLog;
use otlp::{Recording, Spans};

/// Who is told.
pub struct Observers {
    /// Proxies whose word on the client counts.
    trusted: Vec<IpNet>,
    access: Option<AccessLog>,
    spans: Option<Spans>,
}

/// What is told, and to whom.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ObserverSpecs {
    pub access: Option<AccessLogSpec>,
    pub otlp: Option<OtlpSpec>,
}

impl Observers {
    /// Opens what is configured. `None`: nobody wants to know. The exporter is to be run until `stop` says so.
    ///
    /// # Errors
    /// If the access log can not be opened.
    pub fn open(
        specs: &ObserverSpecs,
        trusted: &[IpNet],
        registry: &Registry,
        stop: Watch,
    ) -> Result<(Option<Arc<Self>>, Option<Exporter>), RunError> {
        let access = specs.access.as_ref().map(|spec| AccessLog::open(spec, registry)).transpose()?;
        let otlp = specs.otlp.as_ref().map(|spec| otlp::open(spec, registry, stop)).transpose()?;
        let (spans, exporter) = otlp.unzip();
        let wanted = access.is_some() || spans.is_some();
        let observers = wanted.then(|| Arc::new(Self { trusted: trusted.to_owned(), access, spans }));
        Ok((observers, exporter))
    }

    fn tell(&self, finished: &Finished<'_>, recording: Option<Recording>) {
        if let Some(access) = &self.access {
            access.tell(finished);
        }
        if let Some((spans, recording)) = self.spans.as_ref().zip(recording) {
            spans.tell(recording, finished);
        }
    }

    pub fn has_access_log(&self) -> bool {
        self.access.is_some()
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
