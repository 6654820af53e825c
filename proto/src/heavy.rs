//! Heavy hitters in bounded memory: Space-Saving.
//!
//! Source: Metwally, Agrawal, El Abbadi, "Efficient computation of frequent and top-k elements in
//! data streams" (ICDT 2005). A key's weight is overestimated by at most `total / capacity`.

use std::collections::HashMap;

/// What is known of one key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Heavy {
    /// Upper bound of the key's weight; what it inherited from the key it displaced is included.
    pub weight: u64,
    /// Times seen since it entered.
    pub count: u64,
    /// Largest single weight since it entered.
    pub largest: u64,
}

/// The keys with the largest total weight, at most `capacity` of them.
#[derive(Clone, Debug)]
pub struct HeavyHitters {
    capacity: usize,
    entries: HashMap<Box<str>, Heavy>,
}

impl HeavyHitters {
    /// `capacity` is raised to 1.
    pub fn new(capacity: usize) -> Self {
        Self { capacity: capacity.max(1), entries: HashMap::new() }
    }

    /// Adds `weight` to `key`, displacing the lightest key if there is no room.
    pub fn add(&mut self, key: &str, weight: u64) {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.weight = entry.weight.saturating_add(weight);
            entry.count += 1;
            entry.largest = entry.largest.max(weight);
            return;
        }
        let inherited = if self.entries.len() < self.capacity { 0 } else { self.displace_lightest() };
        let weight_seen = inherited.saturating_add(weight);
        self.entries.insert(key.into(), Heavy { weight: weight_seen, count: 1, largest: weight });
    }

    /// A scan: capacities are in the hundreds, and only a key not yet known pays for it.
    fn displace_lightest(&mut self) -> u64 {
        let lightest = self.entries.iter().min_by_key(|(_, heavy)| heavy.weight).map(|(key, _)| key.clone());
        lightest.and_then(|key| self.entries.remove(&key)).map_or(0, |heavy| heavy.weight)
    }

    /// The keys by falling weight (ties by name), at most `n`.
    pub fn top(&self, n: usize) -> Vec<(&str, &Heavy)> {
        let mut all: Vec<_> = self.entries.iter().map(|(key, heavy)| (key.as_ref(), heavy)).collect();
        all.sort_by(|a, b| b.1.weight.cmp(&a.1.weight).then(a.0.cmp(b.0)));
        all.truncate(n);
        all
    }

    pub fn clear(&mut self) {
        self.entries.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_heaviest_keys_survive_a_long_tail() {
        let mut hitters = HeavyHitters::new(16);
        for i in 0..2000 {
            hitters.add(&format!("/tail/{i}"), 10);
            hitters.add("/blob", 1_000_000);
            hitters.add("/image", 50_000);
        }
        let top: Vec<_> = hitters.top(2).into_iter().map(|(key, heavy)| (key, heavy.largest)).collect();
        assert_eq!(top, [("/blob", 1_000_000), ("/image", 50_000)]);
    }

    #[test]
    fn memory_is_bounded() {
        let mut hitters = HeavyHitters::new(3);
        (0..100).for_each(|i| hitters.add(&i.to_string(), 1));
        assert_eq!(hitters.top(usize::MAX).len(), 3);
    }
}
