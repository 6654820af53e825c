//! Puts the agent together, runs it, and takes it down in order.

use std::{net::SocketAddr, net::TcpListener, sync::Arc};

use axum::Router;
use prometheus::Registry;
use sluice_process::{
    ConfigError, Readiness, RunError, Shutdown, TokenFile, Watch, admin::AdminServer, control::OwnThread,
    run_on_own_thread,
};
use sluice_proto::{InstanceName, Target};
use sluice_relay::{listen, metrics::RelayMetrics, threads::DataThreads};
use tokio::{sync::watch, time::Instant};

use crate::{
    api,
    config::{Config, Path},
    data,
    drain::{self, DataPath},
    gate::Gate,
    health::{self, Probe},
    measure::Recorder,
    metrics::AgentMetrics,
    report::{Collector, Identity, Link, Sender},
    shared::{Shared, register_gauges},
    state::StateCell,
};

/// An agent at work.
pub struct Running {
    /// Where it takes requests; `None` in mode passive.
    pub listen: Option<SocketAddr>,
    pub admin: SocketAddr,
    pub shared: Arc<Shared>,
    data: DataThreads,
    control: OwnThread<Result<(), RunError>>,
}

/// Starts an agent; it drains and ends when `shutdown` is triggered. Several may run in one process.
///
/// # Errors
/// If an address is taken, the token can not be read, a name can not be made or a thread can not be started.
pub fn start(config: Config, shutdown: &Shutdown) -> Result<Running, RunError> {
    let token = config.token_file.as_ref().map(|path| TokenFile::open(path).map(Arc::new)).transpose()?;
    let admin_server = AdminServer::bind(config.admin).map_err(RunError::failed)?;
    let admin = admin_server.local_addr();
    let listeners = match config.path {
        Path::Inline { listen } => listen::bind(listen, config.threads.into()).map_err(RunError::failed)?,
        Path::Passive => Vec::new(),
    };
    let listen = listeners.first().map(TcpListener::local_addr).transpose().map_err(RunError::failed)?;

    let registry = sluice_process::metrics::registry("sluice-agent", env!("CARGO_PKG_VERSION"));
    let readiness = Arc::new(Readiness::new());
    let relay = RelayMetrics::register(&registry);
    let shared = Arc::new(share(config, listen, &registry, readiness.clone())?);
    register_gauges(&shared, &registry);
    let probe =
        Probe::new(shared.config.instance.clone(), &shared.config.health).map_err(RunError::failed)?;
    let client = Sender::client().map_err(RunError::failed)?;

    let data_stop = Shutdown::new();
    let ended = watch::Sender::new(0);
    let path = DataPath { stop: data_stop.clone(), threads: listeners.len(), ended: ended.subscribe() };
    let router = api::router(shared.clone(), registry, readiness, token.clone());
    let control =
        ControlPlane { shared: shared.clone(), probe, client, token, data: path, asked: shutdown.watch() };
    let control = run_on_own_thread("agent-control", move || control.run(admin_server, router));
    let control = control.map_err(RunError::failed)?;
    let data =
        data::start(&shared, listeners, &relay, &data_stop.watch(), &ended).map_err(RunError::failed)?;
    tell(&shared, listen, admin);
    Ok(Running { listen, admin, shared, data, control })
}

impl Running {
    /// Blocks until the agent has left, see [`drain::see_out`].
    ///
    /// # Errors
    /// If a part of it failed or panicked.
    pub fn join(self) -> Result<(), RunError> {
        let control = self.control.join().map_err(RunError::failed).flatten();
        let data = self.data.join().map_err(RunError::failed);
        data.and(control)
    }
}

