//! One check of the instance: a connection, or a request on top of it.

use std::{io, time::Duration};

use sluice_process::tls::http_client;
use sluice_proto::Target;
use tokio::{
    net::{TcpStream, UnixStream},
    time::timeout,
};

use super::CheckOutcome;
use crate::config::HealthConfig;

/// Knows how to ask one instance how it is.
#[derive(Clone, Debug)]
pub struct Probe {
    instance: Target,
    request: Option<HealthRequest>,
    timeout: Duration,
}

#[derive(Clone, Debug)]
struct HealthRequest {
    client: reqwest::Client,
    url: String,
    path: String,
}

impl Probe {
    /// # Errors
    /// If there is no HTTP client to be had.
    pub fn new(instance: Target, config: &HealthConfig) -> Result<Self, reqwest::Error> {
        let request = config.path.as_ref().map(|path| HealthRequest::new(&instance, path)).transpose()?;
        Ok(Self { instance, request, timeout: config.timeout })
    }

    /// Whether a check is a request that a worker answers, not just a connection.
    pub fn asks_the_application(&self) -> bool {
        self.request.is_some()
    }

    /// The same with another limit of time.
    pub fn within(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// Asks once. `is_full` tells whether all workers have something to do, which is asked if no answer comes.
    ///
    /// Not through the gate: a check that waits behind the requests of a stuck instance would never find out.
    pub async fn check(&self, is_full: impl Fn() -> bool) -> CheckOutcome {
        let checked = async {
            match &self.request {
                None => self.connect().await,
                Some(request) => request.send().await,
            }
        };
        match timeout(self.timeout, checked).await {
            Ok(outcome) => outcome,
            Err(_) if is_full() => CheckOutcome::Busy,
            Err(_) => {
                CheckOutcome::Failed(format!("no answer to a health check within {:?}", self.timeout).into())
            }
        }
    }

    /// Closed at once: a worker that accepted it reads the end and goes on.
    async fn connect(&self) -> CheckOutcome {
        let connected = match self.instance.path() {
            Some(path) => UnixStream::connect(path).await.map(drop),
            None => TcpStream::connect(self.instance.as_str()).await.map(drop),
        };
        match connected {
            Ok(()) => CheckOutcome::Passed,
            Err(error) => connect_failed(&error),
        }
    }
}

impl HealthRequest {
    fn new(instance: &Target, path: &str) -> Result<Self, reqwest::Error> {
        let builder = match instance.path() {
            Some(path) => http_client().unix_socket(path),
            None => http_client(),
        };
        let host = if instance.path().is_some() { "localhost" } else { instance.as_str() };
        let client = builder
            // A kept connection would occupy a worker of a server that keeps them open (gunicorn's sync worker
            // does not, its threads do), and would hide that nobody accepts new ones.
            .pool_max_idle_per_host(0)
            .user_agent(crate::USER_AGENT)
            .build()?;
        Ok(Self { client, url: format!("http://{host}{path}"), path: path.to_owned() })
    }

    /// Any answer below 500 comes from an application that works; a 404 only from a wrong path.
    async fn send(&self) -> CheckOutcome {
        match self.client.get(&self.url).send().await {
            Ok(response) if response.status().is_server_error() => {
                let status = response.status().as_u16();
                CheckOutcome::Failed(format!("GET {} is answered with {status}", self.path).into())
            }
            Ok(_) => CheckOutcome::Passed,
            Err(error) => match io_cause(&error) {
                Some(cause) if error.is_connect() => connect_failed(cause),
                _ => CheckOutcome::Failed(format!("GET {} is not answered", self.path).into()),
            },
        }
    }
}

fn connect_failed(error: &io::Error) -> CheckOutcome {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => CheckOutcome::refused(),
        _ => CheckOutcome::Failed(format!("can not connect to it: {error}").into()),
    }
}

fn io_cause<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a io::Error> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return Some(error);
        }
        cause = error.source();
    }
    None
}
