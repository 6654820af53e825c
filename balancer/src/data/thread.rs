//! One data thread: listeners come and go while it runs, and so do limits.

use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;

use sluice_process::{Shutdown, Watch};
use sluice_relay::Doors;
use sluice_relay::limits::{ClientLimits, UpstreamLimits};
use sluice_relay::listen::Listener;
use sluice_relay::server::Server;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinSet;

use crate::data::{DataPath, Handler};

/// What a data thread is to do from now on.
pub enum Order {
    Serve(Stand),
    /// New connections to instances, and requests that come from now on, have these limits.
    Upstream(UpstreamLimits),
}

/// One thread's part of a listener, and how its connections are treated to their ends.
pub struct Stand {
    pub listener: Listener,
    pub limits: ClientLimits,
    pub doors: Arc<Doors>,
    pub life: Life,
}

/// How long a listener is served.
#[derive(Clone, Default)]
pub struct Life {
    /// Triggered when nothing more is accepted here, as another stand has taken over.
    pub closed: Shutdown,
    /// Triggered when the connections are to end as well, once they are idle.
    pub stop: Shutdown,
}

/// Runs one data thread until the stop is requested, or a successor has taken over, and nothing is under way.
pub async fn run_thread(path: Arc<DataPath>, mut orders: UnboundedReceiver<Order>) {
    let handler = Rc::new(Handler::new(path.clone()));
    let mut serving = JoinSet::new();
    loop {
        tokio::select! {
            // What was ordered before the stop is begun, so that it ends like the rest.
            biased;
            Some(order) = orders.recv() => match order {
                Order::Serve(stand) => drop(serving.spawn_local(serve(path.clone(), handler.clone(), stand))),
                Order::Upstream(limits) => handler.connect_anew(limits),
            },
            () = path.stop.leaving() => break,
            Some(_ended) = serving.join_next() => {}
        }
    }
    drop(orders);
    while serving.join_next().await.is_some() {}
}

/// Serves a listener until it is closed, stopped, or the whole program is.
async fn serve(path: Arc<DataPath>, handler: Rc<Handler>, stand: Stand) {
    let Stand { listener, limits, doors, life: Life { closed, stop } } = stand;
    let server = Server::new(handler, limits, doors, path.relay_metrics.clone(), stop.watch());
    let mut served = pin!(server.listen(listener, closed.watch()));
    tokio::select! {
        () = served.as_mut() => return,
        () = follow(&path.stop, &stop) => {}
    }
    served.await;
}

/// What is said to the program is said to a listener, until nothing more can be.
async fn follow(program: &Watch, listener: &Shutdown) {
    program.leaving().await;
    listener.hand_over();
    program.requested().await;
    listener.trigger();
    program.now().await;
    listener.trigger_now();
}
