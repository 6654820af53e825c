//! Hashes: one that is the same in every process and release, for choices that balancers must make alike; one that costs
//! little, for tables of our own numbers.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// FNV-1a over the bytes, mixed by the finaliser of SplitMix64, so that names which differ in one
/// digit are ranked independently. Not for untrusted keys of a table.
pub fn stable(bytes: &[u8]) -> u64 {
    mix(bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)))
}

/// Rank of `candidate` for `key` in rendezvous hashing: the highest wins.
pub fn rendezvous(key: u64, candidate: u64) -> u64 {
    mix(key.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ candidate)
}

/// A table by numbers that are counted up here and that nobody outside can choose: each request looks into half a dozen,
/// and the default hash, which withstands chosen keys, took a third as long as the decision itself.
pub type IdMap<K, V> = HashMap<K, V, BuildHasherDefault<IdHasher>>;

/// Of [`IdMap`].
#[derive(Clone, Copy, Debug, Default)]
pub struct IdHasher(u64);

impl Hasher for IdHasher {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64((*byte).into()));
    }

    fn write_u32(&mut self, id: u32) {
        self.write_u64(id.into());
    }

    fn write_u64(&mut self, id: u64) {
        self.0 = mix(self.0.wrapping_add(id).wrapping_add(0x9e37_79b9_7f4a_7c15));
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_never_changes() {
        assert_eq!(stable(b"zope-1"), stable(b"zope-1"));
        assert_ne!(stable(b"zope-1"), stable(b"zope-2"));
        assert_eq!(stable(b""), mix(0xcbf2_9ce4_8422_2325));
    }

    #[test]
    fn ids_that_are_counted_up_are_spread() {
        let hash = |id: u64| {
            let mut hasher = IdHasher::default();
            hasher.write_u64(id);
            hasher.finish()
        };
        for shift in [0, 57] {
            let mut buckets = [0_u32; 128];
            (0..12_800).for_each(|id| buckets[(hash(id) >> shift & 127) as usize] += 1);
            // 100 each; 5 standard deviations are 50.
            assert!(buckets.iter().all(|n| n.abs_diff(100) < 50), "bits from {shift}: {buckets:?}");
        }
    }

    #[test]
    fn each_candidate_wins_its_share() {
        let candidates: Vec<u64> = (0..4).map(|i| stable(format!("zope-{i}").as_bytes())).collect();
        let mut wins = [0_u32; 4];
        for key in 0..4000 {
            let winner = (0..4).max_by_key(|i| rendezvous(key, candidates[*i])).expect("four");
            wins[winner] += 1;
        }
        // 1000 each; 5 standard deviations are 137.
        assert!(wins.iter().all(|n| n.abs_diff(1000) < 137), "{wins:?}");
    }
}
