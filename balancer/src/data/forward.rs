//! From a sorted request to a response: a slot, an attempt, and another one where that is safe.

use std::rc::Rc;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body::Body as _;
use hyper::upgrade::OnUpgrade;
use sluice_proto::headers;
use sluice_relay::Progress;
use sluice_relay::head::prepare_response;
use sluice_relay::metrics::RelayMetrics;
use sluice_relay::upstream::{Lease, Reuse, spare};
use sluice_relay::{
    ClientBody, Failure, InstanceBody, ReplyBody, RetryAfter, SendError, Upstreams, splice_upgrade,
};

use crate::data::Settings;
use crate::data::exchange::{Exchange, Record};
use crate::data::reveal::Way;
use crate::data::sticky::Session;
use crate::decide::dispatch::InstanceId;
use crate::decide::retry::{MAX_ATTEMPTS, Trace, may_repeat};
use crate::decide::schedule::{Ask, Judgement};
use crate::metrics::Outcome;
use crate::pool::{Instance, Service, Slot, now};

// Ready to be looked up: a text would have to be read as a name each time.
const CLASS: HeaderName = HeaderName::from_static(headers::CLASS);
const REFUSED: HeaderName = HeaderName::from_static(headers::REFUSED);
const FAILED: HeaderName = HeaderName::from_static(headers::FAILED);
const RELEASE: HeaderName = HeaderName::from_static(headers::RELEASE);

/// What forwarding needs besides the request.
pub(super) struct Forwarding<'a> {
    pub(super) settings: &'a Settings,
    pub(super) metrics: &'a RelayMetrics,
    pub(super) upstreams: &'a Rc<Upstreams>,
    pub(super) service: &'a Arc<Service>,
    /// What it asks the scheduler for.
    pub(super) ask: Ask,
    /// The request's class, which its agent is told.
    pub(super) class: HeaderValue,
    /// If the operator wants the request's session to stay at one instance.
    pub(super) session: Option<Session>,
    /// The client's side of a possible upgrade.
    pub(super) upgrade: Option<OnUpgrade>,
}

/// A response and what it came with.
struct Answer {
    response: Response<InstanceBody>,
    lease: Lease,
    slot: Slot,
    judgement: Judgement,
}

/// An attempt that failed: why, and what is left to make another.
struct Lost {
    failure: Failure,
    trace: Trace,
    again: Option<Request<ClientBody>>,
    /// The instance is not at fault and may be tried again.
    stale: bool,
}

/// Gets a response for `request` from one of the service's instances.
pub(super) async fn forward(
    forwarding: Forwarding<'_>,
    request: Request<ClientBody>,
    mut record: Record,
) -> Response<ReplyBody<Exchange>> {
    let upload = request.body().progress();
    let id = forwarding.settings.reveal.id_of(request.headers());
    match attempts(&forwarding, request, &upload, &mut record).await {
        Ok(answer) => respond(forwarding, answer, upload, record, id),
        Err(failure) => {
            record.finish(Outcome::Failed(failure), 0);
            failure.response()
        }
    }
}

/// Tries instance after instance. Returns the first response that an instance really gave.
async fn attempts(
    forwarding: &Forwarding<'_>,
    mut request: Request<ClientBody>,
    upload: &Progress,
    record: &mut Record,
) -> Result<Answer, Failure> {
    let service = forwarding.service;
    let mut avoid: Vec<InstanceId> = Vec::new();
    let mut last_failure = None;
    for attempt in 1..=MAX_ATTEMPTS {
        let (slot, judgement) = match service.acquire(&forwarding.ask, &avoid).await {
            Ok(granted) => granted,
            // That no other instance is there says less than why this one failed.
            Err(failure) => return Err(last_failure.unwrap_or(failure)),
        };
        record.sending(&judgement, &slot, request.headers_mut());
        let method = request.method().clone();
        let instance = slot.instance().clone();
        let reuse = if attempt == 1 { Reuse::Any } else { Reuse::No };
        let lost = match attempt_once(forwarding, request, reuse, slot, judgement).await {
            Ok(answer) => return Ok(answer),
            Err(lost) => lost,
        };
        note_failure(service, &instance, &lost);
        record.lost(lost.failure);
        let repeatable = may_repeat(lost.trace, &method, upload.has_started());
        let Some(again) = lost.again.filter(|_| repeatable && attempt < MAX_ATTEMPTS && service.take_retry())
        else {
            return Err(lost.failure);
        };
        if !lost.stale {
            avoid.push(instance.id);
        }
        service.classes.retried(lost.failure);
        last_failure = Some(lost.failure);
        request = again;
    }
    Err(last_failure.unwrap_or(Failure::NoInstance))
}

