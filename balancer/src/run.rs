//! Puts the balancer together, runs it, and takes it down in order.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use prometheus::Registry;
use sluice_process::admin::{AdminServer, Ending};
use sluice_process::control::OwnThread;
use sluice_process::openmetrics::{Exemplars, Exposition};
use sluice_process::upgrade::{Heritage, Predecessor, Sockets, UpgradeMetrics};
use sluice_process::{Readiness, RunError, Shutdown, TokenFile, Watch, run_on_own_thread, supervisor};
use sluice_relay::head::Position;
use sluice_relay::metrics::RelayMetrics;
use sluice_relay::threads::DataThreads;
use sluice_relay::tls::Certificates;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::sleep;

use crate::config::{Config, ServiceSpec, routes};
use crate::control::planning::unix_ms;
use crate::control::{
    self, ControlMetrics, ControlState, DecisionCollector, DecisionLog, Keeper, PoolCollector,
};
use crate::data::{self, DataPath};
use crate::decide::membership::{Key, Word};
use crate::listeners::{Listeners, keep_fresh};
use crate::metrics::RequestMetrics;
use crate::observe::{Exporter, Observers};
use crate::pool::{ClassTable, Directory, Service, now};
use crate::saved::SavedService;
use crate::succession::{Inheritance, Succession};

/// A balancer at work.
pub struct Running {
    /// IP addresses at which it serves clients, in the order of the configuration.
    pub listen: Vec<SocketAddr>,
    pub admin: SocketAddr,
    pub state: Arc<ControlState>,
    keeper: Option<Keeper>,
    observers: Option<Arc<Observers>>,
    data: DataThreads,
    control: OwnThread<Result<(), RunError>>,
    /// Ends the control plane, once the data path has ended.
    control_stop: Shutdown,
}

/// Starts a balancer; it runs until `shutdown` is triggered. Several may run in one process.
///
/// # Errors
/// If an address is taken, the token can not be read or a thread can not be started.
pub fn start(config: &Config, shutdown: &Shutdown) -> Result<Running, RunError> {
    start_after(None, config, shutdown).map(|(running, _nobody_inherits)| running)
}

/// As [`start`], with the sockets and the knowledge of `predecessor` if there is one, which is relieved once all runs.
/// Also what there is to hand over in turn: as long as that is held, its addresses are listened on.
///
/// # Errors
/// As [`start`], or if the predecessor goes on after all.
pub fn start_after(
    predecessor: Option<Predecessor>,
    config: &Config,
    shutdown: &Shutdown,
) -> Result<(Running, Heritage<Succession>), RunError> {
    let generation = predecessor.as_ref().map_or(0, Predecessor::generation);
    let former = predecessor.as_ref().map_or_else(Sockets::default, |old| old.sockets().clone());
    let (inheritance, sockets) = (Inheritance::of(predecessor.as_ref()), Sockets::default());
    let token = config.token_file.as_ref().map(|path| TokenFile::open(path).map(Arc::new)).transpose()?;
    let registry = sluice_process::metrics::registry("sluice-balancer", env!("CARGO_PKG_VERSION"));
    let readiness = Arc::new(Readiness::new());
    let exemplars = Exemplars::default();
    let (directory, words) = directory(config, &registry, &exemplars, &inheritance);
    let directory = Arc::new(directory);
    let log = |metrics: &ControlMetrics| {
        let (params, file) = (config.service_limits.plan, config.decision_log.clone());
        DecisionLog::new(params, unix_ms(), file, metrics.decision_failures.clone())
    };
    let state =
        ControlState::new(directory.clone(), &config.instances, words, &registry, readiness.clone(), log);
    state.take_over(inheritance.reports());
    let keeper = config.state_dir.clone().map(|dir| Keeper::new(state.clone(), dir));
    PoolCollector::register(&registry, &state);
    DecisionCollector::register(&registry, &state);
    let control_stop = Shutdown::new();
    let (observers, exporter) =
        Observers::open(&config.observers, &config.trusted_proxies, &registry, control_stop.watch())?;
    let path = Arc::new(DataPath {
        directory,
        position: Position::Edge { trusted: config.trusted_proxies.clone() },
        limits: config.limits.clone(),
        reveal: config.reveal,
        observers: observers.clone(),
        relay_metrics: RelayMetrics::register(&registry),
        stop: shutdown.watch(),
    });

    // All that can be refused comes before the first thread.
    let admin_server = AdminServer::inherit(config.admin, &former, &sockets).map_err(RunError::failed)?;
    let admin = admin_server.local_addr();
    let Listeners { addresses: listen, per_thread, certificates } =
        Listeners::open(config, &registry, &former, &sockets)?;
    let metrics = UpgradeMetrics::register(&registry, generation);
    let router = control::router(&state, Exposition { registry, exemplars }, readiness, token);
    let control = ControlPlane {
        state: state.clone(),
        keeper: keeper.clone(),
        observers: observers.clone(),
        exporter,
        shutdown: shutdown.clone(),
        drain_timeout: config.drain_timeout,
        certificates,
        stop: control_stop.watch(),
    };
    let control =
        run_on_own_thread("control", move || control.run(admin_server, router)).map_err(RunError::failed)?;
    let serve = move |listeners| data::run_thread(path.clone(), listeners);
    let data = DataThreads::start("data", per_thread, serve).map_err(RunError::failed)?;
    tracing::info!(
        "dashboard and metrics at http://{admin}/, in a terminal: sluice-balancer top --admin http://{admin}"
    );
    if config.instances.is_empty() {
        tracing::info!(
            "instances are yet to come: beside each one run sluice-agent --balancer http://{admin} --instance ADDR --listen ADDR"
        );
    }
    if let Some(predecessor) = predecessor {
        predecessor.relieve().map_err(RunError::failed)?;
        state.save_soon();
    }
    let heritage = Heritage { sockets, generation, metrics, incumbent: Succession::new(state.clone()) };
    Ok((Running { listen, admin, state, keeper, observers, data, control, control_stop }, heritage))
}

