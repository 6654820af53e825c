//! Shares of the requests that cohorts of instances get: one cohort, unless versions of the application divide them.
//!
//! A smooth weighted choice, made when a worker is given and not when a request comes, so that nobody waits for a
//! version of its own: who is due most gets the next request if it has a free worker, else the next one, as long as
//! that is not too far ahead of its share. Source: weighted round robin as in nginx, `ngx_http_upstream_round_robin`'s
//! idea of a current weight, made to conserve work.

use std::time::Duration;

/// How many requests a cohort may be ahead of the one that is due most, if that has no free worker: a page needs
/// several at once.
const AHEAD: f64 = 8.0;
/// A request that has waited for so long takes any worker: a version without enough instances for its share must not
/// idle the others.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);

/// Who is due what.
#[derive(Clone, Debug)]
pub(super) struct Shares {
    /// By cohort: its share, and the requests that it is owed. At least one.
    cohorts: Vec<Cohort>,
}

#[derive(Clone, Copy, Debug)]
struct Cohort {
    share: f64,
    due: f64,
}

impl Default for Shares {
    fn default() -> Self {
        Self { cohorts: vec![Cohort { share: 1.0, due: 0.0 }] }
    }
}

impl Shares {
    /// `shares`: one per cohort, none for a single one.
    pub(super) fn new(shares: &[f64]) -> Self {
        if shares.is_empty() {
            return Self::default();
        }
        Self { cohorts: shares.iter().map(|share| Cohort { share: *share, due: 0.0 }).collect() }
    }

    pub(super) fn len(&self) -> usize {
        self.cohorts.len()
    }

    /// Whether there is something to divide.
    pub(super) fn is_split(&self) -> bool {
        self.cohorts.len() > 1
    }

    pub(super) fn share(&self, cohort: usize) -> f64 {
        self.cohorts.get(cohort).map_or(0.0, |cohort| cohort.share)
    }

    /// The cohorts that may have the next request, the one that is due most first. `is_open`: it has workers, held or
    /// not. `late`: whoever can is to have it.
    pub(super) fn order(&self, is_open: impl Fn(usize) -> bool, late: bool) -> impl Iterator<Item = usize> {
        let mut order: Vec<_> = (0..self.cohorts.len()).filter(|cohort| is_open(*cohort)).collect();
        // With what the next request brings, or a small share would begin with one that it is not owed.
        let due = |cohort: &usize| self.cohorts[*cohort].due + self.cohorts[*cohort].share;
        order.sort_by(|a, b| due(b).total_cmp(&due(a)).then(a.cmp(b)));
        let least = order.first().map_or(f64::MIN, |first| due(first) - AHEAD);
        order.retain(|cohort| late || due(cohort) > least);
        order.into_iter()
    }

    /// A cohort got a request.
    pub(super) fn served(&mut self, cohort: usize, is_open: impl Fn(usize) -> bool) {
        if !self.is_split() {
            return;
        }
        let open: f64 = (0..self.len()).filter(|other| is_open(*other)).map(|other| self.share(other)).sum();
        for (other, entry) in self.cohorts.iter_mut().enumerate() {
            if open > 0.0 && is_open(other) {
                entry.due += entry.share / open;
            }
            if other == cohort {
                entry.due -= 1.0;
            }
            // What a version missed for want of instances is not made up for.
            entry.due = entry.due.clamp(-AHEAD, AHEAD);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn give(shares: &mut Shares, free: impl Fn(usize) -> bool, late: bool) -> Option<usize> {
        let cohort = shares.order(|_| true, late).find(|cohort| free(*cohort))?;
        shares.served(cohort, |_| true);
        Some(cohort)
    }

    #[test]
    fn shares_are_exact_and_spread() {
        let mut shares = Shares::new(&[0.9, 0.1]);
        let mut since = 0;
        let mut canary = 0;
        for _ in 0..1000 {
            since += 1;
            if give(&mut shares, |_| true, false) == Some(1) {
                assert!((5..=15).contains(&since), "{since}");
                (since, canary) = (0, canary + 1);
            }
        }
        assert_eq!(canary, 100);
    }

    #[test]
    fn who_is_busy_is_passed_over_for_a_while_and_catches_up() {
        let mut shares = Shares::new(&[0.9, 0.1]);
        let ahead = std::iter::from_fn(|| give(&mut shares, |cohort| cohort == 1, false)).count();
        assert!((3..=8).contains(&ahead), "the canary takes {ahead} more than its share, and no more");
        assert_eq!(
            give(&mut shares, |cohort| cohort == 1, true),
            Some(1),
            "but for those that wait for long"
        );
        let next: Vec<_> = (0..20).filter_map(|_| give(&mut shares, |_| true, false)).collect();
        assert!(next.iter().all(|cohort| *cohort == 0), "{next:?}");
    }

    #[test]
    fn who_is_not_there_has_no_share() {
        let mut shares = Shares::new(&[0.5, 0.25, 0.25]);
        let here = |cohort: usize| cohort != 0;
        let mut counts = [0; 3];
        for _ in 0..100 {
            let cohort = shares.order(here, false).next().expect("somebody");
            shares.served(cohort, here);
            counts[cohort] += 1;
        }
        assert_eq!(counts, [0, 50, 50]);
        let first: Vec<_> = (0..4).filter_map(|_| give(&mut shares, |_| true, false)).collect();
        assert_eq!(
            first.iter().filter(|cohort| **cohort == 0).count(),
            2,
            "nothing is made up for: {first:?}"
        );
    }

    #[test]
    fn without_versions_there_is_one_cohort() {
        let mut shares = Shares::default();
        for _ in 0..100 {
            assert_eq!(give(&mut shares, |_| true, false), Some(0));
        }
        assert!(!shares.is_split());
    }
}
