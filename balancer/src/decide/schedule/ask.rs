//! From what is known of a request to what is asked of the dispatcher.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Scheduler;
use crate::decide::dispatch::{Demand, InstanceId, Lane};
use crate::decide::predict::{Prediction, RequestKey};

/// A request of which this much is known to be short at the 99th percentile may have another one
/// sent after it: in units of the bound between small and large.
const SHORT_TAIL: f64 = 1.0;

/// What one request asks for, as classification and rules have it.
#[derive(Clone, Debug)]
pub struct Ask {
    pub key: RequestKey,
    /// A rule's word on its lane; `None`: as predicted.
    pub lane: Option<Lane>,
    /// Above 0 before, below 0 after the others of its lane.
    pub priority: i8,
    /// The longest that it may wait before it is sent; `None`: as all.
    pub deadline: Option<Duration>,
    /// The only instances that may serve it.
    pub only: Option<Arc<[InstanceId]>>,
    /// The instance that has its session.
    pub sticky: Option<InstanceId>,
}

impl Ask {
    /// A request without rules.
    pub fn new(key: RequestKey) -> Self {
        Self { key, lane: None, priority: 0, deadline: None, only: None, sticky: None }
    }
}

/// What was thought of a request when it came.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Judgement {
    pub lane: Lane,
    /// The lane is a rule's word, and not what the prediction says.
    pub pinned: bool,
    pub prediction: Prediction,
    /// Enough is known of its class to send another after it.
    pub known_short: bool,
}

impl<W> Scheduler<W> {
    /// What is thought of a request. Changes nothing.
    pub fn judge(&self, ask: &Ask) -> Judgement {
        let prediction = self.predictor.predict(ask.key);
        let bounds = self.learner.bounds();
        let lane = ask.lane.unwrap_or_else(|| bounds.lane(prediction.held.mean));
        let most = SHORT_TAIL * bounds.begin(Lane::LARGE);
        let tail = self.predictor.tail(ask.key.class);
        let known_short = !lane.is_large() && tail.is_some_and(|seconds| seconds <= most);
        Judgement { lane, pinned: ask.lane.is_some(), prediction, known_short }
    }

    pub(super) fn demand(&self, now: Instant, ask: &Ask, judgement: &Judgement) -> Demand {
        Demand {
            priority: ask.priority,
            due: ask.deadline.map(|deadline| now + deadline),
            only: ask.only.clone(),
            sticky: ask.sticky,
            known_short: judgement.known_short,
            ..Demand::new(ask.key, judgement.lane)
        }
    }
}
