//! Workloads and the instances that they run on.

mod emulated;
mod research;
mod setup;

use sluice_emulation::dist::Dist;

pub use emulated::NAMES as EMULATED;
pub use research::NAMES as RESEARCH;

/// A workload, its instances, and what goes wrong meanwhile.
#[derive(Clone, Debug)]
pub struct Scenario {
    pub name: String,
    /// Speed of each instance; its length is their number.
    pub speeds: Vec<f64>,
    /// Worker slots of every instance.
    pub workers: usize,
    pub classes: Vec<ClassSpec>,
    /// Arrivals come for this time; then what is under way is finished. Seconds.
    pub duration_s: f64,
    /// Requests that arrive in this first part are not counted. `0..1`.
    pub warm_up: f64,
    /// From balancer to instance and back, in seconds.
    pub round_trip_s: f64,
    /// Each large job in service adds this fraction to the work of small jobs that start beside it.
    pub interference: f64,
    /// Objects that each instance's cache holds; 0: nothing is cached.
    pub cache: usize,
    pub antagonists: Option<Antagonists>,
    /// Fraction of large requests that look like the first class, each with a URL never seen before.
    pub unknown: f64,
    pub reports: Reports,
    /// The traffic changes at this time, in seconds: the adaptation to it is measured.
    pub shift_at_s: Option<f64>,
}

/// One class of requests.
#[derive(Clone, Debug)]
pub struct ClassSpec {
    /// Method and path template.
    pub name: String,
    pub kind: Kind,
    pub rate: Rate,
    /// Worker-held seconds at speed 1 with everything cached.
    pub held_s: Dist,
    pub bytes: Dist,
    /// Bytes per second at which clients take a body that no longer holds its worker; `None`: at once.
    pub client_rate: Option<f64>,
    /// Distinct URLs.
    pub urls: u64,
    pub sites: Option<Sites>,
}

/// How a class compares with the bulk. Names what is reported, and the lane in policies that are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Small,
    Medium,
    Large,
}

impl Kind {
    pub const COUNT: usize = 3;

    /// 0 is the cheapest.
    pub fn lane(self) -> usize {
        self as usize
    }
}

/// When a class arrives: a Poisson process whose rate may change. Per second.
#[derive(Clone, Debug)]
pub enum Rate {
    Constant(f64),
    /// `before`, and from `at_s` on `after`.
    Shift {
        before: f64,
        after: f64,
        at_s: f64,
    },
    /// `per_s` in the first `on_s` of every `every_s` seconds, else nothing.
    Bursts {
        per_s: f64,
        on_s: f64,
        every_s: f64,
    },
    /// Four times `mean` for 5 s on average, a quarter of it for 20 s, all such classes together.
    Modulated {
        mean: f64,
    },
}

/// Which site a request belongs to, and the cached object of it that it needs.
#[derive(Clone, Debug)]
pub struct Sites {
    pub count: usize,
    pub law: SiteLaw,
    /// Whether requests need the site's object; if not, the site is only part of their URL.
    pub cached: bool,
    /// A miss multiplies the work by this ...
    pub miss_factor: f64,
    /// ... and then adds this many seconds.
    pub miss_extra_s: f64,
}

#[derive(Clone, Copy, Debug)]
pub enum SiteLaw {
    Uniform,
    /// Uniform over all, the first half, quarter or eighth, each as likely.
    Nested,
    /// Site `k` in proportion to `1 / (k + 1)^exponent`.
    Zipf(f64),
}

/// Instances that become slow and recover, each by itself; exponential times.
#[derive(Clone, Copy, Debug)]
pub struct Antagonists {
    /// Speed while slow.
    pub speed: f64,
    pub slow_s: f64,
    pub between_s: f64,
}

/// How agents' reports come.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reports {
    /// Fraction lost, each by itself. 1: there are none.
    pub lost: f64,
    /// Seconds from window's end to arrival.
    pub late_s: f64,
    /// One agent that tells nonsense.
    pub liar: Option<(usize, Lie)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Lie {
    /// All counters are zero.
    Zero,
    /// A thousand workers, all of them free.
    ThousandWorkers,
    /// Every class's work reported as another's.
    OtherClasses,
}

impl Scenario {
    /// The scenario of that name at `load`, which is the offered worker time over what the instances can do;
    /// the rows of design.md have their own rates and take no notice. Lengths are multiplied by `scale`.
    /// `None`: there is no such name, see [`RESEARCH`] and [`EMULATED`].
    pub fn named(name: &str, load: f64, scale: f64) -> Option<Self> {
        research::named(name, load, scale).or_else(|| emulated::named(name, scale))
    }

    /// Whether `load` means anything to the scenario of that name.
    pub fn takes_load(name: &str) -> bool {
        !EMULATED.contains(&name)
    }

    /// Work that all workers together can do per second.
    pub fn capacity(&self) -> f64 {
        self.speeds.iter().sum::<f64>() * self.workers as f64
    }
}

impl Rate {
    pub fn at(&self, now_s: f64, high: bool) -> f64 {
        match *self {
            Rate::Constant(per_s) => per_s,
            Rate::Shift { before, after, at_s } => {
                if now_s < at_s {
                    before
                } else {
                    after
                }
            }
            Rate::Bursts { per_s, on_s, every_s } => {
                if now_s % every_s < on_s {
                    per_s
                } else {
                    0.0
                }
            }
            Rate::Modulated { mean } => mean * if high { 4.0 } else { 0.25 },
        }
    }

    /// Upper bound of [`Rate::at`].
    pub fn peak(&self) -> f64 {
        match *self {
            Rate::Constant(per_s) | Rate::Bursts { per_s, .. } => per_s,
            Rate::Shift { before, after, .. } => before.max(after),
            Rate::Modulated { mean } => 4.0 * mean,
        }
    }

    /// What a static policy is set up for: the rate when the run begins, averaged over bursts.
    pub fn at_first(&self) -> f64 {
        match *self {
            Rate::Constant(per_s) => per_s,
            Rate::Shift { before, .. } => before,
            Rate::Bursts { per_s, on_s, every_s } => per_s * on_s / every_s,
            Rate::Modulated { mean } => mean,
        }
    }
}
