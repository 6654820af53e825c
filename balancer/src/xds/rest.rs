//! `POST /v3/discovery:endpoints`: the same in JSON, for those who poll.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::xds::conversation::{Conversation, Excess};
use crate::xds::endpoint::Told;
use crate::xds::messages::{ASSIGNMENT, DiscoveryRequest, HealthStatus};
use crate::xds::resource::keys;
use crate::xds::sotw::StateOfTheWorld;
use crate::xds::streams::Shared;
use crate::xds::table::Found;

/// What is read of a request. Both spellings are JSON of protocol buffers.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Asked {
    #[serde(default, alias = "versionInfo")]
    version_info: String,
    #[serde(default, alias = "resourceNames")]
    resource_names: Vec<String>,
    #[serde(default, alias = "typeUrl")]
    type_url: String,
}

pub(super) async fn fetch(State(shared): State<Arc<Shared>>, Json(asked): Json<Asked>) -> Response {
    let table = shared.tables.borrow().clone();
    let names = asked.resource_names.clone();
    let request = DiscoveryRequest {
        resource_names: asked.resource_names,
        type_url: asked.type_url,
        ..DiscoveryRequest::default()
    };
    let mut conversation = StateOfTheWorld::default();
    if let Err(excess @ Excess) = conversation.hear(request) {
        return (StatusCode::BAD_REQUEST, format!("{excess}\n")).into_response();
    }
    let Some(said) = conversation.say(&table) else {
        return (StatusCode::NOT_FOUND, "no such resource, or nothing is known of it yet\n").into_response();
    };
    if said.version_info == asked.version_info {
        return StatusCode::NOT_MODIFIED.into_response();
    }
    let resources = names.iter().filter_map(|name| match table.find(name) {
        Found::Assignment(assignment) => Some(resource(name, &assignment.told)),
        Found::NotYet | Found::Nothing => None,
    });
    let resources: Vec<_> = resources.collect();
    Json(json!({ "versionInfo": said.version_info, "typeUrl": ASSIGNMENT, "resources": resources }))
        .into_response()
}

fn resource(name: &str, told: &[Told]) -> Value {
    let endpoints: Vec<_> = told.iter().map(endpoint).collect();
    json!({ "@type": ASSIGNMENT, "clusterName": name, "endpoints": [{ "lbEndpoints": endpoints }] })
}

fn endpoint(told: &Told) -> Value {
    let address = json!({ "address": told.address.ip().to_string(), "portValue": told.address.port() });
    json!({
        "endpoint": { "address": { "socketAddress": address } },
        "healthStatus": health(told.health),
        "metadata": { "filterMetadata": { "envoy.lb": keys(told) } },
        "loadBalancingWeight": told.weight,
    })
}

fn health(health: HealthStatus) -> &'static str {
    match health {
        HealthStatus::Unknown => "UNKNOWN",
        HealthStatus::Healthy => "HEALTHY",
        HealthStatus::Unhealthy => "UNHEALTHY",
        HealthStatus::Draining => "DRAINING",
        HealthStatus::Timeout => "TIMEOUT",
        HealthStatus::Degraded => "DEGRADED",
    }
}
