//! What is remembered of a request while it is under way.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, Version, header, request};
use sluice_relay::head::Origin;
use sluice_relay::trace::{self, TraceParent};
use sluice_relay::{Failure, Refusal};

use crate::decide::dispatch::Why;
use crate::decide::schedule::Judgement;
use crate::metrics::Outcome;
use crate::observe::finished::{Finished, status};
use crate::observe::otlp::Recording;
use crate::observe::{Observers, client};
use crate::pool::{ClassEntry, Instance, Service, Slot};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// A request as the client sent it.
#[derive(Clone, Debug)]
pub struct Asked {
    pub arrived: SystemTime,
    pub client: IpAddr,
    pub scheme: &'static str,
    /// Its head was refused before it was read on: method, target and the rest are not the client's words.
    pub is_unread: bool,
    pub method: Method,
    /// With scheme and host in HTTP/2, and where a client sent them.
    pub target: Uri,
    pub version: Version,
    pub host: Option<HeaderValue>,
    pub referer: Option<HeaderValue>,
    pub user_agent: Option<HeaderValue>,
    /// Who asked for it in which trace, if somebody says so.
    pub parent: Option<TraceParent>,
    /// `None`: it was refused before it had one.
    pub request_id: Option<HeaderValue>,
}

/// One time that it was sent to an instance.
#[derive(Clone, Debug)]
pub struct Attempt {
    pub instance: Arc<Instance>,
    pub why: Why,
    pub sent: Instant,
    /// Its own span, where the request is recorded.
    pub span: u64,
    /// Why there was no response, and since when that was known.
    pub lost: Option<(Failure, Instant)>,
}

/// Goes with a request, if somebody wants to know of it. Whoever finishes it tells them.
pub struct Trail {
    observers: Arc<Observers>,
    asked: Asked,
    service: Arc<Service>,
    trace: Option<TraceParent>,
    recording: Option<Recording>,
    judgement: Option<Judgement>,
    attempts: Vec<Attempt>,
}

/// What a request came to, by the one that counted it.
pub struct Ended<'a> {
    pub class: &'a ClassEntry,
    pub outcome: Outcome,
    pub status: Option<u16>,
    pub arrived: Instant,
    pub duration: Duration,
    /// Zero if it never had a slot.
    pub queued: Duration,
    pub ttfb: Option<Duration>,
    pub request_bytes: u64,
    pub response_bytes: u64,
}

impl Asked {
    /// Before anything of the head is rewritten.
    pub fn new(parts: &request::Parts, origin: Origin) -> Self {
        let field = |name| parts.headers.get(name).cloned();
        Self {
            arrived: origin.arrived,
            client: origin.peer,
            scheme: origin.scheme,
            is_unread: parts.extensions.get::<Refusal>().is_some(),
            method: parts.method.clone(),
            target: parts.uri.clone(),
            version: parts.version,
            host: field(header::HOST).or_else(|| authority(&parts.uri)),
            referer: field(header::REFERER),
            user_agent: field(header::USER_AGENT),
            parent: trace::parent(&parts.headers),
            request_id: None,
        }
    }
}

impl Trail {
    pub fn new(observers: Arc<Observers>, asked: Asked, service: Arc<Service>) -> Self {
        Self {
            observers,
            asked,
            service,
            trace: None,
            recording: None,
            judgement: None,
            attempts: Vec::new(),
        }
    }

    /// The head is rewritten: it names the client, and the request.
    pub fn identified(&mut self, headers: &HeaderMap, rng: &mut fastrand::Rng) {
        self.asked.client = client::client(headers, &self.observers.trusted, self.asked.client);
        self.asked.request_id = headers.get(REQUEST_ID).cloned();
        self.trace = trace::parent(headers);
        let spans = self.observers.spans.as_ref().zip(self.trace);
        self.recording = spans.and_then(|(spans, trace)| spans.begin(trace, self.asked.parent, rng));
    }

    /// It is about to be sent to the slot's instance.
    pub fn sending(&mut self, now: Instant, judgement: &Judgement, slot: &Slot, headers: &mut HeaderMap) {
        self.judgement = Some(*judgement);
        let (instance, span) = (slot.instance().clone(), fastrand::u64(1..));
        self.attempts.push(Attempt { instance, why: slot.why(), sent: now, span, lost: None });
        if let Some(recording) = self.recording {
            headers.insert(trace::TRACEPARENT, recording.context.with_span(span).header());
        }
    }

    /// What was sent last got no response.
    pub fn lost(&mut self, now: Instant, failure: Failure) {
        if let Some(attempt) = self.attempts.last_mut() {
            attempt.lost = Some((failure, now));
        }
    }

    /// The trace, if it is recorded here.
    pub fn recorded(&self) -> Option<u128> {
        self.recording.map(|recording| recording.context.trace)
    }

    pub fn end(self, ended: &Ended<'_>) {
        let waited_in_vain = self.attempts.is_empty();
        let finished = Finished {
            asked: &self.asked,
            service: self.service.name.as_str(),
            class: ended.class.name.as_str(),
            lane: self.judgement.map(|judgement| judgement.lane.name()),
            attempts: &self.attempts,
            outcome: ended.outcome,
            answered: ended.status,
            status: status(ended.outcome, ended.status),
            arrived: ended.arrived,
            duration: ended.duration,
            predicted: self.judgement.map(|judgement| seconds(judgement.prediction.held.mean)),
            queue: if waited_in_vain { ended.duration } else { ended.queued },
            ttfb: ended.ttfb,
            request_bytes: ended.request_bytes,
            response_bytes: ended.response_bytes,
            trace: self.trace,
        };
        self.observers.tell(&finished, self.recording);
    }
}

/// Where HTTP/2 has the host.
fn authority(target: &Uri) -> Option<HeaderValue> {
    HeaderValue::from_str(target.authority()?.as_str()).ok()
}

/// What was predicted, within what can be told.
fn seconds(predicted: f64) -> Duration {
    Duration::try_from_secs_f64(predicted).unwrap_or(Duration::MAX)
}
