//! Asks the balancer.

use std::path::{Path, PathBuf};
use std::sync::mpsc::Sender;
use std::time::Duration;

use reqwest::{RequestBuilder, Response, StatusCode, Url};
use serde::de::DeserializeOwned;
use sluice_process::config::ConfigError;
use sluice_process::tls::{ClientTls, HttpClient, Trust};
use sluice_process::{RunError, TokenFile};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::top::Site;

/// Longer than any answer takes.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Where to ask.
pub(super) struct Source {
    pub(super) admin: String,
    token: Option<TokenFile>,
    client: HttpClient,
}

/// What there is to show.
pub(super) enum News {
    Site(Box<Site>),
    /// Why there is nothing new.
    Failed(String),
    /// The program was asked to end.
    End,
}

impl Source {
    pub(super) fn new(admin: &str, ca: Option<PathBuf>, token_file: Option<&Path>) -> Result<Self, RunError> {
        let url =
            Url::parse(admin).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        let Some(url) = url else {
            let accepted = "an address such as http://127.0.0.1:9900 or https://lb.example:9900";
            return Err(ConfigError::value("--admin", admin, accepted).into());
        };
        let token = token_file.map(TokenFile::open).transpose()?;
        let trust = ca.map_or(Trust::System, Trust::File);
        let tls = (url.scheme() == "https").then_some(ClientTls { trust, cert: None });
        let client = HttpClient::open(tls, |builder| builder.timeout(TIMEOUT)).map_err(RunError::failed)?;
        Ok(Self { admin: admin.trim_end_matches('/').to_owned(), token, client })
    }

    async fn site(&self) -> Result<Site, String> {
        Ok(Site {
            instances: self.get("/v1/instances").await?,
            classes: self.get("/v1/classes").await?,
            plan: self.get("/v1/plan").await?,
        })
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, String> {
        let url = format!("{}{path}", self.admin);
        let request = self.authorized(self.client.current().get(&url));
        let answer = request.send().await.map_err(|error| no_answer(&url, &error))?;
        let other =
            |error: reqwest::Error| format!("{url} is not a balancer of this release: {}", innermost(&error));
        well(&url, answer)?.json().await.map_err(other)
    }

    fn authorized(&self, request: RequestBuilder) -> RequestBuilder {
        match &self.token {
            Some(token) => request.bearer_auth(token.current()),
            None => request,
        }
    }
}

fn well(url: &str, answer: Response) -> Result<Response, String> {
    match answer.status() {
        StatusCode::OK => Ok(answer),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            Err(format!("{url} wants a token: give --token-file the balancer's file"))
        }
        status => Err(format!("{url} answers {status}: --admin must be a balancer's admin address")),
    }
}

fn no_answer(url: &str, error: &reqwest::Error) -> String {
    format!("no answer from {url} (is the balancer running, and is that its --admin?): {}", innermost(error))
}

fn innermost(error: &dyn std::error::Error) -> String {
    let mut inner = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string()
}

fn runtime() -> Result<tokio::runtime::Runtime, RunError> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(RunError::failed)
}

/// One look.
pub(super) fn once(source: &Source) -> Result<Site, RunError> {
    runtime()?.block_on(source.site()).map_err(RunError::failed)
}

/// Looks again and again on a thread of its own, until nobody listens.
pub(super) fn start(source: Source, every: Duration, news: Sender<News>) -> Result<(), RunError> {
    let runtime = runtime()?;
    let body = move || runtime.block_on(follow(&source, every, &news));
    std::thread::Builder::new().name("fetch".to_owned()).spawn(body).map_err(RunError::failed)?;
    Ok(())
}

async fn follow(source: &Source, every: Duration, news: &Sender<News>) {
    let (mut term, mut hangup) = (signal(SignalKind::terminate()).ok(), signal(SignalKind::hangup()).ok());
    loop {
        let found = source.site().await;
        let found = found.map_or_else(News::Failed, |site| News::Site(Box::new(site)));
        if news.send(found).is_err() {
            return;
        }
        tokio::select! {
            () = tokio::time::sleep(every) => {}
            () = asked(&mut term) => return drop(news.send(News::End)),
            () = asked(&mut hangup) => return drop(news.send(News::End)),
        }
    }
}

/// Waits for the signal; for ever if it can not be seen.
async fn asked(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}
