//! `GET /`: the dashboard, three files in the binary.

use std::sync::Arc;

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::response::{Html, IntoResponse};
use axum::routing::get;

use crate::control::ControlState;

pub(super) fn routes() -> Router<Arc<ControlState>> {
    Router::new()
        .route("/", get(|| async { Html(include_str!("dashboard/index.html")) }))
        .route(
            "/dashboard.js",
            get(|| async { file("text/javascript", include_str!("dashboard/dashboard.js")) }),
        )
        .route("/dashboard.css", get(|| async { file("text/css", include_str!("dashboard/dashboard.css")) }))
}

fn file(kind: &'static str, text: &'static str) -> impl IntoResponse {
    ([(CONTENT_TYPE, kind)], text)
}
