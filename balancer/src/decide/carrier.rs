//! Whether a service's requests pass this balancer, or somebody else sends them and this one only plans.

/// Share of what was counted that is left after a tick: a memory of some ten seconds.
const KEPT: f64 = 0.9;
/// Requests of its own, as a share of all that agents report, below which this balancer only plans, ...
const BYPASSED: f64 = 0.1;
/// ... and above which it carries again. Apart, so that a share in between changes nothing.
const CARRIES: f64 = 0.25;
/// Requests, by that memory, below which nothing is said.
const LEAST: f64 = 3.0;

/// What came here and what agents told of, lately.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Carrier {
    own: f64,
    reported: f64,
    bypassed: bool,
    /// Seconds that large requests held workers.
    large: f64,
}

impl Carrier {
    /// A request came here.
    pub fn arrived(&mut self) {
        self.own += 1.0;
    }

    /// An agent tells of requests, whoever sent them.
    pub fn reported(&mut self, requests: u64) {
        self.reported += requests as f64;
    }

    /// Large requests that others sent held workers for so many seconds.
    pub fn worked(&mut self, seconds: f64) {
        self.large += seconds;
    }

    /// Workers that large requests of others kept busy of late, in Erlang. The learner's rates are for planning, and
    /// take minutes to forget what is rare; this notices within half a minute that they have ended.
    pub fn large_work(&self) -> f64 {
        self.large * (1.0 - KEPT)
    }

    /// Ends a second.
    pub fn tick(&mut self) {
        if self.reported >= LEAST || self.own >= LEAST {
            let limit = if self.bypassed { CARRIES } else { BYPASSED };
            self.bypassed = self.own < limit * self.reported;
        }
        self.own *= KEPT;
        self.reported *= KEPT;
        self.large *= KEPT;
    }

    /// Whether somebody else sends the requests. Where there are none, whoever sent them last.
    pub fn is_bypassed(&self) -> bool {
        self.bypassed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(carrier: &mut Carrier, ticks: u32, own: u32, reported: u64) -> bool {
        for _ in 0..ticks {
            (0..own).for_each(|_| carrier.arrived());
            carrier.reported(reported);
            carrier.tick();
        }
        carrier.is_bypassed()
    }

    #[test]
    fn who_carries_the_requests_is_seen_within_seconds() {
        let mut carrier = Carrier::default();
        assert!(!after(&mut carrier, 30, 0, 0), "nothing is known");
        assert!(!after(&mut carrier, 30, 50, 50), "all of them came here");
        assert!(!after(&mut carrier, 30, 0, 0), "a quiet night");
        assert!(after(&mut carrier, 30, 0, 50), "none of them came here");
        assert!(after(&mut carrier, 30, 0, 0), "a quiet night");
        assert!(after(&mut carrier, 30, 1, 50), "a health check now and then");
        assert!(after(&mut carrier, 30, 9, 50), "a little more is no reason to change");
        assert!(!after(&mut carrier, 10, 50, 50), "all of them again");
        assert!(!after(&mut carrier, 60, 10, 50), "nor is a little less");
        // Half each, as with another balancer beside this one.
        assert!(!after(&mut carrier, 60, 25, 50));
    }

    #[test]
    fn large_work_is_seen_and_forgotten_within_half_a_minute() {
        let mut carrier = Carrier::default();
        let mut second = |seconds| {
            carrier.worked(seconds);
            carrier.tick();
            carrier.large_work()
        };
        let busy = (0..40).map(|_| second(0.9)).last().expect("forty");
        assert!((busy - 0.8).abs() < 0.05, "0.9 of a worker, less the second that passed: {busy}");
        let idle = (0..36).map(|_| second(0.0)).last().expect("thirty-six");
        assert!(idle < 0.02, "{idle}");
    }
}
