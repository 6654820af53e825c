//! Files that an application names in its response (`X-Sendfile`, `X-Accel-Redirect`) and the agent sends in its stead,
//! so that no worker is held for it.
//!
//! ```text
//!  response of the instance ──► offload ──► path ──► open ──► reply ──► ReplyBody::file
//!     (placeholder body)        which file   beneath   the kernel   conditions, ranges:
//!                               is named?    which     resolves     what of it is sent
//!                                            root?     the path
//! ```
//!
//! | module | what | I/O |
//! |---|---|---|
//! | [`offload`] | takes the offload fields out of a response | none |
//! | [`path`] | from the field's value to a root and a path beneath it | none |
//! | [`open`] | opens the file, by the kernel's beneath-only resolution | the disk, on a blocking thread |
//! | [`conditions`], [`ranges`] | RFC 9110, sections 13 and 14 | none |
//! | [`reply`] | head and pieces of the response | none |
//!
//! Which responses: those with status 200, and 206 (an application that began to answer a range itself; the range is
//! evaluated anew). Others keep their body and lose the field, as with Apache's mod_xsendfile: an error page is an
//! error page. Which methods: all. Conditions and ranges are for GET and HEAD alone; any other gets the whole file,
//! as with nginx, since the application has done by then what was asked.

pub mod conditions;
mod metrics;
pub mod offload;
pub mod open;
pub mod path;
pub mod ranges;
mod refusal;
pub mod reply;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwap;
use http::response;
use prometheus::Registry;
use sluice_process::ConfigError;
use sluice_relay::file::{OpenFile, at_disk};

use crate::config::Config;
use metrics::FileMetrics;
pub use offload::Offload;
pub use path::Roots;
pub use refusal::Refusal;
pub use reply::{Asked, Facts, Reply};

/// The files of one agent.
pub struct Files {
    /// Replaced when the configuration is read again.
    roots: ArcSwap<Roots>,
    /// For each wait for the disk.
    patience: Duration,
    metrics: FileMetrics,
}

impl Files {
    /// # Errors
    /// A directory that is not there, or a kernel that can not be trusted with paths.
    pub fn new(config: &Config, registry: &Registry) -> Result<Self, ConfigError> {
        let patience = config.limits.upstream.body_stall;
        let roots = ArcSwap::from_pointee(Self::roots(config)?);
        Ok(Self { roots, patience, metrics: FileMetrics::register(registry) })
    }

    /// Where files may lie by `config`, checked.
    ///
    /// # Errors
    /// As [`Files::new`].
    pub fn roots(config: &Config) -> Result<Roots, ConfigError> {
        let mut roots = Roots::default();
        for dir in &config.xsendfile_root {
            let real = checked("--xsendfile-root", dir)?;
            roots.add_directory(dir.clone(), real);
        }
        for uri in &config.xsendfile_uri {
            checked("--xsendfile-uri", &uri.dir)?;
            roots.add_uri(uri.prefix.clone(), uri.dir.clone());
        }
        Ok(roots)
    }

    /// Files that are named from now on are sent from there.
    pub fn set_roots(&self, roots: Roots) {
        self.roots.store(Arc::new(roots));
    }

    /// Opens the file that `offload` names.
    ///
    /// # Errors
    /// Why it is not sent. Counted and logged already.
    pub async fn open(&self, offload: &Offload) -> Result<(OpenFile, Facts), Refusal> {
        self.find(offload).await.inspect_err(|refusal| {
            self.metrics.refused(*refusal);
            tracing::warn!(
                reason = refusal.label(),
                field = offload.field(),
                // Escaped, as it may hold anything.
                value = %offload.value().escape_ascii(),
                "a file that the application named is not sent: {refusal}"
            );
        })
    }

    async fn find(&self, offload: &Offload) -> Result<(OpenFile, Facts), Refusal> {
        let place = path::locate(offload, &self.roots.load())?;
        let opened = at_disk(self.patience, move || open::beneath(&place.root, &place.beneath)).await;
        let (file, metadata) = opened.map_err(|_| Refusal::Unreadable)??;
        let file = OpenFile::new(file, &metadata).map_err(|_| Refusal::Unreadable)?;
        Ok((file, Facts::of(&metadata)))
    }

    /// The response to `asked`: `head` is the application's.
    pub fn reply(
        &self,
        head: response::Parts,
        asked: &Asked,
        facts: &Facts,
        rng: &mut fastrand::Rng,
    ) -> Reply {
        let reply = reply::compose(head, asked, facts, SystemTime::now(), rng);
        self.metrics.answered(reply.kind);
        reply
    }

    /// Counts what was sent of a file.
    pub fn sent(&self, bytes: u64) {
        self.metrics.bytes.inc_by(bytes);
    }
}

/// The directory without the symbolic links on the way to it.
fn checked(flag: &str, dir: &Path) -> Result<PathBuf, ConfigError> {
    let real = open::probe(dir).and_then(|()| dir.canonicalize());
    real.map_err(|error| ConfigError::value(flag, dir.display(), error.to_string()))
}
