//! How many workers large requests may hold at once.

use serde::{Deserialize, Serialize};

use crate::decide::queueing::{mean_wait, tail_wait};

/// What one side of the split offers to the workers.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Offered {
    /// Workers kept busy on average, in Erlang: rate times worker-held time. Of large requests over the last minute.
    pub load: f64,
    /// The same lately: what a burst brings.
    pub lately: f64,
    /// Squared coefficient of variation of the worker-held time.
    pub scv: f64,
    /// Wait of the oldest request in the queue, in units of the mean worker-held time.
    pub oldest_wait: f64,
}

/// What the cap is reckoned with.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CapParams {
    /// Mean wait that large requests are to have at most, in units of their own worker-held time;
    /// between 0.05 and 0.2 it makes no difference.
    pub target_wait: f64,
    /// Multiplies the small requests' load where the slack is shared; above 1 favours them. A twentieth
    /// more gains small requests 5 to 10 % at p99 and costs large ones as much of their mean
    /// (simulated: a and int at 85 and 95 %).
    pub small_bias: f64,
    /// Standard deviations above its mean that the number of small requests in service is given.
    pub reserve: f64,
    /// Wait from which on large requests get one more worker, in units of their worker-held time,
    /// with few workers and with more.
    pub unstable_wait: f64,
    /// Age of the oldest waiter, in the same unit, from which on it is starving.
    pub starving: f64,
    /// 99th percentile of the small requests' wait, in units of their own worker-held time, up to which
    /// large ones may hold workers at any time. At 13 two workers bear 1.67 of small load and five 4.6.
    pub bearable_wait: f64,
    /// Age of the oldest waiting large request, in units of their worker-held time, from which on their
    /// rate of late counts if it is above the lasting one. Lower, bursts are taken for lasting
    /// (simulated: 2 brings small p99 of 200 ms in some runs of bursts); higher, large ones wait longer near
    /// saturation.
    pub lasting_wait: f64,
}

impl Default for CapParams {
    /// Source: algorithms.md 3.9, and simulations for the last two.
    fn default() -> Self {
        Self {
            target_wait: 0.1,
            small_bias: 1.05,
            reserve: 3.0,
            unstable_wait: 5.0,
            starving: 30.0,
            bearable_wait: 13.0,
            lasting_wait: 4.0,
        }
    }
}

/// Workers that large requests may hold: `base` of them at once, up to `high` when one has waited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cap {
    pub base: usize,
    pub high: usize,
}

/// The cap on large requests for `workers` workers. `previous`: the `high` cap in force.
///
/// Large requests get as few workers as are enough for a burst as of late. They get no more than small ones
/// bear to lose, whatever burst there is: a worker that a large request holds is not taken back before its
/// end, and a burst's rate would mean more workers than there are. Only if they last, the slack is shared in
/// proportion to the loads, so that both sides are equally utilised. Source: algorithms.md 3.5 but for bursts.
pub fn cap(workers: usize, previous: usize, small: Offered, large: Offered, params: &CapParams) -> Cap {
    if workers <= 1 || small.load <= 0.0 {
        return Cap { base: workers, high: workers };
    }
    let bearable = bearable(workers, small, params);
    if large.load <= 0.0 && large.lately <= 0.0 {
        return Cap { base: bearable.max(1), high: bearable.max(1) };
    }
    let share = share(workers, small, large, params);
    let bound = share.base.max(bearable);
    let load = large.load.max(large.lately);
    let needed = (1..bound).find(|c| mean_wait(*c, load, large.scv) <= params.target_wait);
    let base = needed.unwrap_or(bound).max(spared(workers, small, params).min(bound));
    let high = share.high.max(bearable);
    let raise = raise(workers, previous, small, large, high, params);
    Cap { base: if raise > 0 { high + raise } else { base }.min(workers), high: (high + raise).min(workers) }
}

/// Workers beyond `high` that large requests need so as not to wait for ever.
fn raise(
    workers: usize,
    previous: usize,
    small: Offered,
    large: Offered,
    high: usize,
    params: &CapParams,
) -> usize {
    let total = small.load + large.load;
    let unstable = is_unstable(workers, previous, high, small, large, params);
    let starving = large.oldest_wait > params.starving && total < workers as f64;
    usize::from(unstable) + usize::from(starving)
}

/// The most workers that large requests may hold with those left serving the small ones well enough. Depends
/// on nothing that is known of large requests, so that it holds from the first burst on.
fn bearable(workers: usize, small: Offered, params: &CapParams) -> usize {
    let bears = |large: usize| {
        let left = workers - large;
        // Of many workers nearly all could be busy by the formula: then a rate that was misjudged by a
        // little would be too much.
        let fits = left as f64 >= params.small_bias * small.load;
        fits && tail_wait(left, small.load, small.scv) <= params.bearable_wait
    };
    // The largest of a falling row of yes.
    let (mut yes, mut no) = (0, workers);
    while no - yes > 1 {
        let middle = usize::midpoint(yes, no);
        if bears(middle) { yes = middle } else { no = middle }
    }
    yes
}

/// Workers that small requests hardly ever need at the same time.
fn spared(workers: usize, small: Offered, params: &CapParams) -> usize {
    workers.saturating_sub((small.load + params.reserve * small.load.sqrt()).ceil() as usize)
}

