//! The rows of design.md section 1, with the figures of the emulated instances' own scenarios.

use sluice_emulation::dist::Dist;
use sluice_emulation::load::{ClassLoad, Pick, Rate as LoadRate};
use sluice_emulation::scenario::Scenario as Emulated;

use super::{ClassSpec, Kind, Rate, Reports, Scenario, SiteLaw, Sites};

pub const NAMES: [&str; 7] =
    ["blobs-slow-clients", "exports", "bursts", "appears", "slow-instance", "caches", "all-small"];

/// How many times longer than the emulated run: virtual time is cheap, and p99 needs requests.
const LONGER: f64 = 10.0;

pub(super) fn named(name: &str, scale: f64) -> Option<Scenario> {
    if !NAMES.contains(&name) {
        return None;
    }
    let Emulated { workload, instances, .. } = Emulated::named(name)?;
    let stretch = LONGER * scale;
    let classes: Vec<_> = workload.classes.iter().map(|class| spec(class, stretch)).collect();
    Some(Scenario {
        name: name.to_owned(),
        speeds: instances.iter().map(|i| i.speed).collect(),
        workers: instances.iter().map(|i| i.workers).max().unwrap_or(1),
        shift_at_s: classes.iter().find_map(|class| match class.rate {
            Rate::Shift { at_s, .. } => Some(at_s),
            _ => None,
        }),
        classes,
        duration_s: workload.duration.as_secs_f64() * stretch,
        warm_up: 0.1,
        round_trip_s: 0.0005,
        interference: 0.0,
        cache: instances.iter().filter_map(|i| i.cache).max().unwrap_or(0),
        antagonists: None,
        unknown: 0.0,
        reports: Reports::default(),
    })
}

fn spec(class: &ClassLoad, stretch: f64) -> ClassSpec {
    ClassSpec {
        name: format!("{} {}", class.method, class.path.template),
        kind: if class.name == "page" { Kind::Small } else { Kind::Large },
        rate: rate(&class.rate, stretch),
        held_s: milliseconds(&class.work_ms),
        bytes: class.bytes.clone(),
        client_rate: class.client_rate.map(|rate| rate as f64),
        urls: class.path.keys,
        sites: class.path.sections.as_ref().map(|sections| Sites {
            count: sections.count,
            law: match sections.pick {
                Pick::Uniform => SiteLaw::Uniform,
                Pick::Zipf(exponent) => SiteLaw::Zipf(exponent),
            },
            cached: true,
            miss_factor: 1.0,
            miss_extra_s: class.miss_ms / 1e3,
        }),
    }
}

/// Bursts keep their rhythm; what happens once keeps its place in the run.
fn rate(rate: &LoadRate, stretch: f64) -> Rate {
    match *rate {
        LoadRate::Constant(per_s) => Rate::Constant(per_s),
        LoadRate::Bursts { per_s, on_s, every_s } => Rate::Bursts { per_s, on_s, every_s },
        // No row's window closes before the end of its run.
        LoadRate::Window { per_s, from_s, .. } => {
            Rate::Shift { before: 0.0, after: per_s, at_s: from_s * stretch }
        }
    }
}

fn milliseconds(dist: &Dist) -> Dist {
    match *dist {
        Dist::Constant(ms) => Dist::Constant(ms / 1e3),
        Dist::Exponential { mean } => Dist::Exponential { mean: mean / 1e3 },
        Dist::Lognormal { mean, cv } => Dist::Lognormal { mean: mean / 1e3, cv },
        Dist::BoundedPareto { alpha, min, max } => {
            Dist::BoundedPareto { alpha, min: min / 1e3, max: max / 1e3 }
        }
    }
}
