//! Doors for fuzzers into what is nobody else's to call.

use crate::limits::ClientLimits;
use crate::screen::HeadLimits;
use crate::screen::messages::{Messages, Verdict};

/// What became of the bytes of one connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Screening {
    /// How many may be read.
    pub passed: usize,
    /// Heads among them.
    pub heads: u64,
    /// Status and reason of the refusal that ended it.
    pub refused: Option<(u16, String)>,
}

/// Screens `bytes` as they arrive in pieces that end at `cuts`, which ascend.
pub fn screen(bytes: &[u8], cuts: &[usize]) -> Screening {
    let mut messages = Messages::new(HeadLimits::from(&ClientLimits::default()));
    let mut passed = 0;
    for end in cuts.iter().copied().chain([bytes.len()]) {
        // A piece may end before what has passed already.
        match messages.follow(&bytes[passed..end.max(passed)]) {
            Verdict::Pass(more) => passed += more,
            Verdict::Refuse { passed: more, refusal, .. } => {
                let refused = Some((refusal.status().as_u16(), refusal.to_string()));
                return Screening { passed: passed + more, heads: messages.heads(), refused };
            }
        }
    }
    Screening { passed, heads: messages.heads(), refused: None }
}