/// The large requests' share of the workers if both sides are to be equally utilised, and the same
/// with the fraction of a worker on their side, for one that has waited. In overload, small ones are
/// protected first.
fn share(workers: usize, small: Offered, large: Offered, params: &CapParams) -> Cap {
    let m = workers as f64;
    let total = small.load + large.load;
    let overload = total > 1.15 * m;
    let for_small =
        if overload { small.load / 0.9 } else { small.load * params.small_bias * m / total.min(m) };
    let up = (for_small.ceil() as usize).max(1);
    let down = (for_small.floor() as usize).max(1);
    let room = workers.saturating_sub(up) as f64;
    let round_up =
        up < workers && (large.load <= 0.75 * room || (overload && small.load > 0.95 * down as f64));
    let left = |small: usize| workers.saturating_sub(small).max(1);
    Cap {
        base: left(if round_up { up } else { down }),
        high: left(if overload && round_up { up } else { down }),
    }
}

/// Whether whole workers leave the large side (nearly) unstable although all together is not.
fn is_unstable(
    workers: usize,
    previous: usize,
    high: usize,
    small: Offered,
    large: Offered,
    params: &CapParams,
) -> bool {
    if high >= workers || small.load + large.load >= 0.98 * workers as f64 {
        return false;
    }
    let wait = mean_wait(high, large.load, large.scv);
    if workers <= 3 {
        let keep = previous > high && wait > 0.4 * params.unstable_wait;
        wait > params.unstable_wait || keep
    } else {
        wait > 2.0 * params.unstable_wait && large.oldest_wait > 3.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offered(load: f64) -> Offered {
        Offered { load, lately: load, scv: 0.3, oldest_wait: 0.0 }
    }

    fn of(workers: usize, small: f64, large: f64) -> (usize, usize) {
        let cap = cap(workers, workers, offered(small), offered(large), &CapParams::default());
        (cap.base, cap.high)
    }

    #[test]
    fn both_sides_are_served() {
        for (case, workers, small, large, expected) in [
            ("one worker serves all", 1, 0.3, 0.3, (1, 1)),
            ("no small requests", 4, 0.0, 2.0, (4, 4)),
            ("no large requests yet: as many as small ones bear to lose", 16, 4.0, 0.0, (11, 11)),
            ("workload (a) at 70 %: 3.8 + 7.5 of 16; one more for who has waited", 16, 3.8, 7.4, (10, 11)),
            ("workload (a) at 85 %", 16, 4.6, 9.0, (11, 11)),
            ("plenty of workers: all that can be spared", 200, 10.0, 10.0, (180, 189)),
            ("exports of design.md: 1.5 + 0.9 of 4", 4, 1.5, 0.9, (2, 2)),
            ("overload: small first", 16, 8.0, 20.0, (7, 7)),
        ] {
            assert_eq!(of(workers, small, large), expected, "{case}");
        }
    }

    /// 4/s of 0.8 s each for 2 s in 8, beside pages that keep 1.5 of 4 workers busy: 3.2 workers' worth in a
    /// burst, 0.8 on the whole. A third worker would leave one for 1.5 workers' worth of pages.
    #[test]
    fn a_burst_gets_what_small_requests_bear_and_no_more() {
        let (pages, params) = (Offered { scv: 1.0, ..offered(1.5) }, CapParams::default());
        let exports = |load, lately| Offered { load, lately, scv: 0.0, oldest_wait: 0.0 };
        for (case, large, expected) in [
            ("before the first", exports(0.0, 0.0), 2),
            ("in the first burst", exports(0.3, 3.2), 2),
            ("in a later one", exports(0.8, 2.4), 2),
            ("between two", exports(0.8, 0.1), 2),
            ("if it were to last", exports(2.2, 2.2), 3),
        ] {
            let cap = cap(4, 4, pages, large, &params);
            assert_eq!((cap.base, cap.high), (expected, expected), "{case}");
        }
    }

    #[test]
    fn what_small_requests_bear_to_lose() {
        let params = CapParams::default();
        for (workers, small, expected) in [
            (4, 0.6, 3),  // one worker at 60 %
            (4, 0.75, 2), // at 75 % its queue is too long
            (4, 1.65, 2),
            (4, 1.7, 1),
            (16, 3.7, 11),
            (16, 5.1, 10),
            (4, 3.9, 0),
            (1000, 900.0, 55), // the margin for many workers is the bias
        ] {
            let small = Offered { scv: 1.0, ..offered(small) };
            assert_eq!(bearable(workers, small, &params), expected, "{workers} workers, {small:?}");
        }
    }

    #[test]
    fn a_starving_large_request_gets_one_more() {
        let starving = Offered { oldest_wait: 31.0, ..offered(1.0) };
        let params = CapParams::default();
        let normal = cap(8, 8, offered(4.0), offered(1.0), &params);
        assert_eq!(cap(8, 8, offered(4.0), starving, &params).high, normal.high + 1);
    }

    /// I7 of algorithms.md: more large work never lowers its cap by more than one, below saturation.
    #[test]
    fn more_large_work_never_means_fewer_workers() {
        let params = CapParams::default();
        for workers in [2, 3, 4, 8, 16, 100] {
            for small in 1..10 {
                let small = offered(workers as f64 * f64::from(small) / 10.0);
                let mut highest = 0;
                for step in 1..100 {
                    let load = (workers as f64 - small.load) * f64::from(step) / 100.0;
                    let high = cap(workers, workers, small, offered(load), &params).high;
                    assert!(high + 1 >= highest, "{workers} workers, {small:?}, {load}: {high} < {highest}");
                    assert!((1..=workers).contains(&high));
                    highest = highest.max(high);
                }
            }
        }
    }
}
