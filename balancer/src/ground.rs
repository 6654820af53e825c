//! What a balancer stands on before anything runs: its configuration, its knowledge, and its addresses.

use std::sync::Arc;

use arc_swap::ArcSwap;
use axum::Router;
use prometheus::Registry;
use sluice_process::admin::{Access, AdminServer};
use sluice_process::openmetrics::{Exemplars, Exposition};
use sluice_process::upgrade::{Predecessor, Sockets};
use sluice_process::{Readiness, RunError, TokenFile, Watch};
use sluice_relay::Doors;
use sluice_relay::head::Position;
use sluice_relay::metrics::RelayMetrics;

use crate::config::Config;
use crate::control::planning::unix_ms;
use crate::control::{self, ControlMetrics, ControlState, DecisionCollector, DecisionLog, PoolCollector};
use crate::control_plane::XdsPlane;
use crate::data::{DataPath, Settings, Stand};
use crate::listeners::Listeners;
use crate::metrics::RequestMetrics;
use crate::observe::Observers;
use crate::pool::now;
use crate::services::ServiceMaker;
use crate::succession::Inheritance;
use crate::xds::{Teller, XdsError, XdsMetrics, XdsServer};

/// What every part of a balancer is made from.
pub(crate) struct Ground {
    pub(crate) config: Config,
    pub(crate) registry: Registry,
    exemplars: Exemplars,
    readiness: Arc<Readiness>,
    /// The predecessor's, to be listened on further.
    former: Sockets,
    /// Those that a successor is to have.
    pub(crate) sockets: Sockets,
}

/// Where a balancer listens. Nothing is served yet.
pub(crate) struct Doorways {
    pub(crate) admin: AdminServer,
    pub(crate) xds: Option<XdsPlane>,
    pub(crate) listeners: Listeners,
    pub(crate) doors: Arc<Doors>,
    /// For each data thread.
    pub(crate) stands: Vec<Vec<Stand>>,
}

impl Ground {
    pub(crate) fn new(config: Config, predecessor: Option<&Predecessor>) -> Self {
        Self {
            config,
            registry: sluice_process::metrics::registry("sluice-balancer", env!("CARGO_PKG_VERSION")),
            exemplars: Exemplars::default(),
            readiness: Arc::new(Readiness::new()),
            former: predecessor.map_or_else(Sockets::default, |old| old.sockets().clone()),
            sockets: Sockets::default(),
        }
    }

    pub(crate) fn token(&self) -> Result<Option<Arc<TokenFile>>, RunError> {
        let path = self.config.token_file.as_ref();
        Ok(path.map(|path| TokenFile::open(path).map(Arc::new)).transpose()?)
    }

    /// What is known of services and instances, at first what the predecessor knew.
    pub(crate) fn knowledge(&self, mut inheritance: Inheritance) -> (Arc<ControlState>, ServiceMaker) {
        let (config, registry) = (&self.config, &self.registry);
        let metrics = RequestMetrics::register(registry, &self.exemplars, config.metric_classes);
        let services = ServiceMaker::new(config, metrics);
        let (directory, words) = services.directory(config, None, &inheritance);
        let decisions = |metrics: &ControlMetrics| {
            let (params, file) = (config.service_limits.plan, config.decision_log.clone());
            DecisionLog::new(params, unix_ms(), file, metrics.decision_failures.clone())
        };
        let state = ControlState::new(
            Arc::new(directory),
            &config.instances,
            words,
            registry,
            self.readiness.clone(),
            config.report_rate,
            decisions,
        );
        state.inherit_found(inheritance.found());
        state.take_over(inheritance.reports());
        PoolCollector::register(registry, &state);
        DecisionCollector::register(registry, &state);
        (state, services)
    }

    pub(crate) fn data_path(
        &self,
        state: &ControlState,
        observers: Option<Arc<Observers>>,
        stop: Watch,
    ) -> Arc<DataPath> {
        let config = &self.config;
        let settings = Settings {
            directory: state.directory(),
            position: Position::Edge { trusted: config.trusted_proxies.clone() },
            limits: config.limits.upstream.clone(),
            max_body: config.limits.client.body,
            reveal: config.reveal,
            observers,
        };
        Arc::new(DataPath {
            settings: ArcSwap::from_pointee(settings),
            relay_metrics: RelayMetrics::register(&self.registry),
            stop,
        })
    }

    pub(crate) fn open(&self) -> Result<Doorways, RunError> {
        let (config, registry) = (&self.config, &self.registry);
        let (former, sockets) = (&self.former, &self.sockets);
        let admin =
            AdminServer::inherit(config.admin, registry, former, sockets).map_err(RunError::failed)?;
        let admin = admin.over_tls(config.admin_tls.as_ref()).map_err(RunError::failed)?;
        let xds = self.xds().map_err(RunError::failed)?;
        let mut listeners = Listeners::new(registry, config.threads, former, sockets);
        let prepared = listeners.prepare(&config.listen)?;
        let doors = Doors::new(&config.limits.client, config.trusted_proxies.clone());
        let stands = listeners.commit(prepared, &config.limits.client, &doors, false)?;
        let admin = admin.with_connections(config.admin_connections);
        Ok(Doorways { admin, xds, listeners, doors, stands })
    }

    fn xds(&self) -> Result<Option<XdsPlane>, XdsError> {
        let metrics = XdsMetrics::register(&self.registry);
        // By then, requests were let wait for an instance as well.
        let settles = now() + self.config.service_limits.startup_hold;
        let Some(spec) = &self.config.xds else { return Ok(None) };
        let server = XdsServer::inherit(spec, &self.former, &self.sockets)?;
        Ok(Some(XdsPlane { server, teller: Teller::new(settles), metrics }))
    }

    pub(crate) fn router(&self, state: &Arc<ControlState>, token: Option<Arc<TokenFile>>) -> Router {
        let certificates_asked = self.config.admin_tls.as_ref().is_some_and(|tls| tls.client_ca.is_some());
        let access = Access::register(&self.registry, token, certificates_asked);
        let exported = Exposition { registry: self.registry.clone(), exemplars: self.exemplars.clone() };
        control::router(state, exported, self.readiness.clone(), access)
    }
}
