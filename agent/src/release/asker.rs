//! Asks questions of its own beside responses, if the operator has named a path that may be asked for at any time, and
//! lets the learner look at the clock.

use std::{sync::Arc, time::Duration};

use sluice_proto::State;
use tokio::time::{Instant, sleep};

use super::{Releases, learner::OVERDUE};
use crate::{
    health::{CheckOutcome, Probe},
    shared::Shared,
};

/// Responses that matter are sent for much longer.
const TICK: Duration = Duration::from_millis(100);

/// Asks and looks at the clock for ever.
pub async fn watch_over(shared: Arc<Shared>, probe: Probe) {
    let probe = probe.within(OVERDUE);
    let looks = async {
        loop {
            sleep(TICK).await;
            shared.releases.tend();
        }
    };
    let asks = async {
        while probe.asks_the_application() {
            sleep(TICK).await;
            if shared.takes_requests() {
                shared.releases.ask(&probe).await;
            }
        }
    };
    tokio::join!(looks, asks);
}

impl Releases {
    async fn ask(&self, probe: &Probe) {
        let Some(run) = self.learn(|learner| learner.ask(Instant::now())).flatten() else { return };
        // No answer in time is told as busy, as the workers are. Whatever else it says, it is the health checker that
        // acts on such things.
        match probe.check(|| true).await {
            CheckOutcome::Passed => self.answered(Some(run), Instant::now()),
            CheckOutcome::Busy => drop(self.learn(|learner| learner.judge_overdue(run, Instant::now()))),
            CheckOutcome::Failed(_) | CheckOutcome::Refused(_) => {}
        }
        self.ended(Some(run), Instant::now());
    }
}

impl Shared {
    /// Whether the agent is neither on its way out nor without an instance.
    pub fn takes_requests(&self) -> bool {
        self.state.standing().word().0 == State::Ready
    }
}
