//! Instances that fail while their fellows do not get nothing for a while.
//!
//! An instance that fails at once has a free worker at once, and would be picked before all others. What every
//! instance fails at is the application's fault and takes none of them out. Source: Envoy's outlier detection
//! (consecutive failures, success rate against the others', a bound on how many are out); that an instance is slow is
//! [`learn::speed`](crate::decide::learn::speed)'s to say.

use std::fmt;
use std::time::{Duration, Instant};

/// Seconds that are remembered.
const WINDOW: usize = 10;
/// Requests within the window below which a share says nothing.
const LEAST: u32 = 20;
/// By how much an instance's share of failures must exceed that of the others.
const EXCESS: f64 = 0.3;
/// First pause, doubled with each further one up to the longest. 5 s: a worker that was killed is back by then.
const PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// An instance that was back for so long has a clean record.
const FORGIVEN: Duration = Duration::from_secs(60);

/// What the operator may choose.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OutlierParams {
    /// Failures in a row that take an instance out; 0: nothing does.
    pub in_a_row: u32,
    /// The most of a service's reachable instances that may be out, 0 to 1.
    pub most: f64,
}

impl Default for OutlierParams {
    fn default() -> Self {
        Self { in_a_row: 5, most: 0.5 }
    }
}

/// Requests that were answered, and that failed by the instance's fault: a status of 500 or above, no answer, or half
/// of one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub answered: u32,
    pub failed: u32,
}

impl Tally {
    fn total(self) -> u32 {
        self.answered + self.failed
    }

    /// Share of failures, 0 to 1; 0 if there was nothing.
    fn share(self) -> f64 {
        f64::from(self.failed) / f64::from(self.total().max(1))
    }

    fn add(&mut self, other: Self) {
        self.answered += other.answered;
        self.failed += other.failed;
    }
}

impl std::iter::Sum for Tally {
    fn sum<I: Iterator<Item = Self>>(tallies: I) -> Self {
        tallies.fold(Self::default(), |mut sum, tally| {
            sum.add(tally);
            sum
        })
    }
}

/// Why an instance is out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    InARow(u32),
    Share(Tally),
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InARow(1) => f.write_str("it failed again, at once"),
            Self::InARow(n) => write!(f, "it failed {n} requests in a row, and others did not"),
            Self::Share(tally) => {
                write!(f, "it failed {} of {} requests, and others fewer", tally.failed, tally.total())
            }
        }
    }
}

/// An instance that is out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ejection {
    pub cause: Cause,
    pub until: Instant,
}

/// One instance's record.
#[derive(Clone, Debug, Default)]
pub struct Outlier {
    seconds: [Tally; WINDOW],
    now: usize,
    in_a_row: u32,
    /// How often it was out lately.
    times: u32,
    ejection: Option<Ejection>,
    returned: Option<Instant>,
    /// It is back and has answered nothing yet.
    on_probation: bool,
}

impl Outlier {
    pub fn answered(&mut self) {
        self.seconds[self.now].answered += 1;
        self.in_a_row = 0;
        self.on_probation = false;
    }

    pub fn failed(&mut self) {
        self.seconds[self.now].failed += 1;
        self.in_a_row += 1;
    }

    /// A second is over.
    pub fn tick(&mut self, now: Instant) {
        self.now = (self.now + 1) % WINDOW;
        self.seconds[self.now] = Tally::default();
        let forgiven = |since: Instant| now.saturating_duration_since(since) >= FORGIVEN;
        if self.ejection.is_none() && self.returned.is_some_and(forgiven) {
            (self.times, self.returned) = (0, None);
        }
    }

    /// Of the last seconds.
    pub fn tally(&self) -> Tally {
        self.seconds.iter().copied().sum()
    }

    pub fn ejection(&self) -> Option<Ejection> {
        self.ejection
    }

    /// Whether so many failed in a row that the others should be looked at.
    pub fn is_suspect(&self, params: &OutlierParams) -> bool {
        params.in_a_row > 0 && self.in_a_row >= if self.on_probation { 1 } else { params.in_a_row }
    }

    /// Why it should be out, if so. `others`: what its fellows did meanwhile.
    pub fn cause(&self, others: Tally, params: &OutlierParams) -> Option<Cause> {
        if params.in_a_row == 0 || self.ejection.is_some() {
            return None;
        }
        // That nobody else was asked says nothing about who is at fault.
        if self.is_suspect(params) && others.answered > 0 && others.share() < 1.0 - EXCESS {
            return Some(Cause::InARow(self.in_a_row));
        }
        let own = self.tally();
        let worse = own.share() >= others.share() + EXCESS;
        (own.total() >= LEAST && worse).then_some(Cause::Share(own))
    }

