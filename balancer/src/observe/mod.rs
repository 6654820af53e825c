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

use std::sync::{Arc, OnceLock};

use ipnet::IpNet;
use prometheus::Registry;
use sluice_process::{RunError, Watch};

use crate::config::Config;
pub use access::{AccessFormat, AccessLogSpec, Destination};
pub use finished::Finished;
pub use otlp::{Exporter, OtlpSpec};
pub use trail::{Asked, Ended, Trail};

use access::{AccessLog, AccessMetrics};
use otlp::{Recording, Spans};

/// Who is told.
pub struct Observers {
    /// Proxies whose word on the client counts.
    trusted: Vec<IpNet>,
    access: Option<Arc<AccessLog>>,
    spans: Option<Arc<Spans>>,
}

/// What is told, and to whom.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ObserverSpecs {
    pub access: Option<AccessLogSpec>,
    pub otlp: Option<OtlpSpec>,
}

/// Opens what is configured, at the start and when the configuration changes.
pub struct ObserverOpener {
    registry: Registry,
    /// Registered when there is an access log for the first time.
    access: OnceLock<AccessMetrics>,
}

impl ObserverOpener {
    pub fn new(registry: &Registry) -> Self {
        Self { registry: registry.clone(), access: OnceLock::new() }
    }

    /// `None`: nobody wants to know. The exporter is to be run until `stop` says so.
    ///
    /// # Errors
    /// If the access log can not be opened.
    pub fn open(
        &self,
        specs: &ObserverSpecs,
        trusted: &[IpNet],
        stop: Watch,
    ) -> Result<(Option<Arc<Observers>>, Option<Exporter>), RunError> {
        let access = specs.access.as_ref().map(|spec| self.access_log(spec)).transpose()?;
        let otlp = specs.otlp.as_ref().map(|spec| otlp::open(spec, &self.registry, stop)).transpose()?;
        let (spans, exporter) = otlp.unzip();
        Ok((Observers::wanted(trusted, access, spans.map(Arc::new)), exporter))
    }

    /// Those of `config`, after `before`, which are those of `specs`. An access log that stays the same stays open;
    /// one that is replaced ends when the last request that came under it is told. Spans go where they went.
    ///
    /// # Errors
    /// If the access log can not be opened.
    pub fn reopen(
        &self,
        before: Option<&Arc<Observers>>,
        specs: &ObserverSpecs,
        config: &Config,
    ) -> Result<Option<Arc<Observers>>, RunError> {
        let wanted = &config.observers;
        let access = if wanted.access == specs.access {
            before.and_then(|before| before.access.clone())
        } else {
            wanted.access.as_ref().map(|spec| self.access_log(spec)).transpose()?
        };
        let spans = before.and_then(|before| before.spans.clone());
        Ok(Observers::wanted(&config.trusted_proxies, access, spans))
    }

    fn access_log(&self, spec: &AccessLogSpec) -> Result<Arc<AccessLog>, RunError> {
        let metrics = self.access.get_or_init(|| AccessMetrics::register(&self.registry));
        AccessLog::open(spec, metrics.clone()).map(Arc::new)
    }
}

impl Observers {
    fn wanted(
        trusted: &[IpNet],
        access: Option<Arc<AccessLog>>,
        spans: Option<Arc<Spans>>,
    ) -> Option<Arc<Self>> {
        let wanted = access.is_some() || spans.is_some();
        wanted.then(|| Arc::new(Self { trusted: trusted.to_owned(), access, spans }))
    }

    fn tell(&self, finished: &Finished<'_>, recording: Option<Recording>) {
        if let Some(access) = &self.access {
            access.tell(finished);
        }
        if let Some((spans, recording)) = self.spans.as_ref().zip(recording) {
            spans.tell(recording, finished);
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