fn share(
    config: Config,
    listen: Option<SocketAddr>,
    registry: &Registry,
    readiness: Arc<Readiness>,
) -> Result<Shared, RunError> {
    let metrics = AgentMetrics::register(registry);
    let now = Instant::now();
    let links = config.balancers.iter().map(|url| Arc::new(Link::new(url.clone(), &metrics, now))).collect();
    Ok(Shared {
        identity: identity(&config, listen)?,
        started: now,
        gate: Gate::new(config.workers, config.queue_length, config.queue_timeout),
        activity: Arc::default(),
        recorder: Recorder::new(now),
        state: StateCell::new(readiness),
        metrics,
        connection_refused: tokio::sync::Notify::new(),
        links,
        published: watch::Sender::new(None),
        config,
    })
}

fn identity(config: &Config, listen: Option<SocketAddr>) -> Result<Identity, ConfigError> {
    let bound = listen.map_or_else(|| config.instance.clone(), Target::from);
    let address = config.advertise.clone().unwrap_or(bound);
    let name = match &config.name {
        Some(name) => name.clone(),
        None => address.as_str().parse::<InstanceName>().map_err(|_| {
            ConfigError::missing("--name", "the advertised address can not serve as a name; give one")
        })?,
    };
    let boot_id = format!("{:016x}", fastrand::u64(..)).parse().expect("hexadecimal digits are a name");
    Ok(Identity {
        name,
        service: config.service.clone(),
        address,
        boot_id,
        interval: config.interval,
        workers: config.workers,
        release: config.release(),
        mode: config.path.mode(),
        version_label: config.version_label.clone(),
    })
}

fn tell(shared: &Shared, listen: Option<SocketAddr>, admin: SocketAddr) {
    let Config { instance, balancers, workers, .. } = &shared.config;
    let name = &shared.identity.name;
    match listen {
        Some(listen) => {
            tracing::info!(%name, workers, "taking requests on http://{listen} for the instance at {instance}")
        }
        None => tracing::info!(%name, workers, "observing the instance at {instance}"),
    }
    for balancer in balancers {
        tracing::info!("reporting to {}", balancer.as_str());
    }
    tracing::info!("status and metrics at http://{admin}/v1/status and /metrics");
}

/// What runs on the control plane's thread.
struct ControlPlane {
    shared: Arc<Shared>,
    probe: Probe,
    client: reqwest::Client,
    token: Option<Arc<TokenFile>>,
    data: DataPath,
    asked: Watch,
}

impl ControlPlane {
    async fn run(self, server: AdminServer, router: Router) -> Result<(), RunError> {
        // Dropped when this ends, in whatever way: data threads must not run on unwatched.
        let _data_path_ends_too = StopOnDrop(self.data.stop.clone());
        self.start_reports();
        tokio::spawn(health::watch_over(self.shared.clone(), self.probe));
        let admin_stop = Shutdown::new();
        let admin_watch = admin_stop.watch();
        let mut admin = std::pin::pin!(server.serve(router, async move { admin_watch.requested().await }));
        tokio::select! {
            result = admin.as_mut() => return result.map_err(RunError::failed),
            () = lives(&self.data) => return Err(RunError::failed("a thread of the data path ended")),
            () = self.asked.requested() => {}
        }
        // The admin endpoints show the drain to its end.
        let see_out = async {
            drain::see_out(&self.shared, &self.data, &self.asked).await;
            admin_stop.trigger();
        };
        let (result, ()) = tokio::join!(admin, see_out);
        result.map_err(RunError::failed)
    }

    fn start_reports(&self) {
        let interval = self.shared.config.interval;
        for link in &self.shared.links {
            let reports = self.shared.published.subscribe();
            let sender =
                Sender::new(self.client.clone(), link.clone(), self.token.clone(), interval, reports);
            tokio::spawn(sender.run());
        }
        tokio::spawn(Collector::new(self.shared.clone(), fastrand::Rng::new()).run());
    }
}

/// Resolves when a data thread ended that nobody asked to; never in mode passive, which has none.
async fn lives(data: &DataPath) {
    if data.threads == 0 {
        std::future::pending::<()>().await;
    }
    data.any_ended().await;
}

struct StopOnDrop(Shutdown);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.trigger_now();
    }
}
