//! Which addresses hold, from one look-up to the next. No clock, no I/O.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

/// Addresses are taken at once and given up at the second look-up that does not have them: servers that take turns in
/// answering differ for a moment, and long answers are shortened at random.
#[derive(Debug)]
pub(super) struct Known {
    /// Those that the last look-up did not have are `false`.
    addresses: BTreeMap<SocketAddr, bool>,
    most: usize,
}

impl Known {
    /// Nothing yet. Beyond `most` addresses, further ones are not taken.
    pub(super) fn new(most: usize) -> Self {
        Self { addresses: BTreeMap::new(), most }
    }

    /// Takes in the answer of a look-up that succeeded. `true`: what holds has changed.
    pub(super) fn answered(&mut self, found: &BTreeSet<SocketAddr>) -> bool {
        let before = self.addresses.len();
        self.addresses
            .retain(|address, was_there| found.contains(address) || std::mem::replace(was_there, false));
        let mut changed = self.addresses.len() != before;
        for address in found {
            if self.addresses.len() < self.most || self.addresses.contains_key(address) {
                changed |= self.addresses.insert(*address, true).is_none();
            }
        }
        changed
    }

    pub(super) fn addresses(&self) -> BTreeSet<SocketAddr> {
        self.addresses.keys().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(last: &[u8]) -> BTreeSet<SocketAddr> {
        last.iter().map(|last| SocketAddr::from(([10, 0, 0, *last], 9900))).collect()
    }

    #[test]
    fn who_comes_is_known_at_once_and_who_goes_is_forgotten_at_the_second_answer() {
        let mut known = Known::new(64);
        for (answer, expected, changed) in [
            (&[1, 2][..], &[1, 2][..], true),
            (&[2, 1], &[1, 2], false),
            (&[2], &[1, 2], false),
            (&[1, 2], &[1, 2], false), // it was only left out
            (&[2, 3], &[1, 2, 3], true),
            (&[2, 3], &[2, 3], true),
            (&[4], &[2, 3, 4], true),
            (&[3, 4], &[3, 4], true), // 2 was missing twice, 3 once
            (&[1], &[1, 3, 4], true),
            (&[1], &[1], true),
        ] {
            assert_eq!(known.answered(&addresses(answer)), changed, "{answer:?}");
            assert_eq!(known.addresses(), addresses(expected), "{answer:?}");
        }
    }

    #[test]
    fn there_is_a_bound_and_who_is_known_stays() {
        let mut known = Known::new(64);
        known.answered(&addresses(&[200]));
        let many: Vec<u8> = (1..=200).collect();
        known.answered(&addresses(&many));
        assert_eq!(known.addresses().len(), 64);
        assert!(known.addresses().contains(&SocketAddr::from(([10, 0, 0, 200], 9900))));
        assert!(!known.answered(&addresses(&many)), "the same answer changes nothing");
    }
}
