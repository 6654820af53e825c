//! Whether a class is served faster where it was served before (object caches, connections).

use std::time::Duration;

use crate::decide::learn::moments::Moments;
use crate::decide::learn::ratio::RatioOfMeans;

/// Samples of each kind before anything is said.
const LEAST: f64 = 60.0;
const MEMORY: f64 = 200.0;
/// Homes are kept from this cost of serving away from home on, ...
const ON: f64 = 1.2;
/// ... until it is below this.
const OFF: f64 = 1.08;

/// What serving a class away from its home costs.
#[derive(Clone, Debug)]
pub struct Affinity {
    home: Moments,
    /// Held away, over what the same class holds at home.
    away: RatioOfMeans,
    pays: Option<bool>,
}

impl Default for Affinity {
    fn default() -> Self {
        Self { home: Moments::new(MEMORY), away: RatioOfMeans::new(MEMORY), pays: None }
    }
}

/// What is known of the worth of homes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Worth {
    /// Not yet measured: prefer a home where it costs nothing, to find out.
    #[default]
    Unknown,
    /// Any instance is as good.
    None,
    /// Waiting for the home pays.
    Pays { home: Duration, away: Duration },
}

impl Affinity {
    pub fn at_home(&mut self, held: f64) {
        self.home.add(held);
        self.judge();
    }

    /// `expected`: what the class holds at home on average, in the same unit.
    pub fn away(&mut self, held: f64, expected: f64) {
        self.away.add(held, expected);
        self.judge();
    }

    fn judge(&mut self) {
        let Some(ratio) = self.away.value(LEAST).filter(|_| self.home.samples() >= LEAST) else { return };
        self.pays = Some(ratio > if self.pays == Some(true) { OFF } else { ON });
    }

    pub fn worth(&self) -> Worth {
        match (self.pays, self.home.mean(), self.away.value(LEAST)) {
            (Some(true), Some(home), Some(ratio)) => Worth::Pays {
                home: Duration::from_secs_f64(home.max(0.0)),
                away: Duration::from_secs_f64((home * ratio).max(0.0)),
            },
            (Some(_), ..) => Worth::None,
            _ => Worth::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn homes_pay_when_away_is_slower_by_a_fifth() {
        let mut affinity = Affinity::default();
        let mut feed = |away: f64, n: usize| {
            for _ in 0..n {
                affinity.at_home(0.010);
                affinity.away(0.010 * away, 0.010);
            }
            affinity.worth()
        };
        assert_eq!(feed(4.0, 59), Worth::Unknown);
        let Worth::Pays { home, away } = feed(4.0, 600) else { panic!("four times the cost") };
        assert_eq!((home.as_millis(), away.as_millis()), (10, 40));
        assert!(matches!(feed(1.15, 2000), Worth::Pays { .. }), "hysteresis");
        assert_eq!(feed(1.0, 2000), Worth::None);
    }
}
