//! Puts the balancer together, runs it, and takes it down in order.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::Router;
use sluice_process::admin::{Access, AdminServer, Ending};
use sluice_process::control::OwnThread;
use sluice_process::descriptors;
use sluice_process::openmetrics::{Exemplars, Exposition};
use sluice_process::reload::{Cause, Source};
use sluice_process::upgrade::{Heritage, Predecessor, Sockets, UpgradeMetrics};
use sluice_process::{Readiness, RunError, Shutdown, TokenFile, Watch, run_on_own_thread, supervisor};
use sluice_relay::Doors;
use sluice_relay::head::Position;
use sluice_relay::metrics::RelayMetrics;
use sluice_relay::threads::DataThreads;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::watch;
use tokio::time::sleep;

use crate::config::{Config, Options};
use crate::control::planning::unix_ms;
use crate::control::sources;
use crate::control::{
    self, ControlMetrics, ControlState, DecisionCollector, DecisionLog, Keeper, PoolCollector,
};
use crate::data::{self, DataPath, Order, Settings, Stand};
use crate::listeners::{Listeners, SharedCertificates, keep_fresh};
use crate::metrics::RequestMetrics;
use crate::observe::{Exporter, ObserverOpener};
use crate::pool::now;
use crate::reload::{self, Parts, Reloader};
use crate::services::ServiceMaker;
use crate::succession::{Inheritance, Succession};
use crate::xds::{self, Teller, XdsMetrics, XdsServer};

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
    let former = predecessor.as_ref().map_or_else(Sockets::default, |old| old.sockets().clone());
    let (mut inheritance, sockets) = (Inheritance::of(predecessor.as_ref()), Sockets::default());
    descriptors::raise();
    let config = Config::try_from(options.clone())?;
    let token = config.token_file.as_ref().map(|path| TokenFile::open(path).map(Arc::new)).transpose()?;
    let registry = sluice_process::metrics::registry("sluice-balancer", env!("CARGO_PKG_VERSION"));
    let readiness = Arc::new(Readiness::new());
    let exemplars = Exemplars::default();
    let services =
        ServiceMaker::new(&config, RequestMetrics::register(&registry, &exemplars, config.metric_classes));
    let (directory, words) = services.directory(&config, None, &inheritance);
    let directory = Arc::new(directory);
    let log = |metrics: &ControlMetrics| {
        let (params, file) = (config.service_limits.plan, config.decision_log.clone());
        DecisionLog::new(params, unix_ms(), file, metrics.decision_failures.clone())
    };
    let state = ControlState::new(
        directory.clone(),
        &config.instances,
        words,
        &registry,
        readiness.clone(),
        config.report_rate,
        log,
    );
    state.inherit_found(inheritance.found());
    state.take_over(inheritance.reports());
    let keeper = config.state_dir.clone().map(|dir| Keeper::new(state.clone(), dir));
    PoolCollector::register(&registry, &state);
    DecisionCollector::register(&registry, &state);
    let control_stop = Shutdown::new();
    let opener = ObserverOpener::new(&registry);
    let (observers, exporter) =
        opener.open(&config.observers, &config.trusted_proxies, control_stop.watch())?;
    let settings = Settings {
        directory,
        position: Position::Edge { trusted: config.trusted_proxies.clone() },
        limits: config.limits.upstream.clone(),
        max_body: config.limits.client.body,
        reveal: config.reveal,
        observers,
    };
    let path = Arc::new(DataPath {
        settings: ArcSwap::from_pointee(settings),
        relay_metrics: RelayMetrics::register(&registry),
        stop: shutdown.watch(),
    });

    // All that can be refused comes before the first thread.
    let admin_server =
        AdminServer::inherit(config.admin, &registry, &former, &sockets).map_err(RunError::failed)?;
    let admin_server = admin_server.over_tls(config.admin_tls.as_ref()).map_err(RunError::failed)?;
    let admin_server = admin_server.with_connections(config.admin_connections);
    let xds = config.xds.as_ref().map(|spec| XdsServer::inherit(spec, &former, &sockets));
    let xds_server = xds.transpose().map_err(RunError::failed)?;
    let xds = xds_server.as_ref().map(XdsServer::local_addr);
    let xds_metrics = XdsMetrics::register(&registry);
    // By then, requests were let wait for an instance as well.
    let settles = now() + config.service_limits.startup_hold;
    let certificates_asked = config.admin_tls.as_ref().is_some_and(|tls| tls.client_ca.is_some());
    let access = Access::register(&registry, token, certificates_asked);
    let admin_url = admin_server.url();
    let admin = admin_server.local_addr();
    let mut listeners = Listeners::new(&registry, config.threads, &former, &sockets);
    let prepared = listeners.prepare(&config.listen)?;
    let doors = Doors::new(&config.limits.client, config.trusted_proxies.clone());
    let stands = listeners.commit(prepared, &config.limits.client, &doors, false)?;
    let (listen, certificates) = (listeners.addresses(), listeners.certificates());
    let metrics = UpgradeMetrics::register(&registry, generation);
    let router = control::router(&state, Exposition { registry, exemplars }, readiness, access);
    let (orders, taken): (Vec<_>, Vec<_>) = stands.into_iter().map(ordered).unzip();
    if config.instances.is_empty() {
        tracing::info!(
            "instances are yet to come: beside each one run sluice-agent --balancer {admin_url} --instance ADDR --listen ADDR"
        );
    }
    let parts = Parts {
        state: state.clone(),
        path: path.clone(),
        services,
        observers: opener,
        orders,
        listeners,
        doors,
    };
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
        xds: xds_server.map(|server| XdsPlane { server, teller: Teller::new(settles), metrics: xds_metrics }),
        stop: control_stop.watch(),
    };
    let control =
        run_on_own_thread("control", move || control.run(admin_server, router)).map_err(RunError::failed)?;
    let serve = move |orders| data::run_thread(path.clone(), orders);
    let data = DataThreads::start("data", taken, serve).map_err(RunError::failed)?;
    tracing::info!(
        "dashboard and metrics at {admin_url}/, in a terminal: sluice-balancer top --admin {admin_url}"
    );
    if let Some(addr) = xds {
        tracing::info!("endpoint discovery for Envoys at {addr}");
    }
    if let Some(predecessor) = predecessor {
        predecessor.relieve().map_err(RunError::failed)?;
        state.save_soon();
    }
    let heritage = Heritage { sockets, generation, metrics, incumbent: Succession::new(state.clone()) };
    Ok((Running { listen, admin, xds, state, reloader, keeper, data, control, control_stop }, heritage))
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

