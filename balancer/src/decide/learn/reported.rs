//! Learning from what agents measured, where somebody else sends the requests.

use sluice_proto::SparseSketch;

use crate::decide::ids::{ClassId, Lane};
use crate::decide::learn::Learner;
use crate::decide::learn::moments::Batch;

/// A mean of more requests than this is told as this many: one report is not to be all that is remembered of speed.
const MOST_JUDGED: u64 = 10;

/// What an agent measured of a class in one window.
#[derive(Clone, Debug, PartialEq)]
pub struct ReportedClass {
    pub class: ClassId,
    /// The lane that a rule holds it in.
    pub pinned: Option<Lane>,
    /// Requests that ended.
    pub requests: u64,
    /// Seconds that they held a worker; `None`: not measured.
    pub held: Option<Batch>,
}

/// What a report of a class says besides.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Said {
    /// Where requests of the class belong.
    pub lane: Lane,
    /// How the instance did; `None`: that says nothing of it.
    pub comparison: Option<Comparison>,
}

/// How an instance did with a class, against the others.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Comparison {
    /// Worker-held time there over that elsewhere.
    pub ratio: f64,
    /// Requests that say so, at most ten.
    pub times: u64,
}

impl Batch {
    /// In seconds, of worker-held times in microseconds; `None` without any.
    pub fn of_sketch(held_us: &SparseSketch) -> Option<Self> {
        let (mean, square) = held_us.mean().zip(held_us.mean_square())?;
        let micros = Self { samples: held_us.count() as f64, mean, square };
        Some(micros.scaled(1e-6))
    }
}

impl Learner {
    /// Takes in what an instance of that slowness did. Classes are the unit here: whoever sends the requests tells them
    /// apart by what is known before they are sent.
    pub fn reported(&mut self, told: &ReportedClass, slowness: f64) -> Said {
        let nominal = told.held.map(|held| held.scaled(1.0 / slowness.max(1.0)));
        let elsewhere = self.class_mut(told.class).held().mean();
        if let Some(nominal) = nominal {
            self.class_mut(told.class).add_all(nominal);
        }
        let held = self.class_mut(told.class).held().mean();
        let lane = told.pinned.unwrap_or_else(|| self.bounds.lane(held.unwrap_or(0.0)));
        let requests = told.requests as f64;
        self.class_mut(told.class).rate.count(requests);
        self.lanes[lane.index()].rate.count(requests);
        if let Some(nominal) = nominal {
            self.lanes[lane.index()].held.add_all(nominal);
        }
        let elsewhere = elsewhere.filter(|mean| *mean > 0.0 && !lane.is_large());
        let compare = |(held, elsewhere): (Batch, f64)| Comparison {
            ratio: held.mean / elsewhere,
            times: told.requests.min(MOST_JUDGED),
        };
        Said { lane, comparison: told.held.zip(elsewhere).map(compare) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    fn told(class: u32, requests: u64, held: f64) -> ReportedClass {
        let mut sketch = sluice_proto::Sketch::new();
        sketch.add_n((held * 1e6) as u64, requests);
        ReportedClass {
            class: ClassId(class),
            pinned: None,
            requests,
            held: Batch::of_sketch(&sketch.into()),
        }
    }

    /// Two classes, each second, for so long.
    fn learned(seconds: u64, pages: u64, exports: u64) -> Learner {
        let (mut learner, start) = (Learner::default(), Instant::now());
        for second in 0..seconds {
            learner.reported(&told(0, pages, 0.01), 1.0);
            learner.reported(&told(1, exports, 2.0), 1.0);
            learner.tick(start + Duration::from_secs(second));
        }
        learner
    }

    #[test]
    fn loads_are_those_that_agents_report() {
        let learner = learned(30, 100, 1);
        let lanes = learner.bounds().lanes();
        let load = |lane| learner.lane_rate(lane) * learner.lane_held(lane).mean().unwrap_or(0.0);
        let large: f64 = Lane::all().take(lanes).skip(1).map(load).sum();
        assert!((load(Lane::SMALL) - 1.0).abs() < 0.1, "100/s of 10 ms: {}", load(Lane::SMALL));
        assert!((large - 2.0).abs() < 0.2, "1/s of 2 s: {large}");
        assert!((learner.class_rate(ClassId(0)) - 100.0).abs() < 5.0);
    }

    #[test]
    fn a_rule_s_lane_is_kept_to_and_an_unmeasured_time_is_no_time() {
        let (mut learner, start) = (Learner::default(), Instant::now());
        for second in 0..20 {
            learner.reported(&ReportedClass { pinned: Some(Lane::LARGE), ..told(0, 10, 0.001) }, 1.0);
            learner.reported(&ReportedClass { held: None, ..told(1, 10, 0.001) }, 1.0);
            learner.tick(start + Duration::from_secs(second));
        }
        assert!(learner.lane_rate(Lane::LARGE) > 8.0);
        assert_eq!(learner.class_held(ClassId(1)), None);
    }

    #[test]
    fn an_instance_is_compared_with_what_is_known_of_small_classes() {
        let mut learner = learned(30, 100, 1);
        let slow = learner.reported(&told(0, 100, 0.05), 1.0).comparison.expect("compared");
        assert!((slow.ratio - 5.0).abs() < 0.2 && slow.times == MOST_JUDGED, "{slow:?}");
        assert_eq!(
            learner.reported(&told(1, 5, 9.0), 1.0).comparison,
            None,
            "large ones differ by themselves"
        );
        assert_eq!(
            learner.reported(&told(7, 5, 0.01), 1.0).comparison,
            None,
            "nobody had such a request yet"
        );
    }
}
