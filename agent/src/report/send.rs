//! Sends the newest report to one balancer. What that one does or does not do holds up nobody else.

use std::{sync::Arc, time::Duration};

use reqwest::{Response, StatusCode, header};
use sluice_process::TokenFile;
use sluice_process::tls::{ClientTls, HttpClient, HttpClientError};
use sluice_proto::{Classification, PlanReply, SCHEMA};
use tokio::{sync::watch, time::Instant};

use super::{Link, Published, SendOutcome};
use crate::grants::{Membership, Wants};

/// A balancer answers within a millisecond. As long as the interval, so that a slow one gets every report, but
/// bounded on both sides: a report that waited for 5 s is better replaced by the next.
const TIMEOUT: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(5));

/// A plan is a few hundred bytes, and what classifies requests is bounded. More comes from something that is no
/// balancer.
const LARGEST_REPLY: usize = 64 * 1024 + Classification::MAX_BYTES;

/// One per balancer.
pub struct Sender {
    client: Arc<HttpClient>,
    link: Arc<Link>,
    share: Membership,
    token: Option<Arc<TokenFile>>,
    timeout: Duration,
    reports: watch::Receiver<Option<Arc<Published>>>,
}

/// How the balancer's reason begins if the report is not this agent's to make.
const MISPLACED: [&str; 2] = ["other_sender:", "other_instance:"];

struct Failed(SendOutcome, String);

impl Sender {
    /// The HTTP client that the senders of one agent share. `tls`: `None` if no balancer is reached by https.
    ///
    /// # Errors
    /// If there is no client to be had.
    pub fn client(tls: Option<ClientTls>) -> Result<Arc<HttpClient>, HttpClientError> {
        HttpClient::open(tls, |builder| builder.user_agent(crate::USER_AGENT)).map(Arc::new)
    }

    pub fn new(
        client: Arc<HttpClient>,
        link: Arc<Link>,
        share: Membership,
        token: Option<Arc<TokenFile>>,
        interval: Duration,
        reports: watch::Receiver<Option<Arc<Published>>>,
    ) -> Self {
        let timeout = interval.clamp(TIMEOUT.0, TIMEOUT.1);
        Self { client, link, share, token, timeout, reports }
    }

    /// Sends for as long as reports are made. Reports made during a send are skipped but for the newest: no backlog.
    /// No back-off either: the interval is one, and a balancer that restarts should know its instances soon.
    pub async fn run(mut self) {
        while self.reports.changed().await.is_ok() {
            let report = self.reports.borrow_and_update().clone();
            if let Some(report) = report {
                self.deliver(&report).await;
            }
        }
    }

    async fn deliver(&self, published: &Published) {
        let seq = published.report.seq;
        match self.post(published).await {
            Ok(plan) => {
                let granted = published.grants.of(self.share.holder());
                self.share.acknowledged(granted, Wants { workers: plan.wanted });
                self.link.acknowledged(seq, plan, Instant::now());
            }
            Err(Failed(outcome, detail)) => {
                self.share.failed();
                self.link.failed(seq, outcome, detail);
            }
        }
    }

    async fn post(&self, published: &Published) -> Result<PlanReply, Failed> {
        let mut request = self
            .client
            .current()
            .post(self.link.url.report_url())
            .timeout(self.timeout)
            .header(header::CONTENT_TYPE, "application/json")
            .body(published.body_for(self.share.holder(), self.link.form()));
        if let Some(token) = &self.token {
            request = request.bearer_auth(token.current());
        }
        let mut response = request.send().await.map_err(transport)?;
        let status = response.status();
        let body = bounded(&mut response).await?;
        match outcome_of(status, &body) {
            SendOutcome::Acknowledged => plan_of(&body),
            outcome => Err(Failed(outcome, format!("{status}: {}", first_line(&body)))),
        }
    }
}

fn outcome_of(status: StatusCode, body: &[u8]) -> SendOutcome {
    match status {
        StatusCode::FORBIDDEN if MISPLACED.iter().any(|word| body.starts_with(word.as_bytes())) => {
            SendOutcome::Misplaced
        }
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => SendOutcome::Unauthorized,
        _ if status.is_success() => SendOutcome::Acknowledged,
        _ if status.is_client_error() => SendOutcome::Refused,
        _ if status.is_server_error() => SendOutcome::Failed,
        _ => SendOutcome::Unexpected,
    }
}

fn plan_of(body: &[u8]) -> Result<PlanReply, Failed> {
    let invalid = |detail| Failed(SendOutcome::InvalidReply, detail);
    let plan: PlanReply = serde_json::from_slice(body).map_err(|error| invalid(error.to_string()))?;
    match plan.schema {
        SCHEMA => Ok(plan),
        other => Err(invalid(format!("plan of schema {other}; this agent understands {SCHEMA}"))),
    }
}

async fn bounded(response: &mut Response) -> Result<Vec<u8>, Failed> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(transport)? {
        body.extend_from_slice(&chunk);
        if body.len() > LARGEST_REPLY {
            return Err(Failed(SendOutcome::InvalidReply, format!("more than {LARGEST_REPLY} bytes")));
        }
    }
    Ok(body)
}

fn transport(error: reqwest::Error) -> Failed {
    let outcome = if error.is_timeout() { SendOutcome::TimedOut } else { SendOutcome::Unreachable };
    Failed(outcome, whole_story(&error.without_url()))
}

/// Reqwest's own words end before the reason.
fn whole_story(error: &dyn std::error::Error) -> String {
    let mut story = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        story = format!("{story}: {error}");
        cause = error.source();
    }
    story
}

/// For the log: what the balancer said, short and harmless.
fn first_line(body: &[u8]) -> String {
    String::from_utf8_lossy(body).lines().next().unwrap_or_default().chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_has_an_outcome() {
        for (status, outcome) in [
            (200, SendOutcome::Acknowledged),
            (204, SendOutcome::Acknowledged),
            (302, SendOutcome::Unexpected),
            (401, SendOutcome::Unauthorized),
            (403, SendOutcome::Unauthorized),
            (409, SendOutcome::Refused),
            (422, SendOutcome::Refused),
            (500, SendOutcome::Failed),
            (503, SendOutcome::Failed),
        ] {
            let status = StatusCode::from_u16(status).expect("a status");
            assert_eq!(outcome_of(status, b"no"), outcome, "{status}");
        }
        for body in ["other_sender: zope-1 is bound to 10.0.0.1\n", "other_instance: 10.0.0.1:80 is ..."] {
            assert_eq!(outcome_of(StatusCode::FORBIDDEN, body.as_bytes()), SendOutcome::Misplaced, "{body}");
        }
    }

    #[test]
    fn only_a_plan_of_this_schema_is_understood() {
        let plan = |schema: u32| {
            format!(
                r#"{{"schema":{schema},"plan":3,"role":"general","reason":"all are","routed":true,"new":1}}"#
            )
        };
        assert_eq!(plan_of(plan(SCHEMA).as_bytes()).map_err(|failed| failed.1).expect("a plan").plan, 3);
        for bad in [plan(SCHEMA + 1), "{}".to_owned(), String::new(), "<html>".to_owned()] {
            let Failed(outcome, _) = plan_of(bad.as_bytes()).expect_err(&bad);
            assert_eq!(outcome, SendOutcome::InvalidReply, "{bad}");
        }
    }
}
