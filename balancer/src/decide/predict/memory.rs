//! The bounded memory of URLs.
//!
//! Set-associative: a URL may live in any of the eight places of its set, so that finding, adding
//! and evicting look at eight entries and never more; one allocation, at the first URL. Which set is
//! decided by a keyed hash, so nobody can aim at one.
//!
//! Eviction within a set is CLOCK with three lives and the ghosts of S3-FIFO (Yang et al., SOSP 2023).
//! A newcomer takes the place of another URL without lives, the first from the hand on, and has none itself, so that URLs
//! seen once push out each other. A visit gives all three lives; each newcomer costs the entry under
//! the hand one, so that what is visited no more goes in the end. Sixteen URLs that went are remembered
//! by a fingerprint: who comes back soon is no newcomer and begins with three lives. So a URL that is
//! visited at least once in 24 newcomers to its set (three times the memory's size in URLs seen once)
//! gets in and stays, where the least recently used of eight would have gone after 8.

use super::remembered::Remembered;
use super::url::UrlKey;

const WAYS: usize = 8;
const LIVES: u8 = 3;
const GHOSTS: usize = 16;

/// A URL's evidence.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Entry {
    /// The class as it was then; 0: the place is free. One URL may be of several classes (a request
    /// for a range, a conditional one), which cost differently.
    pub(super) stamp: u32,
    lives: u8,
    pub(super) held: Remembered,
    pub(super) bytes: Remembered,
}

/// Which place of a set pays next, and who went from it.
#[derive(Clone, Copy, Debug, Default)]
struct Clock {
    hand: u8,
    oldest_ghost: u8,
    /// 0: none. One newcomer in 4,000 is taken for a ghost by chance.
    ghosts: [u16; GHOSTS],
}

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct UrlMemory {
    sets: usize,
    /// Apart from the entries: the eight of a set are one cache line.
    tags: Vec<UrlKey>,
    entries: Vec<Entry>,
    clocks: Vec<Clock>,
}

impl UrlMemory {
    /// `capacity` is rounded down to a power of two, and up to 8.
    pub(super) fn new(capacity: usize) -> Self {
        let sets = (capacity / WAYS).max(1);
        let sets = 1 << sets.ilog2();
        Self { sets, tags: Vec::new(), entries: Vec::new(), clocks: Vec::new() }
    }

    pub(super) fn get(&self, url: UrlKey, stamp: u32) -> Option<&Entry> {
        self.find(url, stamp).map(|at| &self.entries[at])
    }

    /// The entry to add to; counts as a visit.
    pub(super) fn visit(&mut self, url: UrlKey, stamp: u32) -> Option<&mut Entry> {
        let at = self.find(url, stamp)?;
        self.entries[at].lives = LIVES;
        Some(&mut self.entries[at])
    }

    /// A place for a URL that is not in the memory.
    pub(super) fn insert(&mut self, url: UrlKey, stamp: u32) -> &mut Entry {
        if self.entries.is_empty() {
            self.tags = vec![UrlKey(0); self.sets * WAYS];
            self.entries = vec![Entry::default(); self.sets * WAYS];
            self.clocks = vec![Clock::default(); self.sets];
        }
        let set = self.set_of(url);
        let at = self.make_room(set);
        let lives = if self.clocks[set].recalls(url) { LIVES } else { 0 };
        self.tags[at] = url;
        self.entries[at] = Entry { stamp, lives, ..Entry::default() };
        &mut self.entries[at]
    }

    pub(super) fn remove(&mut self, url: UrlKey, stamp: u32) {
        if let Some(at) = self.find(url, stamp) {
            self.entries[at] = Entry::default();
        }
    }

    /// All that is remembered. Looks at every place: not for the path of a request.
    pub(super) fn iter(&self) -> impl Iterator<Item = (UrlKey, &Entry)> {
        self.tags.iter().copied().zip(&self.entries).filter(|(_, entry)| entry.stamp != 0)
    }

    pub(super) fn capacity(&self) -> usize {
        self.sets * WAYS
    }

    fn set_of(&self, url: UrlKey) -> usize {
        url.0 as usize & (self.sets - 1)
    }

    fn find(&self, url: UrlKey, stamp: u32) -> Option<usize> {
        let start = self.set_of(url) * WAYS;
        let tags = self.tags.get(start..start + WAYS)?;
        (0..WAYS)
            .find(|way| tags[*way] == url && self.entries[start + way].stamp == stamp)
            .map(|way| start + way)
    }

