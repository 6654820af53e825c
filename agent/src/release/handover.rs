//! Whether a server is rid of a response at its first byte: what was proved, up to which length, and what was not.

use std::time::Duration;

use tokio::time::Instant;

/// Between two probes at lengths of which nothing is known, doubled with each that says nothing.
const BETWEEN: Duration = Duration::from_millis(250);
const LONGEST_BETWEEN: Duration = Duration::from_secs(60);
/// Until it is tried again where the worker was held, doubled each time.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(600);
/// Requests that went well for which one doubling is forgiven.
const FORGIVEN_AFTER: u64 = 100;

/// What is known of one class's responses, of those whose length is known or of the others (all of length 0).
///
/// A server that is rid of a long response is so of a shorter one; the other way round it is not: waitress blocks on
/// what is above its watermark, and whatever the server, the sockets' buffers take some megabytes.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Handover {
    free_to: Option<u64>,
    /// The longest of those proved at all: once may be a coincidence.
    proved: Option<u64>,
    held_from: Option<u64>,
    between: Duration,
    pause: Duration,
    try_at: Option<Instant>,
    retry_at: Option<Instant>,
    pub(super) answered: u64,
    pub(super) waited: u64,
    pub(super) contradicted: u64,
}

impl Default for Handover {
    fn default() -> Self {
        Self {
            free_to: None,
            proved: None,
            held_from: None,
            between: BETWEEN,
            pause: FIRST_PAUSE,
            try_at: None,
            retry_at: None,
            answered: 0,
            waited: 0,
            contradicted: 0,
        }
    }
}

impl Handover {
    /// The longest response whose worker is free at the first byte. Lengths of a class scatter: an eighth more is the
    /// same, unless it was seen to be held.
    pub(super) fn free_to(&self) -> Option<u64> {
        let most = self.free_to?;
        let most = most.saturating_add(most / 8);
        Some(self.held_from.map_or(most, |held| most.min(held.saturating_sub(1))))
    }

    pub(super) fn is_free(&self, length: u64) -> bool {
        self.free_to().is_some_and(|most| length <= most)
    }

    /// Whether some response was seen to hold its worker, and was not refuted since.
    pub(super) fn is_held(&self) -> bool {
        self.held_from.is_some()
    }

    pub(super) fn wants_probe(&self, length: u64, now: Instant) -> bool {
        let due = |at: Option<Instant>| at.is_none_or(|at| now >= at);
        let was_held = self.held_from.is_some_and(|held| length >= held);
        !self.is_free(length) && due(self.try_at) && (!was_held || due(self.retry_at))
    }

    pub(super) fn probed(&mut self, now: Instant) {
        self.try_at = Some(now + self.between);
        self.between = (self.between * 2).min(LONGEST_BETWEEN);
    }

    /// A request was answered while a response of this length was being sent, early in it. Returns whether that is
    /// what was still missing.
    pub(super) fn prove(&mut self, length: u64) -> bool {
        self.answered += 1;
        self.between = BETWEEN;
        let before = self.free_to();
        if let Some(proved) = self.proved {
            // The shorter of two is what both prove.
            let both = proved.min(length);
            self.free_to = self.free_to.max(Some(both));
            self.held_from = self.held_from.filter(|held| *held > both);
        }
        self.proved = self.proved.max(Some(length));
        self.free_to() > before
    }

    /// A request that was let in beside a response whose worker was taken for free got its answer.
    pub(super) fn uphold(&mut self) {
        self.answered += 1;
        if self.answered.is_multiple_of(FORGIVEN_AFTER) {
            self.pause = (self.pause / 2).max(FIRST_PAUSE);
        }
    }

