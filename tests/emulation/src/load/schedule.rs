//! Who asks when, for what, at what cost: a pure function of the workload and its seed.

use std::time::Duration;

use fastrand::Rng;

use super::workload::{ClassLoad, Pick, Sections, Sizes, Workload};
use crate::dist::unit_exponential;
use crate::work::Cost;

/// One request to come.
#[derive(Clone, Debug, PartialEq)]
pub struct Arrival {
    /// Time into the run.
    pub at: Duration,
    /// Index into the workload's classes.
    pub class: usize,
    pub method: http::Method,
    pub path: String,
    pub cost: Cost,
    /// Length of the request body.
    pub request_bytes: u64,
    /// Bytes per second that the client reads; `None`: all it can get.
    pub client_rate: Option<u64>,
}

/// All arrivals of a workload in order of time, drawn one by one.
///
/// Each class has generators of its own, one for times and one for costs: adding a class, or
/// changing what a class costs, moves no arrival of any other.
#[derive(Debug)]
pub struct Schedule<'a> {
    until: Duration,
    classes: Vec<ClassArrivals<'a>>,
}

impl<'a> Schedule<'a> {
    pub fn new(workload: &'a Workload) -> Self {
        let classes = workload.classes.iter().enumerate();
        Self {
            until: workload.duration,
            classes: classes.map(|(i, load)| ClassArrivals::new(load, workload.seed, i)).collect(),
        }
    }
}

impl Iterator for Schedule<'_> {
    type Item = Arrival;

    fn next(&mut self) -> Option<Arrival> {
        // Workloads have a handful of classes: a look at each beats a heap.
        let next = self.classes.iter().enumerate().filter_map(|(i, class)| Some((class.next?, i)));
        let (at, class) = next.min().filter(|(at, _)| *at < self.until)?;
        Some(self.classes[class].take(at, class))
    }
}

#[derive(Debug)]
struct ClassArrivals<'a> {
    load: &'a ClassLoad,
    times: Rng,
    costs: Rng,
    /// Seeds the size of each URL.
    sizes: u64,
    /// Cumulative weights of the sections; empty if the class has none.
    sections: Vec<f64>,
    /// Seconds that the class has been switched on.
    active: f64,
    next: Option<Duration>,
}

impl<'a> ClassArrivals<'a> {
    fn new(load: &'a ClassLoad, seed: u64, class: usize) -> Self {
        let mut seeds = Rng::with_seed(mix(seed, class as u64));
        let mut this = Self {
            load,
            times: seeds.fork(),
            costs: seeds.fork(),
            sizes: seeds.u64(..),
            sections: load.path.sections.as_ref().map(cumulative).unwrap_or_default(),
            active: 0.0,
            next: None,
        };
        this.draw_next();
        this
    }

    fn draw_next(&mut self) {
        self.active += unit_exponential(&mut self.times) / self.load.rate.while_on();
        let at = self.load.rate.at_active(self.active);
        // A rate of 0 is an arrival in infinite time, which is no Duration: none.
        self.next = at.and_then(|s| Duration::try_from_secs_f64(s).ok());
    }

    fn take(&mut self, at: Duration, class: usize) -> Arrival {
        let load = self.load;
        let section = self.draw_section();
        let n = self.costs.u64(0..load.path.keys.max(1));
        let work = millis(load.work_ms.sample(&mut self.costs));
        let bytes = self.size_of(n, section);
        self.draw_next();
        Arrival {
            at,
            class,
            method: load.method.clone(),
            path: load.path.fill(n, section),
            cost: Cost {
                work,
                bytes,
                object: (!self.sections.is_empty()).then(|| format!("section-{section}")),
                miss: millis(load.miss_ms),
            },
            request_bytes: load.request_bytes,
            client_rate: load.client_rate,
        }
    }

    fn draw_section(&mut self) -> usize {
        let Some(sum) = self.sections.last() else { return 0 };
        let point = self.costs.f64() * sum;
        self.sections.partition_point(|upto| *upto <= point).min(self.sections.len() - 1)
    }

    fn size_of(&mut self, n: u64, section: usize) -> u64 {
        let size = match self.load.sizes {
            Sizes::ByRequest => self.load.bytes.sample(&mut self.costs),
            Sizes::ByUrl => {
                let url = mix(mix(self.sizes, n), section as u64);
                self.load.bytes.sample(&mut Rng::with_seed(url))
            }
        };
        size.round() as u64 // saturates
    }
}

fn cumulative(sections: &Sections) -> Vec<f64> {
    let weight = |k: usize| match sections.pick {
        Pick::Uniform => 1.0,
        Pick::Zipf(exponent) => (k as f64 + 1.0).powf(-exponent),
    };
    let mut sum = 0.0;
    let running = (0..sections.count).map(|k| {
        sum += weight(k);
        sum
    });
    running.collect()
}

fn millis(ms: f64) -> Duration {
    Duration::try_from_secs_f64(ms.max(0.0) / 1e3).unwrap_or(Duration::MAX)
}

