//! `GET /v1/instances`, `/v1/classes`, `/v1/plan`.

use std::sync::Arc;

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};

use crate::control::ControlState;
use crate::control::view::{self, ClassView, InstanceView};
use crate::decide::plan::Plan;
use crate::pool::now;

pub(super) fn routes() -> Router<Arc<ControlState>> {
    Router::new()
        .route("/v1/instances", get(instances))
        .route("/v1/classes", get(classes))
        .route("/v1/plan", get(plan))
}

async fn instances(State(state): State<Arc<ControlState>>) -> Json<Vec<InstanceView>> {
    let now = now();
    let members = state.members();
    Json(members.iter().map(|(key, member)| view::instance(&state, key, member, now)).collect())
}

async fn classes(State(state): State<Arc<ControlState>>) -> Json<Vec<ClassView>> {
    let now = now();
    let mut views: Vec<_> = state
        .directory
        .iter()
        .flat_map(|service| {
            let all = service.classes.all(now);
            all.into_iter().map(|entry| view::class(service.name.as_str(), &entry, now)).collect::<Vec<_>>()
        })
        .collect();
    views.sort_by(|a, b| (&a.service, &a.class).cmp(&(&b.service, &b.class)));
    Json(views)
}

async fn plan(State(state): State<Arc<ControlState>>) -> Json<Plan> {
    Json(state.plan().as_ref().clone())
}
