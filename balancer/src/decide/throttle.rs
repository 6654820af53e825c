//! How often somebody may do something: a token bucket for each, in a table that does not grow.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

/// Token buckets by key.
#[derive(Debug)]
pub struct Throttle<K> {
    params: ThrottleParams,
    buckets: HashMap<K, Bucket>,
    /// Of all for whom there is no place in the table.
    rest: Bucket,
    swept: Instant,
}

/// Looking through a whole table for each newcomer would be an attack of its own.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// What each may do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ThrottleParams {
    /// Tokens per second, above zero.
    pub rate: f64,
    /// Tokens that can be saved up, at least one.
    pub burst: f64,
    /// Buckets at once.
    pub most: usize,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    /// Below zero after something that cost more than there was.
    tokens: f64,
    at: Instant,
}

impl<K: Hash + Eq> Throttle<K> {
    pub fn new(params: ThrottleParams, now: Instant) -> Self {
        Self { params, buckets: HashMap::new(), rest: Bucket { tokens: params.burst, at: now }, swept: now }
    }

    /// Takes `cost` tokens from `key`'s bucket. One is enough to begin with: what costs more is paid for afterwards, so
    /// that nothing is too dear for a bucket.
    ///
    /// # Errors
    /// The time until there is one token again; nothing is taken then.
    pub fn take(&mut self, key: K, cost: f64, now: Instant) -> Result<(), Duration> {
        let params = self.params;
        self.bucket(key, now).take(cost, params, now)
    }

    fn bucket(&mut self, key: K, now: Instant) -> &mut Bucket {
        if self.buckets.len() >= self.params.most && !self.buckets.contains_key(&key) {
            self.sweep(now);
            if self.buckets.len() >= self.params.most {
                return &mut self.rest;
            }
        }
        self.buckets.entry(key).or_insert(Bucket { tokens: self.params.burst, at: now })
    }

    /// A full bucket says nothing that a new one would not.
    fn sweep(&mut self, now: Instant) {
        if now.saturating_duration_since(self.swept) >= SWEEP_EVERY {
            let params = self.params;
            self.buckets.retain(|_, bucket| bucket.filled(params, now) < params.burst);
            self.swept = now;
        }
    }
}

impl Bucket {
    fn filled(&self, params: ThrottleParams, now: Instant) -> f64 {
        let new = now.saturating_duration_since(self.at).as_secs_f64() * params.rate;
        (self.tokens + new).min(params.burst)
    }

    fn take(&mut self, cost: f64, params: ThrottleParams, now: Instant) -> Result<(), Duration> {
        let tokens = self.filled(params, now);
        *self = Self { tokens, at: now };
        if tokens < 1.0 {
            return Err(Duration::from_secs_f64((1.0 - tokens) / params.rate));
        }
        self.tokens -= cost;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARAMS: ThrottleParams = ThrottleParams { rate: 2.0, burst: 4.0, most: 3 };

    #[test]
    fn a_burst_passes_and_then_the_rate() {
        let start = Instant::now();
        let mut throttle = Throttle::new(PARAMS, start);
        for (at_ms, key, cost, expected_wait_ms) in [
            (0, 'a', 1.0, None),
            (0, 'a', 1.0, None),
            (0, 'a', 1.0, None),
            (0, 'a', 1.0, None),
            (0, 'a', 1.0, Some(500)),
            (0, 'b', 1.0, None), // has a bucket of its own
            (400, 'a', 1.0, Some(100)),
            (500, 'a', 1.0, None),
            (500, 'a', 1.0, Some(500)),
            (60_000, 'a', 10.0, None), // dear, and full: 4 - 10 = -6
            (60_000, 'a', 1.0, Some(3_500)),
            (63_500, 'a', 1.0, None),
        ] {
            let now = start + Duration::from_millis(at_ms);
            let wait = throttle.take(key, cost, now).err().map(|wait| wait.as_millis());
            assert_eq!(wait, expected_wait_ms, "{key} at {at_ms} ms");
        }
    }

    #[test]
    fn the_table_has_an_end_and_newcomers_beyond_it_share_a_bucket() {
        let start = Instant::now();
        let mut throttle = Throttle::new(PARAMS, start);
        for key in 0..1000 {
            let passes = throttle.take(key, 1.0, start).is_ok();
            // Three have a bucket, and the four tokens of the rest are the next four's.
            assert_eq!(passes, key < 7, "{key}");
            assert!(throttle.buckets.len() <= 3);
        }
        let later = start + Duration::from_secs(1);
        assert!(throttle.take(2000, 1.0, later).is_ok(), "those that are full again are forgotten");
        assert_eq!(throttle.buckets.len(), 1);
    }

    #[test]
    fn a_clock_that_stands_still_gives_nothing_and_one_that_jumps_no_more_than_the_burst() {
        let start = Instant::now();
        let mut throttle = Throttle::new(PARAMS, start);
        let passed = |throttle: &mut Throttle<u8>, now| {
            (0..100).filter(|_| throttle.take(0, 1.0, now).is_ok()).count()
        };
        assert_eq!(passed(&mut throttle, start), 4);
        assert_eq!(passed(&mut throttle, start), 0);
        assert_eq!(passed(&mut throttle, start + Duration::from_secs(1_000_000)), 4);
    }
}
