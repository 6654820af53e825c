//! `POST /v1/report`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Extension, Json, Router};
use sluice_process::ByteSize;
use sluice_process::admin::shares::source;
use sluice_process::admin::{Caller, limit_body};
use sluice_proto::report::MAX_BYTES;
use sluice_proto::{PlanReply, Report, ReportError};
use tokio::time::sleep;

use crate::control::ControlState;
use crate::control::admission::Declined;
use crate::control::merging::Unwanted;
use crate::decide::membership::{Rejected, Stale};
use crate::decide::sender::{Misplaced, Sender};
use crate::pool::now;

const PATH: &str = "/v1/report";

/// Who sends more than is taken waits for the answer: a flood is held to what its connections allow, and costs less.
/// Short of the second that agents wait at least.
const SLOWED: Duration = Duration::from_millis(100);

pub(super) fn routes(state: &Arc<ControlState>) -> Router<Arc<ControlState>> {
    let report = limit_body(post(report), ByteSize::bytes(MAX_BYTES as u64));
    Router::new().route(PATH, report.layer(from_fn_with_state(state.clone(), admit)))
}

/// Before the body is received.
async fn admit(
    State(state): State<Arc<ControlState>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
    next: Next,
) -> Response {
    // The length is what the body will be held to; without one, it can be anything.
    let length = length(request.headers()).unwrap_or(MAX_BYTES);
    match state.admission.receive(source(peer.ip()), length, now()) {
        Ok(_memory) => next.run(request).await,
        Err(declined) => {
            sleep(declined.wait().min(SLOWED)).await;
            refuse(&state, &Refused::Declined(declined))
        }
    }
}

fn length(headers: &HeaderMap) -> Option<usize> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

async fn report(
    State(state): State<Arc<ControlState>>,
    Extension(caller): Extension<Caller>,
    body: Bytes,
) -> Response {
    match take_in(&state, &caller, &body) {
        Ok(reply) => {
            count(&state, "accepted");
            Json(reply).into_response()
        }
        Err(refused) => refuse(&state, &refused),
    }
}

fn take_in(state: &ControlState, caller: &Caller, body: &[u8]) -> Result<PlanReply, Refused> {
    let report = Report::parse(body).map_err(Refused::Invalid)?;
    let key = (report.service.clone(), report.name.clone());
    state.admission.named(source(caller.peer.ip()), &key, now()).map_err(Refused::Declined)?;
    let sender = match &caller.certificate {
        Some(names) => Sender::Certificate(names.as_slice().into()),
        None => Sender::at(caller.peer.ip()),
    };
    let taken = state.report(&report, &sender);
    if let Err(Unwanted::Rejected(Rejected::Misplaced(why))) = &taken
        && state.admission.complains(&key, now())
    {
        tracing::warn!(peer = %caller.peer, name = %report.name, "report refused: {why}");
    }
    taken.map_err(Refused::Unwanted)
}

fn refuse(state: &ControlState, refused: &Refused) -> Response {
    count(state, refused.label());
    tracing::debug!(%refused, "report refused");
    let text = format!("{refused}\n");
    let mut response = match refused {
        Refused::Declined(declined) => {
            let seconds = declined.wait().as_secs_f64().ceil().max(1.0);
            (refused.status(), [(header::RETRY_AFTER, seconds.to_string())], text).into_response()
        }
        _ => (refused.status(), text).into_response(),
    };
    response.extensions_mut().insert(Counted);
    response
}

fn count(state: &ControlState, outcome: &str) {
    state.metrics.reports.with_label_values(&[outcome]).inc();
}

/// Marks an answer to a report whose outcome was counted.
#[derive(Clone)]
struct Counted;

/// Counts the reports that do not get as far as being read: without the token, or too large.
pub(super) async fn count_turned_away(
    State(state): State<Arc<ControlState>>,
    request: Request,
    next: Next,
) -> Response {
    let is_report = request.uri().path() == PATH;
    let response = next.run(request).await;
    let outcome = match response.status() {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::UNSUPPORTED_MEDIA_TYPE => {
            "unauthorized"
        }
        StatusCode::PAYLOAD_TOO_LARGE => "too_large",
        _ => return response,
    };
    if is_report && response.extensions().get::<Counted>().is_none() {
        count(&state, outcome);
    }
    response
}

/// Why a report changed nothing. One status and one metric label each.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error(transparent)]
    Declined(Declined),
    #[error(transparent)]
    Invalid(ReportError),
    #[error(transparent)]
    Unwanted(Unwanted),
}

impl Refused {
    fn status(&self) -> StatusCode {
        match self {
            Self::Declined(Declined::Address(_) | Declined::Name(_)) => StatusCode::TOO_MANY_REQUESTS,
            Self::Declined(Declined::Memory) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Invalid(ReportError::Malformed(_)) => StatusCode::BAD_REQUEST,
            Self::Invalid(ReportError::Field { .. }) | Self::Unwanted(Unwanted::UnknownService(..)) => {
                StatusCode::UNPROCESSABLE_ENTITY
            }
            Self::Unwanted(Unwanted::Rejected(Rejected::Misplaced(_))) => StatusCode::FORBIDDEN,
            Self::Unwanted(Unwanted::Rejected(Rejected::Stale(_))) => StatusCode::CONFLICT,
        }
    }

    fn label(&self) -> &'static str {
        match self {
            Self::Declined(Declined::Address(_) | Declined::Name(_)) => "too_many",
            Self::Declined(Declined::Memory) => "busy",
            Self::Invalid(ReportError::Malformed(_)) => "malformed",
            Self::Invalid(ReportError::Field { .. }) => "invalid_field",
            Self::Unwanted(Unwanted::UnknownService(..)) => "unknown_service",
            Self::Unwanted(Unwanted::Rejected(Rejected::Misplaced(misplaced))) => match misplaced {
                Misplaced::Certificate { .. } | Misplaced::Bound { .. } => "other_sender",
                Misplaced::OtherInstance { .. } => "other_instance",
            },
            Self::Unwanted(Unwanted::Rejected(Rejected::Stale(Stale::Sequence { .. }))) => "old_sequence",
            Self::Unwanted(Unwanted::Rejected(Rejected::Stale(Stale::EarlierBoot))) => "earlier_boot",
        }
    }
}
