//! How many of the workers that an agent claims are used.
//!
//! A few are believed at once. More are found out as a congestion window is: while all that are
//! believed are used and requests there take no longer than elsewhere, there are more of them, at
//! first twice as many each second, after the first slow-down one more at a time; when requests
//! slow down, half as many (additive increase, multiplicative decrease, as in RFC 5681). Each attempt
//! that fails doubles the time before the next.

/// Workers of an instance that are believed by the agent's word alone.
const BELIEVED: u32 = 4;
/// A window's requests took this many times as long as usual there: too many were sent.
const SLOW: f64 = 1.5;
/// If with half as many they still take this share of what they took, their number is not why.
const UNCHANGED: f64 = 0.75;
/// Samples that a window is judged by, and the seconds after which it ends with fewer.
const LEAST: u32 = 30;
const PATIENCE: u32 = 5;
/// The most seconds between two attempts.
const LONGEST_PAUSE: u32 = 64;
/// One request never says more than this.
const MOST: f64 = 10.0;

/// How many workers an instance has, and how many of them need no proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Workers {
    claimed: u32,
    vouched: u32,
}

impl Workers {
    /// The operator's word.
    pub fn configured(workers: u32) -> Self {
        let workers = workers.max(1);
        Self { claimed: workers, vouched: workers }
    }

    /// An agent's word. `configured`: the operator's, if there is one too.
    pub fn reported(workers: u32, configured: Option<u32>) -> Self {
        let claimed = workers.max(1);
        Self { claimed, vouched: claimed.min(BELIEVED.max(configured.unwrap_or(0))) }
    }

    pub fn claimed(self) -> u32 {
        self.claimed
    }

    fn is_vouched(self) -> bool {
        self.claimed <= self.vouched
    }
}

impl From<u32> for Workers {
    fn from(workers: u32) -> Self {
        Self::configured(workers)
    }
}

/// What is believed of one instance's claim.
#[derive(Clone, Debug)]
pub(super) struct Trust {
    workers: Workers,
    believed: u32,
    /// Requests took too long once: no more doubling.
    slowed: bool,
    /// Seconds between two attempts to use more, what is left of them, and whether one goes on.
    pause: u32,
    pause_left: u32,
    attempt: bool,
    /// What requests take here with fewer of them, in units of what they take elsewhere: at least 1.
    usual: f64,
    trial: Trial,
    window: Window,
}

/// What became of the last halving.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Trial {
    None,
    /// Requests that were sent before are still running. Workers and ratio before.
    Settling(u32, f64),
    Running(u32, f64),
}

#[derive(Clone, Copy, Debug, Default)]
struct Window {
    seconds: u32,
    samples: u32,
    sum: f64,
    full: bool,
}

impl Trust {
    pub(super) fn new(workers: Workers) -> Self {
        Self {
            workers,
            believed: workers.vouched,
            slowed: false,
            pause: 1,
            pause_left: 0,
            attempt: false,
            usual: 1.0,
            trial: Trial::None,
            window: Window::default(),
        }
    }

    /// Workers that may be used.
    pub(super) fn believed(&self) -> u32 {
        self.believed
    }

    /// What is claimed now. The same claim as before changes nothing.
    pub(super) fn claim(&mut self, workers: Workers) {
        if workers.is_vouched() || workers.vouched > self.workers.vouched {
            self.believed = self.believed.max(workers.vouched);
        }
        self.believed = self.believed.min(workers.claimed);
        self.workers = workers;
    }

    /// All believed workers are used.
    pub(super) fn full(&mut self) {
        self.window.full = true;
    }

    /// A request took `ratio` times as long as elsewhere.
    pub(super) fn served(&mut self, ratio: f64) {
        self.window.samples += 1;
        self.window.sum += ratio.min(MOST);
    }

    /// Ends a second.
    pub(super) fn tick(&mut self) {
        self.window.seconds += 1;
        self.pause_left = self.pause_left.saturating_sub(1);
        if let Trial::Settling(workers, ratio) = self.trial {
            self.trial = Trial::Running(workers, ratio);
            self.window = Window::default();
        }
        let judged = self.window.samples >= LEAST;
        if self.workers.is_vouched() || !(judged || self.window.seconds >= PATIENCE) {
            return;
        }
        let Window { samples, sum, full, .. } = std::mem::take(&mut self.window);
        if judged {
            self.judge(sum / f64::from(samples), full);
        } else if full && !self.slowed {
            self.grow(1);
        }
    }

