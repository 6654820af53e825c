//! A hash that is the same in every process and release, for choices that balancers must make alike.

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
