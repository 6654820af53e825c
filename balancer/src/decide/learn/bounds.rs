//! Where one lane ends and the next begins.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use crate::decide::ids::Lane;

/// A class belongs to the next lane when it holds a worker this many times as long as the lane's
/// bulk. Source: algorithms.md 3.3.
const STEP: f64 = 8.0;
/// Seconds below which nobody is kept waiting by sharing a lane, whatever the ratio: 1 ms files and
/// 10 ms pages are both small.
const SHORTEST: f64 = 0.05;
/// Share of all work that a lane must have. Less makes no difference to anybody.
const LEAST_WORK: f64 = 0.005;
/// A bound moves when its target has been this far off, as a factor, ...
const TOLERANCE: f64 = 1.5;
/// ... for this many ticks.
const DWELL: u32 = 60;
/// Ticks from the start in which bounds follow at once: the first minute's guess is not worth
/// defending.
const WARM_UP: u32 = 60;

/// What one class does to the workers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClassWork {
    /// Requests per second.
    pub rate: f64,
    /// Seconds that one holds a worker on average.
    pub held: f64,
}

/// Worker-held time in seconds at which each lane above the first begins, ascending.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bounds {
    begins: Vec<f64>,
    off_for: u32,
    ticks: u32,
}

impl Default for Bounds {
    /// Before anything is known: small is what is as short as a page.
    fn default() -> Self {
        Self { begins: vec![0.08], off_for: 0, ticks: 0 }
    }
}

impl Bounds {
    /// Where lanes began when that was saved; followed as at the start. `None`: not possible.
    pub fn restored(begins: Vec<f64>) -> Option<Self> {
        let ascend = begins.windows(2).all(|pair| pair[0] < pair[1]);
        let possible = begins.iter().all(|bound| (SHORTEST..1e9).contains(bound));
        let known = (1..Lane::MOST).contains(&begins.len()) && ascend && possible;
        known.then(|| Self { begins, ..Self::default() })
    }

    /// Worker-held time in seconds at which each lane above the first begins.
    pub fn begins(&self) -> &[f64] {
        &self.begins
    }

    /// The lane of a request that holds its worker for `held` seconds.
    pub fn lane(&self, held: f64) -> Lane {
        Lane::new(self.begins.iter().take_while(|bound| held >= **bound).count())
    }

    /// Number of lanes, at least 2: there is always one that a large request may turn out to be in.
    pub fn lanes(&self) -> usize {
        self.begins.len() + 1
    }

    /// Where a lane begins, in seconds.
    pub fn begin(&self, lane: Lane) -> f64 {
        lane.index().checked_sub(1).and_then(|i| self.begins.get(i)).copied().unwrap_or(0.0)
    }

    /// Follows the classes as they are now; to be called once a second. `true` if a bound moved.
    pub fn tick(&mut self, classes: Vec<ClassWork>) -> bool {
        self.ticks = self.ticks.saturating_add(1);
        let Some(target) = target(classes) else { return false };
        let close = target.len() == self.begins.len()
            && target.iter().zip(&self.begins).all(|(a, b)| a.max(*b) / a.min(*b) < TOLERANCE);
        self.off_for = if close { 0 } else { self.off_for + 1 };
        let grows = target.len() > self.begins.len();
        let moves = !close && (grows || self.ticks <= WARM_UP || self.off_for >= DWELL);
        if moves {
            self.begins = target;
            self.off_for = 0;
        }
        moves
    }
}

/// The bounds that suit these classes: sorted by cost, a new lane wherever a class costs `STEP` times
/// the bulk of the lane so far. `None` without any work.
fn target(mut classes: Vec<ClassWork>) -> Option<Vec<f64>> {
    classes.retain(|class| class.rate > 0.0 && class.held > 0.0);
    classes.sort_by(|a, b| a.held.partial_cmp(&b.held).unwrap_or(Ordering::Equal));
    let work = |class: &ClassWork| class.rate * class.held;
    let total: f64 = classes.iter().map(work).sum();
    let mut begins = Vec::new();
    // Work and work-weighted sum of costs of the lane so far.
    let (mut lane_work, mut lane_sum) = (0.0, 0.0);
    for class in &classes {
        let bound = bound_above(lane_sum, lane_work);
        if lane_work >= LEAST_WORK * total && class.held >= bound && begins.len() + 1 < Lane::MOST {
            // In the middle of the gap, as a factor: what wavers on either side stays there.
            begins.push(bound.max((lane_sum / lane_work * class.held).sqrt()));
            (lane_work, lane_sum) = (0.0, 0.0);
        }
        lane_work += work(class);
        lane_sum += work(class) * class.held;
    }
    // The last lane's own bound: nothing is above it yet, but a request may turn out to be.
    if begins.is_empty() && total > 0.0 {
        begins.push(bound_above(lane_sum, lane_work));
    }
    (!begins.is_empty()).then_some(begins)
}

fn bound_above(sum: f64, work: f64) -> f64 {
    if work > 0.0 { (STEP * sum / work).max(SHORTEST) } else { f64::INFINITY }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classes(rates_and_ms: &[(f64, f64)]) -> Vec<ClassWork> {
        rates_and_ms.iter().map(|(rate, ms)| ClassWork { rate: *rate, held: ms / 1e3 }).collect()
    }

    fn bounds(rates_and_ms: &[(f64, f64)]) -> Vec<u32> {
        let found = target(classes(rates_and_ms)).unwrap_or_default();
        found.into_iter().map(|seconds| (seconds * 1e3).round() as u32).collect()
    }

    #[test]
    fn a_lane_begins_at_eight_times_the_bulk_below_it() {
        for (case, given, expected) in [
            ("nothing", vec![], vec![]),
            ("pages alone", vec![(100.0, 10.0)], vec![80]),
            ("pages and exports", vec![(150.0, 10.0), (0.6, 1500.0)], vec![122]),
            ("three kinds", vec![(90.0, 10.0), (9.0, 100.0), (1.0, 2000.0)], vec![80, 800]),
            ("files and pages are both small", vec![(500.0, 1.0), (100.0, 10.0)], vec![56]),
            ("all alike, all long", vec![(1.0, 2000.0)], vec![16_000]),
            ("a page a minute does not make a lane", vec![(0.01, 10.0), (5.0, 500.0)], vec![4_000]),
        ] {
            assert_eq!(bounds(&given), expected, "{case}");
        }
    }

    #[test]
    fn lanes_come_at_once_and_go_slowly() {
        let mut bounds = Bounds::default();
        let pages = classes(&[(100.0, 10.0)]);
        let mixed = classes(&[(90.0, 10.0), (9.0, 100.0), (1.0, 2000.0)]);
        (0..100).for_each(|_| assert!(!bounds.tick(pages.clone())));
        assert_eq!(bounds.lanes(), 2);
        assert!(bounds.tick(mixed.clone()));
        assert_eq!(bounds.lanes(), 3);
        assert_eq!([0.01, 0.1, 2.0].map(|s| bounds.lane(s).index()), [0, 1, 2]);
        assert!((0..59).all(|_| !bounds.tick(pages.clone())));
        assert!(bounds.tick(pages), "after a minute");
        assert_eq!(bounds.lanes(), 2);
    }
}