    fn judge(&mut self, ratio: f64, full: bool) {
        if let Trial::Running(workers, before) = std::mem::replace(&mut self.trial, Trial::None)
            && ratio > UNCHANGED * before
        {
            (self.believed, self.usual) = (workers.min(self.workers.claimed), ratio);
            return;
        }
        self.usual = self.usual.min(ratio.max(1.0));
        if ratio > SLOW * self.usual {
            self.slowed = true;
            self.attempt = false;
            self.pause = (self.pause * 2).min(LONGEST_PAUSE);
            self.pause_left = self.pause;
            if self.believed > 1 {
                self.trial = Trial::Settling(self.believed, ratio);
                self.believed /= 2;
            }
        } else if full {
            if std::mem::take(&mut self.attempt) {
                self.pause = (self.pause / 2).max(1);
            }
            if self.pause_left == 0 {
                self.grow(if self.slowed { 1 } else { self.believed });
                self.attempt = true;
                self.pause_left = self.pause;
            }
        }
    }

    fn grow(&mut self, by: u32) {
        self.believed = self.believed.saturating_add(by).min(self.workers.claimed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is believed after so many seconds in which all believed workers are used and requests
    /// take `ratio(believed)` times as long as elsewhere.
    fn after(trust: &mut Trust, seconds: u32, ratio: impl Fn(u32) -> f64) -> u32 {
        for _ in 0..seconds {
            trust.full();
            (0..LEAST).for_each(|_| trust.served(ratio(trust.believed())));
            trust.tick();
        }
        trust.believed()
    }

    /// Requests share the workers that there really are.
    fn shared(workers: u32) -> impl Fn(u32) -> f64 {
        move |used| f64::from(used.max(workers)) / f64::from(workers)
    }

    #[test]
    fn claims_are_believed_by_whose_word_they_are() {
        for (workers, believed) in [
            (Workers::configured(1000), 1000),
            (Workers::configured(0), 1),
            (Workers::reported(0, None), 1),
            (Workers::reported(3, None), 3),
            (Workers::reported(4, None), 4),
            (Workers::reported(1000, None), 4),
            (Workers::reported(1000, Some(16)), 16),
            (Workers::reported(8, Some(16)), 8),
        ] {
            assert_eq!(Trust::new(workers).believed(), believed, "{workers:?}");
        }
    }

    #[test]
    fn an_honest_claim_is_proved_in_seconds_and_only_by_use() {
        let mut trust = Trust::new(Workers::reported(16, None));
        (0..100).for_each(|_| trust.tick());
        assert_eq!(trust.believed(), 4, "nothing was used");
        assert_eq!(after(&mut trust, 2, shared(16)), 16);
        assert_eq!(after(&mut trust, 100, shared(16)), 16);
    }

    #[test]
    fn a_lie_ends_near_the_truth() {
        for real in [1, 2, 4, 6] {
            let mut trust = Trust::new(Workers::reported(1000, None));
            let most = (0..60).map(|_| after(&mut trust, 1, shared(real))).skip(10).max();
            assert!(most.is_some_and(|most| most <= 2 * real), "{real} workers: {most:?}");
        }
    }

    #[test]
    fn a_slow_machine_keeps_its_workers() {
        let mut trust = Trust::new(Workers::reported(16, None));
        let found = after(&mut trust, 40, |used| 5.0 * shared(16)(used));
        assert_eq!(found, 16);
    }

    #[test]
    fn workers_without_evidence_are_believed_slowly() {
        let mut trust = Trust::new(Workers::reported(16, None));
        (0..2 * PATIENCE).for_each(|_| {
            trust.full();
            trust.tick();
        });
        assert_eq!(trust.believed(), 6);
    }

    #[test]
    fn a_changed_claim_proves_nothing() {
        let mut trust = Trust::new(Workers::reported(1000, None));
        let found = after(&mut trust, 11, shared(1));
        for claim in [1001, 1000, 500] {
            trust.claim(Workers::reported(claim, None));
            assert_eq!(trust.believed(), found, "{claim}");
        }
        trust.claim(Workers::reported(3, None));
        assert_eq!(trust.believed(), 3, "few are always believed");
        trust.claim(Workers::configured(8));
        assert_eq!(trust.believed(), 8, "the operator's word");
    }
}
