//! The path of a request: everything here runs on the data threads and waits for no one else.

mod exchange;
mod forward;
mod handler;
mod reveal;
mod sticky;

use std::rc::Rc;
use std::sync::Arc;

use sluice_process::Watch;
use sluice_relay::head::Position;
use sluice_relay::listen::Listener;
use sluice_relay::metrics::RelayMetrics;
use sluice_relay::server::Server;
use sluice_relay::{Doors, Limits, Upstreams};
use tokio::task::JoinSet;

pub use handler::Handler;
pub use reveal::Reveal;

use crate::observe::Observers;
use crate::pool::Directory;

/// What every data thread needs; shared by all.
pub struct DataPath {
    pub directory: Arc<Directory>,
    pub position: Position,
    pub limits: Limits,
    pub doors: Arc<Doors>,
    pub reveal: Reveal,
    /// Who is told what requests came to; `None`: nobody.
    pub observers: Option<Arc<Observers>>,
    pub relay_metrics: RelayMetrics,
    pub stop: Watch,
}

/// Runs one data thread: serves its share of every listening address until the stop.
pub async fn run_thread(path: Arc<DataPath>, listeners: Vec<Listener>) {
    let upstreams = Upstreams::new(path.limits.upstream.clone(), path.relay_metrics.clone());
    tokio::task::spawn_local(upstreams.clone().sweep());
    let handler = Rc::new(Handler::new(path.clone(), upstreams));
    let server = Server::new(
        handler,
        path.limits.client.clone(),
        path.doors.clone(),
        path.relay_metrics.clone(),
        path.stop.clone(),
    );
    let mut serving = JoinSet::new();
    for listener in listeners {
        serving.spawn_local(server.clone().listen(listener));
    }
    while serving.join_next().await.is_some() {}
}
