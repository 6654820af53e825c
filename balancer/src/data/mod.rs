//! The path of a request: everything here runs on the data threads and waits for no one else.

mod exchange;
mod forward;
mod handler;
mod reveal;
mod sticky;
mod thread;

use std::sync::Arc;

use arc_swap::ArcSwap;
use sluice_process::Watch;
use sluice_relay::head::Position;
use sluice_relay::limits::UpstreamLimits;
use sluice_relay::metrics::RelayMetrics;

pub use handler::Handler;
pub use reveal::Reveal;
pub use thread::{Life, Order, Stand, run_thread};

use crate::observe::Observers;
use crate::pool::Directory;

/// What every data thread needs; shared by all.
pub struct DataPath {
    /// Swapped in whole when the configuration is read again; a request keeps those that it came under.
    pub settings: ArcSwap<Settings>,
    pub relay_metrics: RelayMetrics,
    pub stop: Watch,
}

/// What a request is handled by.
#[derive(Clone)]
pub struct Settings {
    pub directory: Arc<Directory>,
    pub position: Position,
    pub limits: UpstreamLimits,
    /// Bytes of a request's body, where no rule says otherwise.
    pub max_body: u64,
    pub reveal: Reveal,
    /// Who is told what requests came to; `None`: nobody.
    pub observers: Option<Arc<Observers>>,
}
