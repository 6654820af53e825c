//! From a configuration to threads at work, and back.

use std::{
    net::{SocketAddr, TcpListener},
    sync::Arc,
};

use arc_swap::{ArcSwap, ArcSwapOption};
use prometheus::Registry;
use sluice_process::{
    Readiness, RunError, Shutdown, TokenFile,
    admin::{Access, AdminServer},
    control::OwnThread,
    descriptors,
    discover::Resolver,
    metrics::registry,
    reload::{self, Cause, Reloads, Source},
    run_on_own_thread, shutdown, supervisor,
    upgrade::{Heritage, Predecessor, Sockets, UpgradeMetrics, Upgrades},
};
use sluice_proto::{BootId, InstanceName, Measured, Target};
use sluice_relay::{
    Spool,
    listen::{self, Inherited, Listener, Place, Protocol},
    metrics::RelayMetrics,
    spool::SpoolMetrics,
    threads::DataThreads,
};
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};

use crate::{
    PROGRAM,
    activity::Activity,
    api,
    clock::Clock,
    compress::Compressor,
    config::{Config, Options, Path, ReleaseOption},
    control::{self, Control, Followers, Tellers},
    data,
    discover::Crew,
    drain::DataPath,
    figures::Figures,
    files::Files,
    follow::{FollowMetrics, LogFollower, Scraper},
    gate::Gate,
    grants::Grants,
    health::Probe,
    languages::{AgentCheck, Heartbeat, LanguageMetrics, Load, Told},
    measure::Recorder,
    metrics::AgentMetrics,
    orca::{self, Orca, stream},
    release::{self, Releases},
    reload::Reloader,
    report::{Collector, Identity, Link, Links, Sender},
    shared::{Shared, register_gauges},
    state::StateCell,
    succession::{Inheritance, Succession},
};

/// An agent at work. Dropped, it stops at once unless somebody else holds its [`Shutdown`].
#[must_use = "an agent that is dropped stops"]
pub struct Running {
    data_addr: Option<SocketAddr>,
    admin_addr: SocketAddr,
    agent_check_addr: Option<SocketAddr>,
    orca_addr: Option<SocketAddr>,
    address: Target,
    reloader: Option<Arc<Reloader>>,
    control: OwnThread<Result<(), RunError>>,
    /// Those of the data path, and the one of `--orca-listen`.
    data: Vec<DataThreads>,
    _shutdown: Shutdown,
}

impl Running {
    /// Where requests are taken; `None` in mode passive.
    pub fn data_addr(&self) -> Option<SocketAddr> {
        self.data_addr
    }

    pub fn admin_addr(&self) -> SocketAddr {
        self.admin_addr
    }

    /// Where HAProxy asks for the instance's state, if it may.
    pub fn agent_check_addr(&self) -> Option<SocketAddr> {
        self.agent_check_addr
    }

    /// Where load reports are streamed, with `--orca-listen`.
    pub fn orca_addr(&self) -> Option<SocketAddr> {
        self.orca_addr
    }

    /// Where balancers are told to send requests.
    pub fn address(&self) -> &Target {
        &self.address
    }

    /// Reads the configuration again, as on SIGHUP, if it is known where it came from.
    pub fn reload(&self) {
        if let Some(reloader) = &self.reloader {
            reloader.reload(Cause::Hangup);
        }
    }

    /// Waits, without blocking the runtime, until the agent is about to end; [`join`](Self::join) then returns at once.
    pub async fn ended(&mut self) {
        self.control.ended().await;
    }

    /// Blocks until the agent has ended, which takes a [`Shutdown`] or a failure.
    ///
    /// # Errors
    /// What ended it, other than being asked to.
    pub fn join(self) -> Result<(), RunError> {
        let control = self.control.join().map_err(RunError::failed);
        let data: Vec<_> = self.data.into_iter().map(|data| data.join().map_err(RunError::failed)).collect();
        control??;
        data.into_iter().collect()
    }
}

/// Starts an agent and returns once its ports are taken; port 0 takes a free one. Ends when `shutdown` says so, in
/// the steps of [`crate::drain`].
///
/// # Errors
/// [`RunError::Config`] for a token file or a directory that can not be used, or a name that can not be made;
/// [`RunError::Failed`] if an address is taken or a thread can not be started.
pub fn start(config: Config, shutdown: Shutdown) -> Result<Running, RunError> {
    start_from(None, config, shutdown)
}

