//! Looks one name up for as long as the agent runs.

use std::{net::SocketAddr, time::Duration};

use tokio::{sync::mpsc, time::sleep};

use super::{Name, Resolver, known::Known};

/// Names with a TTL of 0 are asked for once a second: nobody sees a balancer come and go in less.
const SHORTEST: Duration = Duration::from_secs(1);

/// A TTL of a day is meant for browsers.
const LONGEST: Duration = Duration::from_secs(300);

/// After failures, the pause doubles from [`SHORTEST`] to this.
const LONGEST_RETRY: Duration = Duration::from_secs(30);

/// One name's balancers, whenever they change.
pub(super) struct Found {
    pub(super) source: usize,
    pub(super) addresses: Vec<SocketAddr>,
}

/// Looks `name` up for ever, by its TTL, and tells `found` of each change. A look-up that fails changes nothing: that
/// DNS is gone does not mean that the balancers are.
pub(super) async fn follow(source: usize, name: Name, resolver: Resolver, found: mpsc::Sender<Found>) {
    let mut known = Known::default();
    let mut failures = 0;
    loop {
        let pause = match resolver.resolve(&name).await {
            Ok(answer) => {
                if failures > 0 {
                    tracing::info!(%name, "looked up again");
                }
                failures = 0;
                if known.answered(&answer.addresses)
                    && found.send(Found { source, addresses: known.addresses() }).await.is_err()
                {
                    return;
                }
                answer.ttl.clamp(SHORTEST, LONGEST)
            }
            Err(error) => {
                failures += 1;
                if failures == 1 {
                    let kept = known.addresses().len();
                    tracing::warn!(%name, %error, kept, "can not be looked up; trying on");
                }
                retry(failures)
            }
        };
        sleep(pause).await;
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
}
