use std::sync::Arc;

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, Method, StatusCode, Uri, header},
    response::{IntoResponse, Response},
    routing::get,
};
use prometheus::{TEXT_FORMAT, TextEncoder};

use crate::Readiness;
use crate::openmetrics::{self, Exposition};

/// What both programs answer: `GET /metrics`, `/healthz` (alive: it answers) and `/readyz` (able to work, or 503 and
/// why not).
pub fn common_routes(metrics: impl Into<Exposition>, readiness: Arc<Readiness>) -> Router {
    Router::new()
        .route("/metrics", get(self::metrics).with_state(metrics.into()))
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(readyz).with_state(readiness))
}

/// Answers unknown paths with 404 and `paths`, a line each, and known paths with another method likewise with 405.
/// `paths` reads as people type it: `GET /metrics`.
pub fn list_paths(router: Router, paths: &'static [&'static str]) -> Router {
    let listed = |status: StatusCode, method: Method, uri: Uri| (status, not_there(paths, &method, &uri));
    router
        .fallback(async move |method, uri| listed(StatusCode::NOT_FOUND, method, uri))
        .method_not_allowed_fallback(async move |method, uri| {
            listed(StatusCode::METHOD_NOT_ALLOWED, method, uri)
        })
}

/// Says what there is, in place of what was asked for.
pub fn not_there(paths: &[&str], method: &Method, uri: &Uri) -> String {
    let lines: String = paths.iter().map(|path| format!("  {path}\n")).collect();
    format!("no {method} {} here; there are:\n{lines}", uri.path())
}

/// In OpenMetrics, which has exemplars, for who asks for it.
async fn metrics(State(exported): State<Exposition>, headers: HeaderMap) -> Response {
    let mut accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    match TextEncoder::new().encode_to_string(&exported.registry.gather()) {
        Ok(text) if accepted.any(openmetrics::is_wanted) => {
            let text = openmetrics::from_text(&text, &exported.exemplars);
            ([(header::CONTENT_TYPE, openmetrics::CONTENT_TYPE)], text).into_response()
        }
        Ok(text) => ([(header::CONTENT_TYPE, TEXT_FORMAT)], text).into_response(),
        Err(error) => {
            tracing::error!(%error, "metrics can not be written");
            (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response()
        }
    }
}

async fn readyz(State(readiness): State<Arc<Readiness>>) -> (StatusCode, String) {
    match readiness.state() {
        Ok(()) => (StatusCode::OK, "ready\n".to_owned()),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")),
    }
}
