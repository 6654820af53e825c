//! `POST /v1/report`.
//!
//! Not behind the layers of the other admin endpoints: ten thousand agents report each second, and each layer costs
//! some microseconds of that. What the layers see to is seen to here.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use sluice_process::ByteSize;
use sluice_process::admin::shares::{Share, source};
use sluice_process::admin::{Access, Caller, harden, not_there};
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

/// Who may come in, and to whom.
struct Door {
    state: Arc<ControlState>,
    access: Access,
    /// What there is on the admin port.
    paths: &'static [&'static str],
}

/// For a router whose layers do not concern it.
pub(super) fn routes(state: Arc<ControlState>, access: Access, paths: &'static [&'static str]) -> Router {
    Router::new().route(PATH, any(enter)).with_state(Arc::new(Door { state, access, paths }))
}

async fn enter(State(door): State<Arc<Door>>, request: Request) -> Response {
    harden(receive(&door, request).await).await
}

async fn receive(door: &Door, request: Request) -> Response {
    let state = &*door.state;
    if let Err(turned_away) = door.access.admit(&request) {
        count(state, "unauthorized");
        return turned_away.into_response();
    }
    if request.method() != Method::POST {
        let text = not_there(door.paths, request.method(), request.uri());
        return (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, "POST")], text).into_response();
    }
    let Some(caller) = request.extensions().get::<Caller>().cloned() else {
        unreachable!("the admin server puts it in")
    };
    let held = match admit(state, &caller, &request) {
        Ok(held) => held,
        Err(declined) => {
            sleep(declined.wait().min(SLOWED)).await;
            return refuse(state, &Refused::Declined(declined));
        }
    };
    let body = match whole(request.into_body()).await {
        Ok(body) => body,
        Err(refused) => return refuse(state, &refused),
    };
    drop(held);
    match take_in(state, &caller, &body) {
        Ok(reply) => {
            state.metrics.reports_accepted.inc();
            answer(&reply)
        }
        Err(refused) => refuse(state, &refused),
    }
}

/// Before the body is received. What is returned is held until it was.
fn admit(state: &ControlState, caller: &Caller, request: &Request) -> Result<Share, Declined> {
    // The length is what the body will be held to; without one, it can be anything.
    let length = length(request.headers()).unwrap_or(MAX_BYTES);
    state.admission.receive(source(caller.peer.ip()), length, now())
}

fn length(headers: &HeaderMap) -> Option<usize> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

async fn whole(body: Body) -> Result<Bytes, Refused> {
    to_bytes(body, MAX_BYTES).await.map_err(|error| {
        let cause = std::error::Error::source(&error);
        let too_large = cause.is_some_and(|cause| cause.is::<http_body_util::LengthLimitError>());
        if too_large { Refused::TooLarge } else { Refused::Incomplete(error) }
    })
}

fn answer(reply: &PlanReply) -> Response {
    let text = serde_json::to_vec(reply).expect("numbers, text and lists");
    ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], text).into_response()
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
    match refused {
        Refused::Declined(declined) => {
            let seconds = declined.wait().as_secs_f64().ceil().max(1.0);
            (refused.status(), [(header::RETRY_AFTER, seconds.to_string())], text).into_response()
        }
        _ => (refused.status(), text).into_response(),
    }
}

fn count(state: &ControlState, outcome: &str) {
    state.metrics.reports.with_label_values(&[outcome]).inc();
}

/// Why a report changed nothing. One status and one metric label each.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error(transparent)]
    Declined(Declined),
    #[error("request body is larger than {}", ByteSize::bytes(MAX_BYTES as u64))]
    TooLarge,
    #[error("the report did not come to its end: {0}")]
    Incomplete(axum::Error),
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
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Incomplete(_) | Self::Invalid(ReportError::Malformed(_)) => StatusCode::BAD_REQUEST,
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
            Self::TooLarge => "too_large",
            Self::Incomplete(_) | Self::Invalid(ReportError::Malformed(_)) => "malformed",
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
