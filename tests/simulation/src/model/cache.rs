//! The object cache of one instance.

/// Sites in order of use, the latest last. A plain vector: caches here hold tens of objects, which is a
/// cache line or two to search and to shift.
#[derive(Debug)]
pub(crate) struct Lru {
    capacity: usize,
    sites: Vec<u32>,
}

impl Lru {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { capacity, sites: Vec::with_capacity(capacity + 1) }
    }

    /// Uses `site`; whether it was there. If not, the one unused for longest makes room.
    pub(crate) fn touch(&mut self, site: u32) -> bool {
        let found = self.sites.iter().position(|&s| s == site);
        if let Some(at) = found {
            self.sites.remove(at);
        } else if self.sites.len() == self.capacity {
            self.sites.remove(0);
        }
        self.sites.push(site);
        found.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_unused_for_longest_makes_room() {
        let mut cache = Lru::new(2);
        assert!(!cache.touch(1) && !cache.touch(2));
        assert!(cache.touch(1)); // now 2 is the oldest
        assert!(!cache.touch(3));
        assert!(cache.touch(1) && !cache.touch(2));
    }
}
