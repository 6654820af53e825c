//! The workloads of the research (algorithms.md part 2), as a table.
//!
//! Small requests are lognormal with mean 10 ms and cv 1, medium ones 100 ms; blobs hold a worker for a
//! bounded Pareto time of 1 to 5 s (alpha 1.1, mean 1.97 s), or in `async` 30 ms and then stream that long.

use sluice_emulation::dist::Dist;

use super::{Antagonists, ClassSpec, Kind, Rate, Reports, Scenario, SiteLaw, Sites};

pub const NAMES: [&str; 24] = [
    "a", "b", "c", "d", "e", "f", "g", "g1", "h", "h1k", "i", "ant", "int", "async", "mis", "three", "w16",
    "w4", "w1", "tiny", "aff", "affz", "affb", "mmall",
];

/// Fractions of small, medium and large among all requests.
type Mix = [f64; Kind::COUNT];

const A: Mix = [0.99, 0.0, 0.01];
const SMALL: Mix = [1.0, 0.0, 0.0];

struct Row {
    instances: usize,
    workers: usize,
    mix: Mix,
    duration_s: f64,
    special: Special,
}

#[derive(PartialEq)]
enum Special {
    Plain,
    /// The mix becomes this one at half-time.
    ShiftTo(Mix),
    BurstyBlobs,
    BurstyAll,
    SlowInstance,
    Antagonists,
    Interference,
    Streaming,
    Unknown,
    Sites(Law),
}

#[derive(PartialEq)]
enum Law {
    Nested,
    Zipf,
}

fn row(name: &str) -> Option<Row> {
    use Special::*;
    let (instances, workers, mix, duration_s, special) = match name {
        "a" => (8, 2, A, 1200.0, Plain),
        "b" => (8, 2, [0.9, 0.0, 0.1], 4000.0, Plain),
        "c" => (8, 2, [0.998, 0.0, 0.002], 1200.0, ShiftTo([0.97, 0.0, 0.03])),
        "d" => (8, 2, SMALL, 300.0, Plain),
        "e" => (8, 2, [0.0, 0.0, 1.0], 20_000.0, Plain),
        "f" => (8, 2, A, 2400.0, BurstyBlobs),
        "g" => (2, 2, A, 4000.0, Plain),
        "g1" => (2, 1, A, 4000.0, Plain),
        "h" => (100, 2, A, 200.0, Plain),
        "h1k" => (1000, 2, A, 40.0, Plain),
        "i" => (8, 2, A, 1200.0, SlowInstance),
        "ant" => (8, 2, A, 1200.0, Antagonists),
        "int" => (8, 2, A, 1200.0, Interference),
        "async" => (8, 2, [0.95, 0.0, 0.05], 300.0, Streaming),
        "mis" => (8, 2, A, 1200.0, Unknown),
        "three" => (8, 2, [0.9, 0.09, 0.01], 1500.0, Plain),
        "w16" => (2, 16, A, 1200.0, Plain),
        "w4" => (4, 4, A, 1200.0, Plain),
        "w1" => (16, 1, A, 1200.0, Plain),
        "tiny" => (8, 2, [0.9999, 0.0, 0.0001], 1200.0, Plain),
        "aff" => (8, 2, SMALL, 300.0, Sites(Law::Nested)),
        "affz" => (8, 2, SMALL, 300.0, Sites(Law::Zipf)),
        "affb" => (8, 2, A, 1200.0, Sites(Law::Nested)),
        "mmall" => (8, 2, A, 2400.0, BurstyAll),
        _ => return None,
    };
    Some(Row { instances, workers, mix, duration_s, special })
}

