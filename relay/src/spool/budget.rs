//! How much of a kind of room (memory, disk) bodies may take: each, and all together.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Bounds of one kind of room, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// For one body. Zero: none of this kind at all.
    pub each: u64,
    /// For all bodies of this process.
    pub total: u64,
}

/// How often what is left must be there for what a body has: see [`Allowance::grants`].
const GENEROSITY: u64 = 4;

impl Allowance {
    /// Whether a body that has `own` bytes may take `more`, while all bodies together have `used`.
    ///
    /// The less is left the less a body may have, so that the first few can not take everything and the next one
    /// always finds something: of N greedy bodies each gets `4 / (4 N + 1)` of the total.
    ///
    /// Source: A. K. Choudhury, E. L. Hahne, "Dynamic queue length thresholds for shared-memory packet switches", 1998,
    /// with alpha = 4.
    fn grants(self, own: u64, more: u64, used: u64) -> bool {
        let then = own.saturating_add(more);
        let left = self.total.saturating_sub(used);
        then <= self.each && more <= left && then <= left.saturating_mul(GENEROSITY)
    }
}

/// One kind of room and how much of it is taken.
#[derive(Debug)]
pub(super) struct Pool {
    allowance: Allowance,
    used: AtomicU64,
}

impl Pool {
    pub(super) fn new(allowance: Allowance) -> Arc<Self> {
        Arc::new(Self { allowance, used: AtomicU64::new(0) })
    }

    /// Bytes that are taken.
    pub(super) fn used(&self) -> u64 {
        self.used.load(Relaxed)
    }
}

/// One body's account with a [`Pool`].
#[derive(Clone, Debug)]
pub(super) struct Share {
    pool: Arc<Pool>,
    own: Arc<AtomicU64>,
}

impl Share {
    pub(super) fn of(pool: &Arc<Pool>) -> Self {
        Self { pool: pool.clone(), own: Arc::default() }
    }

    /// Whether [`try_take`](Self::try_take) would succeed now.
    pub(super) fn grants(&self, bytes: u64) -> bool {
        self.pool.allowance.grants(self.own.load(Relaxed), bytes, self.pool.used())
    }

    /// `None` if that were too much.
    pub(super) fn try_take(&self, bytes: u64) -> Option<Hold> {
        let own = self.own.load(Relaxed);
        let granted = |used| self.pool.allowance.grants(own, bytes, used).then(|| used.saturating_add(bytes));
        self.pool.used.fetch_update(Relaxed, Relaxed, granted).ok()?;
        self.own.fetch_add(bytes, Relaxed);
        Some(Hold { share: self.clone(), bytes })
    }

    /// Also beyond the limits: for what is here already and has to be somewhere. It is counted, so that others get
    /// less.
    pub(super) fn take(&self, bytes: u64) -> Hold {
        self.pool.used.fetch_add(bytes, Relaxed);
        self.own.fetch_add(bytes, Relaxed);
        Hold { share: self.clone(), bytes }
    }
}

/// Room that is taken, until dropped.
#[derive(Debug)]
pub(super) struct Hold {
    share: Share,
    bytes: u64,
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.share.pool.used.fetch_sub(self.bytes, Relaxed);
        self.share.own.fetch_sub(self.bytes, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_gets_its_own_limit_and_less_when_little_is_left() {
        let allowance = Allowance { each: 100, total: 1000 };
        for (case, own, more, used, granted) in [
            ("the first", 0, 100, 0, true),
            ("more than its own limit", 0, 101, 0, false),
            ("up to its own limit", 60, 40, 60, true),
            ("past its own limit", 61, 40, 61, false),
            ("four times what is left", 60, 40, 975, false),
            ("just four times what is left", 75, 5, 980, true),
            ("a newcomer, when little is left", 0, 20, 980, true),
            ("more than is left", 0, 21, 980, false),
            ("nothing left", 0, 1, 1000, false),
            ("more taken than there is", 0, 1, 1200, false),
        ] {
            assert_eq!(allowance.grants(own, more, used), granted, "{case}");
        }
        assert!(!Allowance { each: 0, total: 1000 }.grants(0, 1, 0), "none of this kind");
    }

    /// Bodies take and give back at random; the sum is exact at all times, and nobody is shut out by the others.
    #[test]
    fn nothing_is_lost_and_greedy_bodies_share() {
        let seed = fastrand::u64(..);
        println!("seed {seed}");
        let mut rng = fastrand::Rng::with_seed(seed);
        let pool = Pool::new(Allowance { each: 10_000, total: 10_000 });
        let shares: Vec<_> = (0..8).map(|_| Share::of(&pool)).collect();
        let mut holds: Vec<Vec<Hold>> = shares.iter().map(|_| Vec::new()).collect();
        for _ in 0..20_000 {
            let body = rng.usize(..shares.len());
            if rng.u8(..) < 40 && !holds[body].is_empty() {
                let one = rng.usize(..holds[body].len());
                drop(holds[body].swap_remove(one));
            } else {
                holds[body].extend(shares[body].try_take(rng.u64(1..=50)));
            }
            let sum: u64 = holds.iter().flatten().map(|hold| hold.bytes).sum();
            assert_eq!(pool.used(), sum);
            assert!(sum <= 10_000, "{sum}");
        }
        let own = |body: &Vec<Hold>| body.iter().map(|hold| hold.bytes).sum::<u64>();
        // 4 / (4 * 8 + 1) of 10,000 are 1212; giving back at random, all are far above half of it.
        assert!(holds.iter().all(|body| own(body) > 600), "{:?}", holds.iter().map(own).collect::<Vec<_>>());
        holds.clear();
        assert_eq!(pool.used(), 0);
    }
}
