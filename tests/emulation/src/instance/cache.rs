//! The object cache of one instance: least recently used goes first.

use std::collections::{BTreeMap, HashMap};

/// Keys of at most `capacity` objects, in order of last use.
#[derive(Debug)]
pub(super) struct Lru {
    capacity: usize,
    /// Grows by one per touch; orders the keys.
    clock: u64,
    last_use: HashMap<String, u64>,
    by_age: BTreeMap<u64, String>,
}

impl Lru {
    pub(super) fn new(capacity: usize) -> Self {
        Self { capacity, clock: 0, last_use: HashMap::new(), by_age: BTreeMap::new() }
    }

    /// Whether `key` is cached; if so it becomes the most recently used.
    pub(super) fn hit(&mut self, key: &str) -> bool {
        let known = self.last_use.contains_key(key);
        if known {
            self.touch(key);
        }
        known
    }

    /// Puts `key` in, and drops the least recently used if there are now too many.
    pub(super) fn insert(&mut self, key: &str) {
        self.touch(key);
        while self.last_use.len() > self.capacity {
            let Some((_, oldest)) = self.by_age.pop_first() else { return };
            self.last_use.remove(&oldest);
        }
    }

    fn touch(&mut self, key: &str) {
        self.clock += 1;
        if let Some(before) = self.last_use.insert(key.to_owned(), self.clock) {
            self.by_age.remove(&before);
        }
        self.by_age.insert(self.clock, key.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_recently_used_goes_first() {
        let mut cache = Lru::new(2);
        cache.insert("a");
        cache.insert("b");
        assert!(cache.hit("a")); // now b is the oldest
        cache.insert("c");
        assert!(cache.hit("a") && cache.hit("c") && !cache.hit("b"));
    }

    #[test]
    fn a_key_put_in_twice_counts_once() {
        let mut cache = Lru::new(2);
        cache.insert("a");
        cache.insert("b");
        cache.insert("b");
        assert!(cache.hit("a") && cache.hit("b"));
    }
}
