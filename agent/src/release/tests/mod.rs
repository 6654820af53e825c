//! What the learner concludes, in tables with explicit times; and that it never errs about a modelled server.

mod model;

use std::time::Duration;

use sluice_proto::{ClassName, ClassRelease, ReleasePoint};
use tokio::time::Instant;

use super::{
    ProbeOutcome::{self, Answered, Unclear, Waited},
    RunId,
    learner::{Learner, News},
};

const BLOB: &str = "GET /blob";
const PAGE: &str = "GET /page";
const LENGTH: Option<u64> = Some(50_000_000);

/// A learner and what happens to it, at milliseconds after the start.
struct Story {
    learner: Learner,
    start: Instant,
}

impl Story {
    /// Pages are known to take 10 ms.
    fn new(workers: usize) -> Self {
        let mut story = Self { learner: Learner::new(workers), start: Instant::now() };
        for _ in 0..4 {
            let page = story.begins(PAGE, 0);
            story.learner.answered(page, story.at(10));
            story.learner.ended(page, story.at(10));
        }
        story
    }

    fn at(&self, ms: u64) -> Instant {
        self.start + Duration::from_millis(ms)
    }

    fn begins(&mut self, class: &str, ms: u64) -> RunId {
        let now = self.at(ms);
        self.learner.begin(Some(name(class)), false, now)
    }

    /// A request whose response is being sent from `ms` on. Returns whether its worker is taken for free, too.
    fn streams(&mut self, class: &str, length: Option<u64>, ms: u64) -> (RunId, bool) {
        let run = self.begins(class, ms);
        let now = self.at(ms);
        self.learner.answered(run, now);
        (run, self.learner.first_byte(run, length, now))
    }

    fn answered(&mut self, run: RunId, ms: u64) {
        let now = self.at(ms);
        self.learner.answered(run, now);
    }

    fn ends(&mut self, run: RunId, ms: u64) {
        let now = self.at(ms);
        self.learner.ended(run, now);
    }

    fn asks(&mut self, ms: u64) -> Option<RunId> {
        let now = self.at(ms);
        self.learner.ask(now)
    }

    fn grants(&mut self, class: &str, is_safe: bool, ms: u64) -> bool {
        let now = self.at(ms);
        self.learner.grant(&name(class), is_safe, now)
    }

    fn tend(&mut self, ms: u64) {
        let now = self.at(ms);
        self.learner.tend(now);
    }

    /// Two questions answered beside one blob, and its end.
    fn learns(&mut self, ms: u64) {
        let (blob, free) = self.streams(BLOB, LENGTH, ms);
        assert!(!free);
        for after in [50, 300] {
            let question = self.asks(ms + after).expect("one is due");
            self.answered(question, ms + after + 5);
            self.ends(question, ms + after + 5);
        }
        self.ends(blob, ms + 10_000);
        assert!(self.learner.take_news().contains(&News::Learned(name(BLOB))));
    }

    fn claim(&self) -> Option<ClassRelease> {
        self.learner.claims().into_iter().find(|claim| claim.class == name(BLOB))
    }

    fn probes(&mut self) -> Vec<ProbeOutcome> {
        let of = |news| if let News::Probed(outcome) = news { Some(outcome) } else { None };
        self.learner.take_news().into_iter().filter_map(of).collect()
    }
}

fn name(class: &str) -> ClassName {
    ClassName::parse(class).expect("a valid name")
}

#[test]
fn two_answers_beside_a_response_that_goes_on_are_a_proof() {
    let mut story = Story::new(1);
    story.learns(0);
    let claim = story.claim().expect("known");
    assert_eq!((claim.point, claim.unknown_length), (ReleasePoint::FirstByte, false));
    assert!(claim.frees_early(LENGTH) && !claim.frees_early(None) && !claim.frees_early(Some(100_000_000)));
    assert_eq!((claim.evidence.answered, claim.evidence.waited), (2, 0));
    for (case, length, free) in
        [("the same", LENGTH, true), ("longer", Some(100_000_000), false), ("unknown", None, false)]
    {
        let (blob, is_free) = story.streams(BLOB, length, 20_000);
        assert_eq!(is_free, free, "{case}");
        story.ends(blob, 20_100);
    }
}

