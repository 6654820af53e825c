//! Whether a class is served faster where it was served before (object caches, connections).

use std::time::Duration;

use serde::{Deserialize, Serialize, Serializer};

use crate::decide::learn::moments::Moments;
use crate::decide::learn::ratio::RatioOfMeans;

/// Samples of each kind before homes are said to pay, ...
const LEAST: f64 = 100.0;
/// ... and before they are said not to: while caches are cold, home is as slow as anywhere.
const LEAST_TO_DENY: f64 = 400.0;
/// Samples that are remembered: with this many the ratio of two equal costs whose standard deviation
/// is their mean strays by 0.05.
const MEMORY: f64 = 500.0;
/// Homes are kept from this cost of serving away from home on, seen for a few seconds in a row, ...
const ON: f64 = 1.3;
const ON_AFTER: u32 = 3;
/// ... until it is below this. In between it is not known: requests that are served anywhere spoil the
/// caches at home, too, so that the difference shows in full only when homes are kept.
const OFF: f64 = 1.1;
/// Of this many seconds, one tries homes again where they did not pay.
const TRY_AGAIN: u32 = 16;

/// What serving a class away from its home costs.
#[derive(Clone, Debug)]
pub struct Affinity {
    home: Moments,
    /// Held away, over what the same class holds at home.
    away: RatioOfMeans,
    away_samples: f64,
    pays: Option<bool>,
    /// Seconds in a row in which homes would have paid.
    paid_for: u32,
    ticks: u32,
}

impl Default for Affinity {
    fn default() -> Self {
        let (home, away) = (Moments::new(MEMORY), RatioOfMeans::new(MEMORY));
        Self { home, away, away_samples: 0.0, pays: None, paid_for: 0, ticks: 0 }
    }
}

/// What is known of the worth of homes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "known")]
pub enum Worth {
    /// Not measured, or to be measured again: prefer a home where it costs nothing, to find out.
    #[default]
    Unknown,
    /// Any instance is as good.
    None,
    /// Waiting for the home pays.
    Pays {
        #[serde(rename = "home_ms", serialize_with = "as_ms")]
        home: Duration,
        #[serde(rename = "away_ms", serialize_with = "as_ms")]
        away: Duration,
    },
}

fn as_ms<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64() * 1e3)
}

/// The same in a file.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct AffinityState {
    home: Moments,
    away: RatioOfMeans,
    pays: Option<bool>,
}

impl Affinity {
    pub(super) fn state(&self) -> AffinityState {
        AffinityState { home: self.home, away: self.away, pays: self.pays }
    }

    /// The verdict stands, on as little evidence as it takes. What is not possible counts as nothing
    /// seen.
    pub(super) fn restored(state: AffinityState) -> Self {
        match (state.home.restored(MEMORY, LEAST), state.away.restored(MEMORY, LEAST)) {
            (Some(home), Some(away)) => {
                Self { home, away, away_samples: LEAST, pays: state.pays, ..Self::default() }
            }
            _ => Self::default(),
        }
    }

    pub fn at_home(&mut self, held: f64) {
        self.home.add(held);
    }

    /// `expected`: what the class holds at home on average, in the same unit.
    pub fn away(&mut self, held: f64, expected: f64) {
        self.away.add(held, expected);
        self.away_samples += 1.0;
    }

    /// To be called once a second.
    pub fn tick(&mut self) {
        self.ticks = self.ticks.wrapping_add(1);
        let Some(ratio) = self.away.value(LEAST).filter(|_| self.home.samples() >= LEAST) else { return };
        let pays = ratio > if self.pays == Some(true) { OFF } else { ON };
        self.paid_for = if pays { self.paid_for.saturating_add(1) } else { 0 };
        if self.paid_for >= ON_AFTER {
            self.pays = Some(true);
        } else if ratio < OFF && self.away_samples.min(self.home.samples()) >= LEAST_TO_DENY {
            self.pays = Some(false);
        }
    }

    pub fn worth(&self) -> Worth {
        match (self.pays, self.home.mean(), self.away.value(LEAST)) {
            (Some(true), Some(home), Some(ratio)) => Worth::Pays {
                home: Duration::from_secs_f64(home.max(0.0)),
                away: Duration::from_secs_f64((home * ratio).max(0.0)),
            },
            (Some(_), ..) if !self.ticks.is_multiple_of(TRY_AGAIN) => Worth::None,
            _ => Worth::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So many seconds of 100 samples of each kind, away costing `ratio` times as much.
    fn feed(affinity: &mut Affinity, ratio: f64, seconds: u32) {
        for _ in 0..seconds {
            for _ in 0..100 {
                affinity.at_home(0.010);
                affinity.away(0.010 * ratio, 0.010);
            }
            affinity.tick();
        }
    }

    #[test]
    fn homes_pay_when_away_is_slower_for_some_seconds() {
        let mut affinity = Affinity::default();
        feed(&mut affinity, 4.0, 2);
        assert_eq!(affinity.worth(), Worth::Unknown);
        feed(&mut affinity, 4.0, 30);
        let Worth::Pays { home, away } = affinity.worth() else { panic!("four times the cost") };
        assert_eq!((home.as_millis(), away.as_millis()), (10, 40));
        feed(&mut affinity, 1.2, 60);
        assert!(matches!(affinity.worth(), Worth::Pays { .. }), "hysteresis");
        feed(&mut affinity, 1.0, 61);
        assert_eq!(affinity.worth(), Worth::None);
    }

    #[test]
    fn where_homes_do_not_pay_they_are_tried_again() {
        let mut affinity = Affinity::default();
        let mut worths = vec![];
        for _ in 0..32 {
            feed(&mut affinity, 1.0, 1);
            worths.push(affinity.worth());
        }
        assert!(worths[..3].iter().all(|worth| *worth == Worth::Unknown), "cold caches are no verdict");
        let tried = worths[4..].iter().filter(|worth| **worth == Worth::Unknown).count();
        assert_eq!(tried, 2, "{worths:?}");
    }

    #[test]
    fn chance_is_no_reason() {
        let seed = 3;
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut affinity = Affinity::default();
        for second in 0..3600 {
            for _ in 0..100 {
                affinity.at_home(-rng.f64().ln());
                affinity.away(-rng.f64().ln(), 1.0);
            }
            affinity.tick();
            assert!(!matches!(affinity.worth(), Worth::Pays { .. }), "seed {seed}, second {second}");
        }
    }
}
