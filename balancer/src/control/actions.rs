//! The operator's word: `POST /v1/instances/NAME/drain|ready|maintenance|unbind[?service=NAME]`.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::routing::post;
use serde::Deserialize;
use sluice_proto::{InstanceName, ServiceName};

use crate::control::ControlState;
use crate::decide::membership::{Key, Routing, Word};

pub(super) fn routes() -> Router<Arc<ControlState>> {
    Router::new().route("/v1/instances/{name}/{word}", post(act))
}

#[derive(Deserialize)]
struct Which {
    service: Option<ServiceName>,
}

type Answer = (StatusCode, String);

async fn act(
    State(state): State<Arc<ControlState>>,
    Path((name, word)): Path<(String, String)>,
    Query(which): Query<Which>,
) -> Answer {
    let found = find(&state, &name, which.service);
    match (found, word.as_str()) {
        (Err(refused), _) => refused,
        (Ok(key), "drain") => operate(&state, &key, Word::Drain),
        (Ok(key), "ready") => operate(&state, &key, Word::Ready),
        (Ok(key), "maintenance") => operate(&state, &key, Word::Maintenance),
        (Ok(key), "unbind") => unbind(&state, &key),
        (Ok(_), other) => {
            let actions = "drain, ready, maintenance or unbind";
            (StatusCode::NOT_FOUND, format!("{other:?} is no action: {actions}\n"))
        }
    }
}

fn operate(state: &ControlState, key: &Key, word: Word) -> Answer {
    match state.operate(key, word) {
        Some(Routing::Routed) => (StatusCode::OK, format!("{} gets requests\n", key.1)),
        Some(Routing::Excluded(reason)) => {
            (StatusCode::OK, format!("{} gets no requests: {reason}\n", key.1))
        }
        None => (StatusCode::NOT_FOUND, format!("{} has just been forgotten\n", key.1)),
    }
}

fn unbind(state: &ControlState, key: &Key) -> Answer {
    match state.unbind(key) {
        true => (StatusCode::OK, format!("{} belongs to whoever reports under it next\n", key.1)),
        false => (StatusCode::CONFLICT, format!("{} is of the configuration and has no agent\n", key.1)),
    }
}

/// The one instance of that name.
fn find(state: &ControlState, name: &str, service: Option<ServiceName>) -> Result<Key, Answer> {
    let unknown =
        || (StatusCode::NOT_FOUND, format!("no instance is named {name:?}: see GET /v1/instances\n"));
    let name: InstanceName = name.parse().map_err(|_| unknown())?;
    let mut found = state.named(&name);
    found.retain(|key| service.as_ref().is_none_or(|service| key.0 == *service));
    match (found.pop(), found.is_empty()) {
        (None, _) => Err(unknown()),
        (Some(key), true) => Ok(key),
        (Some(_), false) => {
            let line = format!("several services have an instance {name}: add ?service=NAME\n");
            Err((StatusCode::CONFLICT, line))
        }
    }
}
