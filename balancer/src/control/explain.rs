//! `GET /v1/explain`: how a request would be routed now, and why.

use std::sync::Arc;

use axum::extract::{Query, State};
use axum::routing::get;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use sluice_proto::{ClassName, Kind};

use crate::control::ControlState;
use crate::control::view::{self, ClassView};
use crate::decide::classify::{Request, classify};
use crate::decide::ids::ClassId;
use crate::decide::membership::{Key, Member};
use crate::decide::predict::{ExtensionKey, RequestKey, UrlKey};
use crate::decide::schedule::Ask;
use crate::pool::{Service, now};

pub(super) fn routes() -> Router<Arc<ControlState>> {
    Router::new().route("/v1/explain", get(explain))
}

#[derive(Deserialize)]
struct Question {
    #[serde(default = "get_method")]
    method: String,
    #[serde(default)]
    host: String,
    #[serde(default)]
    path: String,
}

fn get_method() -> String {
    "GET".to_owned()
}

/// The way of a request, decided as the data path would.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    pub service: String,
    pub class: String,
    /// As in [`ClassView::by`].
    pub class_by: String,
    /// Why the class is as it is, in words: its rule, or what was learned.
    pub class_reason: Option<String>,
    /// What is known of the class; `None` if it was never seen.
    pub known: Option<ClassView>,
    /// `small` or `large`: how long it would hold a worker, against the others.
    pub size: String,
    /// Milliseconds that it is expected to hold a worker.
    pub expected_held_ms: f64,
    /// Requests waiting before it.
    pub queued: usize,
    /// Where it would be sent; `None` if it would wait or be turned away.
    pub instance: Option<String>,
    /// The decision in words.
    pub decision: String,
    pub candidates: Vec<Candidate>,
}

/// One instance of the service, as the decision sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    pub instance: String,
    pub routed: bool,
    pub workers: u32,
    pub working: u32,
    pub streaming: u32,
    pub reason: String,
}

async fn explain(
    State(state): State<Arc<ControlState>>,
    Query(question): Query<Question>,
) -> Json<Explanation> {
    let path = question.path.split('?').next().unwrap_or_default();
    let service = state.directory.route(&question.host, path);
    let class = class(service, &question, path);
    let (by, learned) = view::origin(service, &class);
    let rule = service.classes.rules().of_class(&class);
    let class_reason = rule.map(|(_, treatment)| treatment.to_string()).or(learned);
    let known = service.classes.get(class.as_str()).map(|entry| view::class(service, &entry, now()));
    let key = RequestKey {
        class: service.classes.get(class.as_str()).map_or(ClassId::OTHER, |entry| entry.id),
        url: UrlKey::of(service.url_seed(), &question.method, &question.host, &question.path),
        extension: ExtensionKey::of_path(path),
    };
    let mut ask = Ask::new(key);
    if let Some((_, treatment)) = rule {
        service.treat(&mut ask, treatment, None);
    }
    let (judgement, instance) = service.preview(&ask);
    let instance = instance.map(|instance| instance.name.to_string());
    let members = state.members();
    let candidates: Vec<_> = members
        .iter()
        .filter(|(key, _)| key.0 == service.name)
        .map(|(k, m)| candidate(&state, k, m))
        .collect();
    let decision = decision(service, instance.as_deref(), &candidates);
    let queued = service.queued();
    Json(Explanation {
        service: service.name.to_string(),
        class: class.to_string(),
        class_by: by.to_owned(),
        class_reason,
        known,
        size: if judgement.lane.is_large() { "large" } else { "small" }.to_owned(),
        expected_held_ms: judgement.prediction.held.mean * 1e3,
        queued,
        instance,
        decision,
        candidates,
    })
}

fn class(service: &Service, question: &Question, path: &str) -> ClassName {
    let method = &*question.method.to_ascii_uppercase();
    // Nobody asks about header fields: kinds and rules that look at them are left out.
    let kind = Kind::of(method, |_| false);
    let request = Request { method, host: &question.host, path, kind, field: &|_| None };
    let mut name = String::new();
    classify(&request, service.classes.rules().rules(), &service.classes.templates(), &mut name);
    ClassName::parse(&name).unwrap_or_else(ClassName::other)
}

fn candidate(state: &ControlState, key: &Key, member: &Member) -> Candidate {
    let view = view::instance(state, key, member, now());
    let reason =
        if view.breaker == "closed" { view.reason } else { "it does not accept connections".to_owned() };
    Candidate {
        instance: view.name,
        routed: view.routed && view.breaker == "closed",
        workers: view.workers,
        working: view.working,
        streaming: view.streaming,
        reason,
    }
}

fn decision(service: &Service, instance: Option<&str>, candidates: &[Candidate]) -> String {
    let routed = candidates.iter().filter(|candidate| candidate.routed).count();
    let chosen = instance.and_then(|name| candidates.iter().find(|candidate| candidate.instance == name));
    match chosen {
        Some(Candidate { instance, workers, working, .. }) => format!(
            "sent to {instance} at once: of {routed} instances it has the smallest share of its workers busy, {working} of {workers}"
        ),
        None if routed > 0 => {
            format!("waits behind {} others: all workers of {routed} instances are busy", service.queued())
        }
        None => format!("turned away with 503: none of {} instances gets requests", candidates.len()),
    }
}
