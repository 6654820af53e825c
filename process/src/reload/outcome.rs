//! What became of reading a configuration again.

use std::{
    sync::Mutex,
    time::{SystemTime, UNIX_EPOCH},
};

use prometheus::{IntCounterVec, IntGauge, Registry};
use serde::Serialize;

use crate::metrics::{counters, gauge};

/// Counts, and the last outcome.
pub struct Reloads {
    outcomes: IntCounterVec,
    last_success: IntGauge,
    state: Mutex<ReloadState>,
}

/// The configuration in force, and what was tried last. Times in milliseconds since 1970.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ReloadState {
    /// Since when the configuration in force is.
    pub in_force_since_ms: u64,
    /// The last attempt to read it again; `None`: there was none since the start.
    pub last: Option<Attempt>,
}

/// One attempt to read the configuration again.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Attempt {
    pub at_ms: u64,
    pub outcome: &'static str,
    /// Why nothing was changed.
    pub error: Option<String>,
    /// What the file has otherwise and only a restart brings into force.
    pub needs_restart: Vec<String>,
}

const APPLIED: &str = "applied";
const REFUSED: &str = "refused";

impl Reloads {
    pub fn register(registry: &Registry) -> Self {
        let outcomes = counters(
            registry,
            "sluice_config_reloads_total",
            "Times that the configuration was read again. refused: it can not be used, the one in force stays, and the log says why.",
            &["outcome"],
        );
        [APPLIED, REFUSED].iter().for_each(|outcome| drop(outcomes.with_label_values(&[*outcome])));
        let last_success = gauge(
            registry,
            "sluice_config_last_success_timestamp_seconds",
            "Since when the configuration in force is, in seconds since 1970.",
        );
        let state = Mutex::new(ReloadState { in_force_since_ms: unix_ms(), last: None });
        let this = Self { outcomes, last_success, state };
        this.applied_at(unix_ms());
        this
    }

    fn applied_at(&self, at_ms: u64) {
        self.last_success.set(i64::try_from(at_ms / 1000).unwrap_or(i64::MAX));
    }

    /// Notes an attempt: what needs a restart, or why it was refused.
    pub fn note(&self, result: &Result<Vec<String>, String>) {
        let at_ms = unix_ms();
        let (outcome, error, needs_restart) = match result {
            Ok(needs_restart) => (APPLIED, None, needs_restart.clone()),
            Err(error) => (REFUSED, Some(error.clone()), Vec::new()),
        };
        self.outcomes.with_label_values(&[outcome]).inc();
        let mut state = self.state.lock().expect("no code panics while holding it");
        if result.is_ok() {
            self.applied_at(at_ms);
            state.in_force_since_ms = at_ms;
        }
        state.last = Some(Attempt { at_ms, outcome, error, needs_restart });
    }

    pub fn state(&self) -> ReloadState {
        self.state.lock().expect("no code panics while holding it").clone()
    }
}

/// Unix time in milliseconds.
fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
    u64::try_from(since).unwrap_or(u64::MAX)
}
