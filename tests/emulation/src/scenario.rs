//! The named workloads: the rows of design.md section 1, and the demo's mix.
//!
//! Pages are 10 ms of worker time on average with cv 1 (lognormal), as in the model of algorithms.md.

use std::time::Duration;

use crate::dist::Dist;
use crate::instance::{InstanceConfig, Release};
use crate::load::{ClassLoad, PathPattern, Pick, Rate, Sections, Workload};

/// A workload with the instances that it is meant for.
#[derive(Clone, Debug)]
pub struct Scenario {
    pub workload: Workload,
    /// Four, all on free ports.
    pub instances: Vec<InstanceConfig>,
    /// What it shows, in a line.
    pub about: &'static str,
}

/// All names, in the order of design.md.
pub const NAMES: [&str; 8] =
    ["blobs-slow-clients", "exports", "bursts", "appears", "slow-instance", "caches", "all-small", "demo"];

/// Length of each run unless changed.
const DURATION: Duration = Duration::from_secs(24);

/// Of a run in which something appears after 8 s: 10 s to learn it, and as much again as has been before.
const DURATION_OF_CHANGE: Duration = Duration::from_secs(32);

/// Bytes per second of a slow client.
const SLOW_CLIENT: u64 = 1_000_000;

impl Scenario {
    /// The scenario of that name; `None`: there is none, see [`NAMES`].
    pub fn named(name: &str) -> Option<Self> {
        let (about, classes) = match name {
            "blobs-slow-clients" => {
                ("2.6 MB responses to slow clients beside pages", vec![pages(200.0), blobs(20.0)])
            }
            "exports" => (
                "rare requests that hold a worker 1.5 s, beside pages",
                vec![pages(150.0), exports(Rate::Constant(0.6), 1500.0)],
            ),
            "bursts" => {
                let rate = Rate::Bursts { per_s: 4.0, on_s: 2.0, every_s: 8.0 };
                ("exports that come in bursts: 4/s for 2 s in 8", vec![pages(150.0), exports(rate, 800.0)])
            }
            "appears" => {
                let rate = Rate::Window { per_s: 1.0, from_s: 8.0, until_s: None };
                (
                    "a heavy class that is not there for the first 8 s",
                    vec![pages(150.0), exports(rate, 1000.0)],
                )
            }
            "slow-instance" => ("pages only; one instance of four is five times slower", vec![pages(200.0)]),
            "caches" => ("32 sections, each instance caches 10, a miss costs 40 ms", vec![sections(160.0)]),
            "all-small" => ("pages only, at 70 % of what four workers can do", vec![pages(280.0)]),
            "demo" => ("pages, images, large downloads, now and then an export", demo()),
            _ => return None,
        };
        let duration = if name == "appears" { DURATION_OF_CHANGE } else { DURATION };
        let workload = Workload { name: name.to_owned(), seed: 1, duration, classes };
        Some(Self { workload, instances: instances(name), about })
    }
}

/// Workers are held to the last byte (gunicorn sync), but where large bodies are streamed without them
/// (Zope's and waitress' file wrappers).
fn instances(name: &str) -> Vec<InstanceConfig> {
    let streams = matches!(name, "blobs-slow-clients" | "demo");
    let release = if streams { Release::FirstByte } else { Release::End };
    let mut instances = vec![InstanceConfig { release, ..InstanceConfig::default() }; 4];
    match name {
        "slow-instance" => instances[3].speed = 0.2,
        "caches" => instances.iter_mut().for_each(|i| i.cache = Some(10)),
        _ => {}
    }
    instances
}

fn pages(per_s: f64) -> ClassLoad {
    ClassLoad {
        work_ms: Dist::Lognormal { mean: 10.0, cv: 1.0 },
        bytes: Dist::Lognormal { mean: 20e3, cv: 1.0 },
        ..ClassLoad::new("page", per_s)
    }
}

fn blobs(per_s: f64) -> ClassLoad {
    ClassLoad {
        path: PathPattern::new("/file/{n}/@@download", 200),
        work_ms: Dist::Constant(10.0),
        bytes: Dist::Constant(2.6e6),
        client_rate: Some(SLOW_CLIENT),
        ..ClassLoad::new("blob", per_s)
    }
}

fn exports(rate: Rate, work_ms: f64) -> ClassLoad {
    ClassLoad {
        rate,
        path: PathPattern::new("/export/{n}", 50),
        work_ms: Dist::Constant(work_ms),
        bytes: Dist::Constant(50e3),
        ..ClassLoad::new("export", 0.0)
    }
}

fn sections(per_s: f64) -> ClassLoad {
    let sections = Sections { count: 32, pick: Pick::Uniform };
    let path = PathPattern::new("/section-{section}/page/{n}", 100);
    ClassLoad { path: PathPattern { sections: Some(sections), ..path }, miss_ms: 40.0, ..pages(per_s) }
}

/// 1.2 workers of pages, 0.12 of images, 0.02 of downloads, 0.4 of exports: 44 % of four.
fn demo() -> Vec<ClassLoad> {
    let images = ClassLoad {
        path: PathPattern::new("/image/{n}/@@images/large", 500),
        work_ms: Dist::Constant(2.0),
        bytes: Dist::Lognormal { mean: 60e3, cv: 0.7 },
        ..ClassLoad::new("image", 60.0)
    };
    let downloads =
        ClassLoad { bytes: Dist::BoundedPareto { alpha: 1.1, min: 1e6, max: 20e6 }, ..blobs(2.0) };
    let downloads = ClassLoad { name: "download".to_owned(), ..downloads };
    vec![pages(120.0), images, downloads, exports(Rate::Constant(0.4), 1000.0)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_has_a_sound_workload_that_four_workers_can_carry() {
        for name in NAMES {
            let scenario = Scenario::named(name).expect(name);
            scenario.workload.check().expect(name);
            let capacity: f64 = scenario.instances.iter().map(|i| i.speed).sum();
            let load = scenario.workload.offered_workers() / capacity;
            assert!((0.4..0.75).contains(&load), "{name}: {load}");
        }
        assert!(Scenario::named("nothing").is_none());
    }
}
