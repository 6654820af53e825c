//! Puts the balancer together, runs it, and takes it down in order.

use std::net::SocketAddr;
use std::sync::Arc;

use sluice_process::control::OwnThread;
use sluice_process::descriptors;
use sluice_process::reload::{Cause, Source};
use sluice_process::upgrade::{Heritage, Predecessor, UpgradeMetrics};
use sluice_process::{RunError, Shutdown, run_on_own_thread};
use sluice_relay::threads::DataThreads;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::config::{Config, Options};
use crate::control::{ControlState, Keeper, sources};
use crate::control_plane::ControlPlane;
use crate::data::{self, Order, Stand};
use crate::ground::Ground;
use crate::observe::ObserverOpener;
use crate::reload::{Parts, Reloader};
use crate::succession::{Inheritance, Succession};

/// A balancer at work.
pub struct Running {
    /// IP addresses at which it serves clients, in the order of the configuration.
    pub listen: Vec<SocketAddr>,
    pub admin: SocketAddr,
    /// Where Envoys ask, if they may.
    pub xds: Option<SocketAddr>,
    pub state: Arc<ControlState>,
    reloader: Arc<Reloader>,
    keeper: Option<Keeper>,
    data: DataThreads,
    control: OwnThread<Result<(), RunError>>,
    /// Ends the control plane, once the data path has ended.
    control_stop: Shutdown,
}

/// Starts a balancer; it runs until `shutdown` is triggered. Several may run in one process. `options` are what
/// `source` gave; it is read again when there is reason to.
///
/// # Errors
/// If the options can not be used, an address is taken, the token can not be read or a thread can not be started.
pub fn start(source: Source<Options>, options: Options, shutdown: &Shutdown) -> Result<Running, RunError> {
    start_after(None, source, options, shutdown).map(|(running, _nobody_inherits)| running)
}

/// As [`start`], with the sockets and the knowledge of `predecessor` if there is one, which is relieved once all runs.
/// Also what there is to hand over in turn: as long as that is held, its addresses are listened on.
///
/// # Errors
/// As [`start`], or if the predecessor goes on after all.
pub fn start_after(
    predecessor: Option<Predecessor>,
    source: Source<Options>,
    options: Options,
    shutdown: &Shutdown,
) -> Result<(Running, Heritage<Succession>), RunError> {
    let generation = predecessor.as_ref().map_or(0, Predecessor::generation);
    descriptors::raise();
    let ground = Ground::new(Config::try_from(options.clone())?, predecessor.as_ref());
    let token = ground.token()?;
    let (state, services) = ground.knowledge(Inheritance::of(predecessor.as_ref()));
    let control_stop = Shutdown::new();
    let opener = ObserverOpener::new(&ground.registry);
    let (observers, exporter) =
        opener.open(&ground.config.observers, &ground.config.trusted_proxies, control_stop.watch())?;
    let path = ground.data_path(&state, observers, shutdown.watch());

    // All that can be refused comes before the first thread.
    let doorways = ground.open()?;
    let (admin, admin_url) = (doorways.admin.local_addr(), doorways.admin.url());
    let (listen, certificates) = (doorways.listeners.addresses(), doorways.listeners.certificates());
    let xds = doorways.xds.as_ref().map(|plane| plane.server.local_addr());
    let metrics = UpgradeMetrics::register(&ground.registry, generation);
    let router = ground.router(&state, token);
    let keeper = ground.config.state_dir.clone().map(|dir| Keeper::new(state.clone(), dir));
    let (orders, taken): (Vec<_>, Vec<_>) = doorways.stands.into_iter().map(ordered).unzip();
    tell_what_is_missing(&ground.config, &admin_url);
    let parts = Parts {
        state: state.clone(),
        path: path.clone(),
        services,
        observers: opener,
        orders,
        listeners: doorways.listeners,
        doors: doorways.doors,
    };
    let Ground { config, sockets, .. } = ground;
    let access = sources::Access { dns_server: config.dns_server, kubeconfig: config.kubeconfig.clone() };
    let reloader = Arc::new(Reloader::new(source, options, config, parts));
    let control = ControlPlane {
        state: state.clone(),
        reloader: reloader.clone(),
        keeper: keeper.clone(),
        access,
        exporter,
        shutdown: shutdown.clone(),
        certificates,
        xds: doorways.xds,
        stop: control_stop.watch(),
    };
    let admin_server = doorways.admin;
    let control =
        run_on_own_thread("control", move || control.run(admin_server, router)).map_err(RunError::failed)?;
    let serve = move |orders| data::run_thread(path.clone(), orders);
    let data = DataThreads::start("data", taken, serve).map_err(RunError::failed)?;
    tell_where_to_look(&admin_url, xds);
    if let Some(predecessor) = predecessor {
        predecessor.relieve().map_err(RunError::failed)?;
        state.save_soon();
    }
    let heritage = Heritage { sockets, generation, metrics, incumbent: Succession::new(state.clone()) };
    Ok((Running { listen, admin, xds, state, reloader, keeper, data, control, control_stop }, heritage))
}

/// Says how instances are added, if there is none yet.
fn tell_what_is_missing(config: &Config, admin_url: &str) {
    if config.instances.is_empty() {
        tracing::info!(
            "instances are yet to come: beside each one run sluice-agent --balancer {admin_url} --instance ADDR --listen ADDR"
        );
    }
}

fn tell_where_to_look(admin_url: &str, xds: Option<SocketAddr>) {
    tracing::info!(
        "dashboard and metrics at {admin_url}/, in a terminal: sluice-balancer top --admin {admin_url}"
    );
    if let Some(addr) = xds {
        tracing::info!("endpoint discovery for Envoys at {addr}");
    }
}

/// The way to a data thread, with what it is to serve from the start.
fn ordered(stands: Vec<Stand>) -> (UnboundedSender<Order>, UnboundedReceiver<Order>) {
    let (orders, taken) = unbounded_channel();
    for stand in stands {
        // `taken` is right here.
        drop(orders.send(Order::Serve(stand)));
    }
    (orders, taken)
}

impl Running {
    /// Reads the configuration again, as on SIGHUP.
    pub fn reload(&self) {
        self.reloader.reload(Cause::Hangup);
    }

    /// Blocks until the balancer has stopped: what was under way when the stop was requested is
    /// finished, or cut off after the drain timeout.
    ///
    /// # Errors
    /// If a part of it failed or panicked.
    pub fn join(self) -> Result<(), RunError> {
        let data = self.data.join().map_err(RunError::failed);
        // The control plane outlives the data path, so that metrics show the drain.
        self.control_stop.trigger();
        let control = self.control.join().map_err(RunError::failed).flatten();
        if let Some(keeper) = self.keeper {
            keeper.save();
        }
        self.reloader.close_logs();
        self.state.decisions.close();
        data.and(control)
    }
}
