//! `[[clock]]` tables: requests that the agent makes to its instance on a schedule.

use std::{
    collections::{BTreeMap, HashSet},
    path::PathBuf,
    time::Duration,
};

use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use serde::{Deserialize, Serialize};
use sluice_process::{ConfigError, Span};
use sluice_proto::ClassName;

use super::{
    check::{DAY, is_path, time},
    span,
};
use crate::clock::{Schedule, Zone};

/// As `--response-timeout`: exports and packing take minutes.
const TIMEOUT: Span = Span::from_secs(300);

/// Each has series of its own in the metrics, and a class of its own in the reports.
const MOST: usize = 100;

const LONGEST_NAME: usize = 64;

/// In milliseconds. Zope's clock server knows no less either.
const SHORTEST: u64 = 1000;
const LONGEST: u64 = 366 * DAY;

/// What the request says by itself, or what would make two requests of one.
const NOT_SETTABLE: [HeaderName; 6] = [
    header::HOST,
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::CONNECTION,
    header::UPGRADE,
    header::EXPECT,
];

/// One clock as the file has it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct ClockOptions {
    /// Unique; its class is `clock NAME`.
    pub name: String,
    /// Path and query at the instance.
    pub path: String,
    /// Default: GET.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// Due at the whole multiples of this time. Either this or `cron`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub every: Option<Span>,
    /// Minute, hour, day of the month, month, day of the week.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cron: Option<String>,
    /// Of `cron`. Default: utc.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone: Option<Zone>,
    /// Each run is put off by a random time below this. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jitter: Option<Span>,
    /// For the whole response. Default: 5m.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Span>,
    /// The `Host` field. Default: the instance's address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// File with one line `USER:PASSWORD`, for Basic authentication.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credentials_file: Option<PathBuf>,
    /// Further fields of the request.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
}

/// A checked clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClockConfig {
    /// Unique, 1 to 64 bytes; may be shown as it is.
    pub name: String,
    pub method: Method,
    pub path: String,
    pub schedule: Schedule,
    /// Below an interval. Zero: runs are not put off.
    pub jitter: Duration,
    pub timeout: Duration,
    pub host: Option<HeaderValue>,
    pub credentials_file: Option<PathBuf>,
    pub headers: HeaderMap,
}

pub(super) fn clock(options: &[ClockOptions]) -> Result<Vec<ClockConfig>, ConfigError> {
    if options.len() > MOST {
        return Err(ConfigError::value("clock", options.len(), format!("at most {MOST} of them")));
    }
    let mut names = HashSet::new();
    for (index, entry) in options.iter().enumerate() {
        if !is_name(&entry.name) || !names.insert(&entry.name) {
            let accepted = format!(
                "a name that no other clock has, of at most {LONGEST_NAME} printable ASCII characters without quotes and backslashes"
            );
            return Err(ConfigError::value(format!("clock.{}.name", index + 1), &entry.name, accepted));
        }
    }
    options.iter().map(ClockOptions::check).collect()
}

fn is_name(name: &str) -> bool {
    name.len() <= LONGEST_NAME && !name.is_empty() && name.trim() == name && ClassName::parse(name).is_some()
}

impl ClockOptions {
    fn check(&self) -> Result<ClockConfig, ConfigError> {
        if !is_path(&self.path) {
            return Err(self.refused(
                "path",
                &self.path,
                "a path that starts with /, such as /@@tick?full=1",
            ));
        }
        let schedule = self.schedule()?;
        let most_jitter = match &schedule {
            Schedule::Every(interval) => u64::try_from(interval.as_millis()).unwrap_or(LONGEST),
            Schedule::Cron { .. } => DAY,
        };
        Ok(ClockConfig {
            name: self.name.clone(),
            method: self.method()?,
            path: self.path.clone(),
            schedule,
            jitter: time(&self.field("jitter"), self.jitter, Span::default(), 0, most_jitter)?,
            timeout: time(&self.field("timeout"), self.timeout, TIMEOUT, 1, DAY)?,
            host: self.host()?,
            credentials_file: self.credentials_file.clone(),
            headers: self.headers()?,
        })
    }

