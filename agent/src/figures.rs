//! How good the agent's figures are at present, and who told them. Written by whoever learns of requests.

use std::sync::{Mutex, MutexGuard, PoisonError};

use sluice_proto::{Measured, Quality};

/// What reports and the status say of the figures.
#[derive(Debug)]
pub struct Figures {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    measured: Measured,
    /// Where from, in words.
    words: String,
    busy: Option<Busy>,
}

/// A reading of the instance's busy workers.
#[derive(Clone, Copy, Debug)]
struct Busy {
    workers: u32,
    /// A reading goes into one report: repeated, it would look like evidence that adds up.
    reported: bool,
}

impl Figures {
    pub fn new(measured: Measured, words: impl Into<String>) -> Self {
        Self { state: Mutex::new(State { measured, words: words.into(), busy: None }) }
    }

    /// From now on. [`Measured::in_flight`] is left to [`Figures::set_busy`] unless the agent itself measures.
    pub fn set(&self, measured: Measured, words: impl Into<String>) {
        let mut state = self.locked();
        (state.measured, state.words) = (measured, words.into());
    }

    /// Takes in a reading of how many workers are busy; `None`: it could not be had.
    pub fn set_busy(&self, workers: Option<u32>) {
        self.locked().busy = workers.map(|workers| Busy { workers, reported: false });
    }

    /// The last reading.
    pub fn busy(&self) -> Option<u32> {
        self.locked().busy.map(|busy| busy.workers)
    }

    /// For the report that is being made, which takes the reading with it.
    pub fn for_report(&self) -> Measured {
        let mut state = self.locked();
        let fresh = state.busy.as_mut().is_some_and(|busy| !std::mem::replace(&mut busy.reported, true));
        let mut measured = state.measured.clone();
        if fresh {
            measured.in_flight = Quality::Measured;
        }
        measured
    }

    /// How good they are, and where they are from in words.
    pub fn now(&self) -> (Measured, String) {
        let state = self.locked();
        (state.measured.clone(), state.words.clone())
    }

    fn locked(&self) -> MutexGuard<'_, State> {
        // Each field is whole whenever the lock is free.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reading_goes_into_one_report() {
        let figures = Figures::new(Measured::by_application(), "");
        assert_eq!(figures.for_report().in_flight, Quality::Unmeasured);
        figures.set_busy(Some(3));
        assert_eq!(figures.for_report().in_flight, Quality::Measured);
        assert_eq!((figures.for_report().in_flight, figures.busy()), (Quality::Unmeasured, Some(3)));
        figures.set_busy(None);
        assert_eq!((figures.for_report().in_flight, figures.busy()), (Quality::Unmeasured, None));
    }
}
