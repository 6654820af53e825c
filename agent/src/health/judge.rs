//! From the outcomes of checks to a verdict. No clock, no sockets.

use std::{borrow::Cow, time::Duration};

use crate::state::Health;

/// One lost packet is no outage, and two failures in a row are 250 ms apart.
const FAILURES: u32 = 2;

/// Between checks as long as something is wrong: a restarted instance gets its first request within this time.
const HURRIED: Duration = Duration::from_millis(250);

/// How a check went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckOutcome {
    Passed,
    /// No answer in time, but all its workers are at work: that may be why. Says nothing either way.
    Busy,
    Failed(Cow<'static, str>),
    /// Nobody listens there: needs no second opinion.
    Refused(Cow<'static, str>),
}

impl CheckOutcome {
    pub const LABELS: [&'static str; 4] = ["passed", "busy", "failed", "refused"];

    pub fn refused() -> Self {
        Self::Refused("it does not accept connections".into())
    }

    pub fn label(&self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Busy => "busy",
            Self::Failed(_) => "failed",
            Self::Refused(_) => "refused",
        }
    }
}

/// Up after one success; down after two failures in a row, or at once when nobody listens.
#[derive(Debug)]
pub(super) struct Judge {
    health: Health,
    failures: u32,
    interval: Duration,
}

impl Judge {
    /// `health`: as far as it is known. `interval`: between checks as long as all is well.
    pub(super) fn new(health: Health, interval: Duration) -> Self {
        Self { health, failures: 0, interval }
    }

    pub(super) fn record(&mut self, outcome: CheckOutcome) -> Health {
        match outcome {
            CheckOutcome::Passed => {
                self.failures = 0;
                self.health = Health::Up;
            }
            CheckOutcome::Busy => {}
            CheckOutcome::Refused(reason) => {
                self.failures += 1;
                self.health = Health::Down(reason);
            }
            CheckOutcome::Failed(reason) => {
                self.failures += 1;
                if self.failures >= FAILURES || self.health != Health::Up {
                    self.health = Health::Down(reason);
                }
            }
        }
        self.health.clone()
    }

    /// Until the next check.
    pub(super) fn pause(&self) -> Duration {
        let well = self.health == Health::Up && self.failures == 0;
        if well { self.interval } else { HURRIED.min(self.interval) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_success_is_enough_and_one_failure_is_not() {
        let failed = || CheckOutcome::Failed("slow".into());
        let down = |reason: &'static str| Health::Down(reason.into());
        let mut judge = Judge::new(Health::Unknown, Duration::from_secs(2));
        for (step, outcome, health, pause) in [
            ("starts with a failure", failed(), down("slow"), 250),
            ("up at once", CheckOutcome::Passed, Health::Up, 2000),
            ("one failure", failed(), Health::Up, 250),
            ("forgiven", CheckOutcome::Passed, Health::Up, 2000),
            ("one failure", failed(), Health::Up, 250),
            ("busy says nothing", CheckOutcome::Busy, Health::Up, 250),
            ("two failures", failed(), down("slow"), 250),
            ("busy says nothing", CheckOutcome::Busy, down("slow"), 250),
            ("up at once", CheckOutcome::Passed, Health::Up, 2000),
            ("down at once", CheckOutcome::refused(), down("it does not accept connections"), 250),
        ] {
            assert_eq!(judge.record(outcome), health, "{step}");
            assert_eq!(judge.pause(), Duration::from_millis(pause), "{step}");
        }
    }

    #[test]
    fn labels_are_those_that_are_registered() {
        let outcomes = [
            CheckOutcome::Passed,
            CheckOutcome::Busy,
            CheckOutcome::Failed("".into()),
            CheckOutcome::Refused("".into()),
        ];
        assert_eq!(outcomes.map(|outcome| outcome.label()), CheckOutcome::LABELS);
    }
}
