//! How slow an instance is against its fellows.

use std::time::Instant;

/// Samples that one instance is judged by: quick to notice one that is five times slower (a dozen
/// requests), slow to be fooled by one long request.
const MEMORY: f64 = 50.0;
/// An instance starts as if it had shown this many samples of ordinary speed.
const PRIOR: f64 = 8.0;
/// One request never says more than this: the one that waited for a lock is no measure of speed.
const MOST: f64 = 10.0;
/// Without samples, doubt sets in after this time and grows with this time constant: an instance
/// that nothing is sent to would otherwise stay slow for ever.
const QUIET: f64 = 2.0;
const FORGET: f64 = 15.0;
/// From this ratio on an instance is slow. Below it the differences are those of chance and cache.
pub const SLOW: f64 = 1.8;

/// Service time of an instance over that of the same requests elsewhere; above 1 is slower.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Speed {
    ratio: f64,
    samples: f64,
    last: Option<Instant>,
}

impl Default for Speed {
    fn default() -> Self {
        Self { ratio: 1.0, samples: PRIOR, last: None }
    }
}

impl Speed {
    /// A request held a worker `ratio` times as long as was expected of it.
    pub fn add(&mut self, ratio: f64, now: Instant) {
        // What was doubted is not believed again because of one sample.
        self.ratio = self.ratio_at(now);
        self.samples += 1.0;
        let weight = (1.0 / self.samples).max(1.0 / MEMORY);
        self.ratio += weight * (ratio.min(MOST) - self.ratio);
        self.last = Some(now);
    }

    /// The ratio as it is believed now, slow or not.
    pub fn ratio_at(&self, now: Instant) -> f64 {
        let Some(last) = self.last else { return self.ratio };
        let quiet = (now.saturating_duration_since(last).as_secs_f64() - QUIET).max(0.0);
        1.0 + (self.ratio - 1.0) * (-quiet / FORGET).exp()
    }

    /// The factor to count with: 1 unless the instance is slow.
    pub fn slowness_at(&self, now: Instant) -> f64 {
        let ratio = self.ratio_at(now);
        if ratio > SLOW { ratio } else { 1.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_slow_instance_is_noticed_within_a_dozen_requests_and_given_another_chance() {
        let start = Instant::now();
        let mut speed = Speed::default();
        let noticed = (1..).find(|_| {
            speed.add(5.0, start);
            speed.slowness_at(start) > 1.0
        });
        assert!(noticed.expect("it is slow") <= 12, "{noticed:?}");
        (0..200).for_each(|_| speed.add(5.0, start));
        assert!((speed.ratio_at(start) - 5.0).abs() < 0.1);
        let at = |s| start + Duration::from_secs(s);
        assert!(speed.slowness_at(at(20)) > 1.0, "still slow after 20 s");
        assert_eq!(speed.slowness_at(at(40)), 1.0, "retried after 40 s");
    }

    #[test]
    fn one_stuck_request_does_not_make_an_instance_slow() {
        let now = Instant::now();
        let mut speed = Speed::default();
        (0..100).for_each(|_| speed.add(1.0, now));
        speed.add(500.0, now);
        assert_eq!(speed.slowness_at(now), 1.0);
    }
}
