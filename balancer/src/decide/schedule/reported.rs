//! Planning without being asked for anything: what agents report, while somebody else sends the requests.

use std::time::Instant;

use super::Scheduler;
use crate::decide::dispatch::{InstanceId, Lane};
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
            let said = self.learner.reported(class, slowness);
            if let Some(comparison) = said.comparison {
                (0..comparison.times).for_each(|_| self.dispatcher.judge(instance, comparison.ratio, now));
            }
            if said.lane.is_large() {
                self.carrier.worked(class.held.map_or(0.0, |held| held.samples * held.mean));
            }
        }
    }

    /// Workers that large requests keep busy, in Erlang.
    pub fn large_load(&self) -> f64 {
        let load = |lane| self.learner.lane_rate(lane) * self.learner.lane_held(lane).mean().unwrap_or(0.0);
        let planned = Lane::all().take(self.learner.bounds().lanes()).skip(1).map(load).sum();
        if self.is_bypassed() { self.carrier.large_work().min(planned) } else { planned }
    }

    /// Whether plans are made of reports, as the requests are sent by somebody else.
    pub fn is_bypassed(&self) -> bool {
        self.carrier.is_bypassed()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::decide::ids::ClassId;
    use crate::decide::learn::moments::Batch;
    use crate::decide::schedule::tests::{EXPORT, PAGE, Site};
    use crate::decide::schedule::{Named, Settings};

    fn told(class: u32, requests: u64, held: f64) -> ReportedClass {
        let held = Batch { samples: requests as f64, mean: held, square: held * held };
        ReportedClass { class: ClassId(class), pinned: None, requests, held: Some(held) }
    }

    /// Four agents with 10 pages of 10 ms each, and one export of 0.8 s among them.
    fn second(scheduler: &mut Scheduler<u32>, now: &mut Instant, named: &Named, exports: u64) {
        for id in 0..4 {
            let exports = if id == 0 { exports } else { 0 };
            let told = [told(PAGE, 10, 0.01), told(EXPORT, exports, 0.8)];
            let told = if exports > 0 { &told[..] } else { &told[..1] };
            scheduler.reported(InstanceId(id), told, *now);
        }
        *now += Duration::from_secs(1);
        scheduler.tick(*now, 0, named.clone());
    }

    fn dedicated(plan_from_reports: bool) -> (usize, f64) {
        let mut site = Site::new(4);
        site.scheduler.set_settings(Settings { plan_from_reports, ..Settings::default() });
        for _ in 0..30 {
            second(&mut site.scheduler, &mut site.now, &site.named, 1);
        }
        (site.scheduler.plan().dedicated.instances.len(), site.scheduler.large_load())
    }

    #[test]
    fn instances_are_dedicated_by_reports_alone_if_that_is_asked_for() {
        let (instances, load) = dedicated(true);
        assert!((1..=2).contains(&instances), "{instances}");
        assert!((0.6..0.9).contains(&load), "one of 0.8 s each second: {load}");
        assert_eq!(dedicated(false), (0, 0.0));
    }

    #[test]
    fn what_the_balancer_sees_itself_is_not_counted_twice() {
        let mut site = Site::new(4);
        site.scheduler.set_settings(Settings { plan_from_reports: true, ..Settings::default() });
        for _ in 0..30 {
            site.serve_many(40, PAGE, 10);
            second(&mut site.scheduler, &mut site.now, &site.named, 0);
        }
        assert!(!site.scheduler.is_bypassed());
        let rate = site.scheduler.learner().class_rate(ClassId(PAGE));
        // 40 in each 1.4 s, as its own requests take 0.4 s one after the other.
        assert!((25.0..35.0).contains(&rate), "{rate}");
    }
}
