//! What would become of a request now, and why: the whole of a decision as one value.

#[cfg(test)]
mod tests;
mod words;

pub(crate) use words::time;

use std::time::{Duration, Instant};

use serde::Serialize;

use super::{Ask, Scheduler};
use crate::decide::dispatch::explain::Candidate;
use crate::decide::dispatch::{Backlog, Course, InstanceId, Lane, LaneRule, Refusal, Shed};
use crate::decide::learn::affinity::Worth;
use crate::decide::plan::dedicate::Mode;
use crate::decide::predict::{Prediction, Source};

/// Instances of which an explanation tells; of the rest it tells the number.
pub const CANDIDATES: usize = 20;

/// A decision about one request that has not come. Nothing is changed by asking for it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Explanation {
    pub prediction: Predicted,
    pub lane: LaneState,
    pub homes: HomesState,
    /// How small and large requests share instances.
    pub mode: Mode,
    pub course: Course,
    /// Those that the pick prefers first.
    pub candidates: Vec<Candidate>,
    /// Instances beyond those.
    pub others: usize,
}

/// What the request is expected to cost, and what says so.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Predicted {
    /// How long it will hold a worker.
    pub held_ms: f64,
    pub held_from: Source,
    /// Observations behind it.
    pub held_seen: u64,
    pub bytes: u64,
    pub bytes_from: Source,
    pub bytes_seen: u64,
}

/// A request's lane as it is now.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct LaneState {
    pub number: usize,
    pub name: &'static str,
    /// A rule says so, whatever is predicted.
    pub by_rule: bool,
    /// Predicted worker-held times that belong to it; `None`: no upper bound.
    pub from_ms: f64,
    pub to_ms: Option<f64>,
    /// Workers that it and larger ones may hold; `None`: all.
    pub cap: Option<usize>,
    /// The same for one that has waited for `patience_ms`.
    pub high: Option<usize>,
    pub patience_ms: f64,
    /// Requests of it, and of it and larger ones, that hold a worker.
    pub running: usize,
    pub running_with_larger: usize,
    pub waiting: usize,
    pub oldest_wait_ms: f64,
    /// How long one that comes now is expected to wait.
    pub expected_wait_ms: f64,
    /// How long one may be expected to wait: less than usual in overload; `None`: no limit.
    pub longest_wait_ms: Option<f64>,
    #[serde(skip)]
    pub shed: Shed,
}

/// Where the request's class is at home, and what that is worth.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HomesState {
    pub of_class: Vec<InstanceId>,
    pub worth: Worth,
}

impl<W> Scheduler<W> {
    /// Tells what [`Scheduler::arrive`] would do with a request that comes now for the first time.
    pub fn explain(&self, ask: &Ask, now: Instant) -> Explanation {
        let judgement = self.judge(ask);
        let demand = self.demand(now, ask, &judgement);
        let standings = self.dispatcher.explain(&demand, now, CANDIDATES);
        Explanation {
            prediction: Predicted::from(judgement.prediction),
            lane: LaneState { by_rule: judgement.pinned, ..self.lane_state(judgement.lane, now) },
            homes: HomesState {
                of_class: self.dispatcher.homes_of(ask.key.class).to_vec(),
                worth: self.dispatcher.rules().homes,
            },
            mode: self.dispatcher.rules().mode,
            course: standings.course,
            candidates: standings.candidates,
            others: standings.others,
        }
    }

    /// A lane's bounds, caps and queue.
    pub fn lane_state(&self, lane: Lane, now: Instant) -> LaneState {
        let bounds = self.learner.bounds();
        let Backlog { waiting, running, oldest_wait, .. } = self.dispatcher.backlog(lane, now);
        let larger = Lane::all().skip(lane.index()).map(|lane| self.dispatcher.backlog(lane, now).running);
        let rule: LaneRule = self.dispatcher.rule(lane, now);
        let limit = |workers: usize| (workers != usize::MAX).then_some(workers);
        let above = (lane.index() + 1 < bounds.lanes()).then(|| bounds.begin(Lane::new(lane.index() + 1)));
        LaneState {
            number: lane.index(),
            name: lane.name(),
            by_rule: false,
            from_ms: bounds.begin(lane) * 1e3,
            to_ms: above.map(|seconds| seconds * 1e3),
            cap: limit(rule.cap),
            high: limit(rule.high),
            patience_ms: millis(rule.patience),
            running,
            running_with_larger: larger.sum(),
            waiting,
            oldest_wait_ms: millis(oldest_wait),
            expected_wait_ms: millis(self.dispatcher.expected_wait(lane, now)),
            longest_wait_ms: finite(self.dispatcher.longest_wait(lane)),
            shed: self.dispatcher.shed(lane),
        }
    }
}

impl From<Prediction> for Predicted {
    fn from(Prediction { held, bytes }: Prediction) -> Self {
        Self {
            held_ms: held.mean * 1e3,
            held_from: held.from,
            held_seen: held.samples.round() as u64,
            bytes: bytes.mean.round() as u64,
            bytes_from: bytes.from,
            bytes_seen: bytes.samples.round() as u64,
        }
    }
}

impl Explanation {
    /// Whether the request would be turned away.
    pub fn refusal(&self) -> Option<Refusal> {
        if let Course::Refused { why } = self.course { Some(why) } else { None }
    }
}

fn finite(duration: Duration) -> Option<f64> {
    (duration != Duration::MAX).then(|| millis(duration))
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
