//! What runs on the control plane's thread, and how it ends.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use sluice_process::admin::{AdminServer, Ending};
use sluice_process::{RunError, Shutdown, Watch, supervisor};
use tokio::sync::watch;
use tokio::time::sleep;

use crate::control::{self, ControlState, Keeper, sources};
use crate::listeners::{SharedCertificates, keep_fresh};
use crate::observe::Exporter;
use crate::reload::{self, Reloader};
use crate::xds::{self, Teller, XdsMetrics, XdsServer};

/// What runs on the control plane's thread.
pub(crate) struct ControlPlane {
    pub(crate) state: Arc<ControlState>,
    pub(crate) reloader: Arc<Reloader>,
    pub(crate) keeper: Option<Keeper>,
    pub(crate) access: sources::Access,
    pub(crate) exporter: Option<Exporter>,
    pub(crate) shutdown: Shutdown,
    pub(crate) certificates: SharedCertificates,
    pub(crate) xds: Option<XdsPlane>,
    pub(crate) stop: Watch,
}

/// Endpoint discovery, if Envoys may ask for it.
pub(crate) struct XdsPlane {
    pub(crate) server: XdsServer,
    pub(crate) teller: Teller,
    pub(crate) metrics: XdsMetrics,
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
    pub(crate) async fn run(self, server: AdminServer, router: Router) -> Result<(), RunError> {
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