/// [`start`], where `source` is what `config` came from: it is read again on SIGHUP, and when its file changes.
///
/// # Errors
/// As [`start`].
pub fn start_from(
    source: Option<Source<Options>>,
    config: Config,
    shutdown: Shutdown,
) -> Result<Running, RunError> {
    start_after(None, source, config, shutdown).map(|(running, _nobody_inherits)| running)
}

/// As [`start_from`], with the sockets and the knowledge of `predecessor` if there is one, which is relieved once all runs.
/// Also what there is to hand over in turn: as long as that is held, its addresses are listened on.
///
/// # Errors
/// As [`start`], or if the predecessor goes on after all.
pub fn start_after(
    predecessor: Option<Predecessor>,
    source: Option<Source<Options>>,
    config: Config,
    shutdown: Shutdown,
) -> Result<(Running, Heritage<Succession>), RunError> {
    descriptors::raise();
    let generation = predecessor.as_ref().map_or(0, Predecessor::generation);
    let former = predecessor.as_ref().map_or_else(Sockets::default, |old| old.sockets().clone());
    let sockets = Sockets::default();
    let inheritance = predecessor.map(Inheritance::of);
    let token = config.token_file.as_ref().map(TokenFile::open).transpose()?.map(Arc::new);
    let (data_addr, listeners) = listeners(&config, &former, &sockets)?;
    let agent_check = agent_check(&config, &former, &sockets).map_err(RunError::failed)?;
    let agent_check_addr =
        agent_check.as_ref().map(TcpListener::local_addr).transpose().map_err(RunError::failed)?;
    let orca = orca_listener(&config, &former, &sockets).map_err(RunError::failed)?;
    let orca_addr = orca.as_ref().map(TcpListener::local_addr).transpose().map_err(RunError::failed)?;
    let registry = registry(PROGRAM, env!("CARGO_PKG_VERSION"));
    let upgrades = UpgradeMetrics::register(&registry, generation);
    let admin = AdminServer::inherit(config.admin.addr, &registry, &former, &sockets);
    let admin = admin.map_err(RunError::failed)?;
    let admin = admin.over_tls(config.admin.tls.as_ref()).map_err(RunError::failed)?;
    let access = Access::register(&registry, token.clone(), config.admin.asks_for_certificates());
    let client = Sender::client(config.balancer_tls.clone()).map_err(RunError::failed)?;
    let readiness = Arc::new(Readiness::new());
    let mut gate = Gate::new(config.workers, config.queue_length, config.queue_timeout);
    if inheritance.is_some() {
        gate = gate.without_permits();
    }
    let shared = share(config, gate, data_addr, &registry, readiness.clone())?;
    let followers = followers(&shared, &registry)?;
    let relay = RelayMetrics::register(&registry);
    register_gauges(&shared, &registry);
    let clocks = Clock::all(&shared, &registry)?;
    release::register_gauges(&shared, &registry);
    orca::register_gauges(&shared, &registry);
    announce(&shared, data_addr, admin.local_addr());

    let stop = Shutdown::new();
    let (ended, ended_seen) = watch::channel(0);
    let threads = listeners.len() + usize::from(orca.is_some());
    let data_stop = stop.watch();
    let (sending, sending_token) = (shared.clone(), token.clone());
    let sender = move |link: &Arc<Link>| {
        // First: the report that is made because it joins is for it as well.
        let reports = sending.published.subscribe();
        let share = sending.grants.join();
        let interval = sending.config.interval;
        Sender::new(client.clone(), link.clone(), share, sending_token.clone(), interval, reports)
    };
    let admin_addr = admin.local_addr();
    let reloader = source.map(|source| Arc::new(Reloader::new(source, shared.clone())));
    let mut control = Control {
        probe: Probe::new(shared.config.instance.clone(), &shared.config.health).map_err(RunError::failed)?,
        collector: Collector::new(shared.clone(), fastrand::Rng::new()),
        clocks,
        crew: Crew::new(shared.clone(), Resolver::new(shared.config.dns_server), sender),
        tellers: tellers(&shared, agent_check)?,
        followers,
        router: api::router(shared.clone(), registry, readiness, access),
        admin,
        data: DataPath { stop, threads, ended: ended_seen },
        shared: shared.clone(),
        asked: shutdown.watch(),
        reloader: reloader.clone(),
        lent: None,
    };
    // Before the control thread, which takes an end of theirs for a failure. If that thread can not be started, the
    // last hold on `stop` goes with it, and these end by themselves.
    let mut data = Vec::new();
    if data_addr.is_some() {
        data.push(data::start(&shared, listeners, &relay, &data_stop, &ended).map_err(RunError::failed)?);
    }
    if let Some(listener) = orca {
        data.push(stream::start(&shared, listener, &relay, &data_stop, &ended).map_err(RunError::failed)?);
    }
    drop(ended);
    if let Some(inheritance) = inheritance {
        control.lent = inheritance.claim(&shared)?;
    }
    let control =
        run_on_own_thread("agent-control", move || control::run(control)).map_err(RunError::failed)?;
    let address = shared.identity.address.clone();
    let incumbent = Succession::new(shared);
    let heritage = Heritage { sockets, generation, metrics: upgrades, incumbent };
    let running = Running {
        data_addr,
        admin_addr,
        agent_check_addr,
        orca_addr,
        address,
        reloader,
        control,
        data,
        _shutdown: shutdown,
    };
    Ok((running, heritage))
}

