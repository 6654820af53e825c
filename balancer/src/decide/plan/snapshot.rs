//! What the planner looks at. Everything in it can be written down and read back, so that a recorded
//! decision can be made again.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use sluice_proto::{ClassName, InstanceName};

use crate::decide::ids::{ClassId, InstanceId, Lane};

/// One service at one moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Milliseconds of Unix time: for showing, and for what is done in one second of many.
    pub at_ms: u64,
    /// By lane, the shortest first; at least one.
    pub lanes: Vec<LaneLoad>,
    /// In a stable order, by name.
    pub instances: Vec<InstanceLoad>,
    /// Share by which a large request prolongs each small one beside it; 0: not enough to act upon.
    pub interference: f64,
    /// What homes are worth, and which classes have some; `None` while they are not known to pay.
    pub homes: Option<HomesLoad>,
}

/// One lane: what its requests ask for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LaneLoad {
    /// Seconds of worker-held time at which it begins.
    pub begins_s: f64,
    /// Requests per second.
    pub rate: f64,
    /// The same over the last minute, bursts and pauses together; `None`: not known apart from `rate`.
    #[serde(default)]
    pub lasting_rate: Option<f64>,
    /// Mean worker-held time in seconds.
    pub held_s: f64,
    /// Squared coefficient of variation of the worker-held time.
    pub scv: f64,
    pub waiting: usize,
    pub running: usize,
    /// How long its oldest waiter has waited, in seconds.
    pub oldest_wait_s: f64,
}

impl LaneLoad {
    /// Workers kept busy on average, in Erlang.
    pub fn load(&self) -> f64 {
        self.rate * self.held_s
    }
}

/// One instance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InstanceLoad {
    pub id: InstanceId,
    pub name: InstanceName,
    pub workers: u32,
    /// Worker-held time here over that elsewhere; 1 unless it is known to be slow.
    pub slowness: f64,
    /// Why it gets no requests; `None`: it does.
    pub excluded: Option<String>,
}

/// Classes that have homes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HomesLoad {
    /// Worker-held time at home and away from it.
    pub home: Duration,
    pub away: Duration,
    pub classes: Vec<ClassLoad>,
}

/// One class with homes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassLoad {
    pub id: ClassId,
    pub name: ClassName,
    /// Workers that it keeps busy on average, in Erlang.
    pub load: f64,
    pub homes: Vec<InstanceId>,
}

impl Snapshot {
    /// What gets requests.
    pub fn routed(&self) -> impl Iterator<Item = &InstanceLoad> {
        self.instances.iter().filter(|instance| instance.excluded.is_none())
    }

    /// Workers of all instances, each counted by its speed.
    pub fn effective_workers(&self) -> f64 {
        self.routed().map(|instance| f64::from(instance.workers) / instance.slowness.max(1.0)).sum()
    }

    pub fn lane(&self, lane: Lane) -> LaneLoad {
        self.lanes.get(lane.index()).copied().unwrap_or_default()
    }
}
