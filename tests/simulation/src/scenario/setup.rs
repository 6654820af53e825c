//! What of a scenario a policy may know.

use std::time::Duration;

use super::{ClassSpec, Scenario};
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
}

impl ClassSpec {
    fn info(&self) -> ClassInfo {
        let offered = self.rate.at_first() * self.held_s.mean();
        ClassInfo { name: self.name.clone(), oracle: ClassTruth { kind: self.kind, offered } }
    }
}
