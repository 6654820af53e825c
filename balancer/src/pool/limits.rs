//! What the operator allows a service.

use std::time::Duration;

use crate::decide::dispatch::PickParams;
use crate::decide::outlier::OutlierParams;
use crate::decide::plan::PlanParams;
use crate::decide::schedule::Settings;

/// Bounds of one service.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ServiceLimits {
    /// The most requests that wait at a time.
    pub queue_length: usize,
    /// The longest that a small request waits, ...
    pub queue_timeout: Duration,
    /// ... and a large one.
    pub large_queue_timeout: Duration,
    /// After the start: how long requests wait for a first instance.
    pub startup_hold: Duration,
    /// When an instance that fails is left out.
    pub outlier: OutlierParams,
    /// What its planner is tuned to.
    pub plan: PlanParams,
    /// Whether it plans by what agents report, while somebody else sends the requests.
    pub plan_from_reports: bool,
}

impl ServiceLimits {
    pub(super) fn settings(&self) -> Settings {
        Settings {
            queue_length: self.queue_length,
            small_wait: self.queue_timeout,
            large_wait: self.large_queue_timeout,
            startup_hold: self.startup_hold,
            plan: self.plan,
            plan_from_reports: self.plan_from_reports,
            pick: PickParams { outlier: self.outlier, ..PickParams::default() },
            ..Settings::default()
        }
    }
}
