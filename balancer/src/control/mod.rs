//! The control plane: reports in, plans out, and everything that people and Prometheus look at.
//!
//! On a runtime of its own: no report, scrape or dashboard can slow a request.

mod actions;
mod admission;
mod api;
mod dashboard;
mod decision_metrics;
mod decisions;
mod events;
pub mod explain;
mod health;
mod history;
mod ingest;
mod keeper;
mod learned;
mod live;
mod merging;
pub mod planning;
mod pool_metrics;
mod probe;
mod pulse;
mod reconfigure;
mod release;
mod reloads;
mod snapshot;
pub mod sources;
mod state;
mod suspects;
mod ticker;
pub mod versions;
pub mod view;

use std::sync::Arc;

use axum::Router;
use sluice_process::Readiness;
use sluice_process::admin::{Access, common_routes, list_paths, protect};
use sluice_process::openmetrics::Exposition;

pub use decision_metrics::DecisionCollector;
pub use decisions::{DecisionFile, DecisionLog};
pub use events::{Event, Events};
pub use keeper::{Keeper, saved};
pub use merging::Unwanted;
pub use pool_metrics::{ControlMetrics, PoolCollector};
pub use state::ControlState;
pub use ticker::run as run_ticker;

const PATHS: &[&str] = &[
    "GET /",
    "GET /metrics",
    "GET /healthz",
    "GET /readyz",
    "POST /v1/report",
    "GET /v1/instances",
    "GET /v1/classes",
    "GET /v1/plan",
    "GET /v1/explain?method=&host=&path=&header=",
    "GET /v1/events",
    "GET /v1/live",
    "GET /v1/decisions?service=&n=",
    "GET /v1/reloads",
    "POST /v1/instances/NAME/drain",
    "POST /v1/instances/NAME/ready",
    "POST /v1/instances/NAME/maintenance",
    "POST /v1/instances/NAME/unbind",
];

/// The admin endpoints of design.md, section 4.
pub fn router(
    state: &Arc<ControlState>,
    exported: Exposition,
    readiness: Arc<Readiness>,
    access: Access,
) -> Router {
    let own = Router::new()
        .merge(api::routes())
        .merge(actions::routes())
        .merge(explain::routes())
        .merge(events::routes())
        .merge(live::routes())
        .merge(decisions::routes())
        .merge(reloads::routes())
        .merge(dashboard::routes())
        .with_state(state.clone());
    let reports = ingest::routes(state.clone(), access.clone(), PATHS);
    protect(list_paths(common_routes(exported, readiness).merge(own), PATHS), access).merge(reports)
}
