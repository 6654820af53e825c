//! What requests of one class came to, summed over some time.

use crate::{ClassReport, Measured, Sketch};

/// Counts and distributions of one class. Merging is exact.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClassSums {
    pub requests: u64,
    /// Of these, those that failed; see [`ClassReport::errors`].
    pub errors: u64,
    /// Requests of which nobody knows whether they failed.
    pub unjudged: u64,
    /// Time that a worker was held, per request, in microseconds.
    pub held_us: Sketch,
    /// Time to the head of the response, in microseconds.
    pub ttfb_us: Sketch,
    /// Body bytes that the instance sent, per request.
    pub response_bytes: Sketch,
}

impl ClassSums {
    /// Adds one request. `None`: not measured, by this observer or of this request.
    pub fn record(
        &mut self,
        failed: bool,
        held_us: Option<u64>,
        ttfb_us: Option<u64>,
        response_bytes: Option<u64>,
    ) {
        self.requests += 1;
        self.errors += u64::from(failed);
        held_us.into_iter().for_each(|held| self.held_us.add(held));
        ttfb_us.into_iter().for_each(|ttfb| self.ttfb_us.add(ttfb));
        response_bytes.into_iter().for_each(|bytes| self.response_bytes.add(bytes));
    }

    /// Adds all that `other` holds.
    pub fn merge(&mut self, other: &Self) {
        self.requests += other.requests;
        self.errors += other.errors;
        self.unjudged += other.unjudged;
        self.held_us.merge(&other.held_us);
        self.ttfb_us.merge(&other.ttfb_us);
        self.response_bytes.merge(&other.response_bytes);
    }
}

impl ClassSums {
    /// What a report says of a class, where `measured` is the report's word on its figures.
    pub fn reported(report: &ClassReport, measured: &Measured) -> Self {
        let mut sums = Self::default();
        sums.add_report(report, measured);
        sums
    }

    /// Adds what a report says of a class. `measured` is the report's word on its figures.
    pub fn add_report(&mut self, report: &ClassReport, measured: &Measured) {
        self.requests += report.requests;
        if measured.errors.is_known() {
            self.errors += report.errors;
        } else {
            self.unjudged += report.requests;
        }
        self.held_us.merge_sparse(&report.held_us);
        self.ttfb_us.merge_sparse(&report.ttfb_us);
        self.response_bytes.merge_sparse(&report.response_bytes);
    }

    /// Requests that failed; `None` if nobody knows that of any.
    pub fn known_errors(&self) -> Option<u64> {
        (self.requests == 0 || self.unjudged < self.requests).then_some(self.errors)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ClassName, SparseSketch};

    #[test]
    fn what_was_not_measured_is_unknown_and_not_zero() {
        let mut held_us = Sketch::default();
        held_us.add(900);
        let report = ClassReport {
            class: ClassName::other(),
            requests: 4,
            errors: 0,
            held_us: held_us.into(),
            ttfb_us: SparseSketch::default(),
            response_bytes: SparseSketch::default(),
        };
        let mut sums = ClassSums::reported(&report, &Measured::nothing());
        assert_eq!((sums.requests, sums.known_errors()), (4, None));
        assert_eq!((sums.ttfb_us.mean(), sums.response_bytes.mean()), (None, None));
        sums.merge(&ClassSums::reported(&report, &Measured::by_agent()));
        assert_eq!((sums.requests, sums.known_errors()), (8, Some(0)), "of those that were judged");
        sums.record(true, None, None, Some(5));
        assert_eq!((sums.held_us.count(), sums.known_errors()), (2, Some(1)), "held was not measured");
        assert_eq!(ClassSums::default().known_errors(), Some(0), "none failed of none");
    }
}
