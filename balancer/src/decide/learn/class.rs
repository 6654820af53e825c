//! What is learned of one class.

use serde::{Deserialize, Serialize};

use crate::decide::learn::bounds::ClassWork;
use crate::decide::learn::moments::{Batch, Moments};
use crate::decide::learn::rate::Rate;

/// Samples of one class that are remembered.
const MEMORY: f64 = 100.0;
/// The same at home: what is compared with it must not be told apart by chance.
const HOME_MEMORY: f64 = 400.0;
/// Samples at home before its mean is compared with anything.
const LEAST_AT_HOME: f64 = 3.0;

/// Times in seconds.
#[derive(Clone, Debug)]
pub(super) struct ClassStats {
    pub(super) rate: Rate,
    /// Everything of the class.
    held: Moments,
    /// What of it was small, all of it and at its homes.
    small: Moments,
    at_home: Moments,
}

/// The same in a file; the rate is per second.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct ClassState {
    rate: f64,
    held: Moments,
    small: Moments,
    at_home: Moments,
}

impl Default for ClassStats {
    fn default() -> Self {
        let moments = Moments::new(MEMORY);
        Self { rate: Rate::default(), held: moments, small: moments, at_home: Moments::new(HOME_MEMORY) }
    }
}

impl ClassStats {
    /// `tick`: seconds that the rate is per.
    pub(super) fn state(&self, tick: f64) -> ClassState {
        let Self { rate, held, small, at_home } = *self;
        ClassState { rate: rate.value() / tick, held, small, at_home }
    }

    /// What is not possible counts as nothing seen. `kept`: samples that the rest counts as, at most.
    pub(super) fn restored(state: ClassState, kept: f64) -> Self {
        let fresh = Self::default();
        let moments = |saved: Moments, memory, fresh| saved.restored(memory, kept).unwrap_or(fresh);
        Self {
            rate: Rate::restored(state.rate),
            held: moments(state.held, MEMORY, fresh.held),
            small: moments(state.small, MEMORY, fresh.small),
            at_home: moments(state.at_home, HOME_MEMORY, fresh.at_home),
        }
    }

    pub(super) fn add(&mut self, held: f64) {
        self.held.add(held);
    }

    pub(super) fn add_all(&mut self, held: Batch) {
        self.held.add_all(held);
    }

    pub(super) fn add_small(&mut self, held: f64, at_home: bool) {
        self.small.add(held);
        if at_home {
            self.at_home.add(held);
        }
    }

    /// What a small request of this class is expected to hold.
    pub(super) fn expected(&self) -> Option<f64> {
        self.small.mean()
    }

    pub(super) fn expected_at_home(&self) -> Option<f64> {
        self.at_home.mean().filter(|_| self.at_home.samples() >= LEAST_AT_HOME)
    }

    pub(super) fn held(&self) -> &Moments {
        &self.held
    }

    pub(super) fn work(&self) -> Option<ClassWork> {
        Some(ClassWork { rate: self.rate.value(), held: self.held.mean()? })
    }
}
