//! The data path: requests in, one at a time per worker to the instance, responses out.
//!
//! ```text
//!  balancer ──► relay::Server ──► handler ── buffering (uploads in) ── gate ──► relay::Upstreams ──► instance
//!                                    │                        │
//!                                    └── Exchange (Observer) ◄┘ first byte, end: gives the worker back,
//!                                             └──► Recorder, metrics              tells what it was
//!  balancer ◄── relay::Server ◄── buffering (responses read at once, whatever the client does) ◄── instance
//! ```
//!
//! Waits for nothing of the control plane. What it shares with it: the gate, one lock of nanoseconds per request
//! ([`crate::measure::Recorder`]), and counters.

mod buffering;
mod classes;
mod exchange;
mod handler;

use std::{io, rc::Rc, sync::Arc, time::Duration};

use sluice_process::Watch;
use sluice_relay::{
    Doors, Upstreams, listen::Listener, metrics::RelayMetrics, server::Server, threads::DataThreads,
};
use tokio::{
    sync::watch,
    task::{JoinSet, spawn_local},
    time::sleep,
};

use crate::shared::Shared;
use handler::AgentHandler;

/// After a stop at once: time for connections to be closed in order.
const FAREWELL: Duration = Duration::from_millis(250);

/// Starts a thread per share of the listeners. They run until `stop`; each adds one to `ended` when it is over, even by a panic.
///
/// # Errors
/// If a thread can not be started.
pub fn start(
    shared: &Arc<Shared>,
    listeners: Vec<Vec<Listener>>,
    relay: &RelayMetrics,
    stop: &Watch,
    ended: &watch::Sender<usize>,
) -> io::Result<DataThreads> {
    let seat = Seat {
        shared: shared.clone(),
        doors: Doors::new(&shared.config.limits.client, Vec::new()),
        relay: relay.clone(),
        stop: stop.clone(),
        ended: ended.clone(),
    };
    DataThreads::start("agent-data", listeners, move |share| seat.clone().serve(share))
}

/// What one thread needs.
#[derive(Clone)]
struct Seat {
    shared: Arc<Shared>,
    doors: Arc<Doors>,
    relay: RelayMetrics,
    stop: Watch,
    ended: watch::Sender<usize>,
}

impl Seat {
    async fn serve(self, listeners: Vec<Listener>) {
        let _note = EndNote::new(self.ended);
        let limits = &self.shared.config.limits;
        let upstreams = Upstreams::new(limits.upstream.clone(), self.relay.clone());
        spawn_local(upstreams.clone().sweep());
        let handler = AgentHandler::new(self.shared.clone(), upstreams, self.relay.clone(), &self.stop);
        let handler = Rc::new(handler);
        let server = Server::new(handler, limits.client.clone(), self.doors, self.relay, self.stop.clone());
        let cut = async {
            self.stop.now().await;
            sleep(FAREWELL).await;
        };
        tokio::select! {
            () = serve_all(&server, listeners, &self.stop) => {}
            () = cut => {}
        }
    }
}

async fn serve_all(server: &Rc<Server<AgentHandler>>, listeners: Vec<Listener>, stop: &Watch) {
    let mut serving = JoinSet::new();
    for listener in listeners {
        serving.spawn_local(server.clone().listen(listener, stop.clone()));
    }
    while serving.join_next().await.is_some() {}
}

/// Counts an end of a thread when dropped.
pub(crate) struct EndNote(watch::Sender<usize>);

impl EndNote {
    pub(crate) fn new(ended: watch::Sender<usize>) -> Self {
        Self(ended)
    }
}

impl Drop for EndNote {
    fn drop(&mut self) {
        self.0.send_modify(|ended| *ended += 1);
    }
}