/// [`start`], then SIGTERM, SIGINT and SIGUSR2 until the end: what the program does.
///
/// # Errors
/// As [`start`] and [`Running::join`].
pub fn run(source: Source<Options>, config: Config) -> Result<(), RunError> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(RunError::failed)?;
    runtime.block_on(async {
        let shutdown = Shutdown::new();
        let signals = tokio::spawn(shutdown::signals(shutdown.clone()));
        // Lets the handlers be installed, or an early signal would kill a half-started agent.
        tokio::task::yield_now().await;
        let upgrades = Upgrades::watch(&shutdown)?;
        let predecessor = Predecessor::find(PROGRAM, env!("CARGO_PKG_VERSION")).map_err(RunError::failed)?;
        reload::outlive_hangups().map_err(RunError::failed)?;
        let (mut running, heritage) = start_after(predecessor, Some(source), config, shutdown)?;
        supervisor::ready();
        upgrades.offer(heritage)?;
        running.ended().await;
        signals.abort();
        running.join()
    })
}

/// Where requests are taken, and each data thread's part of it; in mode passive there is none.
fn listeners(
    config: &Config,
    former: &Sockets,
    heritage: &Sockets,
) -> Result<(Option<SocketAddr>, Vec<Vec<Listener>>), RunError> {
    let Path::Inline { listen } = config.path else { return Ok((None, Vec::new())) };
    let (place, threads) = (Place::Ip(listen), usize::from(config.threads));
    let sockets =
        listen::open(&place, threads, &Inherited::none().after(former)).map_err(RunError::failed)?;
    listen::bequeath(&place, &sockets, heritage).map_err(RunError::failed)?;
    let address = sockets[0].ip_address().map_err(RunError::failed)?;
    let h2c = config.languages.orca_on_listen;
    let listener = |socket| Listener { socket, protocol: Protocol { h2c, ..Protocol::default() } };
    let shares = listen::spread(&sockets, threads).map_err(RunError::failed)?;
    Ok((address, shares.into_iter().map(|share| share.into_iter().map(listener).collect()).collect()))
}

/// Where HAProxy asks, if it may.
fn agent_check(
    config: &Config,
    former: &Sockets,
    heritage: &Sockets,
) -> std::io::Result<Option<TcpListener>> {
    config.languages.agent_check.map(|address| AgentCheck::bind(address, former, heritage)).transpose()
}

/// Where load reports are streamed, if they are on an address of their own.
fn orca_listener(
    config: &Config,
    former: &Sockets,
    heritage: &Sockets,
) -> std::io::Result<Option<TcpListener>> {
    config.languages.orca_listen.map(|address| stream::bind(address, former, heritage)).transpose()
}

/// Those who learn of requests that do not come through here.
fn followers(shared: &Arc<Shared>, registry: &Registry) -> Result<Followers, RunError> {
    let follow = &shared.config.follow;
    if !follow.counts_requests() {
        return Ok(Followers::default());
    }
    let metrics = FollowMetrics::register(registry);
    let scraper = |config| Scraper::new(shared.clone(), config, metrics.clone()).map_err(RunError::failed);
    Ok(Followers {
        log: follow.log.as_ref().map(|config| LogFollower::new(shared.clone(), config, metrics.clone())),
        scraper: follow.scrape.as_ref().map(scraper).transpose()?,
    })
}

