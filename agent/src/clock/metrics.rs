use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry};
use sluice_process::metrics::{LATENCY_BUCKETS, counters, gauges, histograms};

/// What became of a due time, as a metric label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RunOutcome {
    /// Answered with 2xx.
    Ok,
    /// Answered with 3xx, which is not followed. Most often the way to a login form.
    Redirect,
    ClientError,
    ServerError,
    /// The instance did not answer, or not with HTTP.
    NoAnswer,
    /// Not answered to the end in the entry's time.
    Timeout,
    /// The gate did not let it in.
    Refused,
    /// The file with the credentials can not be used.
    Credentials,
    /// Skipped: the run before was still under way.
    Overlap,
    /// Skipped: the agent is leaving.
    Draining,
    /// Skipped: the instance is down.
    Down,
}

impl RunOutcome {
    pub(super) const ALL: [Self; 11] = [
        Self::Ok,
        Self::Redirect,
        Self::ClientError,
        Self::ServerError,
        Self::NoAnswer,
        Self::Timeout,
        Self::Refused,
        Self::Credentials,
        Self::Overlap,
        Self::Draining,
        Self::Down,
    ];

    /// Of a response that came whole.
    pub(super) fn of_status(status: http::StatusCode) -> Self {
        match status.as_u16() {
            200..300 => Self::Ok,
            300..400 => Self::Redirect,
            400..500 => Self::ClientError,
            _ => Self::ServerError,
        }
    }

    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Redirect => "redirect",
            Self::ClientError => "client_error",
            Self::ServerError => "server_error",
            Self::NoAnswer => "no_answer",
            Self::Timeout => "timeout",
            Self::Refused => "refused",
            Self::Credentials => "credentials",
            Self::Overlap => "overlap",
            Self::Draining => "draining",
            Self::Down => "down",
        }
    }
}

/// Every clock's series.
pub(super) struct ClockMetrics {
    runs: IntCounterVec,
    seconds: HistogramVec,
    last_success: IntGaugeVec,
}

/// One clock's handles.
pub(super) struct EntryMetrics {
    runs: [IntCounter; RunOutcome::ALL.len()],
    /// Time at the instance.
    pub(super) seconds: Histogram,
    /// By the wall clock, in seconds since 1970.
    pub(super) last_success: IntGauge,
}

impl ClockMetrics {
    pub(super) fn register(registry: &Registry) -> Self {
        Self {
            runs: counters(
                registry,
                "sluice_agent_clock_runs_total",
                "Due times of the clocks, by what became of them. Overlap: the clock is due more often than its requests take.",
                &["clock", "outcome"],
            ),
            seconds: histograms(
                registry,
                "sluice_agent_clock_seconds",
                "Time that a clock's request held a worker of the instance.",
                &["clock"],
                LATENCY_BUCKETS,
            ),
            last_success: gauges(
                registry,
                "sluice_agent_clock_last_success_timestamp_seconds",
                "When a clock's request was last answered with 2xx, in Unix time; 0: not since the agent started.",
                &["clock"],
            ),
        }
    }

    pub(super) fn of(&self, clock: &str) -> EntryMetrics {
        EntryMetrics {
            runs: RunOutcome::ALL.map(|outcome| self.runs.with_label_values(&[clock, outcome.label()])),
            seconds: self.seconds.with_label_values(&[clock]),
            last_success: self.last_success.with_label_values(&[clock]),
        }
    }
}

impl EntryMetrics {
    pub(super) fn count(&self, outcome: RunOutcome) {
        self.runs[outcome as usize].inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_are_in_the_order_of_their_counters() {
        for (index, outcome) in RunOutcome::ALL.into_iter().enumerate() {
            assert_eq!(outcome as usize, index, "{}", outcome.label());
        }
    }
}
