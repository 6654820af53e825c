//! Sends spans in batches. Runs on the control plane: it may wait for the collector, requests do not.

use std::time::Duration;

use reqwest::{Client, StatusCode, Url};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sluice_process::tls::http_client;
use sluice_process::{RunError, Watch};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::observe::otlp::Metrics;
use crate::observe::otlp::span::Span;

/// Spans of one message, about.
const BATCH: usize = 512;
/// How long a span waits for others.
const GATHER: Duration = Duration::from_secs(1);
/// For one answer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How often a batch is sent before it is given up, and the pause after the first time; it doubles.
const TRIES: u32 = 5;
const PAUSE: Duration = Duration::from_secs(1);
/// For all that is left when the program ends.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// Takes spans and sends them.
pub struct Exporter {
    url: Url,
    /// The same for the log, without the password that may be in it.
    shown: String,
    client: Client,
    spans: mpsc::Receiver<Vec<Span>>,
    /// What is being gathered or sent.
    batch: Vec<Span>,
    metrics: Metrics,
    stop: Watch,
    /// The last batch was given up, which has been told.
    failing: bool,
}

/// What an OTLP receiver may answer. Fields that are not there are zero.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Answer {
    partial_success: PartialSuccess,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PartialSuccess {
    rejected_spans: Count,
    error_message: String,
}

/// A 64-bit number: text in OTLP's JSON, but senders differ.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Count {
    Number(u64),
    Text(String),
}

impl Default for Count {
    fn default() -> Self {
        Self::Number(0)
    }
}

impl Count {
    fn get(&self) -> u64 {
        match self {
            Self::Number(n) => *n,
            Self::Text(text) => text.parse().unwrap_or(0),
        }
    }
}

/// Why a batch was not taken.
enum Refused {
    /// It may be taken later.
    ForNow(String),
    ForGood(String),
}

impl Exporter {
    pub(super) fn new(
        endpoint: &str,
        spans: mpsc::Receiver<Vec<Span>>,
        metrics: Metrics,
        stop: Watch,
    ) -> Result<Self, RunError> {
        // Whatever proxy the environment names is not for this: a collector is near, or nowhere.
        let client = http_client().timeout(TIMEOUT).build().map_err(RunError::failed)?;
        let url = format!("{}/v1/traces", endpoint.trim_end_matches('/'));
        let url: Url = url.parse().map_err(RunError::failed)?;
        let shown = shown(url.clone());
        Ok(Self { url, shown, client, spans, batch: Vec::new(), metrics, stop, failing: false })
    }

    /// Sends until the stop, then what is left, for a moment.
    pub async fn run(mut self) {
        let stop = self.stop.clone();
        tokio::select! {
            () = self.follow() => {}
            () = stop.requested() => {}
        }
        self.spans.close();
        if timeout(LAST_WORDS, self.follow()).await.is_err() {
            tracing::warn!("spans are left that {} did not take in time", self.shown);
        }
    }

    /// Until the channel is closed and empty. May be dropped and begun again: the batch stays.
    async fn follow(&mut self) {
        while self.gather().await {
            self.export().await;
            self.batch.clear();
        }
    }

    /// Whether there is something to send.
    async fn gather(&mut self) -> bool {
        if self.batch.is_empty() {
            let Some(first) = self.spans.recv().await else { return false };
            self.batch = first;
        }
        let end = Instant::now() + GATHER;
        while self.batch.len() < BATCH {
            match timeout_at(end, self.spans.recv()).await {
                Ok(Some(more)) => self.batch.extend(more),
                Ok(None) | Err(_) => break,
            }
        }
        true
    }

    async fn export(&mut self) {
        let (body, count) = (message(&self.batch), self.batch.len());
        for attempt in 1..=TRIES {
            let why = match self.send(&body).await {
                Ok(answer) => return self.taken(count, &answer.partial_success),
                Err(Refused::ForNow(why)) if attempt < TRIES => {
                    tracing::debug!("{} does not take spans now: {why}", self.shown);
                    sleep(PAUSE * 2u32.pow(attempt - 1)).await;
                    continue;
                }
                Err(Refused::ForNow(why) | Refused::ForGood(why)) => why,
            };
            return self.given_up(count, &why);
        }
    }

    async fn send(&self, body: &str) -> Result<Answer, Refused> {
        let request = self
            .client
            .post(self.url.clone())
            .header("content-type", "application/json")
            .body(body.to_owned());
        let answer =
            request.send().await.map_err(|error| Refused::ForNow(error.without_url().to_string()))?;
        let status = answer.status();
        let text = answer.text().await.unwrap_or_default();
        match status {
            // An answer that can not be read says no more than the status.
            StatusCode::OK => Ok(serde_json::from_str(&text).unwrap_or_default()),
            // "All other 4xx or 5xx response status codes MUST NOT be retried" (OTLP 1.5, failures).
            StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT => Err(Refused::ForNow(status.to_string())),
            _ => Err(Refused::ForGood(format!("{status} {}", text.lines().next().unwrap_or_default()))),
        }
    }

    fn taken(&mut self, sent: usize, but: &PartialSuccess) {
        let rejected = usize::try_from(but.rejected_spans.get()).unwrap_or(sent).min(sent);
        self.metrics.exported.inc_by((sent - rejected) as u64);
        self.metrics.drop_spans("rejected", rejected);
        if rejected > 0 {
            tracing::warn!("{} rejected {rejected} of {sent} spans: {}", self.shown, but.error_message);
        }
        if self.failing {
            tracing::info!("spans are sent to {} again", self.shown);
        }
        self.failing = false;
    }

    fn given_up(&mut self, count: usize, why: &str) {
        self.metrics.drop_spans("failed", count);
        if !self.failing {
            tracing::warn!("spans can not be sent to {} (--otlp-endpoint): {why}", self.shown);
        }
        self.failing = true;
    }
}

/// An `ExportTraceServiceRequest`.
/// `url` without user and password.
fn shown(mut url: Url) -> String {
    // Fails only where there can be none.
    let _none_before = url.set_username("").and_then(|()| url.set_password(None));
    url.into()
}

fn message(spans: &[Span]) -> String {
    let text = |key: &str, value: &str| json!({ "key": key, "value": { "stringValue": value } });
    let version = env!("CARGO_PKG_VERSION");
    let resource = json!({ "attributes": [
        text("service.name", "sluice-balancer"),
        text("service.version", version),
        { "key": "process.pid", "value": { "intValue": std::process::id().to_string() } },
    ] });
    #[derive(Serialize)]
    struct ScopeSpans<'a> {
        scope: serde_json::Value,
        spans: &'a [Span],
    }
    let scope = ScopeSpans { scope: json!({ "name": "sluice-balancer", "version": version }), spans };
    let message = json!({ "resourceSpans": [{ "resource": resource, "scopeSpans": [scope] }] });
    message.to_string()
}
