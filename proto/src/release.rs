//! When workers are free, class by class, as an agent found it out.

use serde::{Deserialize, Serialize};

use crate::{ClassName, ReleaseFound, ReleasePoint};

/// When the worker of one class's requests is free, where that is not what the report says of all of them.
///
/// A claim holds for the report that it is in: one that is missing from the next is taken back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassRelease {
    /// Its name, as `/v1/classes` has it.
    pub class: ClassName,
    /// When its workers are free.
    pub point: ReleasePoint,
    /// How that is known.
    pub found: ReleaseFound,
    /// With `first-byte`: true of responses whose length is known and at most this, in bytes. `None`: of none.
    #[serde(default)]
    pub up_to_bytes: Option<u64>,
    /// With `first-byte`: true of responses whose length is not known beforehand.
    #[serde(default)]
    pub unknown_length: bool,
    /// What the claim rests on.
    #[serde(default)]
    pub evidence: ReleaseEvidence,
}

/// What was seen, counted since the agent's start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ReleaseEvidence {
    /// Requests that were answered while as many responses as the instance has workers were being sent.
    pub answered: u64,
    /// Requests that had to wait for the end of a response.
    pub waited: u64,
    /// Times that a claim had to be taken back.
    pub contradicted: u64,
}

impl ClassRelease {
    /// Whether the worker is free at the first byte of a response of this length. `None`: it does not say.
    pub fn frees_early(&self, length: Option<u64>) -> bool {
        self.point == ReleasePoint::FirstByte
            && match length {
                Some(length) => self.up_to_bytes.is_some_and(|most| length <= most),
                None => self.unknown_length,
            }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_is_for_the_lengths_that_it_names() {
        let claim = |point, up_to_bytes, unknown_length| ClassRelease {
            class: ClassName::other(),
            point,
            found: ReleaseFound::Learned,
            up_to_bytes,
            unknown_length,
            evidence: ReleaseEvidence::default(),
        };
        let (first, end) = (ReleasePoint::FirstByte, ReleasePoint::End);
        for (point, up_to, unknown, length, early) in [
            (first, Some(10), false, Some(10), true),
            (first, Some(10), false, Some(11), false),
            (first, Some(10), false, None, false),
            (first, None, true, None, true),
            (first, None, true, Some(0), false),
            (end, Some(10), true, Some(1), false),
            (end, None, true, None, false),
        ] {
            let claim = claim(point, up_to, unknown);
            assert_eq!(claim.frees_early(length), early, "{claim:?} {length:?}");
        }
    }
}
