//! The agent's admin endpoints.

#[doc(hidden)] // for tests/fuzzing
pub mod fuzzing;
mod observe;
mod status;

use std::sync::Arc;

use axum::{
    Json, Router,
    body::Bytes,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use prometheus::Registry;
use sluice_process::{
    Readiness,
    admin::{Access, common_routes, list_paths, protect},
};
use sluice_proto::Mode;

use crate::{shared::Shared, state::Leaving};
use observe::ObserveError;
use status::Status;

const PATHS: &[&str] =
    &["GET /metrics", "GET /healthz", "GET /readyz", "GET /v1/status", "POST /v1/drain", "POST /v1/observe"];

/// All of them, behind what is asked of those who change something.
pub fn router(shared: Arc<Shared>, registry: Registry, readiness: Arc<Readiness>, access: Access) -> Router {
    let own = Router::new()
        .route("/v1/status", get(status))
        .route("/v1/drain", post(drain))
        .route("/v1/observe", post(observe))
        .with_state(shared);
    protect(list_paths(common_routes(registry, readiness).merge(own), PATHS), access)
}

async fn status(State(shared): State<Arc<Shared>>) -> Json<Status> {
    Json(Status::of(&shared))
}

/// Asks the balancers to send nothing new. The process stays up and serves what still comes: whoever asked knows
/// from the status when to stop it.
async fn drain(State(shared): State<Arc<Shared>>) -> Json<Status> {
    shared.state.leave(Leaving::Draining("drained by POST /v1/drain"));
    Json(Status::of(&shared))
}

async fn observe(State(shared): State<Arc<Shared>>, body: Bytes) -> Response {
    if shared.identity.mode == Mode::Inline {
        let text =
            "this agent is in mode inline and sees the requests itself; start it with --mode passive\n";
        return (StatusCode::CONFLICT, text).into_response();
    }
    if shared.config.follow.counts_requests() {
        let text =
            "this agent learns of the requests from --access-log or --scrape; they would be counted twice\n";
        return (StatusCode::CONFLICT, text).into_response();
    }
    match observe::parse(&body, &shared.classifier()) {
        Ok(observations) => {
            shared.recorder.record_all(observations.iter().map(observe::Checked::observation));
            observations.iter().for_each(|observation| observation.count(&shared.metrics));
            (StatusCode::OK, Json(serde_json::json!({ "taken": observations.len() }))).into_response()
        }
        Err(error) => {
            let status = match &error {
                ObserveError::Malformed(_) => StatusCode::BAD_REQUEST,
                ObserveError::Field { .. } => StatusCode::UNPROCESSABLE_ENTITY,
            };
            (status, format!("{error}\n")).into_response()
        }
    }
}
