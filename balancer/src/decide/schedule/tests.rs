use std::time::{Duration, Instant};

use super::*;
use crate::decide::dispatch::Granted;
use crate::decide::predict::{ExtensionKey, RequestKey, UrlKey};

pub(super) const PAGE: u32 = 1;
pub(super) const EXPORT: u32 = 2;

pub(super) struct Site {
    pub(super) scheduler: Scheduler<u32>,
    pub(super) now: Instant,
    pub(super) named: Named,
    urls: u64,
}

impl Site {
    pub(super) fn new(instances: u64) -> Self {
        let now = Instant::now();
        let mut scheduler = Scheduler::new(now, Settings::default(), fastrand::Rng::with_seed(7));
        let mut named = Named::default();
        for id in 0..instances {
            scheduler.set_instance(InstanceId(id), 1, true, now);
            named.instances.push((InstanceId(id), format!("i{id}").parse().expect("a name"), None));
        }
        Self { scheduler, now, named, urls: 0 }
    }

    pub(super) fn ask(&mut self, class: u32) -> Ask {
        self.urls += 1;
        let key = RequestKey { class: ClassId(class), url: UrlKey(self.urls), extension: ExtensionKey::Bare };
        Ask::new(key)
    }

    fn send(&mut self, class: u32) -> (Granted, Judgement) {
        let ask = self.ask(class);
        match self.scheduler.arrive(self.now, &ask, &[], || 0) {
            (Arrival::Slot(granted), judgement) => (granted, judgement),
            (other, _) => panic!("expected a slot: {other:?}"),
        }
    }

    pub(super) fn serve(&mut self, class: u32, ms: u64) -> Judgement {
        let (granted, judgement) = self.send(class);
        self.pass(ms);
        self.end(granted);
        judgement
    }

    pub(super) fn serve_many(&mut self, times: usize, class: u32, ms: u64) {
        for _ in 0..times {
            self.serve(class, ms);
        }
    }

    fn end(&mut self, granted: Granted) {
        self.scheduler.end(
            granted.run,
            Outcome { answered: true, failed: false, bytes: Some(1000), held_to_the_end: true },
            self.now,
        );
    }

    pub(super) fn pass(&mut self, ms: u64) {
        self.now += Duration::from_millis(ms);
    }

    pub(super) fn tick(&mut self) {
        self.scheduler.tick(self.now, 0, self.named.clone());
    }
}

#[test]
fn a_class_that_was_large_once_is_large_the_next_time() {
    let mut site = Site::new(4);
    site.serve_many(50, PAGE, 10);
    assert_eq!(site.serve(EXPORT, 1500).lane, Lane::SMALL, "unknown starts optimistic");
    assert_eq!(site.serve(EXPORT, 1500).lane, Lane::LARGE);
    assert_eq!(site.serve(PAGE, 10).lane, Lane::SMALL);
}

#[test]
fn a_request_that_takes_too_long_is_large_while_it_runs() {
    let mut site = Site::new(4);
    site.serve_many(50, PAGE, 10);
    let (running, _) = site.send(EXPORT);
    site.pass(300);
    assert!(site.scheduler.next_grant(site.now).is_none());
    assert_eq!(site.scheduler.backlog(Lane::LARGE, site.now).running, 1);
    let ask = site.ask(EXPORT);
    assert!(site.scheduler.judge(&ask).lane.is_large(), "its class is remembered at once");
    site.end(running);
    assert_eq!(site.scheduler.backlog(Lane::LARGE, site.now).running, 0);
}

/// Pages, and an export every other second.
pub(super) fn mixed(site: &mut Site) {
    for second in 0..30 {
        site.serve_many(60, PAGE, 10);
        if second % 2 == 0 {
            site.serve(EXPORT, 1500);
        }
        site.tick();
    }
}

#[test]
fn the_plan_caps_exports_and_dedicates_instances_to_them() {
    let mut site = Site::new(4);
    mixed(&mut site);
    let plan = site.scheduler.plan().clone();
    assert!(plan.lanes[1].high < 4, "{plan:?}");
    assert!(!plan.dedicated.instances.is_empty(), "{plan:?}");
    let dedicated = plan.instances.iter().find(|e| e.role == sluice_proto::Role::Large).expect("one");
    assert!(dedicated.reason.contains("1.5 s each"), "{}", dedicated.reason);
}

#[test]
fn a_request_that_would_wait_too_long_is_told_at_once() {
    let mut site = Site::new(1);
    site.serve_many(10, EXPORT, 10_000);
    site.tick();
    let mut refused = None;
    for waiter in 0..20 {
        let ask = Ask { lane: Some(Lane::LARGE), ..site.ask(EXPORT) };
        if let (Arrival::Refused(refusal), _) = site.scheduler.arrive(site.now, &ask, &[], || waiter) {
            refused = Some((waiter, refusal));
            break;
        }
    }
    let (waiter, refusal) = refused.expect("60 s is the most");
    assert_eq!(refusal, crate::decide::dispatch::Refusal::TooLate);
    // One runs, and seven of 10 s each wait: the eighth would wait for 70 s.
    assert!((7..=9).contains(&waiter), "{waiter}");
}

#[test]
fn other_bounds_are_in_force_at_once() {
    let mut site = Site::new(1);
    let [small_wait, large_wait] = [1, 2].map(Duration::from_secs);
    site.scheduler.set_settings(Settings { small_wait, large_wait, ..Settings::default() });
    for lane in Lane::all() {
        let expected = if lane.is_large() { large_wait } else { small_wait };
        assert_eq!(site.scheduler.dispatcher.longest_wait(lane), expected, "{lane:?}");
    }
}

/// While it was stopped, four pages seemed to take 5 s each: the next is still a page, and nobody is refused.
#[test]
fn nothing_is_learned_of_a_time_in_which_the_process_did_not_run() {
    let mut site = Site::new(4);
    let runs = |site: &mut Site| site.scheduler.runs(site.now);
    runs(&mut site);
    site.serve_many(50, PAGE, 10);
    runs(&mut site);
    let mut running: Vec<_> = (0..4).map(|_| site.send(PAGE).0).collect();
    site.pass(5_000);
    running.drain(..1).for_each(|before_it_is_noticed| site.end(before_it_is_noticed));
    runs(&mut site);
    assert!(site.scheduler.next_grant(site.now).is_none());
    running.into_iter().for_each(|run| site.end(run));
    let ask = site.ask(PAGE);
    let judgement = site.scheduler.judge(&ask);
    assert!(!judgement.lane.is_large(), "{judgement:?}");
    let held = site.scheduler.learner().lane_held(Lane::SMALL).mean().expect("known");
    assert!((0.009..0.011).contains(&held), "{held}");
}
