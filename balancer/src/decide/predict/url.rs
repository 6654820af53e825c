//! A URL as a number: keyed, stable from one run to the next.

use std::hash::Hasher;

use serde::{Deserialize, Serialize};
use siphasher::sip::SipHasher13;

/// The secret part of every [`UrlKey`] of a service; saved with the memory that it is the key to.
///
/// The hash is SipHash-1-3: with a secret key nobody outside can find two URLs with one hash (and so
/// make somebody else's URL look large), or fill one set of the memory. Its values are specified,
/// unlike those of the standard library's hashers, so that a saved memory can be read by the next
/// version. About 0.1 µs for a URL of usual length, outside the lock; faster hashes (Fx, xxh3) have seeds that do not
/// prevent collisions made on purpose.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct UrlSeed([u64; 2]);

/// A URL with its method and host. Meaningless without the [`UrlSeed`] it was made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct UrlKey(pub u64);

impl UrlSeed {
    pub fn random(rng: &mut fastrand::Rng) -> Self {
        Self([rng.u64(..), rng.u64(..)])
    }
}

impl std::fmt::Debug for UrlSeed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("UrlSeed(secret)")
    }
}

impl UrlKey {
    /// `host` in the form in which it is always given (lower case); `path_and_query` as on the wire.
    /// No allocation.
    pub fn of(seed: UrlSeed, method: &str, host: &str, path_and_query: &str) -> Self {
        let UrlSeed([k0, k1]) = seed;
        let mut hasher = SipHasher13::new_with_keys(k0, k1);
        for part in [method, host, path_and_query] {
            hasher.write(part.as_bytes());
            hasher.write(&[0]); // ends a part: none of them can contain it
        }
        Self(hasher.finish())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEED: UrlSeed = UrlSeed([1, 2]);

    #[test]
    fn every_part_counts_and_none_runs_into_the_next() {
        let mut keys: Vec<_> = [
            ("GET", "a.example", "/x?y=1"),
            ("GET", "a.example", "/x?y=2"),
            ("GET", "a.example/", "x?y=1"),
            ("HEAD", "a.example", "/x?y=1"),
            ("GET", "b.example", "/x?y=1"),
        ]
        .map(|(method, host, path)| UrlKey::of(SEED, method, host, path).0)
        .to_vec();
        keys.push(UrlKey::of(UrlSeed([1, 3]), "GET", "a.example", "/x?y=1").0);
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), 6);
    }

    #[test]
    fn a_key_is_the_same_in_every_version() {
        assert_eq!(UrlKey::of(SEED, "GET", "www.example.org", "/export?all=1"), UrlKey(18150532560832259764));
    }

    #[test]
    fn the_seed_does_not_get_into_a_log() {
        assert_eq!(format!("{SEED:?}"), "UrlSeed(secret)");
    }
}