    fn schedule(&self) -> Result<Schedule, ConfigError> {
        match (self.every, &self.cron) {
            (Some(_), None) if self.zone.is_some() => {
                Err(self.refused("zone", "", "only with cron; an interval is the same in every zone"))
            }
            (every @ Some(_), None) => {
                time(&self.field("every"), every, Span::default(), SHORTEST, LONGEST).map(Schedule::Every)
            }
            (None, Some(cron)) => Schedule::cron(cron, self.zone.unwrap_or_default()).map_err(|error| {
                let accepted = "five fields, minute, hour, day of the month, month, day of the week, as in \"*/5 2 * * *\"";
                self.refused("cron", cron, format!("{accepted} ({error})"))
            }),
            (Some(_), Some(cron)) => Err(self.refused("cron", cron, "give either every or cron")),
            (None, None) => {
                let accepted = "say when it is due, as in every = \"10m\" or cron = \"*/5 2 * * *\"";
                Err(ConfigError::missing(self.field("every"), accepted))
            }
        }
    }

    fn method(&self) -> Result<Method, ConfigError> {
        let Some(text) = &self.method else { return Ok(Method::GET) };
        let known = [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];
        let method = known.into_iter().find(|method| method.as_str() == text);
        method.ok_or_else(|| self.refused("method", text, "GET, HEAD, POST, PUT, PATCH or DELETE"))
    }

    fn host(&self) -> Result<Option<HeaderValue>, ConfigError> {
        let Some(text) = &self.host else { return Ok(None) };
        match (text.parse::<http::uri::Authority>(), text.parse()) {
            (Ok(authority), Ok(value)) if !authority.as_str().contains('@') => Ok(Some(value)),
            _ => Err(self.refused(
                "host",
                text,
                "a host name, with a port if need be, such as site.example:8080",
            )),
        }
    }

    fn headers(&self) -> Result<HeaderMap, ConfigError> {
        let mut headers = HeaderMap::new();
        for (name, text) in &self.headers {
            let field = format!("headers.{name}");
            let parsed = name.parse::<HeaderName>().ok();
            let settable = parsed.filter(|name| !NOT_SETTABLE.contains(name));
            let settable =
                settable.filter(|name| name != header::AUTHORIZATION || self.credentials_file.is_none());
            let Some(name) = settable else {
                let accepted = "a header field's name, none that concerns the connection, and Authorization only without credentials-file";
                return Err(self.refused(&field, text, accepted));
            };
            let Ok(value) = text.parse() else {
                return Err(self.refused(&field, text.escape_debug(), "a header field's value, in ASCII"));
            };
            headers.insert(name, value);
        }
        Ok(headers)
    }

    fn field(&self, key: &str) -> String {
        format!("clock.{}.{key}", self.name)
    }

    fn refused(&self, key: &str, value: impl ToString, accepted: impl Into<String>) -> ConfigError {
        ConfigError::value(self.field(key), value, accepted)
    }
}

impl ClockConfig {
    /// Its requests' class.
    pub fn class(&self) -> ClassName {
        ClassName::parse(&format!("clock {}", self.name))
            .expect("names are checked to be short and printable")
    }

    /// With nothing left open, as `check` prints it.
    pub(super) fn effective(&self) -> ClockOptions {
        let (every, cron, zone) = match &self.schedule {
            Schedule::Every(interval) => (span(*interval), None, None),
            Schedule::Cron { cron, zone } => (None, Some(cron.as_str().to_owned()), Some(*zone)),
        };
        let text = |value: &HeaderValue| value.to_str().unwrap_or_default().to_owned();
        ClockOptions {
            name: self.name.clone(),
            path: self.path.clone(),
            method: Some(self.method.to_string()),
            every,
            cron,
            zone,
            jitter: span(self.jitter),
            timeout: span(self.timeout),
            host: self.host.as_ref().map(text),
            credentials_file: self.credentials_file.clone(),
            headers: self.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect(),
        }
    }
}
