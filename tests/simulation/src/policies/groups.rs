//! Instances by their number of jobs: the least loaded in constant time.

use std::ops::Range;

use fastrand::Rng;

/// Some instances, next to each other, in order of the jobs that they have.
#[derive(Debug)]
pub(super) struct Group {
    first: usize,
    /// By member: its jobs, and its place among those with as many.
    members: Vec<(usize, usize)>,
    /// By number of jobs: the members that have as many.
    levels: Vec<Vec<usize>>,
    /// No level below has members.
    lowest: usize,
}

impl Group {
    pub(super) fn new(instances: Range<usize>) -> Self {
        let count = instances.len();
        Self {
            first: instances.start,
            members: (0..count).map(|place| (0, place)).collect(),
            levels: vec![(0..count).collect()],
            lowest: 0,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    pub(super) fn contains(&self, instance: usize) -> bool {
        (self.first..self.first + self.members.len()).contains(&instance)
    }

    /// One with the fewest jobs, ties at random; `None`: none has fewer than `limit`.
    pub(super) fn least(&self, limit: usize, rng: &mut Rng) -> Option<usize> {
        let level = self.levels.get(self.lowest).filter(|level| !level.is_empty() && self.lowest < limit)?;
        Some(self.first + level[rng.usize(..level.len())])
    }

    /// `instance` gets one more.
    pub(super) fn add(&mut self, instance: usize) {
        let (level, _) = self.members[instance - self.first];
        self.shift(instance - self.first, level + 1);
        while self.levels[self.lowest].is_empty() {
            self.lowest += 1; // ends at the member just put in, at the latest
        }
    }

    /// `instance` has one less.
    pub(super) fn remove(&mut self, instance: usize) {
        let (level, _) = self.members[instance - self.first];
        self.shift(instance - self.first, level - 1);
        self.lowest = self.lowest.min(level - 1);
    }

    fn shift(&mut self, member: usize, to: usize) {
        let (from, place) = self.members[member];
        self.levels[from].swap_remove(place);
        if let Some(&moved) = self.levels[from].get(place) {
            self.members[moved].1 = place;
        }
        if self.levels.len() <= to {
            self.levels.resize_with(to + 1, Vec::new);
        }
        self.members[member] = (to, self.levels[to].len());
        self.levels[to].push(member);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_loaded_is_found_whatever_happens() {
        const SEED: u64 = 5;
        let mut rng = Rng::with_seed(SEED);
        let mut group = Group::new(3..8);
        let mut counts = [0_usize; 5];
        for _ in 0..10_000 {
            let member = rng.usize(..5);
            if counts[member] > 0 && rng.bool() {
                counts[member] -= 1;
                group.remove(3 + member);
            } else {
                counts[member] += 1;
                group.add(3 + member);
            }
            let fewest = counts.into_iter().min().expect("five members");
            let found = group.least(usize::MAX, &mut rng).expect("five members");
            assert_eq!(counts[found - 3], fewest, "{counts:?} (seed {SEED})");
            assert_eq!(group.least(fewest, &mut rng), None, "{counts:?} (seed {SEED})");
        }
    }

    #[test]
    fn an_empty_group_has_no_least() {
        assert_eq!(Group::new(2..2).least(10, &mut Rng::with_seed(1)), None);
    }
}
