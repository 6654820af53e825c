//! One request of a clock, from its due time to what became of it.

use std::{future::pending, sync::Arc, time::Duration};

use chrono::Utc;
use http::header;
use sluice_process::{ConfigError, RunError, tls::http_client};
use sluice_proto::ClassName;
use tokio::time::Instant;

use super::{
    Credentials,
    metrics::{ClockMetrics, EntryMetrics, RunOutcome},
};
use crate::{
    config::ClockConfig,
    gate::Permit,
    measure::Observation,
    metrics::{ClassMetrics, Outcome},
    shared::Shared,
    state::Leaving,
};

/// Makes one entry's requests.
pub(super) struct Caller {
    shared: Arc<Shared>,
    entry: ClockConfig,
    client: reqwest::Client,
    url: String,
    class: ClassName,
    class_metrics: ClassMetrics,
    metrics: EntryMetrics,
    rng: fastrand::Rng,
}

/// How a request went, and the body bytes that came.
type Answer = (RunOutcome, u64);

impl Caller {
    pub(super) fn new(
        shared: Arc<Shared>,
        entry: &ClockConfig,
        metrics: &ClockMetrics,
    ) -> Result<Self, RunError> {
        if let Some(path) = &entry.credentials_file {
            Credentials::read(path).map_err(|error| {
                let field = format!("clock.{}.credentials-file", entry.name);
                ConfigError::value(field, path.display(), error.to_string())
            })?;
        }
        let class = entry.class();
        Ok(Self {
            client: client(entry.timeout, shared.config.limits.upstream.connect).map_err(RunError::failed)?,
            url: format!("http://{}{}", shared.config.instance, entry.path),
            class_metrics: shared.metrics.class(&class),
            class,
            metrics: metrics.of(&entry.name),
            entry: entry.clone(),
            shared,
            rng: fastrand::Rng::new(),
        })
    }

    /// How long the next run is put off.
    pub(super) fn jitter(&mut self) -> Duration {
        self.entry.jitter.mul_f64(self.rng.f64())
    }

    /// Makes the request unless something is in its way.
    pub(super) async fn call(&self) {
        if let Some(obstacle) = self.obstacle() {
            return self.count(obstacle);
        }
        let _presence = self.shared.activity.arrive();
        let outcome = match self.enter().await {
            Ok(permit) => self.ask(permit).await,
            Err(outcome) => outcome,
        };
        self.count(outcome);
    }

    pub(super) fn count(&self, outcome: RunOutcome) {
        self.metrics.count(outcome);
        let (clock, outcome) = (&self.entry.name, outcome.label());
        match outcome {
            "ok" => tracing::debug!(%clock, outcome, "clock"),
            _ => tracing::warn!(%clock, outcome, url = %self.url, "clock"),
        }
    }

    fn obstacle(&self) -> Option<RunOutcome> {
        if self.shared.state.standing().leaving() != Leaving::No {
            Some(RunOutcome::Draining)
        } else if !self.shared.state.is_up() {
            Some(RunOutcome::Down)
        } else {
            None
        }
    }

    /// Waits for a worker, but not into a drain.
    async fn enter(&self) -> Result<Permit, RunOutcome> {
        let mut standing = self.shared.state.subscribe();
        let leaves = standing.wait_for(|standing| standing.leaving() != Leaving::No);
        tokio::select! {
            biased;
            _ = leaves => Err(RunOutcome::Draining),
            permit = self.shared.gate.enter(pending()) => permit.map_err(|_refusal| {
                self.class_metrics.ended(Outcome::Refused);
                RunOutcome::Refused
            }),
        }
    }

    async fn ask(&self, permit: Permit) -> RunOutcome {
        let started = Instant::now();
        let Ok(request) = self.request() else { return RunOutcome::Credentials };
        let (answer, ttfb) = self.send(request, started).await;
        drop(permit);
        self.measure(answer, started.elapsed(), ttfb);
        answer.0
    }

    /// Reads the file each time, so that a password can be changed.
    fn request(&self) -> Result<reqwest::RequestBuilder, super::CredentialsError> {
        let mut request = self.client.request(self.entry.method.clone(), &self.url);
        if let Some(host) = &self.entry.host {
            request = request.header(header::HOST, host);
        }
        if let Some(path) = &self.entry.credentials_file {
            let Credentials { user, password } = Credentials::read(path)
                .inspect_err(|error| tracing::warn!(clock = %self.entry.name, %error, "no credentials"))?;
            request = request.basic_auth(user, Some(password));
        }
        Ok(request.headers(self.entry.headers.clone()))
    }

    /// Reads the response to its end, which is when the worker is free. Also: how long its head took.
    async fn send(&self, request: reqwest::RequestBuilder, started: Instant) -> (Answer, Option<Duration>) {
        let mut bytes = 0;
        let failed = |error: &reqwest::Error| match error.is_timeout() {
            true => RunOutcome::Timeout,
            false => RunOutcome::NoAnswer,
        };
        let mut response = match request.send().await {
            Ok(response) => response,
            Err(error) => return ((failed(&error), 0), None),
        };
        let ttfb = Some(started.elapsed());
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) => bytes += chunk.len() as u64,
                Ok(None) => return ((RunOutcome::of_status(response.status()), bytes), ttfb),
                Err(error) => return ((failed(&error), bytes), ttfb),
            }
        }
    }

    /// As what it is, a request of the instance.
    fn measure(&self, (outcome, bytes): Answer, held: Duration, ttfb: Option<Duration>) {
        let as_request = match outcome {
            RunOutcome::ServerError => Outcome::Error,
            RunOutcome::NoAnswer | RunOutcome::Timeout if ttfb.is_some() => Outcome::CutShort,
            RunOutcome::NoAnswer | RunOutcome::Timeout => Outcome::NoAnswer,
            _ => Outcome::Ok,
        };
        self.class_metrics.ended(as_request);
        self.class_metrics.held.observe(held.as_secs_f64());
        self.metrics.seconds.observe(held.as_secs_f64());
        if outcome == RunOutcome::Ok {
            self.metrics.last_success.set(Utc::now().timestamp());
        }
        self.shared.recorder.record(&Observation {
            class: &self.class,
            url: Some(&self.entry.path),
            failed: as_request.is_error(),
            held: Some(held),
            ttfb,
            bytes: ttfb.map(|_| bytes),
        });
    }
}

fn client(timeout: Duration, connect: Duration) -> Result<reqwest::Client, reqwest::Error> {
    http_client()
        // Between two runs a kept connection would only occupy a worker of servers that keep them open.
        .pool_max_idle_per_host(0)
        .connect_timeout(connect)
        .timeout(timeout)
        .user_agent(crate::USER_AGENT)
        .build()
}
