//! The planner's decisions with what they were made from: the last ones in memory, all of them in a
//! file if there is one, and `GET /v1/decisions`.

mod file;
mod packed;

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use axum::extract::{Query, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use prometheus::IntCounter;
use serde::Deserialize;
use sluice_proto::ServiceName;

pub use file::DecisionFile;

use crate::control::ControlState;
use crate::decide::decision::{Decision, Head, Line, SCHEMA};
use crate::decide::plan::PlanParams;
use crate::decide::schedule::Planned;
use file::Writer;
use packed::Packed;

/// Decisions that are kept in memory, ...
const KEPT: usize = 600;
/// ... unless they take more than this together, packed, in bytes: plans of thousands of instances do.
const KEPT_BYTES: usize = 8 << 20;
/// Decisions that change nothing are written down this often, in milliseconds, so that a replay has
/// the inputs in between.
const EVERY_MS: u64 = 10_000;

/// All services' decisions.
pub struct DecisionLog {
    run: u64,
    inner: Mutex<Inner>,
    file: Option<Writer>,
}

struct Inner {
    /// Precedes what follows wherever it is read: it has the parameters.
    head: Arc<str>,
    told: HashMap<ServiceName, Told>,
    kept: VecDeque<(ServiceName, Packed)>,
    /// What they take.
    bytes: usize,
}

/// What was written down of one service.
#[derive(Clone, Copy, Default)]
struct Told {
    plans: u64,
    last_ms: u64,
}

impl DecisionLog {
    /// `run`: Unix time in milliseconds of the start. `failures` counts what could not be written.
    pub fn new(params: PlanParams, run: u64, file: Option<DecisionFile>, failures: IntCounter) -> Self {
        let head = head(run, params);
        let file = file.map(|file| Writer::start(file, head.clone(), failures));
        let inner = Inner { head, told: HashMap::new(), kept: VecDeque::new(), bytes: 0 };
        Self { run, inner: Mutex::new(inner), file }
    }

    /// Plans are made with other parameters from now on. Decisions of before, which were made with others, are kept in
    /// the file alone.
    pub fn set_params(&self, params: PlanParams) {
        let head = head(self.run, params);
        let mut inner = self.inner();
        if inner.head == head {
            return;
        }
        inner.head = head.clone();
        inner.kept.clear();
        inner.bytes = 0;
        if let Some(file) = &self.file {
            file.begin_with(head);
        }
    }

    /// Takes in a plan that was just made.
    pub fn record(&self, service: &ServiceName, planned: Planned) {
        let Planned { previous, snapshot, plan } = planned;
        let changed = plan.version != previous.version;
        let at_ms = snapshot.at_ms;
        let Some(number) = self.number(service, at_ms, changed) else { return };
        let decision = Decision { at_ms, service: service.clone(), number, previous, snapshot, plan };
        let line: Arc<str> = line(&Line::Decision(Box::new(decision))).into();
        self.keep(service.clone(), Packed::of(&line));
        if let Some(file) = &self.file {
            file.append(line);
        }
    }

    /// Counts a plan. Returns its number if it is to be written down.
    fn number(&self, service: &ServiceName, at_ms: u64, changed: bool) -> Option<u64> {
        let mut inner = self.inner();
        let told = inner.told.entry(service.clone()).or_default();
        told.plans += 1;
        let due = changed || told.last_ms.abs_diff(at_ms) >= EVERY_MS;
        if due {
            told.last_ms = at_ms;
        }
        due.then_some(told.plans)
    }

    fn keep(&self, service: ServiceName, line: Packed) {
        let mut inner = self.inner();
        inner.bytes += line.size();
        inner.kept.push_back((service, line));
        while inner.kept.len() > KEPT || inner.bytes > KEPT_BYTES {
            let Some((_, oldest)) = inner.kept.pop_front() else { return };
            inner.bytes -= oldest.size();
        }
    }

    /// The last `most` decisions, of `service` alone if there is one, in lines that can be replayed.
    pub fn last(&self, service: Option<&ServiceName>, most: usize) -> String {
        let (head, wanted): (_, Vec<_>) = {
            let inner = self.inner();
            let own = inner.kept.iter().filter(|(of, _)| service.is_none_or(|service| service == of));
            (inner.head.clone(), own.rev().take(most).map(|(_, line)| line.clone()).collect())
        };
        // Unpacked without the lock, which the planner waits for.
        let mut text = head.to_string();
        wanted.iter().rev().for_each(|line| line.unpack_to(&mut text));
        text
    }

    /// Waits until everything is in the file.
    pub fn close(&self) {
        if let Some(file) = &self.file {
            file.close();
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("no code panics while holding it")
    }
}

fn head(run: u64, params: PlanParams) -> Arc<str> {
    let version = env!("CARGO_PKG_VERSION").to_owned();
    line(&Line::Head(Head { schema: SCHEMA, version, run, params })).into()
}

fn line(line: &Line) -> String {
    serde_json::to_string(line).expect("plans and snapshots are plain data") + "\n"
}

pub(super) fn routes() -> Router<Arc<ControlState>> {
    Router::new().route("/v1/decisions", get(decisions))
}

#[derive(Deserialize)]
struct Which {
    service: Option<ServiceName>,
    n: Option<usize>,
}

async fn decisions(State(state): State<Arc<ControlState>>, Query(which): Query<Which>) -> impl IntoResponse {
    let lines = state.decisions.last(which.service.as_ref(), which.n.unwrap_or(KEPT));
    ([(CONTENT_TYPE, "application/x-ndjson")], lines)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::ids::InstanceId;
    use crate::decide::plan::snapshot::{InstanceLoad, LaneLoad, Snapshot};
    use crate::decide::plan::{ServicePlan, plan};

    fn log() -> DecisionLog {
        let failures = IntCounter::new("failures", "of the test").expect("a valid name");
        DecisionLog::new(PlanParams::default(), 1, None, failures)
    }

    fn planned(at_ms: u64, version: u64) -> Planned {
        let plan = |version| ServicePlan { version, ..ServicePlan::default() };
        let snapshot = Snapshot { at_ms, ..Snapshot::default() };
        Planned { previous: plan(1), snapshot, plan: plan(version) }
    }

    #[test]
    fn changes_are_written_down_at_once_and_the_rest_every_ten_seconds() {
        let (log, service) = (log(), ServiceName::default());
        for (second, version) in [(100, 2), (101, 1), (102, 2), (103, 1), (111, 1), (112, 1), (113, 1)] {
            log.record(&service, planned(second * 1000, version));
        }
        let text = log.last(None, 10);
        let lines: Vec<Line> = text.lines().map(|line| serde_json::from_str(line).expect("valid")).collect();
        let Line::Head(head) = &lines[0] else { panic!("{text}") };
        assert_eq!((head.schema, head.run), (SCHEMA, 1));
        let told: Vec<_> = lines[1..]
            .iter()
            .map(|line| match line {
                Line::Decision(decision) => (decision.at_ms / 1000, decision.number),
                Line::Head(_) => panic!("{text}"),
            })
            .collect();
        assert_eq!(told, [(100, 1), (102, 3), (112, 6)]);
        assert_eq!(log.last(None, 1).lines().count(), 2);
        let other: ServiceName = "shop".parse().expect("a name");
        assert_eq!(log.last(Some(&other), 10).lines().count(), 1);
    }

    #[test]
    fn memory_is_bounded() {
        let (log, service) = (log(), ServiceName::default());
        (0..1000).for_each(|n| log.record(&service, planned(n, 2)));
        assert_eq!(log.last(None, 5000).lines().count(), KEPT + 1);
    }

    /// A plan for a site at work.
    fn at_work(instances: u64, second: u32) -> Planned {
        let instance = |id| InstanceLoad {
            id: InstanceId(id),
            name: format!("zope-{id}").parse().expect("a name"),
            workers: 1,
            slowness: 1.0,
            excluded: None,
        };
        let lane = |rate, held_s| LaneLoad { rate, held_s, scv: 0.9, ..LaneLoad::default() };
        let at = |second: u32| Snapshot {
            at_ms: u64::from(second) * EVERY_MS,
            lanes: vec![lane(f64::from(second).sqrt(), 0.019), lane(0.01, f64::from(second).ln())],
            instances: (0..instances).map(instance).collect(),
            ..Snapshot::default()
        };
        let params = PlanParams::default();
        let previous = plan(&at(second), &ServicePlan::default(), &params);
        let snapshot = at(second + 1);
        let plan = plan(&snapshot, &previous, &params);
        Planned { previous, snapshot, plan }
    }

    #[test]
    fn what_is_kept_takes_less_than_its_text() {
        for (instances, share) in [(4, 0.3), (100, 0.1)] {
            let (log, service) = (log(), ServiceName::default());
            (100..120).for_each(|second| log.record(&service, at_work(instances, second)));
            let text = log.last(None, KEPT);
            assert_eq!(text.lines().count(), 21);
            let taken = log.inner().bytes as f64 / text.len() as f64;
            assert!(taken < share, "{instances} instances: {taken}");
        }
    }
}