impl Running {
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
        if let Some(observers) = self.observers {
            observers.close();
        }
        self.state.decisions.close();
        data.and(control)
    }
}

/// The services with what is known of them, and the operator's words on their instances.
fn directory(
    config: &Config,
    registry: &Registry,
    exemplars: &Exemplars,
    inheritance: &Inheritance,
) -> (Directory, Vec<(Key, Word)>) {
    let metrics = RequestMetrics::register(registry, exemplars, config.metric_classes);
    let mut words = Vec::new();
    let service = |spec: &ServiceSpec| {
        let metrics = metrics.for_service(spec.name.as_str());
        let classes = ClassTable::new(config.max_classes, metrics, spec.class_rules.clone(), now());
        let on_disk = || config.state_dir.as_ref().and_then(|dir| dir.load(&spec.name));
        let saved = inheritance.learned(&spec.name).or_else(on_disk);
        let known = saved.map(|SavedService { operator, templates, learned, .. }| {
            words.extend(operator.into_iter().map(|(name, word)| ((spec.name.clone(), name), word)));
            classes.adopt(templates);
            learned
        });
        Service::new(spec.name.clone(), config.service_limits, classes, known, fastrand::Rng::new())
    };
    let services: Vec<_> = config.services.iter().map(service).collect();
    (Directory::new(routes(&config.services), services), words)
}

/// What runs on the control plane's thread.
struct ControlPlane {
    state: Arc<ControlState>,
    keeper: Option<Keeper>,
    observers: Option<Arc<Observers>>,
    exporter: Option<Exporter>,
    shutdown: Shutdown,
    drain_timeout: Duration,
    certificates: Vec<Arc<Certificates>>,
    stop: Watch,
}

impl ControlPlane {
    async fn run(self, server: AdminServer, router: Router) -> Result<(), RunError> {
        // Dropped when this ends, in whatever way: data threads must not run on unwatched.
        let _data_path_ends_too = StopOnDrop(self.shutdown.clone());
        tokio::task::spawn(control::run_ticker(self.state.clone(), self.stop.clone()));
        if let Some(keeper) = self.keeper {
            tokio::task::spawn(keeper.run());
        }
        tokio::task::spawn(supervisor::keep_informed(self.shutdown.watch()));
        tokio::task::spawn(keep_fresh(self.certificates));
        if let Some(observers) = self.observers.filter(|observers| observers.has_access_log()) {
            tokio::task::spawn(reopen_on_hangup(observers));
        }
        let exporting = self.exporter.map(|exporter| tokio::task::spawn(exporter.run()));
        tokio::task::spawn(limit_drain(self.state.clone(), self.shutdown.clone(), self.drain_timeout));
        let (stop, succession) = (self.stop, self.shutdown.watch());
        let served = server.serve_until(router, until_superfluous(stop.clone(), succession)).await;
        if served.is_ok() {
            stop.requested().await;
        }
        if !self.state.is_succeeded() {
            supervisor::stopping();
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

/// Says what a stop waits for, and cuts it off after `timeout`.
async fn limit_drain(state: Arc<ControlState>, shutdown: Shutdown, timeout: Duration) {
    shutdown.watch().leaving().await;
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

/// SIGHUP says that the access log's file was renamed.
async fn reopen_on_hangup(observers: Arc<Observers>) {
    match signal(SignalKind::hangup()) {
        Ok(mut hangups) => {
            while hangups.recv().await.is_some() {
                observers.reopen();
            }
        }
        Err(error) => tracing::warn!("SIGHUP will not open the access log again: {error}"),
    }
}

struct StopOnDrop(Shutdown);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.trigger_now();
    }
}