    /// A request had to wait for the end of a response of this length. Returns whether it was taken for free: then
    /// all that was proved is doubtful.
    pub(super) fn refute(&mut self, length: u64, now: Instant) -> bool {
        let contradiction = self.is_free(length);
        self.waited += 1;
        self.between = BETWEEN;
        self.contradicted += u64::from(contradiction);
        if contradiction || self.proved.is_some_and(|proved| proved >= length) {
            (self.free_to, self.proved) = (None, None);
        }
        self.held_from = Some(self.held_from.map_or(length, |held| held.min(length)));
        self.retry_at = Some(now + self.pause);
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        contradiction
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MB: u64 = 1_000_000;

    fn proved(length: u64) -> Handover {
        let mut handover = Handover::default();
        assert!(!handover.prove(length), "once is a coincidence");
        assert!(handover.prove(length));
        handover
    }

    #[test]
    fn what_is_free_is_what_was_proved_twice_and_never_refuted() {
        let now = Instant::now();
        for (case, proofs, refutations, free_to) in [
            ("nothing", vec![], vec![], None),
            ("once", vec![8], vec![], None),
            ("twice", vec![8, 8], vec![], Some(9)),
            ("the shorter of two", vec![80, 8], vec![], Some(9)),
            ("the two longest", vec![80, 8, 88], vec![], Some(90)),
            ("held at more", vec![80, 80], vec![91], Some(90)),
            ("held just above: no slack", vec![80, 80], vec![85], None),
            ("held far above", vec![80, 80], vec![1000], Some(90)),
            ("held at less: nothing is sure", vec![80, 80], vec![8], None),
            ("held after one proof", vec![80], vec![8], None),
        ] {
            let mut handover = Handover::default();
            for length in proofs {
                handover.prove(length);
            }
            for length in refutations {
                handover.refute(length, now);
            }
            assert_eq!(handover.free_to(), free_to, "{case}");
        }
    }

    #[test]
    fn a_contradiction_is_told_from_a_first_finding() {
        let now = Instant::now();
        assert!(!Handover::default().refute(MB, now), "nothing was claimed");
        assert!(!proved(MB).refute(25 * MB, now), "nothing was claimed of such");
        let mut handover = proved(MB);
        assert!(handover.refute(MB, now));
        assert_eq!((handover.contradicted, handover.is_held()), (1, true));
        assert!(!handover.prove(MB), "after that one proof is not enough either");
        assert!(handover.prove(MB));
        assert!(!handover.is_held(), "it was refuted");
    }

    #[test]
    fn pauses_grow_with_each_refutation_and_shrink_while_all_goes_well() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut handover = Handover::default();
        assert!(handover.wants_probe(MB, start));
        handover.probed(start);
        assert!(!handover.wants_probe(MB, at(249)) && handover.wants_probe(MB, at(250)));
        for pause in [1000, 2000, 4000] {
            handover.refute(MB, start);
            assert!(!handover.wants_probe(MB, at(pause - 1)), "{pause}");
            assert!(handover.wants_probe(MB, at(pause)), "{pause}");
            assert!(handover.wants_probe(MB - 1, at(250)), "of shorter ones nothing is known");
        }
        for _ in 0..20 {
            handover.refute(MB, start);
        }
        assert!(!handover.wants_probe(MB, at(599_999)) && handover.wants_probe(MB, at(600_000)));
        handover.prove(MB);
        handover.prove(MB);
        for _ in 0..1000 {
            handover.uphold();
        }
        handover.refute(MB, start);
        // 600 s, halved ten times, is a second.
        assert!(handover.wants_probe(MB, at(1000)));
    }

    #[test]
    fn probes_that_say_nothing_become_rare() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut handover = Handover::default();
        for between in [250, 500, 1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000] {
            handover.probed(start);
            assert!(!handover.wants_probe(MB, at(between - 1)) && handover.wants_probe(MB, at(between)));
        }
        handover.prove(MB);
        handover.probed(start);
        assert!(handover.wants_probe(MB, at(250)), "one that says something makes up for them");
    }

    #[test]
    fn what_is_known_to_be_free_is_not_probed() {
        let now = Instant::now();
        let handover = proved(8 * MB);
        assert!(!handover.wants_probe(9 * MB, now));
        assert!(handover.wants_probe(10 * MB, now), "longer ones may be free too");
    }
}
