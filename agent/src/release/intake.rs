//! Whether the agent has a class's responses long before their clients do, so that for a balancer the worker is as
//! good as free with the first byte, whatever the server does.

use std::time::Duration;

/// So many responses in a row, doubled with each contradiction.
const FIRST_NEED: u32 = 4;
const MOST_NEED: u32 = 4096;
/// Below this nothing is won by knowing.
const LEAST_LAG: Duration = Duration::from_millis(50);
/// A worker that is free so much later than said costs more than it brings.
const LONGEST_TAIL: Duration = Duration::from_secs(1);
/// The claim errs by the tail, its absence by the lag: it has to be worth it.
const WORTH: u32 = 4;
/// Scheduling alone makes a tail that long on a busy machine.
const NOISE: Duration = Duration::from_millis(250);

/// Two times of a response: its *tail*, from the first byte to the last one's arrival here, while the worker is held;
/// and its *lag*, from there until the client has it, while a balancer that waits for the end takes the worker for
/// held.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Intake {
    in_a_row: u32,
    need: u32,
    /// The longest of late; it fades by a quarter with each response.
    tail: Duration,
    /// Mean of late.
    lag: Duration,
    longest: u64,
    pub(super) taken_in: u64,
    pub(super) contradicted: u64,
}

impl Default for Intake {
    fn default() -> Self {
        Self {
            in_a_row: 0,
            need: FIRST_NEED,
            tail: Duration::ZERO,
            lag: Duration::ZERO,
            longest: 0,
            taken_in: 0,
            contradicted: 0,
        }
    }
}

impl Intake {
    /// The longest response that is taken in early, if that is how they are.
    pub(super) fn free_to(&self) -> Option<u64> {
        let is_worth_it = self.lag >= LEAST_LAG && self.lag >= self.tail * WORTH && self.tail <= LONGEST_TAIL;
        (self.in_a_row >= self.need && is_worth_it).then_some(self.longest)
    }

    /// A whole response is over.
    pub(super) fn add(&mut self, length: u64, tail: Duration, lag: Duration) {
        self.in_a_row = self.in_a_row.saturating_add(1);
        self.tail = tail.max(self.tail * 3 / 4);
        self.lag = if self.in_a_row == 1 { lag } else { (self.lag * 3 + lag) / 4 };
        self.longest = self.longest.max(length);
        self.taken_in += u64::from(lag >= tail * WORTH && lag >= LEAST_LAG);
    }

    /// A response of this length has been arriving for `tail`. Returns whether that takes a claim back.
    pub(super) fn drags(&mut self, length: u64, tail: Duration) -> bool {
        let claimed = self.free_to().is_some_and(|most| length <= most);
        let contradiction = claimed && tail > (self.lag / WORTH).clamp(NOISE, LONGEST_TAIL);
        if contradiction {
            (self.in_a_row, self.longest) = (0, 0);
            self.need = (self.need * 2).min(MOST_NEED);
            self.contradicted += 1;
        }
        contradiction
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_claim_takes_a_row_of_responses_whose_lag_is_worth_it() {
        for (case, responses, free_to) in [
            ("three are too few", vec![(9, 1, 100); 3], None),
            ("four", vec![(9, 1, 100); 4], Some(9)),
            ("the longest of them", vec![(9, 1, 100), (8, 1, 100), (30, 1, 100), (5, 1, 100)], Some(30)),
            ("quick clients", vec![(9, 0, 49); 4], None),
            ("a quarter", vec![(9, 25, 100); 4], Some(9)),
            ("more than a quarter", vec![(9, 26, 100); 4], None),
            ("a second", vec![(9, 1000, 90_000); 4], Some(9)),
            ("more than a second", vec![(9, 1001, 90_000); 4], None),
            ("one slow one spoils it", vec![(9, 1, 100), (9, 1, 100), (9, 1, 100), (9, 60, 100)], None),
            ("and is forgiven", [vec![(9, 60, 100); 1], vec![(9, 1, 100); 4]].concat(), Some(9)),
        ] {
            let mut intake = Intake::default();
            for (length, tail, lag) in responses {
                intake.add(length, ms(tail), ms(lag));
            }
            assert_eq!(intake.free_to(), free_to, "{case}: {intake:?}");
        }
    }

    #[test]
    fn one_that_drags_on_takes_it_back_and_the_next_claim_takes_longer() {
        let mut intake = Intake::default();
        for round in 0..3_u32 {
            for _ in 0..FIRST_NEED << round {
                assert_eq!(intake.free_to(), None);
                intake.add(9, ms(1), ms(2000));
            }
            assert_eq!(intake.free_to(), Some(9));
            assert!(!intake.drags(9, ms(500)), "a quarter of the lag");
            assert!(!intake.drags(10, ms(501)), "nothing was said of such");
            assert!(intake.drags(9, ms(501)));
            assert!(!intake.drags(9, ms(501)), "once");
            assert_eq!((intake.free_to(), intake.contradicted), (None, u64::from(round) + 1));
        }
    }
}
