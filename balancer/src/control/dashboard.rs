//! `GET /`: the dashboard, files in the binary. They load nothing but each other and the admin endpoints.

use std::sync::Arc;

use axum::Router;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;

use crate::control::ControlState;

macro_rules! file {
    ($name:literal, $kind:literal) => {
        ($name, $kind, include_str!(concat!("dashboard/", $name)))
    };
}

/// Name, media type and text.
const FILES: &[(&str, &str, &str)] = &[
    file!("base.css", "text/css"),
    file!("panels.css", "text/css"),
    file!("icon.svg", "image/svg+xml"),
    file!("actions.js", "text/javascript"),
    file!("app.js", "text/javascript"),
    file!("classes.js", "text/javascript"),
    file!("dom.js", "text/javascript"),
    file!("explain.js", "text/javascript"),
    file!("flow.js", "text/javascript"),
    file!("format.js", "text/javascript"),
    file!("instances.js", "text/javascript"),
    file!("layout.js", "text/javascript"),
    file!("plots.js", "text/javascript"),
    file!("scale.js", "text/javascript"),
    file!("stream.js", "text/javascript"),
    file!("timeline.js", "text/javascript"),
];

pub(super) fn routes() -> Router<Arc<ControlState>> {
    Router::new()
        .route("/", get(|| async { Html(include_str!("dashboard/index.html")) }))
        .route("/dashboard/{name}", get(file))
}

async fn file(Path(name): Path<String>) -> Response {
    match FILES.iter().find(|(own, ..)| *own == name) {
        Some((_, kind, text)) => ([(CONTENT_TYPE, *kind)], *text).into_response(),
        None => (StatusCode::NOT_FOUND, "the dashboard has no such file: see GET /\n").into_response(),
    }
}
