//! `GET /v1/explain`: what would become of a request now, and why.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::{Query, State};
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use sluice_proto::{ClassName, ClassRelease, Kind, Release};

use crate::control::ControlState;
use crate::control::release;
use crate::control::view::{self, ClassView, ServiceFacts};
use crate::decide::classify::{Request, classify};
use crate::decide::dispatch::explain::{Candidate, Standing};
use crate::decide::dispatch::{Course, InstanceId, Refusal, Wait, Why};
use crate::decide::ids::ClassId;
use crate::decide::learn::affinity::Worth;
use crate::decide::membership::Routing;
use crate::decide::plan::dedicate::Mode;
use crate::decide::predict::{ExtensionKey, RequestKey, UrlKey};
use crate::decide::schedule::Ask;
use crate::decide::schedule::explain::{Explanation, LaneState, Predicted};
use crate::decide::treatment::Treatment;
use crate::pool::{Service, now};

pub(super) fn routes() -> Router<Arc<ControlState>> {
    Router::new().route("/v1/explain", get(explain))
}

/// The request that is asked about.
struct Question {
    method: String,
    host: String,
    /// With its query, if it has one.
    target: String,
    /// Names in lower case.
    headers: Vec<(String, String)>,
}

impl Question {
    /// From `method=`, `host=`, `path=` and any number of `header=Name: value`.
    fn of(parameters: Vec<(String, String)>) -> Self {
        let mut question = Self {
            method: "GET".to_owned(),
            host: String::new(),
            target: String::new(),
            headers: Vec::new(),
        };
        for (key, value) in parameters {
            match key.as_str() {
                "method" => question.method = value.to_ascii_uppercase(),
                "host" => question.host = value,
                // No target has a space in it: it was a plus sign, which queries have for spaces, as in `/++api++/news`.
                "path" => question.target = value.replace(' ', "+"),
                "header" => {
                    let (name, value) = value.split_once(':').unwrap_or((&value, ""));
                    question.headers.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
                }
                _ => {}
            }
        }
        question
    }

    fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    fn field(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    fn class(&self, service: &Service) -> ClassName {
        let (method, path) = (self.method.as_str(), self.path());
        let kind = Kind::of(method, |name| self.field(name).is_some());
        let field = |name: &str| self.field(name);
        let request = Request { method, host: &self.host, path, kind, field: &field };
        let mut name = String::new();
        let rules = service.classes.rules();
        classify(&request, rules.rules(), &service.classes.templates(), &mut name);
        ClassName::parse(&name).unwrap_or_else(ClassName::other)
    }

    fn ask(&self, service: &Service, class: &ClassName, treatment: Option<&Treatment>) -> Ask {
        let mut ask = Ask::new(RequestKey {
            class: service.classes.get(class.as_str()).map_or(ClassId::UNSEEN, |entry| entry.id),
            url: UrlKey::of(service.url_seed(), &self.method, &self.host, &self.target),
            extension: ExtensionKey::of_path(self.path()),
        });
        if let Some(treatment) = treatment {
            let cookies = self.headers.iter().filter(|(name, _)| name == "cookie");
            let sticky = treatment.sticky.as_ref();
            let session = sticky.and_then(|spec| spec.preference(cookies.map(|(_, value)| value.as_str())));
            service.treat(&mut ask, treatment, session);
        }
        ask
    }
}

/// The way of a request, decided as the data path would.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Answer {
    pub service: String,
    pub class: String,
    /// As in [`ClassView::by`].
    pub class_by: String,
    /// Why the class is as it is, in words: its rule, or what was learned.
    pub class_reason: Option<String>,
    /// The decision in words.
    pub decision: String,
    /// `sent`, `waits` or `refused`, and why in one word.
    pub does: &'static str,
    pub why: Because,
    /// Where it would be sent; `None` if it would wait or be turned away.
    pub instance: Option<String>,
    pub predicted: Predicted,
    pub predicted_reason: String,
    pub lane: LaneState,
    pub lane_reason: String,
    /// Requests of the service that wait, in all lanes.
    pub queued: usize,
    pub treatment: TreatmentView,
    pub homes: HomesView,
    /// How small and large requests share instances.
    pub mode: Mode,
    /// Those that the pick prefers first.
    pub candidates: Vec<CandidateView>,
    /// Instances beyond those.
    pub others: usize,
    /// What is known of the class; `None` if it was never seen.
    pub known: Option<ClassView>,
}

/// Why, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Because {
    Sent(Why),
    Waits(Wait),
    Refused(Refusal),
}

/// What a rule asks for.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TreatmentView {
    pub priority: i8,
    pub deadline_ms: Option<u64>,
    /// The only instances that may serve it; `None`: any.
    pub instances: Option<Vec<String>>,
    /// The cookie by which its sessions stay at one instance.
    pub sticky_cookie: Option<String>,
    /// The instance that has its session.
    pub session: Option<String>,
}

/// Where the class is at home, and what that is worth.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HomesView {
    pub instances: Vec<String>,
    pub worth: Worth,
    pub reason: String,
}

/// One instance of the service, as the decision sees it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CandidateView {
    pub instance: String,
    /// `closed`, `open` or `trying`.
    pub breaker: String,
    /// When a worker there is free of such a request, and how that is known.
    pub release: String,
    #[serde(flatten)]
    pub figures: Candidate,
    /// Why it would be picked, or would not.
    pub reason: String,
}