    pub fn eject(&mut self, cause: Cause, now: Instant) {
        let pause = (PAUSE * 2u32.pow(self.times.min(8))).min(LONGEST_PAUSE);
        self.times += 1;
        self.ejection = Some(Ejection { cause, until: now + pause });
    }

    /// It gets requests again; the first failure takes it out once more.
    pub fn reinstate(&mut self, now: Instant) {
        (self.ejection, self.returned, self.on_probation) = (None, Some(now), true);
        (self.seconds, self.in_a_row) = ([Tally::default(); WINDOW], 0);
    }
}

/// How many of `reachable` instances may be out.
pub fn most_out(reachable: usize, params: &OutlierParams) -> usize {
    let bound = (reachable as f64 * params.most).floor() as usize;
    bound.min(reachable.saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FINE: Tally = Tally { answered: 100, failed: 0 };

    fn record(outcomes: &str) -> Outlier {
        let mut record = Outlier::default();
        outcomes.chars().for_each(|c| if c == 'x' { record.failed() } else { record.answered() });
        record
    }

    #[test]
    fn who_fails_in_a_row_is_out_unless_all_do() {
        let params = OutlierParams::default();
        let all_fail = Tally { answered: 10, failed: 90 };
        for (outcomes, others, out) in [
            ("....", FINE, false),
            ("xxxx", FINE, false),
            ("xxxxx", FINE, true),
            ("xxxx.xxxx", FINE, false),
            (".....xxxxx", FINE, true),
            ("xxxxx", Tally::default(), false),
            ("xxxxx", all_fail, false),
        ] {
            assert_eq!(record(outcomes).cause(others, &params).is_some(), out, "{outcomes} {others:?}");
        }
        let never = OutlierParams { in_a_row: 0, ..params };
        assert_eq!(record("xxxxxxxxxx").cause(FINE, &never), None);
    }

    #[test]
    fn who_fails_more_often_than_the_others_is_out() {
        let params = OutlierParams::default();
        let some_fail = Tally { answered: 80, failed: 20 };
        for (outcomes, others, out) in [
            ("x..x..x..x..x..x..x.", FINE, true),  // 7 of 20
            ("x..x..x..x..x..x..x", FINE, false),  // too few to tell
            ("x...x...x...x...x...", FINE, false), // 5 of 20
            ("x..x..x..x..x..x..x.", some_fail, false),
            ("xx.xx.xx.xx.xx.xx.xx", some_fail, true),
        ] {
            assert_eq!(record(outcomes).cause(others, &params).is_some(), out, "{outcomes} {others:?}");
        }
    }

    #[test]
    fn what_is_old_does_not_count() {
        let now = Instant::now();
        let mut record = record("xxx.xxx.xxx.xxx.xxx.xxx.");
        for second in 0..WINDOW {
            assert!(record.cause(FINE, &OutlierParams::default()).is_some(), "{second}");
            record.tick(now);
        }
        assert_eq!(record.tally(), Tally::default());
    }

    #[test]
    fn pauses_double_and_are_forgiven() {
        let start = Instant::now();
        let params = OutlierParams::default();
        let mut record = record("xxxxx");
        let mut now = start;
        let mut pauses = vec![];
        for _ in 0..6 {
            let cause = record.cause(FINE, &params).expect("it failed");
            record.eject(cause, now);
            assert_eq!(record.cause(FINE, &params), None, "it is out already");
            let until = record.ejection().expect("out").until;
            pauses.push(until.duration_since(now).as_secs());
            now = until;
            record.reinstate(now);
            assert_eq!(record.cause(FINE, &params), None, "it is given a chance");
            record.failed();
        }
        assert_eq!(pauses, [5, 10, 20, 40, 60, 60]);
        record.answered();
        record.failed();
        assert_eq!(record.cause(FINE, &params), None, "off probation");
        record.tick(now + FORGIVEN);
        record.eject(Cause::InARow(5), now);
        assert_eq!(record.ejection().expect("out").until.duration_since(now), PAUSE);
    }

    #[test]
    fn some_always_stay() {
        let params = OutlierParams::default();
        for (reachable, most) in [(0, 0), (1, 0), (2, 1), (3, 1), (4, 2), (5, 2), (10, 5)] {
            assert_eq!(most_out(reachable, &params), most, "{reachable}");
        }
        assert_eq!(most_out(4, &OutlierParams { most: 1.0, ..params }), 3);
        assert_eq!(most_out(4, &OutlierParams { most: 0.0, ..params }), 0);
    }
}
