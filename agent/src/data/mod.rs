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

use std::{io, net::TcpListener, rc::Rc, sync::Arc, time::Duration};

use sluice_process::Watch;
use sluice_relay::{Doors, Upstreams, metrics::RelayMetrics, server::Server, threads::DataThreads};
use tokio::{sync::watch, task::spawn_local, time::sleep};

use crate::shared::Shared;
use handler::AgentHandler;

/// After a stop at once: time for connections to be closed in order.
const FAREWELL: Duration = Duration::from_millis(250);

/// Starts a thread per listener. They run until `stop`; each adds one to `ended` when it is over, even by a panic.
///
/// # Errors
/// If a thread can not be started.
pub fn start(
    shared: &Arc<Shared>,
    listeners: Vec<TcpListener>,
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
    DataThreads::start("agent-data", listeners, move |listener| seat.clone().serve(listener))
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
    async fn serve(self, listener: TcpListener) {
        let _note = EndNote(self.ended);
        let listener = match tokio::net::TcpListener::from_std(listener) {
            Ok(listener) => listener,
            Err(error) => return tracing::error!(%error, "can not take requests"),
        };
        let limits = &self.shared.config.limits;
        let upstreams = Upstreams::new(limits.upstream.clone(), self.relay.clone());
        spawn_local(upstreams.clone().sweep());
        let handler = Rc::new(AgentHandler::new(self.shared.clone(), upstreams, self.relay.clone()));
        let server = Server::new(handler, limits.client.clone(), self.doors, self.relay, self.stop.clone());
        let cut = async {
            self.stop.now().await;
            sleep(FAREWELL).await;
        };
        tokio::select! {
            () = server.run(listener) => {}
            () = cut => {}
        }
    }
}

/// Counts an end of a thread when dropped.
struct EndNote(watch::Sender<usize>);

impl Drop for EndNote {
    fn drop(&mut self) {
        self.0.send_modify(|ended| *ended += 1);
    }
}
