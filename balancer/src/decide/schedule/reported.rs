//! Planning without being asked for anything: what agents report, while somebody else sends the requests.

use std::time::Instant;

use super::Scheduler;
use crate::decide::dispatch::InstanceId;
use crate::decide::learn::reported::ReportedClass;

impl<W> Scheduler<W> {
    /// An agent measured this in one window. Learned from only if that is asked for and hardly any request comes here:
    /// what the balancer sees itself, it sees better, and it would count twice.
    pub fn reported(&mut self, instance: InstanceId, told: &[ReportedClass], now: Instant) {
        if !self.settings.plan_from_reports {
            return;
        }
        self.carrier.reported(told.iter().map(|class| class.requests).sum());
        if !self.carrier.is_bypassed() {
            return;
        }
        let slowness = self.dispatcher.occupancy(instance).map_or(1.0, |o| o.slowness);
        for class in told {
            if let Some(comparison) = self.learner.reported(class, slowness) {
                (0..comparison.times).for_each(|_| self.dispatcher.judge(instance, comparison.ratio, now));
            }
        }
    }

    /// Whether plans are made of reports, as the requests are sent by somebody else.
    pub fn is_bypassed(&self) -> bool {
        self.carrier.is_bypassed()
    }
}
