//! The last hour in steps of five seconds, so that a page that is opened now has it.

use std::collections::VecDeque;

use serde::Serialize;

use crate::pool::traffic::{Taken, TakenSide};

/// Length of a step in milliseconds: an hour is 720 of them, one or two per pixel of a plot.
pub(super) const STEP_MS: u64 = 5_000;
/// An hour of them.
const STEPS: usize = 720;

/// What a service's queue and workers are at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Levels {
    pub small: Level,
    pub large: Level,
    /// Workers that requests are sent to.
    pub workers: u32,
}

/// The same of its small or its large requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Level {
    pub waiting: u32,
    pub working: u32,
}

/// One service's.
#[derive(Clone, Debug, Default)]
pub(super) struct History {
    steps: VecDeque<Step>,
    open: Open,
}

/// The step that is not over.
#[derive(Clone, Copy, Debug, Default)]
struct Open {
    /// Since 1970.
    number: u64,
    samples: u32,
    small: OpenSide,
    large: OpenSide,
    workers: u32,
}

#[derive(Clone, Copy, Debug, Default)]
struct OpenSide {
    most_waiting: u32,
    working: u64,
}

#[derive(Clone, Copy, Debug)]
struct Step {
    /// Its end, in milliseconds since 1970.
    at_ms: u64,
    failed: u64,
    workers: u32,
    small: StepSide,
    large: StepSide,
}

#[derive(Clone, Copy, Debug)]
struct StepSide {
    taken: TakenSide,
    waiting: u32,
    working: f64,
}

/// Steps by figure, the oldest first: a fifth of the bytes of a list of objects.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(super) struct Columns {
    pub step_ms: u64,
    /// The end of each, in milliseconds since 1970.
    pub at_ms: Vec<u64>,
    pub failed: Vec<u64>,
    pub workers: Vec<u32>,
    pub small: SideColumns,
    pub large: SideColumns,
}

/// `None`: nothing was measured.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(super) struct SideColumns {
    /// Whole responses per second.
    pub per_second: Vec<f64>,
    /// From arrival to the last byte that the instance sent.
    pub p50_ms: Vec<Option<f64>>,
    pub p99_ms: Vec<Option<f64>>,
    /// From arrival to having a worker.
    pub wait_p99_ms: Vec<Option<f64>>,
    /// The most that waited at once.
    pub waiting: Vec<u32>,
    /// Workers that they held, on average.
    pub working: Vec<f64>,
}

impl History {
    /// Adds a sample; to be called once a second or so. `take` gives what ended since it was called
    /// last; it is called at the end of each step.
    pub(super) fn add(&mut self, at_ms: u64, levels: Levels, take: impl FnOnce() -> Taken) {
        let number = at_ms / STEP_MS;
        if self.open.samples > 0 && self.open.number != number {
            self.close(take());
        }
        self.open.number = number;
        self.open.add(levels);
    }

    /// The last `most` steps.
    pub(super) fn last(&self, most: usize) -> Columns {
        let mut columns = Columns { step_ms: STEP_MS, ..Columns::default() };
        let first = self.steps.len().saturating_sub(most);
        self.steps.iter().skip(first).for_each(|step| columns.push(step));
        columns
    }

    /// All steps.
    pub(super) fn all(&self) -> Columns {
        self.last(STEPS)
    }

    /// Requests that ended in the last `steps`, and of these those that failed.
    pub(super) fn ended(&self, steps: usize) -> (u64, u64) {
        let last = self.steps.iter().rev().take(steps);
        let sum = |(all, failed), step: &Step| {
            let answered = step.small.taken.requests + step.large.taken.requests;
            (all + answered + step.failed, failed + step.failed)
        };
        last.fold((0, 0), sum)
    }

    fn close(&mut self, taken: Taken) {
        let Open { number, samples, small, large, workers } = std::mem::take(&mut self.open);
        if self.steps.len() == STEPS {
            self.steps.pop_front();
        }
        // Of its final size from the start: doubling would end at 1024, and leave its smaller places behind.
        self.steps.reserve_exact(STEPS - self.steps.len());
        let side = |open: OpenSide, taken| StepSide {
            taken,
            waiting: open.most_waiting,
            working: open.working as f64 / f64::from(samples),
        };
        self.steps.push_back(Step {
            at_ms: (number + 1) * STEP_MS,
            failed: taken.failed,
            workers,
            small: side(small, taken.small),
            large: side(large, taken.large),
        });
    }
}

