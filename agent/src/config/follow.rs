//! Mode passive: where the agent learns of requests.

use std::{path::PathBuf, time::Duration};

use reqwest::Url;
use sluice_process::{ConfigError, Span};
use sluice_proto::{Mode, Target};

use super::{Options, check::time};
use crate::follow::Format;

/// As Prometheus in common use. Each scrape takes the instance's time.
const SCRAPE_INTERVAL: Span = Span::from_secs(10);

/// Who tells of requests. Neither: the application, by `POST /v1/observe`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FollowConfig {
    pub log: Option<LogConfig>,
    pub scrape: Option<ScrapeConfig>,
}

/// An access log.
#[derive(Clone, Debug, PartialEq)]
pub struct LogConfig {
    pub file: PathBuf,
    pub format: Format,
}

/// A Prometheus endpoint of the application.
#[derive(Clone, Debug, PartialEq)]
pub struct ScrapeConfig {
    pub url: Url,
    /// 1 s to 1 h.
    pub interval: Duration,
    /// Name of the histogram or summary of how long requests took. `None`: one of those of common exporters.
    pub durations: Option<String>,
    /// Name of the counter of requests. `None`: one of those of common exporters.
    pub requests: Option<String>,
    /// Name of the gauge of busy workers. `None`: they are not known.
    pub busy: Option<String>,
    /// Name of the label that says what was asked for. `None`: one of those of common exporters.
    pub path_label: Option<String>,
}

impl FollowConfig {
    /// Whether somebody else tells of requests than the application itself.
    pub fn counts_requests(&self) -> bool {
        self.log.is_some() || self.scrape.is_some()
    }
}

impl ScrapeConfig {
    /// With what is not said left open.
    pub fn of(url: Url) -> Self {
        let interval = SCRAPE_INTERVAL.duration();
        Self { url, interval, durations: None, requests: None, busy: None, path_label: None }
    }

    /// What is asked for there.
    pub fn path(&self) -> String {
        let query = self.url.query().map_or_else(String::new, |query| format!("?{query}"));
        format!("{}{query}", self.url.path())
    }

    /// Whether the instance itself answers the scrapes.
    pub fn is_at(&self, instance: &Target) -> bool {
        let host = self.url.host_str().unwrap_or_default();
        let port = self.url.port_or_known_default().unwrap_or_default();
        instance.as_str() == format!("{host}:{port}")
    }
}

pub(super) fn follow(options: &Options, mode: Mode) -> Result<FollowConfig, ConfigError> {
    let scrape = scrape(options)?;
    let log = options
        .access_log
        .clone()
        .map(|file| LogConfig { file, format: options.access_log_format.clone().unwrap_or_else(combined) });
    let needs = |flag: &str, what: &str| Err(ConfigError::missing(flag, what));
    match (&log, &scrape) {
        (Some(log), _) if mode == Mode::Inline => {
            Err(ConfigError::value("--access-log", log.file.display(), PASSIVE))
        }
        (_, Some(scrape)) if mode == Mode::Inline => {
            Err(ConfigError::value("--scrape", &scrape.url, PASSIVE))
        }
        (None, _) if options.access_log_format.is_some() => {
            needs("--access-log", "--access-log-format is of no use without it")
        }
        (_, None) if scrape_flags(options) => {
            needs("--scrape", "what is said of scraping is of no use without it")
        }
        (Some(_), Some(scrape)) if scrape.busy.is_none() => Err(ConfigError::value(
            "--scrape",
            &scrape.url,
            "requests would be counted from --access-log and from here: leave one out, or name the gauge of busy workers with --scrape-busy, which is then all that is read here",
        )),
        _ => Ok(FollowConfig { log, scrape }),
    }
}

const PASSIVE: &str = "only with --mode passive: in mode inline the agent sees the requests itself";

/// What servers write unless told otherwise. It has no time; what follows it is passed over.
fn combined() -> Format {
    "combined".parse().expect("a preset")
}

fn scrape_flags(options: &Options) -> bool {
    let Options {
        scrape_interval, scrape_durations, scrape_requests, scrape_busy, scrape_path_label, ..
    } = options;
    let names = [scrape_durations, scrape_requests, scrape_busy, scrape_path_label];
    scrape_interval.is_some() || names.iter().any(|name| name.is_some())
}

fn scrape(options: &Options) -> Result<Option<ScrapeConfig>, ConfigError> {
    let Some(text) = &options.scrape else { return Ok(None) };
    let invalid = || ConfigError::value("--scrape", text, "a URL such as http://127.0.0.1:8000/metrics");
    let url = Url::parse(text).map_err(|_| invalid())?;
    let plain = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
    if url.scheme() != "http" || url.host_str().is_none() || !plain {
        return Err(invalid());
    }
    Ok(Some(ScrapeConfig {
        interval: time(
            "--scrape-interval",
            options.scrape_interval,
            SCRAPE_INTERVAL,
            1000,
            super::check::HOUR,
        )?,
        durations: name("--scrape-durations", &options.scrape_durations)?,
        requests: name("--scrape-requests", &options.scrape_requests)?,
        busy: name("--scrape-busy", &options.scrape_busy)?,
        path_label: name("--scrape-path-label", &options.scrape_path_label)?,
        url,
    }))
}

/// The name of a metric or a label.
fn name(flag: &str, given: &Option<String>) -> Result<Option<String>, ConfigError> {
    let valid = |name: &String| {
        let of_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b':';
        !name.is_empty() && name.bytes().all(of_name) && !name.starts_with(|c: char| c.is_ascii_digit())
    };
    match given {
        Some(name) if !valid(name) => {
            Err(ConfigError::value(flag, name.escape_debug(), "a name such as http_request_duration_seconds"))
        }
        given => Ok(given.clone()),
    }
}