/// The response ends at `ends`, the question is asked at `asked` and answered at `answered`, all after the first byte.
#[test]
fn an_answer_counts_only_if_it_comes_early_in_the_response() {
    for (case, asked, answered, ends, outcome, proofs) in [
        ("early", 50, 60, 180, Answered, 1),
        ("not early enough", 50, 60, 179, Answered, 0),
        ("late", 500, 510, 1000, Answered, 0),
        ("after the end, but soon", 50, 90, 80, Unclear, 0),
    ] {
        let mut story = Story::new(1);
        let (blob, _) = story.streams(BLOB, LENGTH, 0);
        let question = story.asks(asked).expect("one is due");
        let mut events = [(answered, question, true), (ends, blob, false)];
        events.sort();
        for (ms, run, is_answer) in events {
            if is_answer { story.answered(run, ms) } else { story.ends(run, ms) }
        }
        story.ends(question, 2000);
        assert_eq!(story.probes(), [outcome], "{case}");
        let (again, _) = story.streams(BLOB, LENGTH, 3000);
        let question = story.asks(3050).expect("one is due");
        story.answered(question, 3050);
        story.tend(3150);
        story.ends(again, 3150);
        let known = story.claim().is_some_and(|claim| claim.frees_early(LENGTH));
        assert_eq!(known, proofs == 1, "{case}: the second proof is enough only after a first");
    }
}

#[test]
fn a_response_without_an_end_is_learned_from_as_well() {
    let mut story = Story::new(1);
    story.streams(BLOB, None, 0);
    for ms in [50, 300] {
        let question = story.asks(ms).expect("one is due");
        story.answered(question, ms + 5);
        story.ends(question, ms + 5);
    }
    story.tend(914);
    assert_eq!(story.claim(), None, "305 ms after the first byte: counts at three times that");
    story.tend(915);
    let claim = story.claim().expect("known");
    assert!(claim.frees_early(None) && !claim.frees_early(Some(1)));
}

#[test]
fn a_question_that_nobody_answers_while_a_response_is_sent_says_that_its_worker_is_held() {
    let mut story = Story::new(1);
    let (blob, _) = story.streams(BLOB, LENGTH, 0);
    assert!(story.asks(49).is_none(), "it may be over at once");
    let question = story.asks(50).expect("one is due");
    story.tend(950);
    assert_eq!(story.claim(), None);
    let now = story.at(1050);
    story.learner.judge_overdue(question, now);
    story.ends(question, 1050);
    assert_eq!(story.probes(), [Waited]);
    let claim = story.claim().expect("known");
    assert_eq!((claim.point, claim.evidence.waited), (ReleasePoint::End, 1));
    for (ms, due) in [(2049, false), (2050, true)] {
        assert_eq!(story.asks(ms).is_some(), due, "{ms}");
    }
    story.ends(blob, 9000);
}

/// A page that waits at the gate is let in, and answered when the blob has ended.
#[test]
fn a_request_that_waits_may_be_the_probe_if_it_is_short_and_safe() {
    for (class, is_safe, granted) in [(PAGE, true, true), (PAGE, false, false), ("GET /unknown", true, false)]
    {
        let mut story = Story::new(1);
        let (blob, _) = story.streams(BLOB, LENGTH, 0);
        assert_eq!(story.grants(class, is_safe, 50), granted, "{class} {is_safe}");
        if !granted {
            continue;
        }
        assert!(!story.grants(class, is_safe, 300) && story.asks(300).is_none(), "one at a time");
        let now = story.at(50);
        let page = story.learner.begin(Some(name(class)), true, now);
        story.ends(blob, 700);
        story.answered(page, 710);
        assert_eq!(story.probes(), [Waited]);
        assert_eq!(story.claim().map(|claim| claim.point), Some(ReleasePoint::End));
    }
}

