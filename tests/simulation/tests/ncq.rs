//! The invariants of algorithms.md 3.10, held by the balancer's own decisions in short runs.
//!
//! I1, I2 and I8 are checked after every event of every run here; I7 and I9 have tests beside the
//! planner and the homes; I10 follows from the index, and `benches/decide` shows it.

use sluice_simulation::experiment::{Cell, Experiment};
use sluice_simulation::policies;
use sluice_simulation::scenario::{EMULATED, Kind, Reports};
use sluice_simulation::table;

/// Mean time that a blob holds its worker, in seconds.
const BLOB_S: f64 = 1.97;

struct Runs {
    scenarios: &'static [&'static str],
    loads: &'static [f64],
    policies: &'static [&'static str],
    seeds: u64,
    scale: f64,
}

impl Runs {
    fn cells(&self, reports: Reports) -> Vec<Cell> {
        let policy = |name: &&str| policies::named(name).expect("a known policy");
        let experiment = Experiment {
            scenarios: self.scenarios.iter().map(|name| (*name).to_owned()).collect(),
            loads: self.loads.to_vec(),
            policies: self.policies.iter().map(policy).collect(),
            seeds: (1..=self.seeds).collect(),
            scale: self.scale,
            reports,
        };
        let cells = experiment.run(2).expect("known scenarios");
        assert_eq!(table::violations(&cells), "");
        cells
    }
}

fn median(cell: &Cell, kind: Kind, what: impl Fn(&sluice_simulation::stats::ClassOutcome) -> f64) -> f64 {
    let mut values: Vec<f64> = cell.runs.iter().filter_map(|run| run.kind(kind)).map(what).collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn small_p99(cell: &Cell) -> f64 {
    median(cell, Kind::Small, |class| class.p99_s)
}

fn blob_mean(cell: &Cell) -> f64 {
    median(cell, Kind::Large, |class| class.mean_s)
}

fn told(cell: &Cell) -> String {
    format!("{} at {:?}, {}", cell.scenario, cell.load, cell.policy)
}

/// I1, I2, I8 in the rows of design.md and in the research's workloads; I5 where there are four
/// workers and more.
#[test]
fn slots_and_queues_are_in_order_in_every_workload() {
    let research = &["a", "b", "g", "i", "int", "aff", "w16"];
    let runs = Runs { scenarios: research, loads: &[0.7, 0.9], policies: &["ncq"], seeds: 1, scale: 0.03 };
    for cell in runs.cells(Reports::default()) {
        assert!(cell.runs.iter().all(|run| run.unfinished == 0), "{}", told(&cell));
        if let Some(blobs) = cell.runs[0].kind(Kind::Large) {
            let most = 30.0 * BLOB_S;
            assert!(blobs.p999_s < most, "I5, {}: {} s", told(&cell), blobs.p999_s);
        }
    }
    let runs = Runs { scenarios: &EMULATED, loads: &[], policies: &["ncq"], seeds: 1, scale: 0.1 };
    let cells = runs.cells(Reports::default());
    assert!(cells.iter().all(|cell| cell.runs[0].unfinished == 0));
}

/// I3: where all requests are small, there is nothing to lose.
#[test]
fn small_requests_alone_are_served_as_by_least_connections() {
    let scenarios = &["d", "all-small"];
    let runs = Runs { scenarios, loads: &[0.5, 0.7, 0.95], policies: &["lc", "ncq"], seeds: 3, scale: 0.1 };
    for pair in runs.cells(Reports::default()).chunks(2) {
        let (lc, ncq) = (small_p99(&pair[0]), small_p99(&pair[1]));
        println!("I3 {}: {:.1} ms, lc {:.1} ms", told(&pair[1]), ncq * 1e3, lc * 1e3);
        assert!(ncq <= 1.05 * lc, "{}: {ncq} s, least connections {lc} s", told(&pair[1]));
    }
}

/// I4: what is learned is nearly as good as the static cap that an oracle would choose.
#[test]
fn learned_caps_are_nearly_as_good_as_the_best_static_ones() {
    let policies = &["ncq", "cap10", "cap11"];
    let runs = Runs { scenarios: &["a"], loads: &[0.7, 0.85], policies, seeds: 3, scale: 0.1 };
    for group in runs.cells(Reports::default()).chunks(3) {
        let (ncq, caps) = (&group[0], &group[1..]);
        for cell in group {
            let (p99, mean) = (small_p99(cell) * 1e3, blob_mean(cell));
            println!("I4 {}: small p99 {p99:.1} ms, blobs {mean:.2} s", told(cell));
        }
        let as_good = caps.iter().filter(|cap| blob_mean(cap) <= 1.05 * blob_mean(ncq)).map(small_p99);
        let best = as_good.fold(f64::INFINITY, f64::min);
        let found = small_p99(ncq);
        assert!(found <= 1.1 * best, "{}: {found} s, the best cap {best} s", told(ncq));
    }
}

/// I6: the pick does not depend on reports.
#[test]
fn reports_that_are_lost_or_late_change_nothing() {
    let scenarios = &["a", "exports"];
    let runs = Runs { scenarios, loads: &[0.85], policies: &["ncq"], seeds: 1, scale: 0.03 };
    let all = runs.cells(Reports::default());
    for reports in [
        Reports { lost: 1.0, ..Reports::default() },
        Reports { lost: 0.5, ..Reports::default() },
        Reports { late_s: 10.0, ..Reports::default() },
    ] {
        for (with, without) in all.iter().zip(runs.cells(reports)) {
            let (with, without) = (small_p99(with), small_p99(&without));
            println!("I6 {reports:?}: {without} s, all reports {with} s");
            // Late ones are held against the present count: only they can be misread.
            let most = if reports.late_s > 0.0 { 0.05 } else { 0.0 };
            assert!((without / with - 1.0).abs() <= most, "{reports:?}: {without} s and not {with} s");
        }
    }
}
