//! What of a scenario a policy may know.

use std::time::Duration;

use super::{ClassSpec, Kind, Scenario};
use crate::model::mix;
use crate::policy::{ClassInfo, ClassTruth, InstanceInfo, Setup};

impl Scenario {
    /// What a policy is made from, for the run with this seed.
    pub fn setup(&self, seed: u64) -> Setup {
        let instance = |&speed: &f64| InstanceInfo { workers: self.workers, speed };
        Setup {
            instances: self.speeds.iter().map(instance).collect(),
            classes: self.classes.iter().map(ClassSpec::info).collect(),
            round_trip: Duration::from_secs_f64(self.round_trip_s),
            // Not the seed itself: the policy's dice must not follow those of the traffic.
            seed: mix(!seed),
        }
    }

    /// Whether a class can block another: it is large, and holds a worker for several times as long as
    /// another class does. A blob whose worker is free at the first byte does not, nor one among its like.
    pub fn holds_long(&self, class: usize) -> bool {
        let held = |class: &ClassSpec| class.held_s.mean();
        let shortest = self.classes.iter().map(held).fold(f64::INFINITY, f64::min);
        let class = &self.classes[class];
        class.kind == Kind::Large && held(class) > SEVERAL * shortest
    }
}

/// Ratio of worker-held times from which on one class can block another.
const SEVERAL: f64 = 8.0;

impl ClassSpec {
    fn info(&self) -> ClassInfo {
        let offered = self.rate.at_first() * self.held_s.mean();
        ClassInfo { name: self.name.clone(), oracle: ClassTruth { kind: self.kind, offered } }
    }
}