    fn make_room(&mut self, set: usize) -> usize {
        let start = set * WAYS;
        let places = &mut self.entries[start..start + WAYS];
        if let Some(free) = places.iter().position(|entry| entry.stamp == 0) {
            return start + free;
        }
        let clock = &mut self.clocks[set];
        let hand = clock.step(places);
        let at = start + evict(places, hand);
        clock.bury(self.tags[at]);
        at
    }
}

impl Clock {
    /// Takes a life from the place under the hand, and moves on.
    fn step(&mut self, places: &mut [Entry]) -> usize {
        let paying = &mut places[usize::from(self.hand)];
        paying.lives = paying.lives.saturating_sub(1);
        self.hand = (self.hand + 1) % WAYS as u8;
        usize::from(self.hand)
    }

    fn bury(&mut self, url: UrlKey) {
        self.ghosts[usize::from(self.oldest_ghost)] = fingerprint(url);
        self.oldest_ghost = (self.oldest_ghost + 1) % GHOSTS as u8;
    }

    fn recalls(&self, url: UrlKey) -> bool {
        self.ghosts.contains(&fingerprint(url))
    }
}

/// Of bits that do not choose the set.
fn fingerprint(url: UrlKey) -> u16 {
    ((url.0 >> 48) as u16).max(1)
}

/// The first place without lives from the hand on. If there is none all pay alike: at most three
/// rounds.
fn evict(places: &mut [Entry], hand: usize) -> usize {
    loop {
        let without = (0..WAYS).map(|i| (hand + i) % WAYS).find(|way| places[*way].lives == 0);
        if let Some(way) = without {
            return way;
        }
        places.iter_mut().for_each(|entry| entry.lives -= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_bounded_under_a_million_urls() {
        let seed = 3;
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut memory = UrlMemory::new(16_384);
        for _ in 0..1_000_000 {
            let url = UrlKey(rng.u64(..));
            memory.insert(url, 1);
            assert!(memory.get(url, 1).is_some(), "what has just come is there; seed {seed}");
        }
        assert_eq!((memory.iter().count(), memory.entries.capacity()), (16_384, 16_384));
    }

    #[test]
    fn urls_seen_once_do_not_displace_visited_ones() {
        let seed = 5;
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut memory = UrlMemory::new(16_384);
        // 2,000 heavy URLs, visited in turn; 19 of 20 requests are for a URL seen once: 38,000 between
        // two visits, 2.3 times the memory's size. An LRU of this size would hold none of them.
        let heavy: Vec<_> = (0..2_000).map(|_| UrlKey(rng.u64(..))).collect();
        let (mut hits, mut visits) = (0, 0);
        for i in 0..800_000 {
            if i % 20 != 0 {
                memory.insert(UrlKey(rng.u64(..)), 1);
                continue;
            }
            let url = heavy[i / 20 % heavy.len()];
            let found = memory.visit(url, 1).is_some();
            if !found {
                memory.insert(url, 1);
            }
            if i >= 400_000 {
                (hits, visits) = (hits + usize::from(found), visits + 1);
            }
        }
        assert!(hits * 10 >= visits * 9, "{hits} of {visits}, seed {seed}");
    }

    #[test]
    fn what_is_visited_no_more_goes() {
        let mut memory = UrlMemory::new(8);
        memory.insert(UrlKey(0), 1);
        (0..10).for_each(|_| assert!(memory.visit(UrlKey(0), 1).is_some()));
        let newcomers = (1..100).find(|i| {
            memory.insert(UrlKey(*i << 48), 1);
            memory.get(UrlKey(0), 1).is_none()
        });
        assert!(newcomers.is_some_and(|n| (24..=40).contains(&n)), "after {newcomers:?} newcomers");
    }

    #[test]
    fn one_url_in_two_classes_is_two_entries() {
        let mut memory = UrlMemory::new(100);
        assert_eq!(memory.capacity(), 64);
        assert!(memory.get(UrlKey(0), 1).is_none());
        memory.insert(UrlKey(0), 1).held.moments.n = 1.0;
        memory.insert(UrlKey(0), 2).held.moments.n = 2.0;
        assert_eq!(memory.get(UrlKey(0), 1).map(|e| e.held.moments.n), Some(1.0));
        memory.remove(UrlKey(0), 1);
        assert!(memory.get(UrlKey(0), 1).is_none() && memory.get(UrlKey(0), 2).is_some());
    }
}
