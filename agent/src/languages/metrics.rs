//! What is exported about what peers are told.

use prometheus::{IntCounter, Registry};
use sluice_process::metrics::counters;
use sluice_proto::State;

const STATES: [State; 3] = [State::Ready, State::Draining, State::Down];

/// What became of a heartbeat, as a metric label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Beat {
    Sent,
    Failed,
}

/// Handles into the registry.
#[derive(Clone, Debug)]
pub struct LanguageMetrics {
    checks: [IntCounter; STATES.len()],
    sent: IntCounter,
    failed: IntCounter,
}

impl LanguageMetrics {
    /// Registers everything.
    ///
    /// # Panics
    /// If called twice for one registry.
    pub fn register(registry: &Registry) -> Self {
        let checks = counters(
            registry,
            "sluice_agent_agent_checks_total",
            "HAProxy's agent-checks that were answered, by the state that was told. None with --agent-check: see HAProxy's agent-port and agent-addr.",
            &["state"],
        );
        let beats = counters(
            registry,
            "sluice_agent_heartbeats_total",
            "Datagrams for mod_heartmonitor by what became of them. Failed: is there a route to --heartbeat?",
            &["outcome"],
        );
        Self {
            checks: STATES.map(|state| checks.with_label_values(&[label(state)])),
            sent: beats.with_label_values(&["sent"]),
            failed: beats.with_label_values(&["failed"]),
        }
    }

    pub(super) fn told(&self, state: State) {
        self.checks[state as usize].inc();
    }

    pub(super) fn beaten(&self, beat: Beat) {
        match beat {
            Beat::Sent => self.sent.inc(),
            Beat::Failed => self.failed.inc(),
        }
    }
}

fn label(state: State) -> &'static str {
    match state {
        State::Ready => "ready",
        State::Draining => "draining",
        State::Down => "down",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_in_the_order_of_their_counters() {
        for (index, state) in STATES.into_iter().enumerate() {
            assert_eq!(state as usize, index);
        }
    }
}