/// Sends the request to the slot's instance. What its agent says in the instance's stead counts as a
/// failed attempt; the slot is given back with it.
async fn attempt_once(
    forwarding: &Forwarding<'_>,
    mut request: Request<ClientBody>,
    reuse: Reuse,
    mut slot: Slot,
    judgement: Judgement,
) -> Result<Answer, Lost> {
    let instance = slot.instance().clone();
    // An application has no use for it.
    if instance.is_behind_agent() {
        request.headers_mut().insert(CLASS, forwarding.class.clone());
    } else {
        request.headers_mut().remove(CLASS);
    }
    let spare = spare(&request);
    let repeatable = request.method().is_idempotent() && spare.is_some();
    let reuse = if repeatable || reuse == Reuse::No { reuse } else { Reuse::Fresh };
    let sent = forwarding.upstreams.send(&instance.target, request, reuse);
    let sent = async {
        tokio::select! {
            biased;
            result = sent => result,
            () = instance.given_up(), if repeatable => Err(SendError::SILENT),
        }
    };
    match sent.await {
        Ok((response, lease)) => {
            forwarding.service.reached(&instance);
            // Only an agent's word counts: an application could have a request executed twice.
            let word = if instance.is_behind_agent() { agents_word(response.headers()) } else { None };
            match word {
                Some((failure, trace)) => {
                    blame(&mut slot, failure);
                    Err(Lost { failure, trace, again: spare, stale: false })
                }
                None => Ok(Answer { response, lease, slot, judgement }),
            }
        }
        Err(SendError { failure, unsent: Some(unsent), stale }) => {
            Err(Lost { failure, trace: Trace::None, again: Some(*unsent), stale })
        }
        Err(SendError { failure, unsent: None, stale }) => {
            if !stale {
                blame(&mut slot, failure);
            }
            Err(Lost { failure, trace: Trace::MaybeExecuted, again: spare, stale })
        }
    }
}

/// Why a response is the agent's own, and whether its instance saw the request.
fn agents_word(fields: &HeaderMap) -> Option<(Failure, Trace)> {
    let reason = |value: &HeaderValue| {
        // An agent of another release may have reasons that are not known here.
        value.to_str().ok().and_then(Failure::from_label).unwrap_or(Failure::QueueFull(RetryAfter::SOON))
    };
    let refused = fields.get(REFUSED).map(|value| (reason(value), Trace::None));
    refused.or_else(|| fields.get(FAILED).map(|value| (reason(value), Trace::MaybeExecuted)))
}

/// Notes what is the instance's own fault. That it can not be connected to is the breaker's business.
fn blame(slot: &mut Slot, failure: Failure) {
    if matches!(failure, Failure::ClosedEarly | Failure::InvalidResponse | Failure::ResponseTimeout) {
        slot.failed();
    }
}

/// The agent reads the rest at once, however slow the client.
fn frees_at_first_byte(fields: &HeaderMap) -> bool {
    fields.get(RELEASE).is_some_and(|point| point == headers::FIRST_BYTE)
}

fn note_failure(service: &Service, instance: &Instance, lost: &Lost) {
    tracing::debug!(instance = %instance.name, reason = lost.failure.label(), "attempt failed");
    let unconnected = matches!(lost.failure, Failure::ConnectFailed | Failure::ConnectTimeout);
    if unconnected {
        service.unreachable(instance);
    }
}

/// Passes the instance's response on.
fn respond(
    forwarding: Forwarding<'_>,
    answer: Answer,
    upload: Rc<Progress>,
    mut record: Record,
    id: Option<HeaderValue>,
) -> Response<ReplyBody<Exchange>> {
    let Answer { response, lease, mut slot, judgement } = answer;
    if slot.instance().is_behind_agent() && frees_at_first_byte(response.headers()) {
        slot.frees_at_first_byte();
    }
    let settings = forwarding.settings;
    let status = response.status();
    let app = record.answered(status.as_u16());
    let queue = record.queued;
    slot.instance().succeeded(now());
    let invalid = |record: Record| {
        record.finish(Outcome::Failed(Failure::InvalidResponse), 0);
        Failure::InvalidResponse.response()
    };
    if status != StatusCode::SWITCHING_PROTOCOLS {
        let (mut head, body) = response.into_parts();
        // Only an agent's word counts, as above.
        if prepare_response(&mut head).is_err() {
            slot.failed();
            return invalid(record);
        }
        settings.reveal.add_to(
            &mut head.headers,
            id,
            &Way { queue, app, class: record.class_name(), judgement, slot: &slot },
        );
        if let Some(session) = &forwarding.session {
            session.mark(&slot.instance().name, &mut head.headers);
        }
        let exchange = Exchange::new(record, slot, status.as_u16(), body.size_hint().exact());
        let body = ReplyBody::relayed(body, lease, upload, settings.limits.body_stall, exchange);
        return Response::from_parts(head, body);
    }
    // A 101 that nobody asked for would leave the two sides speaking different protocols.
    let Some(client) = forwarding.upgrade.filter(|_| response.headers().contains_key(http::header::UPGRADE))
    else {
        return invalid(record);
    };
    let exchange = Exchange::new(record, slot, status.as_u16(), None);
    let idle = settings.limits.tunnel_idle;
    splice_upgrade(client, lease, idle, exchange, forwarding.metrics);
    let (mut head, _empty) = response.into_parts();
    match prepare_response(&mut head) {
        Ok(()) => Response::from_parts(head, ReplyBody::text(String::new())),
        Err(_) => Failure::InvalidResponse.response(),
    }
}