/// What runs on the control plane's thread.
struct ControlPlane {
    state: Arc<ControlState>,
    reloader: Arc<Reloader>,
    keeper: Option<Keeper>,
    access: sources::Access,
    exporter: Option<Exporter>,
    shutdown: Shutdown,
    certificates: SharedCertificates,
    xds: Option<XdsPlane>,
    stop: Watch,
}

/// Endpoint discovery, if Envoys may ask for it.
struct XdsPlane {
    server: XdsServer,
    teller: Teller,
    metrics: XdsMetrics,
}

impl XdsPlane {
    /// Until the stop is requested or a successor has taken over.
    async fn run(self, state: Arc<ControlState>, stop: Watch) {
        let (tables, served) = watch::channel(Arc::default());
        let shared = xds::Shared::new(served, self.metrics.clone(), stop.clone());
        let following =
            tokio::task::spawn(xds::follow(state, self.teller, tables, self.metrics, stop.clone()));
        if let Err(error) = self.server.serve(xds::router(shared), stop).await {
            tracing::error!(%error, "Envoys are told nothing any more");
        }
        following.abort();
    }
}

impl ControlPlane {
    async fn run(self, server: AdminServer, router: Router) -> Result<(), RunError> {
        // Dropped when this ends, in whatever way: data threads must not run on unwatched.
        let _data_path_ends_too = StopOnDrop(self.shutdown.clone());
        tokio::task::spawn(control::run_ticker(self.state.clone(), self.stop.clone()));
        tokio::task::spawn(sources::run(self.state.clone(), self.access, self.stop.clone()));
        if let Some(keeper) = self.keeper {
            tokio::task::spawn(keeper.run());
        }
        tokio::task::spawn(supervisor::keep_informed(self.shutdown.watch()));
        tokio::task::spawn(keep_fresh(self.certificates));
        tokio::task::spawn(reload::run(self.reloader.clone(), self.shutdown.watch()));
        let (state, ending) = (self.state.clone(), self.shutdown.watch());
        let telling = self.xds.map(|xds| tokio::task::spawn(xds.run(state, ending)));
        let exporting = self.exporter.map(|exporter| tokio::task::spawn(exporter.run()));
        tokio::task::spawn(limit_drain(self.state.clone(), self.reloader, self.shutdown.clone()));
        let (stop, succession) = (self.stop, self.shutdown.watch());
        let served = server.serve_until(router, until_superfluous(stop.clone(), succession)).await;
        if served.is_ok() {
            stop.requested().await;
        }
        if !self.state.is_succeeded() {
            supervisor::stopping();
        }
        if let Some(telling) = telling
            && let Err(error) = telling.await
        {
            tracing::error!(%error, "endpoint discovery ended early");
        }
        if let Some(exporting) = exporting
            && let Err(error) = exporting.await
        {
            tracing::error!(%error, "the exporter of spans ended early");
        }
        served.map_err(RunError::failed)
    }
}

/// Resolves when the admin address is to be served no more: its successor does, or the data path has ended.
async fn until_superfluous(stop: Watch, succession: Watch) -> Ending {
    tokio::select! {
        () = stop.requested() => Ending::Stopped,
        () = succession.succeeded() => Ending::Succeeded,
    }
}

/// How often a stop says what it waits for.
const TELL_DRAIN: Duration = Duration::from_secs(5);

/// Says what a stop waits for, and cuts it off after the time that the configuration in force gives it.
async fn limit_drain(state: Arc<ControlState>, reloader: Arc<Reloader>, shutdown: Shutdown) {
    shutdown.watch().leaving().await;
    reloader.close_listeners();
    let timeout = reloader.config().drain_timeout;
    tracing::info!("stopping: finishing what is under way, for at most {timeout:?}");
    let mut left = timeout;
    while !left.is_zero() {
        let pause = left.min(TELL_DRAIN);
        sleep(pause).await;
        left -= pause;
        tracing::info!("stopping: {} requests are under way, {left:?} are left", state.under_way());
    }
    shutdown.trigger_now();
}

struct StopOnDrop(Shutdown);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.trigger_now();
    }
}
