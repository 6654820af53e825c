//! Asks the application for its metrics, and tells from two pages what happened between them.
//!
//! The names of routes are the application's: they are the balancer's classes where a label has the path, with numbers
//! for what varies, and else names of their own that only `/v1/classes` shows.

mod deltas;
#[doc(hidden)] // for tests/fuzzing
pub mod fuzzing;
mod names;
mod page;
mod sums;
mod text;

use std::{sync::Arc, time::Duration};

use reqwest::{Client, StatusCode};
use sluice_process::tls::http_client;
use sluice_proto::Measured;
use tokio::time::{MissedTickBehavior, interval};

use super::{FollowMetrics, metrics::ScrapeOutcome};
use crate::{config::ScrapeConfig, shared::Shared};
use names::Names;
use page::{Pages, Told};
pub use text::{Sample, samples};

/// The longest page that is read: some 30,000 samples.
const LONGEST: usize = 4 * 1024 * 1024;

/// For one scrape. The answer may have to wait for a worker; one that waits longer is of no use.
const PATIENCE: Duration = Duration::from_secs(10);

/// Scrapes one endpoint.
pub struct Scraper {
    shared: Arc<Shared>,
    config: ScrapeConfig,
    client: Client,
    pages: Pages,
    metrics: FollowMetrics,
    /// Somebody else tells of the requests: only the gauge is of interest.
    only_busy: bool,
    before: Option<ScrapeOutcome>,
}

/// Why there is no page.
struct Failed(ScrapeOutcome, String);

impl Scraper {
    /// # Errors
    /// If there is no HTTP client to be had.
    pub fn new(
        shared: Arc<Shared>,
        config: &ScrapeConfig,
        metrics: FollowMetrics,
    ) -> Result<Self, reqwest::Error> {
        // As health checks: a kept connection would occupy a worker of some servers.
        let client = http_client()
            .pool_max_idle_per_host(0)
            .timeout(PATIENCE)
            .user_agent(crate::USER_AGENT)
            .build()?;
        let pages = Pages::new(Names::new(config));
        let only_busy = shared.config.follow.log.is_some();
        Ok(Self { shared, config: config.clone(), client, pages, metrics, only_busy, before: None })
    }

    /// Scrapes for ever.
    pub async fn run(mut self) {
        let mut ticks = interval(self.config.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if self.config.is_at(&self.shared.config.instance) {
                self.shared.own.made(&self.config.path());
            }
            let told = self.page().await.and_then(|page| {
                let told = self.pages.read(&page, &self.shared.classifier());
                told.ok_or_else(|| Failed(ScrapeOutcome::NothingFound, self.missed()))
            });
            self.take(told);
        }
    }

    async fn page(&self) -> Result<String, Failed> {
        let failed = |why: String| Failed(ScrapeOutcome::Failed, why);
        let request = self.client.get(self.config.url.clone());
        let mut response = request.send().await.map_err(|error| failed(error.without_url().to_string()))?;
        if response.status() != StatusCode::OK {
            return Err(failed(format!("it is answered with {}", response.status())));
        }
        let mut body = Vec::new();
        while let Some(chunk) =
            response.chunk().await.map_err(|error| failed(error.without_url().to_string()))?
        {
            body.extend_from_slice(&chunk);
            if body.len() > LONGEST {
                return Err(failed(format!("it is longer than {LONGEST} bytes")));
            }
        }
        Ok(String::from_utf8_lossy(&body).into_owned())
    }

    fn missed(&self) -> String {
        "it has none of the metrics that are looked for: name them with --scrape-durations".to_owned()
    }

    fn take(&mut self, told: Result<Told, Failed>) {
        let outcome = match &told {
            Ok(_) => ScrapeOutcome::Taken,
            Err(Failed(outcome, _)) => *outcome,
        };
        self.metrics.scraped(outcome);
        let is_news = self.before.replace(outcome) != Some(outcome);
        let url = self.config.url.as_str();
        match told {
            Ok(told) => {
                if is_news {
                    tracing::info!(url, "metrics of the application are read");
                }
                self.learn(told);
            }
            Err(Failed(_, why)) => {
                if is_news {
                    tracing::warn!(url, why, "metrics of the application can not be read; trying on");
                }
                self.shared.figures.set_busy(None);
                if !self.only_busy {
                    self.shared.figures.set(Measured::nothing(), format!("nothing: {url}: {why}"));
                }
            }
        }
    }

    fn learn(&self, told: Told) {
        // The scrape itself holds one of the workers that it counts.
        let own = u32::from(self.config.is_at(&self.shared.config.instance));
        self.shared.figures.set_busy(told.busy.map(|busy| busy.saturating_sub(own)));
        if self.only_busy {
            return;
        }
        self.shared.recorder.merge_all(&told.classes);
        for (class, sums) in &told.classes {
            // When they took how long is known in sum only: that goes into reports, not into histograms.
            self.shared.metrics.class(class).told(sums.requests, sums.errors);
        }
        self.shared.figures.set(told.measured, format!("metrics at {}", self.config.url));
    }
}
