//! What happens by itself: leases end, classes are learned, plans are made, instances in doubt are tried again.

use std::sync::Arc;
use std::time::Duration;

use sluice_process::Watch;
use tokio::time::{MissedTickBehavior, interval};

use crate::control::ControlState;
use crate::control::probe::Prober;
use crate::decide::pauses::Pauses;
use crate::pool::now;

/// How often a plan is made. Its inputs change more slowly, and no pick waits for it.
const PLAN_EVERY: u32 = 4;
/// How often waiters are offered instances whose pause is over: as long as the shortest pause.
const TICK: Duration = Duration::from_millis(250);

/// Runs until the stop is requested.
pub async fn run(state: Arc<ControlState>, stop: Watch) {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut count, mut pauses, mut prober) = (0_u32, Pauses::default(), Prober::default());
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = stop.requested() => return,
        }
        if let Some(pause) = pauses.runs(now()) {
            state.paused(pause);
        }
        prober.tick(&state);
        state.directory().iter().for_each(|service| service.hand_out());
        if count.is_multiple_of(PLAN_EVERY) {
            state.expire();
            // One whose agent is gone may still be wanted.
            state.provide_instances();
            state.tend_classes();
            state.tick();
            state.pulse();
        } else {
            state.catch_up();
        }
        count = count.wrapping_add(1);
    }
}