/// Those who tell peers.
fn tellers(shared: &Arc<Shared>, agent_check: Option<TcpListener>) -> Result<Tellers, RunError> {
    let heartbeat = shared.config.languages.heartbeat;
    Ok(Tellers {
        agent_check: agent_check.map(|listener| AgentCheck::new(listener, shared.clone())),
        heartbeat: heartbeat
            .map(|to| Heartbeat::new(to, shared.clone()))
            .transpose()
            .map_err(RunError::failed)?,
    })
}

/// What an agent knows before anybody has told it something.
fn figures(config: &Config) -> Figures {
    match config.path {
        Path::Inline { .. } => Figures::new(Measured::by_agent(), "the requests, which come through here"),
        Path::Passive if config.follow.counts_requests() => {
            Figures::new(Measured::nothing(), "nothing: not looked yet")
        }
        Path::Passive => Figures::new(Measured::by_application(), "the application, by POST /v1/observe"),
    }
}

fn share(
    config: Config,
    gate: Gate,
    data_addr: Option<SocketAddr>,
    registry: &Registry,
    readiness: Arc<Readiness>,
) -> Result<Arc<Shared>, RunError> {
    let started = Instant::now();
    let metrics = AgentMetrics::register(registry);
    let releases = match (config.release, config.path) {
        (ReleaseOption::Auto, Path::Inline { .. }) => Releases::learned(config.workers, registry),
        _ => Releases::fixed(config.release().point, registry),
    };
    let spool = Spool::new(&config.buffering.spool, SpoolMetrics::register(registry));
    if data_addr.is_some() {
        spool.probe();
    }
    Ok(Arc::new(Shared {
        identity: identity(&config, data_addr)?,
        started,
        releases,
        gate,
        activity: Arc::new(Activity::default()),
        recorder: Recorder::new(started),
        compressor: ArcSwapOption::from(
            Compressor::start(&config.compress, registry).map_err(RunError::failed)?.map(Arc::new),
        ),
        in_force: ArcSwap::from_pointee(config.clone()),
        reloads: Reloads::register(registry),
        figures: figures(&config),
        own: Arc::default(),
        spool,
        state: StateCell::new(readiness),
        connection_refused: Notify::new(),
        grants: Arc::new(Grants::new(config.workers)),
        links: Links::default(),
        load: Load::default(),
        languages: LanguageMetrics::register(registry),
        told: Told::default(),
        orca: Orca::new(config.languages.orca, registry),
        published: watch::Sender::new(None),
        metrics,
        files: Files::new(&config, registry)?,
        config,
    }))
}

fn identity(config: &Config, data_addr: Option<SocketAddr>) -> Result<Identity, RunError> {
    let reached = data_addr.map_or_else(|| config.instance.clone(), Target::from);
    let address = config.advertise.clone().unwrap_or(reached);
    let named = |name: &Target| {
        name.as_str().parse::<InstanceName>().map_err(|error| {
            sluice_process::ConfigError::missing(
                "--name",
                format!("the address does not serve as one: {error}"),
            )
        })
    };
    Ok(Identity {
        name: config.name.clone().map_or_else(|| named(&address), Ok)?,
        service: config.service.clone(),
        address,
        boot_id: boot_id(),
        interval: config.interval,
        workers: config.workers,
        release: config.release(),
        mode: config.path.mode(),
        version_label: config.version_label.clone(),
    })
}

fn boot_id() -> BootId {
    format!("{:032x}", fastrand::u128(..)).parse().expect("32 hexadecimal digits are a name")
}

fn announce(shared: &Shared, data: Option<SocketAddr>, admin: SocketAddr) {
    let identity = &shared.identity;
    let balancers: Vec<_> = shared.config.balancers.iter().map(ToString::to_string).collect();
    tracing::info!(
        name = %identity.name,
        service = %identity.service,
        mode = ?identity.mode,
        listen = data.map(tracing::field::display),
        advertise = %identity.address,
        instance = %shared.config.instance,
        workers = identity.workers,
        release = ?identity.release.point,
        balancers = balancers.join(" "),
        %admin,
        boot_id = %identity.boot_id,
        "agent starts"
    );
}