pub(super) fn named(name: &str, load: f64, scale: f64) -> Option<Scenario> {
    let row = row(name)?;
    let mut speeds = vec![1.0; row.instances];
    if row.special == Special::SlowInstance {
        speeds[0] = 0.2;
    }
    let duration_s = row.duration_s * scale;
    let capacity = speeds.iter().sum::<f64>() * row.workers as f64;
    Some(Scenario {
        name: name.to_owned(),
        classes: classes(&row, load * capacity, duration_s),
        speeds,
        workers: row.workers,
        duration_s,
        warm_up: 0.1,
        round_trip_s: 0.0005,
        interference: if row.special == Special::Interference { 1.0 } else { 0.0 },
        cache: if matches!(row.special, Special::Sites(_)) { 30 } else { 0 },
        antagonists: (row.special == Special::Antagonists).then_some(Antagonists {
            speed: 0.25,
            slow_s: 10.0,
            between_s: 60.0,
        }),
        unknown: if row.special == Special::Unknown { 0.2 } else { 0.0 },
        reports: Reports::default(),
        shift_at_s: matches!(row.special, Special::ShiftTo(_)).then_some(duration_s / 2.0),
    })
}

/// The classes that the row's mix has, at rates that offer `work` worker seconds per second.
fn classes(row: &Row, work: f64, duration_s: f64) -> Vec<ClassSpec> {
    let streaming = row.special == Special::Streaming;
    let kinds = [Kind::Small, Kind::Medium, Kind::Large];
    let specs = kinds.map(|kind| class(kind, streaming));
    let rates = |mix: &Mix| {
        let mean: f64 = mix.iter().zip(&specs).map(|(share, spec)| share * spec.held_s.mean()).sum();
        mix.map(|share| share * work / mean)
    };
    let before = rates(&row.mix);
    let after = if let Special::ShiftTo(mix) = &row.special { rates(mix) } else { before };
    let mut classes = Vec::new();
    for ((kind, mut spec), (before, after)) in kinds.into_iter().zip(specs).zip(before.into_iter().zip(after))
    {
        if before + after == 0.0 {
            continue;
        }
        spec.rate = rate(row, kind, before, after, duration_s);
        if let Special::Sites(law) = &row.special {
            spec.name = spec.name.replace("GET /", "GET /section-{section}/");
            spec.sites = Some(sites(law, kind));
        }
        classes.push(spec);
    }
    classes
}

fn rate(row: &Row, kind: Kind, before: f64, after: f64, duration_s: f64) -> Rate {
    match &row.special {
        Special::ShiftTo(_) => Rate::Shift { before, after, at_s: duration_s / 2.0 },
        Special::BurstyAll => Rate::Modulated { mean: before },
        Special::BurstyBlobs if kind == Kind::Large => Rate::Modulated { mean: before },
        _ => Rate::Constant(before),
    }
}

/// Only small requests use the caches.
fn sites(law: &Law, kind: Kind) -> Sites {
    let law = if *law == Law::Zipf { SiteLaw::Zipf(1.0) } else { SiteLaw::Nested };
    Sites { count: 200, law, cached: kind == Kind::Small, miss_factor: 3.0, miss_extra_s: 0.0 }
}

fn class(kind: Kind, streaming: bool) -> ClassSpec {
    let lognormal = |mean| Dist::Lognormal { mean, cv: 1.0 };
    let (name, held_s, bytes, urls) = match kind {
        Kind::Small => ("GET /page/{n}", lognormal(0.01), lognormal(20e3), 1000),
        Kind::Medium => ("GET /search/{n}", lognormal(0.1), lognormal(50e3), 1000),
        Kind::Large if streaming => ("GET /file/{n}", lognormal(0.03), pareto(1e6), 200),
        Kind::Large => ("GET /export/{n}", pareto(1.0), Dist::Constant(1e6), 200),
    };
    ClassSpec {
        name: name.to_owned(),
        kind,
        rate: Rate::Constant(0.0),
        held_s,
        bytes,
        client_rate: (kind == Kind::Large && streaming).then_some(1e6),
        urls,
        sites: None,
    }
}

/// From `unit` to five times `unit`.
fn pareto(unit: f64) -> Dist {
    Dist::BoundedPareto { alpha: 1.1, min: unit, max: 5.0 * unit }
}