async fn explain(
    State(state): State<Arc<ControlState>>,
    Query(parameters): Query<Vec<(String, String)>>,
) -> Json<Answer> {
    let question = Question::of(parameters);
    Json(answer(&state, &question))
}

fn answer(state: &ControlState, question: &Question) -> Answer {
    let directory = state.directory();
    let service = directory.route(&question.host, question.path());
    let class = question.class(service);
    let rules = service.classes.rules();
    let rule = rules.of_class(&class).map(|(_, treatment)| treatment.as_ref());
    let ask = question.ask(service, &class, rule);
    let told = service.explain(&ask);
    let names = Names::of(state, service);
    let (by, learned) = view::origin(service, &class);
    let facts = ServiceFacts::of(state, service);
    let known = service.classes.get(class.as_str());
    Answer {
        service: service.name.to_string(),
        class: class.to_string(),
        class_by: by.to_owned(),
        class_reason: rule.map(Treatment::to_string).or(learned),
        decision: told.decision(|id| names.name(id)),
        does: does(told.course),
        why: because(told.course),
        instance: told.course.instance().map(|id| names.name(id)),
        predicted: told.prediction,
        predicted_reason: told.prediction.words(),
        lane: told.lane,
        lane_reason: told.lane.words(told.prediction.held_ms),
        queued: service.queued(),
        treatment: treatment(&ask, rule, &names),
        homes: HomesView {
            instances: told.homes.of_class.iter().map(|id| names.name(*id)).collect(),
            worth: told.homes.worth,
            reason: told.homes.worth.words(),
        },
        mode: told.mode,
        candidates: told.candidates.iter().map(|c| names.candidate(service, &told, c, &class)).collect(),
        others: told.others,
        known: known.map(|entry| view::class(&facts, service, &entry, now())),
    }
}

fn does(course: Course) -> &'static str {
    match course {
        Course::Sent { .. } => "sent",
        Course::Waits { .. } => "waits",
        Course::Refused { .. } => "refused",
    }
}

fn because(course: Course) -> Because {
    match course {
        Course::Sent { why, .. } => Because::Sent(why),
        Course::Waits { why, .. } => Because::Waits(why),
        Course::Refused { why } => Because::Refused(why),
    }
}

fn treatment(ask: &Ask, rule: Option<&Treatment>, names: &Names) -> TreatmentView {
    let instances = rule.and_then(|rule| rule.instances.as_ref());
    TreatmentView {
        priority: ask.priority,
        deadline_ms: ask.deadline.map(view::millis),
        instances: instances.map(|names| names.iter().map(ToString::to_string).collect()),
        sticky_cookie: rule.and_then(|r| r.sticky.as_ref()).map(|sticky| sticky.cookie().to_owned()),
        session: ask.sticky.map(|id| names.name(id)),
    }
}

/// What ids mean, and why instances get no requests.
struct Names(HashMap<InstanceId, Named>);

struct Named {
    name: String,
    excluded: Option<String>,
    release: Release,
    releases: Vec<ClassRelease>,
}

impl Names {
    fn of(state: &ControlState, service: &Service) -> Self {
        let members = state.members();
        let own = members.into_iter().filter(|(key, _)| key.0 == service.name);
        Self(
            own.map(|(key, member)| {
                let excluded = match member.routing() {
                    Routing::Routed => None,
                    Routing::Excluded(reason) => Some(reason),
                };
                let releases = member.releases(now()).to_vec();
                let name = key.1.to_string();
                (member.id, Named { name, excluded, release: member.release.clone(), releases })
            })
            .collect(),
        )
    }

    /// An instance that went meanwhile has none.
    fn name(&self, id: InstanceId) -> String {
        self.0.get(&id).map_or_else(|| "gone".to_owned(), |named| named.name.clone())
    }

    fn candidate(
        &self,
        service: &Service,
        told: &Explanation,
        candidate: &Candidate,
        class: &ClassName,
    ) -> CandidateView {
        let named = self.0.get(&candidate.id);
        let excluded = named.and_then(|named| named.excluded.as_ref());
        let claim = |named: &Named| match named.releases.iter().find(|claim| claim.class == *class) {
            Some(claim) => release::words(claim),
            None => release::words_of_all(&named.release),
        };
        let reason = match excluded.filter(|_| candidate.standing == Standing::Excluded) {
            Some(excluded) => format!("it gets no requests: {excluded}"),
            None => told.stands(candidate),
        };
        let breaker = service.occupancy(candidate.id).map_or("closed", |o| view::breaker_word(&o));
        CandidateView {
            instance: self.name(candidate.id),
            breaker: breaker.to_owned(),
            release: named.map(claim).unwrap_or_default(),
            figures: *candidate,
            reason,
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::http::Uri;

    use super::*;

    #[test]
    fn a_path_may_be_given_as_it_is_typed() {
        for (query, path) in [
            ("path=/Plone/++api++/news", "/Plone/++api++/news"),
            ("path=/Plone/%2B%2Bapi%2B%2B/news", "/Plone/++api++/news"),
            ("path=%2Fa%2520b%3Fx%3D1", "/a%20b"),
        ] {
            let uri: Uri = format!("/v1/explain?{query}").parse().expect("valid");
            let Query(parameters) = Query::try_from_uri(&uri).expect("valid");
            assert_eq!(Question::of(parameters).path(), path, "{query}");
        }
    }
}
