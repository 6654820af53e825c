//! What a learner knows, to be saved and read again. The speeds of instances are not kept: what made
//! one slow may be over.

use serde::{Deserialize, Serialize};

use super::affinity::{Affinity, AffinityState};
use super::bounds::Bounds;
use super::class::{ClassState, ClassStats};
use super::interference::Interference;
use super::moments::Moments;
use super::rate::Rate;
use super::ratio::RatioOfMeans;
use super::{LARGE_MEMORY, LaneStats, Learner, SMALL_MEMORY};
use crate::decide::ids::{ClassId, Lane};

/// Samples that saved evidence counts as, at most: what changed in the meantime shows after a few
/// requests.
const KEPT: f64 = 8.0;

/// A learner's knowledge, classes by name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LearnerState {
    bounds: Vec<f64>,
    lanes: Vec<LaneState>,
    interference: Interference,
    affinity: AffinityState,
    transfer: RatioOfMeans,
    classes: Vec<(String, ClassState)>,
}

/// Requests per second, and worker-held time in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct LaneState {
    rate: f64,
    held: Moments,
}

impl Learner {
    /// All that is known, classes by the `name` that the caller gives them; a class without one is
    /// left out.
    pub fn snapshot<'a>(&self, name: impl Fn(ClassId) -> Option<&'a str>) -> LearnerState {
        let lane = |lane: &LaneStats| LaneState { rate: lane.rate.value() / self.tick, held: lane.held };
        let known = (0..).map(ClassId).zip(&self.classes);
        let class =
            |(id, class): (ClassId, &ClassStats)| Some((name(id)?.to_owned(), class.state(self.tick)));
        LearnerState {
            bounds: self.bounds.begins().to_vec(),
            lanes: self.lanes.iter().map(lane).collect(),
            interference: self.interference.clone(),
            affinity: self.affinity.state(),
            transfer: self.transfer,
            classes: known.filter_map(class).collect(),
        }
    }

    /// A learner that knows what `state` says. `class` says which class has a name now; what has
    /// none, and what is not possible, is left out.
    pub fn restore(state: LearnerState, mut class: impl FnMut(&str) -> Option<ClassId>) -> Self {
        let mut this = Self {
            bounds: Bounds::restored(state.bounds).unwrap_or_default(),
            interference: state.interference.restored(),
            affinity: Affinity::restored(state.affinity),
            ..Self::default()
        };
        if let Some(transfer) = state.transfer.restored(LARGE_MEMORY, KEPT) {
            this.transfer = transfer;
        }
        for (lane, saved) in Lane::all().zip(state.lanes) {
            let memory = if lane.is_large() { LARGE_MEMORY } else { SMALL_MEMORY };
            let held = saved.held.restored(memory, KEPT).unwrap_or(Moments::new(memory));
            this.lanes[lane.index()] = LaneStats { rate: Rate::restored(saved.rate), held };
        }
        for (name, saved) in state.classes {
            if let Some(id) = class(&name).filter(|id| *id <= ClassId(ClassId::MOST)) {
                *this.class_mut(id) = ClassStats::restored(saved, KEPT);
            }
        }
        this
    }
}
