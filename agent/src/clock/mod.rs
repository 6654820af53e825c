//! Requests that the agent makes to its instance on a schedule: `[[clock]]` in the configuration file.
//!
//! ```text
//!  schedule ─► ticks ─► down or draining? skipped ─► gate ─► instance ─► measured, counted
//!                └── while one is under way: skipped
//! ```
//!
//! A clock's request is a request like any other: it waits at the gate, holds a worker, holds up a drain while it
//! runs, and is reported, as the class `clock NAME`. Due times are whole multiples of the interval or minutes of a
//! cron expression, by the wall clock; those that pass while the agent is not running are not made up for.

mod call;
mod credentials;
mod metrics;
mod schedule;
mod ticks;

use std::{pin::pin, sync::Arc};

use chrono::Utc;
use prometheus::Registry;
use sluice_process::{RunError, Watch};
use tokio::time::sleep;

pub use credentials::{Credentials, CredentialsError};
pub use schedule::{Schedule, ScheduleError, Zone};

use crate::shared::Shared;
use call::Caller;
use metrics::{ClockMetrics, RunOutcome};
use ticks::Ticks;

/// One entry at work.
pub struct Clock {
    ticks: Ticks,
    caller: Caller,
}

impl Clock {
    /// One per entry of the configuration.
    ///
    /// # Errors
    /// If a file with credentials can not be used, or there is no HTTP client to be had.
    pub fn all(shared: &Arc<Shared>, registry: &Registry) -> Result<Vec<Self>, RunError> {
        let entries = &shared.config.clock;
        if entries.is_empty() {
            return Ok(Vec::new());
        }
        let metrics = ClockMetrics::register(registry);
        let clock = |entry| {
            let caller = Caller::new(shared.clone(), entry, &metrics)?;
            Ok(Self { ticks: Ticks::new(entry.schedule.clone(), Utc::now()), caller })
        };
        entries.iter().map(clock).collect()
    }

    /// Calls whenever it is due, until a successor of this process does: a call under way is finished then.
    pub async fn run(self, asked: Watch) {
        let Self { mut ticks, mut caller } = self;
        loop {
            tokio::select! {
                () = tick(&mut ticks) => {}
                () = asked.succeeded() => return,
            }
            let pause = caller.jitter();
            let mut call = pin!(async {
                sleep(pause).await;
                caller.call().await;
            });
            loop {
                tokio::select! {
                    biased;
                    () = call.as_mut() => break,
                    () = tick(&mut ticks) => caller.count(RunOutcome::Overlap),
                }
            }
        }
    }
}

/// Resolves when the next run is due. May be dropped and called again.
async fn tick(ticks: &mut Ticks) {
    while let Some(pause) = ticks.advance(Utc::now()) {
        sleep(pause).await;
    }
}
