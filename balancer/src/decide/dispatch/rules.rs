//! What the plan and the learner tell the dispatcher: everything that a pick depends on besides the
//! counts.

use std::time::{Duration, Instant};

use crate::decide::ids::{InstanceId, Lane};
use crate::decide::learn::affinity::Worth;
use crate::decide::outlier::OutlierParams;
use crate::decide::plan::dedicate::Mode;

/// How many workers a lane and the larger ones may hold together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LaneRule {
    pub cap: usize,
    /// Up to this many once a request has waited for `patience`.
    pub high: usize,
    pub patience: Duration,
    /// A waiter of a large lane that is older than this is served before smaller ones.
    pub starving: Duration,
}

impl LaneRule {
    /// No limit: pure priority.
    pub const FREE: Self =
        Self { cap: usize::MAX, high: usize::MAX, patience: Duration::ZERO, starving: STARVING };
}

const STARVING: Duration = Duration::from_secs(10);

/// In force until the next plan.
#[derive(Clone, Debug)]
pub struct Rules {
    pub made: Instant,
    pub lanes: [LaneRule; Lane::MOST],
    pub mode: Mode,
    /// The instances that large requests go to first.
    pub dedicated: Vec<InstanceId>,
    /// Share by which a large request prolongs a small one beside it.
    pub interference: f64,
    pub homes: Worth,
    /// Mean worker-held time of a small request.
    pub small_held: Duration,
    /// Mean worker-held time of each lane's requests, where some were seen.
    pub held: [Option<Duration>; Lane::MOST],
}

/// A plan that is older than this is no plan: caps of another mix starve somebody
/// (algorithms.md 3.8).
pub const PLAN_EXPIRES: Duration = Duration::from_secs(5);

impl Rules {
    /// Before the first plan.
    pub fn none(now: Instant) -> Self {
        Self {
            made: now,
            lanes: [LaneRule::FREE; Lane::MOST],
            mode: Mode::Pack,
            dedicated: Vec::new(),
            interference: 0.0,
            homes: Worth::Unknown,
            small_held: Duration::from_millis(10),
            held: [None; Lane::MOST],
        }
    }

    /// The rule for a lane, if the planner still runs.
    pub(super) fn lane(&self, lane: Lane, now: Instant) -> LaneRule {
        if now.saturating_duration_since(self.made) > PLAN_EXPIRES {
            return LaneRule::FREE;
        }
        self.lanes[lane.index()]
    }

    /// How much longer a small request takes beside `large` large ones.
    pub(super) fn beside(&self, large: u32) -> f64 {
        1.0 + self.interference * f64::from(large)
    }
}

/// Tuning of the pick.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PickParams {
    /// A worker that would serve a request `m` times slower is used once this many times `m - 1`
    /// requests wait for each fast worker.
    pub reluctance: f64,
    /// A short request may be sent ahead to an instance without a free worker, one each, so that the
    /// worker does not idle for a round trip, once this many wait for each worker, ...
    pub ahead_from: f64,
    /// ... and this many in all. With fewer it does harm: the one sent ahead is bound to one worker
    /// while another becomes free.
    pub ahead_least: usize,
    /// How long an instance that came up is used after the others.
    pub slow_start: Duration,
    /// When an instance that fails is left out.
    pub outlier: OutlierParams,
}

impl PickParams {
    /// Whether so many wait for so many workers that short requests are sent ahead.
    pub(super) fn sends_ahead(&self, waiting: usize, workers: u32) -> bool {
        waiting >= self.ahead_least && waiting as f64 >= self.ahead_from * f64::from(workers)
    }
}

impl Default for PickParams {
    fn default() -> Self {
        Self {
            reluctance: 0.5,
            ahead_from: 0.5,
            ahead_least: 8,
            slow_start: Duration::from_secs(10),
            outlier: OutlierParams::default(),
        }
    }
}
