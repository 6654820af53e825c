//! Looks one name up, again and again.

use std::{collections::BTreeSet, net::SocketAddr, time::Duration};

use super::{Name, ResolveError, Resolver, known::Known, resolve::Answer};

/// Names with a TTL of 0 are asked for once a second: nobody sees a server come and go in less.
const SHORTEST: Duration = Duration::from_secs(1);

/// A TTL of a day is meant for browsers.
const LONGEST: Duration = Duration::from_secs(300);

/// After failures, the pause doubles from [`SHORTEST`] to this.
const LONGEST_RETRY: Duration = Duration::from_secs(30);

/// Share of a pause that chance adds, so that programs that were started together do not ask together for ever.
const JITTER: f64 = 0.1;

/// One name, and what is known of it from one look-up to the next.
#[derive(Debug)]
pub struct Follower {
    name: Name,
    resolver: Resolver,
    rng: fastrand::Rng,
    known: Known,
    failures: u32,
}

/// What a look-up came to.
#[derive(Debug)]
pub struct LookUp {
    /// All addresses that hold now, if these are others than before.
    pub changed: Option<BTreeSet<SocketAddr>>,
    /// It failed, or found no address, and so changed nothing: that DNS is gone does not mean that the servers are.
    pub failed: bool,
    /// When to look again.
    pub pause: Duration,
}

impl Follower {
    /// `most`: addresses that are taken, so that a wrong name does not make a program talk to half the world.
    pub fn new(name: Name, resolver: Resolver, most: usize, rng: fastrand::Rng) -> Self {
        Self { name, resolver, rng, known: Known::new(most), failures: 0 }
    }

    /// Looks the name up once. The first failure in a row is logged, and the end of failing.
    pub async fn look_up(&mut self) -> LookUp {
        let answer = self.resolver.resolve(&self.name).await;
        let stretch = 1.0 + JITTER * self.rng.f64();
        let looked = self.take(answer);
        LookUp { pause: looked.pause.mul_f64(stretch), ..looked }
    }

    fn take(&mut self, answer: Result<Answer, ResolveError>) -> LookUp {
        match answer {
            Ok(answer) => {
                if self.failures > 0 {
                    tracing::info!(name = %self.name, "looked up again");
                }
                self.failures = 0;
                let changed = self.known.answered(&answer.addresses).then(|| self.known.addresses());
                LookUp { changed, failed: false, pause: answer.ttl.clamp(SHORTEST, LONGEST) }
            }
            Err(error) => {
                self.failures = self.failures.saturating_add(1);
                if self.failures == 1 {
                    let kept = self.known.addresses().len();
                    tracing::warn!(name = %self.name, %error, kept, "can not be looked up; trying on");
                }
                LookUp { changed: None, failed: true, pause: retry(self.failures) }
            }
        }
    }
}

/// After so many failures in a row, at least one.
fn retry(failures: u32) -> Duration {
    SHORTEST.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1))).min(LONGEST_RETRY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_half_a_minute() {
        for (failures, seconds) in [(1, 1), (2, 2), (3, 4), (5, 16), (6, 30), (u32::MAX, 30)] {
            assert_eq!(retry(failures), Duration::from_secs(seconds), "{failures}");
        }
    }

    #[test]
    fn what_is_known_is_kept_while_look_ups_fail_and_looked_for_again_by_its_ttl() {
        let name = Name::host("zope.example:8080").expect("a name");
        let mut follower = Follower::new(name, Resolver::new(None), 9, fastrand::Rng::with_seed(1));
        let answer = |last: &[u8], ttl| {
            let addresses = last.iter().map(|last| SocketAddr::from(([10, 0, 0, *last], 8080))).collect();
            Ok(Answer { addresses, ttl: Duration::from_secs(ttl) })
        };
        for (answer, changed, failed, pause) in [
            (Err(ResolveError::TimedOut), None, true, 1),
            (answer(&[1, 2], 30), Some(2), false, 30),
            (answer(&[1, 2], 0), None, false, 1),
            (Err(ResolveError::NoAddress), None, true, 1),
            (Err(ResolveError::NoAddress), None, true, 2),
            (answer(&[1, 2, 3], 86_400), Some(3), false, 300),
            (Err(ResolveError::TimedOut), None, true, 1),
        ] {
            let case = format!("{answer:?}");
            let looked = follower.take(answer);
            let found = looked.changed.map(|addresses| addresses.len());
            assert_eq!((found, looked.failed, looked.pause.as_secs()), (changed, failed, pause), "{case}");
        }
    }
}
