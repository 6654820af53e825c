//! What requests of one class came to, summed over some time.

use crate::{ClassReport, Sketch};

/// Counts and distributions of one class. Merging is exact.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClassSums {
    pub requests: u64,
    /// Of these, those that failed; see [`ClassReport::errors`].
    pub errors: u64,
    /// Time that a worker was held, per request, in microseconds.
    pub held_us: Sketch,
    /// Time to the head of the response, in microseconds.
    pub ttfb_us: Sketch,
    /// Body bytes that the instance sent, per request.
    pub response_bytes: Sketch,
}

impl ClassSums {
    /// Adds one request. `None`: not measured, as there was no response or not the whole of it.
    pub fn record(&mut self, failed: bool, held_us: u64, ttfb_us: Option<u64>, response_bytes: Option<u64>) {
        self.requests += 1;
        self.errors += u64::from(failed);
        self.held_us.add(held_us);
        ttfb_us.into_iter().for_each(|ttfb| self.ttfb_us.add(ttfb));
        response_bytes.into_iter().for_each(|bytes| self.response_bytes.add(bytes));
    }

    /// Adds all that `other` holds.
    pub fn merge(&mut self, other: &Self) {
        self.requests += other.requests;
        self.errors += other.errors;
        self.held_us.merge(&other.held_us);
        self.ttfb_us.merge(&other.ttfb_us);
        self.response_bytes.merge(&other.response_bytes);
    }
}

impl From<&ClassReport> for ClassSums {
    fn from(report: &ClassReport) -> Self {
        Self {
            requests: report.requests,
            errors: report.errors,
            held_us: report.held_us.clone(),
            ttfb_us: report.ttfb_us.clone(),
            response_bytes: report.response_bytes.clone(),
        }
    }
}
