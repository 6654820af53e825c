//! Whether the instance is well: asked on a timer, and told by the data path when a connection was refused.

mod judge;
mod probe;

use std::sync::Arc;

use tokio::time::{Instant, sleep_until};

pub use judge::CheckOutcome;
use judge::Judge;
pub use probe::Probe;

use crate::shared::Shared;

/// Checks for ever. The only one who sets the health in the state.
pub async fn watch_over(shared: Arc<Shared>, probe: Probe) {
    let known = shared.state.standing().health().clone();
    let mut judge = Judge::new(known, shared.config.health.interval);
    let mut due = Instant::now();
    loop {
        let checked = async {
            sleep_until(due).await;
            if let Some(path) = &shared.config.health.path {
                shared.own.made(path);
            }
            probe.check(|| shared.may_be_full()).await
        };
        // Told at most once per time that the instance was up, so a storm of refusals can not put off the checks.
        let outcome = tokio::select! {
            biased;
            () = shared.connection_refused.notified() => CheckOutcome::refused(),
            outcome = checked => outcome,
        };
        shared.metrics.checked(&outcome);
        shared.state.set_health(judge.record(outcome));
        due = Instant::now() + judge.pause();
    }
}
