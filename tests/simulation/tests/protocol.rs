//! What a policy hears, and when.

use std::time::Duration;

use sluice_emulation::dist::Dist;
use sluice_simulation::model;
use sluice_simulation::policy::{Dispatch, Head, InstanceReport, Job, JobId, Policy};
use sluice_simulation::scenario::{Lie, Rate, Reports, Scenario};

const MS: Duration = Duration::from_millis(1);

/// Sends everything to instance 0 and writes down what it hears.
#[derive(Default)]
struct Diary {
    events: Vec<(JobId, &'static str, Duration)>,
    timers: Vec<Duration>,
    reports: Vec<(Duration, InstanceReport)>,
}

impl Policy for Diary {
    fn arrive(&mut self, now: Duration, job: &Job, out: &mut Vec<Dispatch>) {
        self.events.push((job.id, "arrive", now));
        out.push(Dispatch { job: job.id, instance: 0 });
    }

    fn head(&mut self, now: Duration, job: JobId, _head: Head) {
        self.events.push((job, "head", now));
    }

    fn released(&mut self, now: Duration, job: JobId, _out: &mut Vec<Dispatch>) {
        self.events.push((job, "released", now));
    }

    fn ended(&mut self, now: Duration, job: JobId, _out: &mut Vec<Dispatch>) {
        self.events.push((job, "ended", now));
    }

    fn timer(&mut self, now: Duration, _out: &mut Vec<Dispatch>) {
        self.timers.push(now);
    }

    fn report(&mut self, now: Duration, reports: &[InstanceReport]) {
        self.reports.extend(reports.iter().map(|report| (now, report.clone())));
    }
}

/// Jobs of exactly 10 ms, 4 ms there and back, about ten a second for ten seconds.
fn scenario() -> Scenario {
    let mut scenario = Scenario::named("d", 0.1, 1.0).expect("a known scenario");
    scenario.duration_s = 10.0;
    scenario.round_trip_s = 0.004;
    scenario.classes[0].rate = Rate::Constant(10.0);
    scenario.classes[0].held_s = Dist::Constant(0.01);
    scenario
}

fn diary(scenario: &Scenario) -> Diary {
    let mut diary = Diary::default();
    model::run(scenario, &mut diary, 5);
    diary
}

/// Of the first job: names, and times since its arrival.
fn first_job(scenario: &Scenario) -> Vec<(&'static str, Duration)> {
    let events = diary(scenario).events;
    let (first, _, start) = events[0];
    events.iter().filter(|(job, _, _)| *job == first).map(|&(_, name, at)| (name, at - start)).collect()
}

#[test]
fn a_worker_held_job_is_released_and_ended_together_a_round_trip_after_its_work() {
    let expected = [("arrive", 0), ("head", 14), ("released", 14), ("ended", 14)];
    assert_eq!(first_job(&scenario()), expected.map(|(name, ms)| (name, ms * MS)));
}

#[test]
fn a_streaming_job_frees_its_worker_before_its_client_is_done() {
    let mut scenario = scenario();
    scenario.classes[0].bytes = Dist::Constant(30e3);
    scenario.classes[0].client_rate = Some(1e6); // 30 ms
    scenario.classes[0].rate = Rate::Constant(0.5);
    let expected = [("arrive", 0), ("head", 14), ("released", 14), ("ended", 44)];
    assert_eq!(first_job(&scenario), expected.map(|(name, ms)| (name, ms * MS)));
}

#[test]
fn a_slow_instance_takes_as_much_longer_and_a_miss_costs_what_it_says() {
    let mut slow = scenario();
    slow.speeds[0] = 0.2;
    assert_eq!(first_job(&slow).last(), Some(&("ended", 54 * MS)));
    let mut missing = Scenario::named("caches", 1.0, 0.001).expect("a known scenario");
    missing.classes[0].held_s = Dist::Constant(0.01);
    missing.classes[0].rate = Rate::Constant(100.0);
    // 10 ms, 40 ms for the miss, 0.5 ms there and back.
    assert_eq!(first_job(&missing).last(), Some(&("ended", Duration::from_micros(50_500))));
}

#[test]
fn the_timer_ticks_four_times_a_second_and_a_whole_second_is_one_of_them() {
    let timers = diary(&scenario()).timers;
    assert_eq!(timers[..4], [250 * MS, 500 * MS, 750 * MS, 1000 * MS]);
}

#[test]
fn reports_add_up_to_what_finished() {
    let diary = diary(&scenario());
    let ended_in_time = diary.events.iter().filter(|(_, name, at)| *name == "ended" && *at < 9 * 1000 * MS);
    let from_first = || diary.reports.iter().filter(|(_, report)| report.instance == 0).take(9);
    let finished: u64 = from_first().map(|(_, report)| report.classes[0].finished).sum();
    let held: f64 = from_first().map(|(_, report)| report.classes[0].held_s).sum();
    assert!(finished.abs_diff(ended_in_time.count() as u64) <= 1);
    assert!((held / finished as f64 - 0.01).abs() < 1e-6);
    let sequence: Vec<u64> = from_first().map(|(_, report)| report.sequence).collect();
    assert_eq!(sequence, (1..=9).collect::<Vec<_>>());
}

fn with_reports(reports: Reports) -> Vec<(Duration, InstanceReport)> {
    let mut scenario = scenario();
    scenario.reports = reports;
    diary(&scenario).reports
}

#[test]
fn reports_are_lost_late_and_untrue_as_the_scenario_has_it() {
    assert!(with_reports(Reports { lost: 1.0, ..Reports::default() }).is_empty());
    let all = with_reports(Reports::default()).len();
    let half = with_reports(Reports { lost: 0.5, ..Reports::default() }).len();
    assert!((all / 4..all * 3 / 4).contains(&half), "{half} of {all}");
    let late = with_reports(Reports { late_s: 3.0, ..Reports::default() });
    assert!(late.iter().all(|(now, report)| *now - report.at == 3000 * MS));
    let lying = with_reports(Reports { liar: Some((2, Lie::ThousandWorkers)), ..Reports::default() });
    assert!(lying.iter().all(|(_, r)| r.workers == if r.instance == 2 { 1000 } else { 2 }));
}
