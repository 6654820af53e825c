//! What is learned of one class.

use crate::decide::learn::bounds::ClassWork;
use crate::decide::learn::moments::Moments;
use crate::decide::learn::rate::Rate;

/// Samples of one class that are remembered.
const MEMORY: f64 = 100.0;
/// Samples at home before its mean is compared with anything.
const LEAST_AT_HOME: f64 = 3.0;

/// Times in seconds.
#[derive(Clone, Debug)]
pub(super) struct ClassStats {
    pub(super) rate: Rate,
    /// Everything of the class.
    held: Moments,
    /// What of it was small, at its homes and elsewhere.
    at_home: Moments,
    away: Moments,
}

impl Default for ClassStats {
    fn default() -> Self {
        let moments = Moments::new(MEMORY);
        Self { rate: Rate::default(), held: moments, at_home: moments, away: moments }
    }
}

impl ClassStats {
    pub(super) fn add(&mut self, held: f64) {
        self.held.add(held);
    }

    pub(super) fn add_small(&mut self, held: f64, at_home: bool) {
        if at_home { self.at_home.add(held) } else { self.away.add(held) }
    }

    /// What a small request of this class is expected to hold: measured where it ran, else
    /// elsewhere.
    pub(super) fn expected(&self, at_home: bool) -> Option<f64> {
        let (there, elsewhere) = if at_home { (self.at_home, self.away) } else { (self.away, self.at_home) };
        there.mean().or(elsewhere.mean())
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
