//! `GET /v1/reloads`: what became of reading the configuration again.

use std::sync::Arc;

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use sluice_process::reload::ReloadState;

use crate::control::ControlState;

pub(super) fn routes() -> Router<Arc<ControlState>> {
    Router::new().route("/v1/reloads", get(reloads))
}

async fn reloads(State(state): State<Arc<ControlState>>) -> Json<ReloadState> {
    Json(state.reloads.state())
}