impl Open {
    fn add(&mut self, levels: Levels) {
        self.samples += 1;
        self.workers = levels.workers;
        self.small.add(levels.small);
        self.large.add(levels.large);
    }
}

impl OpenSide {
    fn add(&mut self, level: Level) {
        self.most_waiting = self.most_waiting.max(level.waiting);
        self.working += u64::from(level.working);
    }
}

impl Columns {
    fn push(&mut self, step: &Step) {
        self.at_ms.push(step.at_ms);
        self.failed.push(step.failed);
        self.workers.push(step.workers);
        self.small.push(&step.small);
        self.large.push(&step.large);
    }
}

impl SideColumns {
    fn push(&mut self, side: &StepSide) {
        let TakenSide { requests, p50_ms, p99_ms, wait_p99_ms } = side.taken;
        self.per_second.push(brief(requests as f64 * 1e3 / STEP_MS as f64));
        self.p50_ms.push(p50_ms.map(brief));
        self.p99_ms.push(p99_ms.map(brief));
        self.wait_p99_ms.push(wait_p99_ms.map(brief));
        self.waiting.push(side.waiting);
        self.working.push(brief(side.working));
    }
}

/// To three digits, which is as much as a plot or a label shows: 0.1234 → 0.123, 1234.5 → 1230.
pub(super) fn brief(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return 0.0;
    }
    let scale = 10_f64.powf(2.0 - value.abs().log10().floor());
    let rounded = (value * scale).round() / scale;
    // Above a thousand the scale is below 1, and dividing by it leaves digits behind the point.
    if rounded.abs() >= 100.0 { rounded.round() } else { rounded }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn levels(waiting: u32, working: u32) -> Levels {
        Levels { small: Level { waiting, working }, large: Level::default(), workers: 4 }
    }

    fn taken(requests: u64, p99_ms: f64, failed: u64) -> Taken {
        let small = TakenSide { requests, p99_ms: Some(p99_ms), ..TakenSide::default() };
        Taken { small, failed, ..Taken::default() }
    }

    #[test]
    fn a_step_is_closed_by_the_first_sample_of_the_next() {
        let mut history = History::default();
        let never = || -> Taken { panic!("the step is not over") };
        history.add(10_000, levels(1, 4), never);
        history.add(12_000, levels(7, 2), never);
        assert!(history.all().at_ms.is_empty());
        history.add(15_000, levels(0, 0), || taken(50, 12.345, 3));
        let columns = history.all();
        assert_eq!((columns.at_ms, columns.failed, columns.workers), (vec![15_000], vec![3], vec![4]));
        assert_eq!((columns.small.waiting, columns.small.working), (vec![7], vec![3.0]), "most, mean");
        assert_eq!((columns.small.per_second, columns.small.p99_ms), (vec![10.0], vec![Some(12.3)]));
        assert_eq!(columns.large.p99_ms, [None]);
        assert_eq!(history.ended(12), (53, 3));
    }

    #[test]
    fn an_hour_is_kept_and_a_pause_is_a_gap() {
        let mut history = History::default();
        for second in (0..3600).chain(7200..9000) {
            history.add(second * 1000, levels(0, 1), Taken::default);
        }
        let at = history.all().at_ms;
        assert_eq!((at.len(), history.steps.capacity()), (STEPS, STEPS));
        assert!(at.windows(2).any(|two| two[1] - two[0] > 3_600_000), "nothing is made up");
        assert_eq!(history.last(2).at_ms, [8_990_000, 8_995_000]);
        assert_eq!(history.ended(12), (0, 0));
    }

    #[test]
    fn figures_are_brief() {
        for (value, wanted) in
            [(0.0, 0.0), (0.012_345, 0.0123), (1.5, 1.5), (99.96, 100.0), (1234.5, 1230.0), (f64::NAN, 0.0)]
        {
            assert_eq!(brief(value), wanted, "{value}");
        }
    }
}