/// One seed out of two numbers, so that neighbours have nothing in common (splitmix64's finish).
fn mix(a: u64, b: u64) -> u64 {
    let mut z = a.wrapping_add(b.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::dist::Dist;
    use crate::load::{PathPattern, Rate};

    fn workload(seed: u64, secs: u64, classes: Vec<ClassLoad>) -> Workload {
        Workload { name: "test".into(), seed, duration: Duration::from_secs(secs), classes }
    }

    fn mixed() -> Vec<ClassLoad> {
        let exports = ClassLoad {
            rate: Rate::Bursts { per_s: 40.0, on_s: 2.0, every_s: 8.0 },
            work_ms: Dist::Exponential { mean: 100.0 },
            bytes: Dist::Lognormal { mean: 1e6, cv: 1.0 },
            ..ClassLoad::new("export", 0.0)
        };
        vec![ClassLoad::new("page", 200.0), exports]
    }

    #[test]
    fn the_same_seed_gives_the_same_arrivals_and_another_does_not() {
        let draw = |seed| Schedule::new(&workload(seed, 10, mixed())).collect::<Vec<_>>();
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
    }

    #[test]
    fn arrivals_are_in_order_and_within_the_run() {
        let arrivals: Vec<_> = Schedule::new(&workload(5, 10, mixed())).collect();
        assert!(arrivals.is_sorted_by_key(|a| a.at));
        assert!(arrivals.iter().all(|a| a.at < Duration::from_secs(10)));
        assert!(arrivals.iter().any(|a| a.class == 0) && arrivals.iter().any(|a| a.class == 1));
    }

    #[test]
    fn another_class_or_cost_moves_no_arrival() {
        let times = |classes| {
            let workload = workload(5, 10, classes);
            let pages = Schedule::new(&workload).filter(|a| a.class == 0).map(|a| a.at);
            pages.collect::<Vec<_>>()
        };
        let mut dearer = ClassLoad::new("page", 200.0);
        dearer.work_ms = Dist::Exponential { mean: 50.0 };
        assert_eq!(times(mixed()), times(vec![ClassLoad::new("page", 200.0)]));
        assert_eq!(times(mixed()), times(vec![dearer]));
    }

    #[test]
    fn a_poisson_process_has_its_mean_and_its_spread() {
        let workload = workload(11, 100, vec![ClassLoad::new("page", 200.0)]);
        let mut per_second = [0_f64; 100];
        for arrival in Schedule::new(&workload) {
            per_second[arrival.at.as_secs() as usize] += 1.0;
        }
        let mean = per_second.iter().sum::<f64>() / 100.0;
        let variance = per_second.iter().map(|n| (n - mean).powi(2)).sum::<f64>() / 99.0;
        // Standard error of the mean: sqrt(200 / 100) = 1.4. Variance of a Poisson count: its mean,
        // here with a relative standard error of sqrt(2 / 99) = 14 %.
        assert!((195.0..205.0).contains(&mean), "mean {mean}, seed 11");
        assert!((0.5..1.5).contains(&(variance / mean)), "variance {variance}, seed 11");
    }

    #[test]
    fn bursts_and_windows_arrive_only_while_they_are_on() {
        let with_rate = |rate| ClassLoad { rate, ..ClassLoad::new("x", 0.0) };
        let bursts = with_rate(Rate::Bursts { per_s: 100.0, on_s: 2.0, every_s: 8.0 });
        let window = with_rate(Rate::Window { per_s: 100.0, from_s: 5.0, until_s: Some(7.0) });
        let workload = workload(3, 16, vec![bursts, window]);
        let mut counts = [0; 2];
        for arrival in Schedule::new(&workload) {
            let at = arrival.at.as_secs_f64();
            let on = if arrival.class == 0 { at % 8.0 < 2.0 } else { (5.0..7.0).contains(&at) };
            assert!(on, "class {} at {at}", arrival.class);
            counts[arrival.class] += 1;
        }
        // 4 s and 2 s at 100/s: 400 and 200, 5 standard deviations are 100 and 71.
        assert!((300..500).contains(&counts[0]) && (129..271).contains(&counts[1]), "{counts:?}");
    }

    #[test]
    fn a_url_keeps_its_size_unless_told_otherwise() {
        let mut class = ClassLoad::new("file", 200.0);
        class.bytes = Dist::Lognormal { mean: 1e6, cv: 2.0 };
        class.path = PathPattern::new("/file/{n}", 5);
        let sizes = |class: ClassLoad| {
            let workload = workload(9, 10, vec![class]);
            let mut sizes: HashMap<String, Vec<u64>> = HashMap::new();
            for arrival in Schedule::new(&workload) {
                let of_url = sizes.entry(arrival.path).or_default();
                of_url.push(arrival.cost.bytes);
                of_url.dedup();
            }
            sizes
        };
        let by_url = sizes(class.clone());
        assert!(by_url.len() == 5 && by_url.values().all(|s| s.len() == 1), "{by_url:?}");
        class.sizes = Sizes::ByRequest;
        assert!(sizes(class).values().all(|s| s.len() > 100));
    }

    #[test]
    fn zipf_sections_are_asked_for_by_rank() {
        let sections = Sections { count: 4, pick: Pick::Zipf(1.0) };
        let mut class = ClassLoad::new("page", 1000.0);
        class.path = PathPattern { sections: Some(sections), ..PathPattern::new("/{section}", 1) };
        let workload = workload(2, 100, vec![class]);
        let mut counts = [0_f64; 4];
        for arrival in Schedule::new(&workload) {
            let section: usize = arrival.path[1..].parse().expect("the template is the number");
            assert_eq!(arrival.cost.object, Some(format!("section-{section}")));
            counts[section] += 1.0;
        }
        // 1 : 1/2 : 1/3 : 1/4, over 100,000 draws: 3 % is several standard errors.
        for (k, count) in counts.iter().enumerate() {
            let ratio = count * (k as f64 + 1.0) / counts[0];
            assert!((0.97..1.03).contains(&ratio), "section {k}: {ratio}, seed 2");
        }
    }

    #[test]
    fn nonsense_rates_give_no_arrivals() {
        for per_s in [0.0, -1.0, f64::NAN] {
            let workload = workload(1, 10, vec![ClassLoad::new("x", per_s)]);
            assert_eq!(Schedule::new(&workload).count(), 0, "{per_s}");
        }
    }
}
