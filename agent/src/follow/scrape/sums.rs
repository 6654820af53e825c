//! From what counters grew by to what requests of a class came to.

use sluice_proto::{ClassSums, Sketch};

/// Of one class in one interval; more is a counter gone wild, and a report with it would be refused.
const MOST: f64 = 500_000.0;
const DAY_US: f64 = 24.0 * 3600.0 * 1e6;

/// What the counters of one class grew by.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Grown {
    /// Requests that took at most so long, for each bound that was named.
    pub(super) buckets: Vec<(f64, f64)>,
    /// Requests in all, and how long they took in all, in the metric's unit.
    pub(super) count: f64,
    pub(super) sum: f64,
    /// By the metric that has the durations.
    pub(super) timed: Judged,
    /// By the counter.
    pub(super) counted: Judged,
}

/// Requests, and what is known of their ends.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Judged {
    pub(super) requests: f64,
    pub(super) failed: f64,
}

impl Judged {
    pub(super) fn add(&mut self, requests: f64, failed: Option<bool>) {
        self.requests += requests;
        self.failed += if failed == Some(true) { requests } else { 0.0 };
    }
}

impl Grown {
    pub(super) fn add_bucket(&mut self, bound: f64, requests: f64) {
        match self.buckets.iter_mut().find(|(known, _)| *known == bound) {
            Some((_, sum)) => *sum += requests,
            None => self.buckets.push((bound, requests)),
        }
    }

    /// In the report's units, where `unit_us` is one of the metric's unit.
    pub(super) fn sums(mut self, unit_us: f64) -> ClassSums {
        let requests = whole(self.timed.requests.max(self.counted.requests));
        let failed = whole(self.timed.failed.max(self.counted.failed)).min(requests);
        ClassSums { requests, errors: failed, held_us: self.held(unit_us), ..ClassSums::default() }
    }

    /// Each bucket's requests at one place of it, the same share of its width for all, so that the mean is right.
    fn held(&mut self, unit_us: f64) -> Sketch {
        self.buckets.retain(|(bound, _)| bound.is_finite() && *bound >= 0.0);
        self.buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut bins = Vec::with_capacity(self.buckets.len() + 1);
        let (mut low, mut below) = (0.0, 0.0_f64);
        for (bound, requests) in &self.buckets {
            // Pages are not written at one moment: a bucket may lag behind the one before.
            let up_to = requests.clamp(below, self.count.max(below));
            bins.push((low, *bound, up_to - below));
            (low, below) = (*bound, up_to);
        }
        let beyond = (self.count - below).max(0.0);
        let share = share(&bins, self.sum, beyond);
        let mut sketch = Sketch::default();
        let mut add = |value: f64, n: f64| {
            sketch.add_n((value * unit_us).clamp(0.0, DAY_US).round() as u64, whole(n));
        };
        let mut left = self.sum;
        for (low, high, n) in bins {
            let value = low + share * (high - low);
            left -= value * n;
            add(value, n);
        }
        // Summaries have no buckets: all is beyond, at its mean.
        if beyond > 0.0 {
            add((left / beyond).max(low), beyond);
        }
        sketch
    }
}

/// Where in its bucket a request is taken to be: as far up as gives the sum, in the middle if that does not tell.
fn share(bins: &[(f64, f64, f64)], sum: f64, beyond: f64) -> f64 {
    let least: f64 = bins.iter().map(|(low, _, n)| low * n).sum();
    let width: f64 = bins.iter().map(|(low, high, n)| (high - low) * n).sum();
    if beyond > 0.0 || width <= 0.0 || sum <= 0.0 { 0.5 } else { ((sum - least) / width).clamp(0.0, 1.0) }
}

fn whole(count: f64) -> u64 {
    count.clamp(0.0, MOST).round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grown(buckets: &[(f64, f64)], count: f64, sum: f64) -> Grown {
        let timed = Judged { requests: count, failed: 0.0 };
        Grown { buckets: buckets.to_vec(), count, sum, timed, ..Grown::default() }
    }

    #[test]
    fn a_histograms_mean_is_kept_and_its_quantiles_are_within_their_buckets() {
        // Nine at 10 to 20 ms, one at 1 to 2 s; a quarter up each: 9 * 12.5 ms + 1.25 s.
        let sums = grown(&[(2.0, 10.0), (0.01, 0.0), (0.02, 9.0), (1.0, 9.0)], 10.0, 1.3625).sums(1e6);
        assert_eq!((sums.requests, sums.held_us.count()), (10, 10));
        assert_eq!(sums.held_us.mean(), Some(136_250.0));
        let quantile = |q| sums.held_us.quantile(q).expect("some");
        assert!((12_375..=12_625).contains(&quantile(0.5)), "{}", quantile(0.5));
        assert!((1_237_500..=1_262_500).contains(&quantile(0.99)), "{}", quantile(0.99));
    }

    #[test]
    fn odd_pages_are_read_as_far_as_they_make_sense() {
        for (name, grown, requests, mean_us) in [
            ("a summary", grown(&[], 4.0, 2.0), 4, Some(500_000.0)),
            ("beyond the last bound", grown(&[(1.0, 0.0)], 2.0, 8.0), 2, Some(4_000_000.0)),
            ("a bucket that lags", grown(&[(1.0, 2.0), (2.0, 1.0)], 2.0, 1.0), 2, Some(500_000.0)),
            ("more in a bucket than in all", grown(&[(1.0, 9.0)], 2.0, 1.0), 2, Some(500_000.0)),
            ("no sum", grown(&[(1.0, 2.0)], 2.0, 0.0), 2, Some(500_000.0)),
            ("a sum that can not be", grown(&[(1.0, 2.0)], 2.0, 99.0), 2, Some(1_000_000.0)),
            ("nothing", Grown::default(), 0, None),
            (
                "infinite bounds",
                grown(&[(f64::INFINITY, 2.0), (f64::NAN, 1.0), (-1.0, 1.0)], 2.0, 4.0),
                2,
                Some(2e6),
            ),
            ("years", grown(&[], 1.0, 1e12), 1, Some(DAY_US)),
        ] {
            let sums = grown.sums(1e6);
            assert_eq!((sums.requests, sums.held_us.mean()), (requests, mean_us), "{name}");
            assert!(sums.held_us.count() <= sums.requests, "{name}");
        }
        let wild = grown(&[(1.0, 1e300)], 1e300, 1e300).sums(1e6);
        assert_eq!((wild.requests, wild.held_us.count()), (500_000, 500_000));
    }
}
