//! Which failed attempts are made again elsewhere, and how many of them.

use std::time::Instant;

use http::Method;

/// Attempts for one request, the first included. Two further instances: if three fail, the cause
/// is not one instance.
pub const MAX_ATTEMPTS: usize = 3;

/// What an attempt left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trace {
    /// The instance saw nothing of the request.
    None,
    /// The instance may have begun to execute it.
    MaybeExecuted,
}

/// Whether a request may be sent again: an instance may not execute it twice unless that is
/// harmless (RFC 9110, 9.2.2), and its body must still be there.
pub fn may_repeat(trace: Trace, method: &Method, body_consumed: bool) -> bool {
    match trace {
        Trace::None => !body_consumed,
        Trace::MaybeExecuted => !body_consumed && method.is_idempotent(),
    }
}

/// A token bucket that is filled by traffic: retries may be a share of the requests, and not more.
///
/// Why a budget and not a number per request alone: when all instances fail, each retry is further
/// load on what is already failing. Source: Finagle's RetryBudget; Google SRE book, "Handling
/// Overload" (10 %).
#[derive(Clone, Debug)]
pub struct RetryBudget {
    tokens: f64,
    filled: Instant,
}

/// Share of the requests that may be retried.
const SHARE: f64 = 0.1;
/// Retries per second that are allowed at any rate, so that a quiet site has some.
const MIN_PER_SECOND: f64 = 10.0;
/// What can be saved up: ten seconds of the minimum, for the burst when an instance dies.
const MAX_TOKENS: f64 = 100.0;

impl RetryBudget {
    /// Starts full.
    pub fn new(now: Instant) -> Self {
        Self { tokens: MAX_TOKENS, filled: now }
    }

    /// A request came in.
    pub fn on_request(&mut self) {
        self.tokens = (self.tokens + SHARE).min(MAX_TOKENS);
    }

    /// Takes a token for one retry; `false` if none is left.
    pub fn take(&mut self, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.filled);
        self.filled = now;
        self.tokens = (self.tokens + passed.as_secs_f64() * MIN_PER_SECOND).min(MAX_TOKENS);
        let granted = self.tokens >= 1.0;
        if granted {
            self.tokens -= 1.0;
        }
        granted
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn nothing_is_executed_twice_that_must_not_be() {
        for (case, trace, method, consumed, expected) in [
            ("unseen GET", Trace::None, Method::GET, false, true),
            ("unseen POST", Trace::None, Method::POST, false, true),
            ("unseen POST whose body is gone", Trace::None, Method::POST, true, false),
            ("seen GET", Trace::MaybeExecuted, Method::GET, false, true),
            ("seen PUT", Trace::MaybeExecuted, Method::PUT, false, true),
            ("seen PUT whose body is gone", Trace::MaybeExecuted, Method::PUT, true, false),
            ("seen POST", Trace::MaybeExecuted, Method::POST, false, false),
            ("seen PATCH", Trace::MaybeExecuted, Method::PATCH, false, false),
        ] {
            assert_eq!(may_repeat(trace, &method, consumed), expected, "{case}");
        }
    }

    #[test]
    fn retries_are_a_share_of_the_traffic() {
        let start = Instant::now();
        let mut budget = RetryBudget::new(start);
        let granted = |budget: &mut RetryBudget, n: usize| (0..n).filter(|_| budget.take(start)).count();
        assert_eq!(granted(&mut budget, 1000), 100, "what was saved up");
        (0..505).for_each(|_| budget.on_request());
        assert_eq!(granted(&mut budget, 1000), 50, "a tenth of 505 requests");
        let later = (0..100).filter(|_| budget.take(start + Duration::from_secs(1))).count();
        // 0.5 tokens were left over; floating point may lose the last half.
        assert!((10..=11).contains(&later), "ten a second at any rate: {later}");
    }
}
