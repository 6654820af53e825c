//! An agent between an instance and a balancer that do as they are told, all in this process, on free ports.
//!
//! Nothing here sleeps to let something happen: [`soon`] and [`eventually`] wait for it, and fail by name.

pub mod balancer;
pub mod instance;
pub mod wire;

use std::{net::SocketAddr, time::Duration};

use clap::Parser;
use sluice_agent::{Config, Options, Running};
use sluice_process::Shutdown;
use tokio::time::{Instant, sleep, timeout};

/// Everything in here happens within milliseconds; the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(20);

/// The result of `future`, or a panic that says what did not happen.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("in vain waited for: {what}"))
}

/// Waits until `is_so`, for what can only be looked at.
pub async fn eventually(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so().await {
        assert!(Instant::now() < deadline, "in vain waited for: {what}");
        sleep(Duration::from_millis(5)).await;
    }
}

/// An agent; ends at once when dropped.
pub struct Agent {
    pub admin: SocketAddr,
    data: Option<SocketAddr>,
    running: Option<Running>,
    shutdown: Shutdown,
    pub client: reqwest::Client,
}

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    options: Options,
}

impl Agent {
    /// In mode inline on free ports, reporting ten times a second unless `flags` say otherwise.
    pub fn start(instance: SocketAddr, balancers: &[SocketAddr], flags: &str) -> Self {
        let mut line =
            format!("agent --admin 127.0.0.1:0 --half-close-grace 20ms --instance {instance} {flags}");
        if !flags.contains("--mode passive") {
            line.push_str(" --listen 127.0.0.1:0");
        }
        if !flags.contains("--interval") {
            line.push_str(" --interval 100ms");
        }
        for balancer in balancers {
            line.push_str(&format!(" --balancer http://{balancer}"));
        }
        let options = Line::try_parse_from(line.split_whitespace()).expect("valid flags").options;
        let shutdown = Shutdown::new();
        let running = sluice_agent::start(Config::load(options).expect("a configuration"), shutdown.clone());
        let running = running.expect("free ports");
        let client = sluice_process::tls::http_client().build().expect("a client");
        Self {
            admin: running.admin_addr(),
            data: running.data_addr(),
            running: Some(running),
            shutdown,
            client,
        }
    }

    /// Where it takes requests.
    pub fn data(&self) -> SocketAddr {
        self.data.expect("an agent in mode inline")
    }

    pub fn get(&self, path: &str) -> reqwest::RequestBuilder {
        self.client.get(format!("http://{}{path}", self.data()))
    }

    pub fn post(&self, path: &str) -> reqwest::RequestBuilder {
        self.client.post(format!("http://{}{path}", self.data()))
    }

    pub async fn answer(&self, path: &str) -> Answer {
        Answer::to(self.get(path)).await
    }

    pub async fn admin_get(&self, path: &str) -> Answer {
        Answer::to(self.client.get(format!("http://{}{path}", self.admin))).await
    }

    pub async fn admin_post(&self, path: &str, body: impl Into<reqwest::Body>) -> Answer {
        Answer::to(self.client.post(format!("http://{}{path}", self.admin)).body(body)).await
    }

    pub async fn status(&self) -> serde_json::Value {
        let answer = self.admin_get("/v1/status").await;
        serde_json::from_str(&answer.body).expect("the status is JSON")
    }

    pub async fn metrics(&self) -> String {
        self.admin_get("/metrics").await.body
    }

    pub async fn is_ready(&self) {
        eventually("a ready agent", async || self.admin_get("/readyz").await.status == 200).await;
    }

    /// How many hold a worker and how many wait for one.
    pub async fn occupancy_is(&self, busy: u64, queued: u64) {
        eventually(&format!("{busy} busy, {queued} queued"), async || {
            let now = self.status().await["now"].clone();
            now["in_flight"] == busy && now["queued"] == queued
        })
        .await;
    }

    /// Asks to stop, as the first signal does.
    pub fn stop(&self) {
        self.shutdown.trigger();
    }

    /// Asks to stop at once, as the second does.
    pub fn stop_now(&self) {
        self.shutdown.trigger_now();
    }

    /// Waits for a clean end.
    pub async fn ended(mut self) {
        let running = self.running.take().expect("taken only here");
        let joined = tokio::task::spawn_blocking(move || running.join());
        soon("the agent's end", joined).await.expect("no panic").expect("a clean end");
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.shutdown.trigger_now();
    }
}

/// A whole response.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub body: String,
}

impl Answer {
    pub async fn to(request: reqwest::RequestBuilder) -> Self {
        let answered = async {
            let response = request.send().await.expect("a response");
            let (status, headers) = (response.status().as_u16(), response.headers().clone());
            Self { status, headers, body: response.text().await.expect("a whole body") }
        };
        soon("an answer", answered).await
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("ASCII"))
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).expect("JSON")
    }
}
