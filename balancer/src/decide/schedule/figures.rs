//! A service's decisions in figures, for metrics and views.

use std::time::Instant;

use super::Scheduler;
use super::explain::LaneState;
use crate::decide::dispatch::{ClassId, Counts, InstanceId, Lane};
use crate::decide::learn::affinity::Worth;
use crate::decide::plan::dedicate::Mode;
use crate::decide::predict::{Estimate, RequestKey, Source};
use crate::decide::predict::{ExtensionKey, UrlKey};

/// Requests that turned out to be large while they ran, counted from the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reclassified {
    /// They held their worker for too long.
    pub late: u64,
    /// Their responses say that they are so long.
    pub by_size: u64,
}

/// What a service's scheduler knows of itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Figures {
    /// Those that the bounds make; at least 2.
    pub lanes: Vec<LaneState>,
    pub mode: Mode,
    /// Instances that large requests go to first.
    pub dedicated: Vec<InstanceId>,
    /// Share by which a large request prolongs a small one beside it; 0: not enough to act upon.
    pub interference: f64,
    pub homes: Worth,
    pub counts: Counts,
    pub reclassified: Reclassified,
}

/// What is thought of requests of a class whose URLs are not known by themselves.
#[derive(Clone, Debug, PartialEq)]
pub struct ClassFigures {
    pub lane: Lane,
    /// Worker-held time in seconds.
    pub held: Estimate,
    /// Requests per second.
    pub rate: f64,
    pub homes: Vec<InstanceId>,
}

impl<W> Scheduler<W> {
    pub fn figures(&self, now: Instant) -> Figures {
        let rules = self.dispatcher.rules();
        Figures {
            lanes: Lane::all().take(self.lanes()).map(|lane| self.lane_state(lane, now)).collect(),
            mode: rules.mode,
            dedicated: rules.dedicated.clone(),
            interference: rules.interference,
            homes: rules.homes,
            counts: self.dispatcher.counts(),
            reclassified: self.counts,
        }
    }

    /// `pinned`: the lane that a rule holds the class in.
    pub fn class_figures(&self, class: ClassId, pinned: Option<Lane>) -> ClassFigures {
        // No URL has this key but by chance, and what is said of it would be true of that one.
        let key = RequestKey { class, url: UrlKey(0), extension: ExtensionKey::Other };
        let held = self.predictor.predict(key).held;
        let held = match self.learner.class_held(class) {
            // Predictions are learned from requests that come here.
            Some(mean) if self.is_bypassed() => Estimate { mean, from: Source::Class, ..held },
            _ => held,
        };
        ClassFigures {
            lane: pinned.unwrap_or_else(|| self.learner.bounds().lane(held.mean)),
            held,
            rate: self.learner.class_rate(class),
            homes: self.dispatcher.homes_of(class).to_vec(),
        }
    }

    fn lanes(&self) -> usize {
        self.learner.bounds().lanes()
    }
}

impl ClassFigures {
    /// Whether anything is known of the class itself.
    pub fn is_known(&self) -> bool {
        self.held.from == Source::Class || self.held.from == Source::Url
    }
}
