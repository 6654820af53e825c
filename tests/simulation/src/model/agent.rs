//! Agents: what they count, and what becomes of it on the way.

use std::collections::VecDeque;

use fastrand::Rng;

use super::instance::Instance;
use super::report::{ClassWindow, InstanceReport};
use crate::scenario::{Lie, Reports};
use crate::time::{Nanos, SECOND, duration, nanos};

/// Time between two reports.
pub(crate) const INTERVAL: Nanos = SECOND;

#[derive(Debug)]
pub(crate) struct Agents {
    reports: Reports,
    rng: Rng,
    sequence: u64,
    /// Reports under way, the oldest first: all take equally long.
    sent: VecDeque<Vec<InstanceReport>>,
}

impl Agents {
    pub(crate) fn new(reports: Reports, rng: Rng) -> Self {
        Self { reports, rng, sequence: 0, sent: VecDeque::new() }
    }

    /// All windows end at `now`: when the reports on them arrive.
    pub(crate) fn cut(&mut self, now: Nanos, instances: &mut [Instance], workers: usize) -> Nanos {
        self.sequence += 1;
        let mut reports = Vec::with_capacity(instances.len());
        for (index, instance) in instances.iter_mut().enumerate() {
            let report = self.report(now, index, instance, workers);
            if self.rng.f64() >= self.reports.lost {
                reports.push(report);
            }
        }
        self.sent.push_back(reports);
        now + nanos(self.reports.late_s)
    }

    pub(crate) fn deliver(&mut self) -> Vec<InstanceReport> {
        self.sent.pop_front().unwrap_or_default()
    }

    fn report(&self, now: Nanos, index: usize, instance: &mut Instance, workers: usize) -> InstanceReport {
        let empty = vec![ClassWindow::default(); instance.window.len()];
        let mut report = InstanceReport {
            instance: index,
            sequence: self.sequence,
            at: duration(now),
            window: duration(INTERVAL),
            workers,
            busy: instance.busy,
            queued: instance.waiting.len(),
            classes: std::mem::replace(&mut instance.window, empty),
        };
        if let Some((liar, lie)) = self.reports.liar
            && liar == index
        {
            tell(&mut report, lie);
        }
        report
    }
}

fn tell(report: &mut InstanceReport, lie: Lie) {
    match lie {
        Lie::Zero => {
            (report.busy, report.queued) = (0, 0);
            report.classes.fill(ClassWindow::default());
        }
        Lie::ThousandWorkers => {
            (report.workers, report.busy, report.queued) = (1000, 0, 0);
        }
        Lie::OtherClasses => report.classes.rotate_right(1),
    }
}
