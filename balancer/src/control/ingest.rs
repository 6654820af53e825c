//! `POST /v1/report`.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use sluice_process::ByteSize;
use sluice_process::admin::limit_body;
use sluice_proto::report::MAX_BYTES;
use sluice_proto::{Report, ReportError};

use crate::control::ControlState;
use crate::control::state::Unwanted;
use crate::decide::membership::Stale;

const PATH: &str = "/v1/report";

pub(super) fn routes() -> Router<Arc<ControlState>> {
    Router::new().route(PATH, limit_body(post(report), ByteSize::bytes(MAX_BYTES as u64)))
}

async fn report(State(state): State<Arc<ControlState>>, body: Bytes) -> Response {
    let result = Report::parse(&body).map_err(Refused::Invalid);
    let result = result.and_then(|report| state.report(&report).map_err(Refused::Unwanted));
    match result {
        Ok(reply) => {
            state.metrics.reports.with_label_values(&["accepted"]).inc();
            Json(reply).into_response()
        }
        Err(refused) => {
            state.metrics.reports.with_label_values(&[refused.label()]).inc();
            tracing::debug!(%refused, "report refused");
            (refused.status(), format!("{refused}\n")).into_response()
        }
    }
}

/// Counts the reports that do not get as far as being read: without the token, or too large.
pub(super) async fn count_turned_away(
    State(state): State<Arc<ControlState>>,
    request: Request,
    next: Next,
) -> Response {
    let is_report = request.uri().path() == PATH;
    let response = next.run(request).await;
    let outcome = match response.status() {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => "unauthorized",
        StatusCode::PAYLOAD_TOO_LARGE => "too_large",
        _ => return response,
    };
    if is_report {
        state.metrics.reports.with_label_values(&[outcome]).inc();
    }
    response
}

/// Why a report changed nothing. One status and one metric label each.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error(transparent)]
    Invalid(ReportError),
    #[error(transparent)]
    Unwanted(Unwanted),
}

impl Refused {
    fn status(&self) -> StatusCode {
        match self {
            Self::Invalid(ReportError::Malformed(_)) => StatusCode::BAD_REQUEST,
            Self::Invalid(ReportError::Field { .. }) | Self::Unwanted(Unwanted::UnknownService(..)) => {
                StatusCode::UNPROCESSABLE_ENTITY
            }
            Self::Unwanted(Unwanted::Stale(_)) => StatusCode::CONFLICT,
        }
    }

    fn label(&self) -> &'static str {
        match self {
            Self::Invalid(ReportError::Malformed(_)) => "malformed",
            Self::Invalid(ReportError::Field { .. }) => "invalid_field",
            Self::Unwanted(Unwanted::UnknownService(..)) => "unknown_service",
            Self::Unwanted(Unwanted::Stale(Stale::Sequence { .. })) => "old_sequence",
            Self::Unwanted(Unwanted::Stale(Stale::EarlierBoot)) => "earlier_boot",
        }
    }
}