#[test]
fn nothing_is_asked_while_the_answer_would_say_nothing() {
    let mut idle = Story::new(2);
    assert!(idle.asks(50).is_none(), "nothing is sent");
    idle.streams(BLOB, LENGTH, 0);
    assert!(idle.asks(50).is_none(), "the other worker would answer");
    idle.begins(PAGE, 0);
    assert!(idle.asks(50).is_some());

    let mut mixed = Story::new(2);
    mixed.streams(BLOB, LENGTH, 0);
    mixed.streams("GET /other", LENGTH, 0);
    assert!(mixed.asks(50).is_none(), "it could be either");

    let mut other = Story::new(1);
    other.streams(ClassName::OTHER, LENGTH, 0);
    assert!(other.asks(50).is_none(), "what is in that class has nothing in common");

    let mut crowded = Story::new(1);
    crowded.streams(BLOB, LENGTH, 0);
    crowded.begins(PAGE, 0);
    assert!(crowded.asks(50).is_none(), "another waits already");
}

#[test]
fn a_claim_is_taken_back_at_the_first_request_that_waits() {
    for (case, blob_ends, answered, contradicted) in [
        ("answered at once", None, Some(20), false),
        ("overdue", None, None, true),
        ("answered when the blob ends", Some(600), Some(610), true),
        ("the blob ends, and the answer is no later than usual", Some(20), Some(80), false),
    ] {
        let mut story = Story::new(1);
        story.learns(0);
        let (blob, free) = story.streams(BLOB, LENGTH, 20_000);
        assert!(free, "{case}");
        let page = story.begins(PAGE, 20_000);
        if let Some(ms) = blob_ends {
            story.ends(blob, 20_000 + ms);
        }
        if let Some(ms) = answered {
            story.answered(page, 20_000 + ms);
        }
        story.tend(20_999);
        assert_eq!(story.learner.take_news().is_empty(), !(contradicted && answered.is_some()), "{case}");
        story.tend(21_001);
        let claim = story.claim().expect("known");
        let point = if contradicted { ReleasePoint::End } else { ReleasePoint::FirstByte };
        assert_eq!((claim.point, claim.evidence.contradicted), (point, contradicted.into()), "{case}");
    }
}

#[test]
fn a_response_that_may_hold_its_worker_is_suspected_before_one_that_was_proved_not_to() {
    let mut story = Story::new(1);
    story.learns(0);
    let (_, free) = story.streams(BLOB, LENGTH, 20_000);
    assert!(free);
    story.streams("GET /export", LENGTH, 20_001);
    let question = story.asks(20_051).expect("one is due");
    let now = story.at(21_051);
    story.learner.judge_overdue(question, now);
    assert_eq!(story.claim().map(|claim| claim.point), Some(ReleasePoint::FirstByte));
    let export = story.learner.claims().into_iter().find(|claim| claim.class == name("GET /export"));
    assert_eq!(export.map(|claim| claim.point), Some(ReleasePoint::End));
}

/// What was begun before that was known keeps its place, but nobody has to wait for it.
#[test]
fn while_a_response_goes_on_that_turned_out_to_be_free_short_requests_are_let_in_beside_it() {
    let mut story = Story::new(1);
    story.streams(BLOB, LENGTH, 0);
    for ms in [50, 300] {
        let question = story.asks(ms).expect("one is due");
        story.answered(question, ms + 5);
        story.ends(question, ms + 5);
    }
    story.tend(2000);
    assert!(story.claim().is_some_and(|claim| claim.frees_early(LENGTH)));
    assert!(story.asks(2000).is_none(), "nothing is left to ask");
    for ms in [2000, 2010, 2020] {
        assert!(story.grants(PAGE, true, ms), "{ms}");
        let now = story.at(ms);
        let page = story.learner.begin(Some(name(PAGE)), true, now);
        assert!(!story.grants(PAGE, true, ms), "one at a time");
        story.answered(page, ms + 5);
        story.ends(page, ms + 5);
    }
    assert!(!story.grants(PAGE, false, 3000));
}
