//! What an agent that follows a log or scrapes a page exports about that.

use prometheus::{IntCounter, IntCounterVec, Registry};
use sluice_process::metrics::counters;

/// Handles into the registry; cheap to clone.
#[derive(Clone, Debug)]
pub struct FollowMetrics {
    pub taken: IntCounter,
    pub own: IntCounter,
    pub malformed: IntCounter,
    pub too_long: IntCounter,
    pub opened: IntCounter,
    pub rotated: IntCounter,
    pub truncated: IntCounter,
    scrapes: IntCounterVec,
}

/// What became of a scrape, as a metric label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScrapeOutcome {
    Taken,
    /// No answer, or none that is a page.
    Failed,
    /// A page without any of the metrics that are looked for.
    NothingFound,
}

impl ScrapeOutcome {
    const ALL: [Self; 3] = [Self::Taken, Self::Failed, Self::NothingFound];

    fn label(self) -> &'static str {
        match self {
            Self::Taken => "taken",
            Self::Failed => "failed",
            Self::NothingFound => "nothing_found",
        }
    }
}

impl FollowMetrics {
    /// Registers everything.
    ///
    /// # Panics
    /// If called twice for one registry.
    pub fn register(registry: &Registry) -> Self {
        let lines = counters(
            registry,
            "sluice_agent_log_lines_total",
            "Lines of the access log by what became of them. Mostly malformed: --access-log-format is not the server's.",
            &["outcome"],
        );
        let files = counters(
            registry,
            "sluice_agent_log_files_total",
            "What happened to the access log's file. None opened: it is not where --access-log says.",
            &["event"],
        );
        let scrapes = counters(
            registry,
            "sluice_agent_scrapes_total",
            "Scrapes of the application's metrics by what became of them.",
            &["outcome"],
        );
        ScrapeOutcome::ALL.iter().for_each(|outcome| drop(scrapes.with_label_values(&[outcome.label()])));
        let (line, file) =
            (|outcome| lines.with_label_values(&[outcome]), |event| files.with_label_values(&[event]));
        Self {
            taken: line("taken"),
            own: line("own"),
            malformed: line("malformed"),
            too_long: line("too_long"),
            opened: file("opened"),
            rotated: file("rotated"),
            truncated: file("truncated"),
            scrapes,
        }
    }

    pub fn scraped(&self, outcome: ScrapeOutcome) {
        self.scrapes.with_label_values(&[outcome.label()]).inc();
    }
}
