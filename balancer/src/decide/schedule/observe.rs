//! What becomes of a request is learned from.

use std::time::{Duration, Instant};

use super::Scheduler;
use crate::decide::dispatch::{Lane, Released, RunId};
use crate::decide::learn::Hold;

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The instance answered in full: its time says what such a request costs.
    pub answered: bool,
    /// It is the instance's fault that nothing, or not the whole of it, or an error came.
    pub failed: bool,
    /// Body bytes that the instance sent, if it sent all.
    pub bytes: Option<u64>,
    /// Its worker was held until the last byte, and sent the body itself.
    pub held_to_the_end: bool,
}

impl Outcome {
    /// Nothing came of it: no answer, or not the whole of one.
    pub const NONE: Self = Self { answered: false, failed: false, bytes: None, held_to_the_end: false };
}

impl<W> Scheduler<W> {
    /// The worker is free though the response goes on. `bytes`: how long the response says it is.
    pub fn first_byte(&mut self, run: RunId, bytes: Option<u64>, now: Instant) {
        if let Some(released) = self.dispatcher.first_byte(run, now) {
            self.learn(
                run,
                released,
                Outcome { answered: true, failed: false, bytes, held_to_the_end: false },
                now,
            );
        }
    }

    /// A request is over.
    pub fn end(&mut self, run: RunId, outcome: Outcome, now: Instant) {
        match self.dispatcher.instance_of(run) {
            Some(instance) if outcome.failed => self.dispatcher.failed(instance, now),
            Some(instance) if outcome.answered => self.dispatcher.answered(instance),
            _ => {}
        }
        if let Some(released) = self.dispatcher.end(run, now) {
            self.learn(run, released, outcome, now);
        }
    }

    /// The head of a response is there, and says how long its body is: a large body that the worker
    /// sends itself is a large request, though it was not known.
    pub fn head(&mut self, run: RunId, bytes: u64, holds_worker: bool, now: Instant) {
        self.dispatcher.head(run, now);
        let lane = self.learner.bounds().lane(self.learner.transfer(bytes).as_secs_f64());
        if holds_worker && lane.is_large() && self.count_as(run, lane) {
            self.counts.by_size += 1;
        }
    }

    fn learn(&mut self, run: RunId, released: Released, outcome: Outcome, now: Instant) {
        let counted = self.counted.remove(&run);
        let interrupted = self.was_interrupted(released.held, now);
        let clean = released.had_worker && outcome.answered && !interrupted;
        if clean {
            let held = released.held.div_f64(released.slowness);
            self.predictor.observe(released.key, held, outcome.bytes, counted);
        }
        let hold = Hold {
            class: released.key.class,
            lane: released.lane,
            held: released.held,
            clean,
            large_beside: released.large_beside,
            at_home: released.at_home,
            slowness: released.slowness,
            sent: outcome.bytes.filter(|_| outcome.held_to_the_end && !interrupted).zip(released.sending),
        };
        if let Some(ratio) = self.learner.released(hold) {
            self.dispatcher.judge(released.instance, ratio, now);
        }
    }

    /// Whether this process did not run for some of the time that a request has taken so far.
    fn was_interrupted(&self, age: Duration, now: Instant) -> bool {
        now.checked_sub(age).is_some_and(|sent| self.pauses.since(sent, now))
    }

    /// Small requests that hold their workers for too long are counted as what they are.
    pub(super) fn look_at_late_ones(&mut self, now: Instant) {
        while let Some(late) = self.dispatcher.next_late(now) {
            if self.was_interrupted(late.age, now) {
                continue;
            }
            let so_far = self.counted.get(&late.run).copied();
            let counted = self.predictor.reclassified(late.key, late.age, so_far);
            self.counted.insert(late.run, counted);
            let lane = self.learner.bounds().lane(late.age.as_secs_f64()).max(Lane::LARGE);
            self.counts.late += u64::from(self.count_as(late.run, lane));
        }
    }

    /// Whether that is news.
    fn count_as(&mut self, run: RunId, lane: Lane) -> bool {
        let smaller = self.dispatcher.lane_of(run).is_some_and(|now| now < lane);
        let from = if smaller { self.dispatcher.reclassify(run, lane) } else { None };
        if let Some(from) = from {
            self.learner.moved(from, lane);
        }
        from.is_some()
    }
}
