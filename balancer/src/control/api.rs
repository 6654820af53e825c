//! `GET /v1/instances`, `/v1/classes`, `/v1/plan`.

use std::sync::Arc;

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};

use crate::control::ControlState;
use crate::control::planning::Plan;
use crate::control::view::{self, ClassView, InstanceView};

pub(super) fn routes() -> Router<Arc<ControlState>> {
    Router::new()
        .route("/v1/instances", get(instances))
        .route("/v1/classes", get(classes))
        .route("/v1/plan", get(plan))
}

async fn instances(State(state): State<Arc<ControlState>>) -> Json<Vec<InstanceView>> {
    Json(view::instances(&state))
}

async fn classes(State(state): State<Arc<ControlState>>) -> Json<Vec<ClassView>> {
    Json(view::classes(&state))
}

async fn plan(State(state): State<Arc<ControlState>>) -> Json<Plan> {
    Json(state.plan().as_ref().clone())
}
