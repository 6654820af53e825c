//! Which of the instances with a free worker gets a request.

use std::cmp::Ordering;

/// How busy one instance is, as far as this balancer knows by its own counting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// Workers of the instance, at least 1.
    pub workers: u32,
    /// Workers held by requests of this balancer.
    pub working: u32,
    /// Responses still being sent whose worker is free: they cost bandwidth, not workers.
    pub streaming: u32,
}

impl Load {
    /// Whether a worker is free.
    pub fn has_slot(&self) -> bool {
        self.working < self.workers
    }

    /// Less loaded first: by the share of workers held, then by open streams.
    fn compare(&self, other: &Self) -> Ordering {
        let left = u64::from(self.working) * u64::from(other.workers);
        let right = u64::from(other.working) * u64::from(self.workers);
        left.cmp(&right).then(self.streaming.cmp(&other.streaming))
    }
}

/// Picks the least loaded candidate that has a free worker; `None` if none has.
///
/// Ties are broken at random, not by order: several balancers that see the same idle instances
/// must not all start with the first one.
pub fn least_loaded<T>(candidates: impl Iterator<Item = (T, Load)>, rng: &mut fastrand::Rng) -> Option<T> {
    let mut best: Option<(T, Load)> = None;
    let mut ties = 0_u32;
    for (candidate, load) in candidates.filter(|(_, load)| load.has_slot()) {
        let order = best.as_ref().map_or(Ordering::Less, |(_, least)| load.compare(least));
        let better = match order {
            Ordering::Less => {
                ties = 1;
                true
            }
            // Reservoir of one: each of n equals is kept with probability 1/n.
            Ordering::Equal => {
                ties += 1;
                rng.u32(..ties) == 0
            }
            Ordering::Greater => false,
        };
        if better {
            best = Some((candidate, load));
        }
    }
    best.map(|(candidate, _)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(workers: u32, working: u32, streaming: u32) -> Load {
        Load { workers, working, streaming }
    }

    fn picked(loads: &[Load]) -> Option<usize> {
        least_loaded(loads.iter().copied().enumerate(), &mut fastrand::Rng::with_seed(3))
    }

    #[test]
    fn the_emptiest_instance_is_picked() {
        for (case, loads, expected) in [
            ("nobody", vec![], None),
            ("all full", vec![load(1, 1, 0), load(2, 2, 0)], None),
            ("the one with a slot", vec![load(1, 1, 0), load(2, 1, 0)], Some(1)),
            ("share, not number", vec![load(2, 1, 0), load(8, 2, 0)], Some(1)),
            ("streams decide among equals", vec![load(1, 0, 5), load(1, 0, 1)], Some(1)),
            ("workers before streams", vec![load(4, 0, 9), load(4, 1, 0)], Some(0)),
            ("more than full is full", vec![load(1, 3, 0)], None),
        ] {
            assert_eq!(picked(&loads), expected, "{case}");
        }
    }

    #[test]
    fn equals_share_evenly() {
        let seed = 11;
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut counts = [0_u32; 4];
        for _ in 0..4000 {
            let idle = (0..4).map(|i| (i, load(1, 0, 0)));
            counts[least_loaded(idle, &mut rng).expect("all are free")] += 1;
        }
        // 1000 each expected; 4 standard deviations of a binomial(4000, 1/4) are 110.
        assert!(counts.iter().all(|n| n.abs_diff(1000) < 110), "seed {seed}: {counts:?}");
    }
}
