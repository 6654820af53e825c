//! From what was said (flags, environment, file) to what holds.
//!
//! ```text
//!  flags + environment + file ──► Options ──TryFrom──► Config ──effective()──► Options with nothing left open
//! ```

mod balancer_url;
mod buffering;
mod check;
mod choices;
mod clock;
mod compress;
mod file_roots;
mod follow;
mod languages;
mod limits;
mod options;
#[cfg(test)]
mod tests;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use sluice_process::{
    ByteSize, ConfigError, LogFormat, Span,
    config::{AdminSpec, over_file},
    reload::WatchConfig,
    tls::{ClientTls, Trust},
};
use sluice_proto::{InstanceName, Mode, Release, ReleaseFound, ReleasePoint, ServiceName, Target};
use sluice_relay::Limits;

use crate::discover::Source;

pub use balancer_url::{BalancerUrl, BalancerUrlError};
pub use buffering::{Buffered, Buffering, BufferingRule, Switch};
pub use choices::{ModeOption, ReleaseOption};
pub use clock::{ClockConfig, ClockOptions};
pub use compress::CompressConfig;
pub use file_roots::{UriRoot, UriRootError};
pub use follow::{FollowConfig, LogConfig, ScrapeConfig};
pub use languages::LanguagesConfig;
pub use options::Options;

/// A checked configuration, with every default filled in.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Each once. At least one, unless others are told by `languages`.
    pub balancers: Vec<Source>,
    /// Who is asked for their names; `None`: the system's servers.
    pub dns_server: Option<SocketAddr>,
    /// `None`: no balancer is reached by https.
    pub balancer_tls: Option<ClientTls>,
    pub languages: LanguagesConfig,
    pub instance: Target,
    pub path: Path,
    /// `None`: the bound address (inline), the instance's (passive).
    pub advertise: Option<Target>,
    /// `None`: the advertised address.
    pub name: Option<InstanceName>,
    pub service: ServiceName,
    pub version_label: Option<String>,
    /// 1 to 10,000, as in the report.
    pub workers: u32,
    pub release: ReleaseOption,
    /// 100 ms to 60 s, as in the report.
    pub interval: Duration,
    pub admin: AdminSpec,
    pub token_file: Option<PathBuf>,
    /// 0: a request that finds no free worker is refused at once.
    pub queue_length: u32,
    pub queue_timeout: Duration,
    pub drain_timeout: Duration,
    pub health: HealthConfig,
    pub buffering: Buffering,
    /// 1 to 64.
    pub threads: u16,
    pub limits: Limits,
    pub compress: CompressConfig,
    pub clock: Vec<ClockConfig>,
    /// Absolute, each once.
    pub xsendfile_root: Vec<PathBuf>,
    /// Each prefix once.
    pub xsendfile_uri: Vec<UriRoot>,
    pub log_format: LogFormat,
    /// Whether the file is read again when it changes.
    pub watch: WatchConfig,
    pub follow: FollowConfig,
}

/// Which way requests take to the instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    /// Through the agent, which listens here; port 0 takes a free one.
    Inline { listen: SocketAddr },
    /// Past the agent.
    Passive,
}

impl Path {
    pub fn mode(self) -> Mode {
        match self {
            Self::Inline { .. } => Mode::Inline,
            Self::Passive => Mode::Passive,
        }
    }
}

/// How the instance's health is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthConfig {
    /// `None`: a TCP connection is enough.
    pub path: Option<String>,
    /// Between checks of an instance that is up.
    pub interval: Duration,
    /// For one check.
    pub timeout: Duration,
}

impl Config {
    /// Flags and environment as clap read them, over the file that they name.
    ///
    /// # Errors
    /// The file can not be read, or a value is missing or can not be used.
    pub fn load(options: Options) -> Result<Self, ConfigError> {
        let file = options.config.clone();
        over_file(options, file.as_deref())?.try_into()
    }

    /// How the worker's release is known, as reports say it.
    pub fn release(&self) -> Release {
        match self.release {
            ReleaseOption::Auto => Release { point: ReleasePoint::End, found: ReleaseFound::Assumed },
            ReleaseOption::End => Release { point: ReleasePoint::End, found: ReleaseFound::Configured },
            ReleaseOption::FirstByte => {
                Release { point: ReleasePoint::FirstByte, found: ReleaseFound::Configured }
            }
        }
    }

    /// What was said and what was not, as options: what `check` prints.
    pub fn effective(&self) -> Options {
        let Limits { client, upstream } = &self.limits;
        let (log, scrape) = (self.follow.log.as_ref(), self.follow.scrape.as_ref());
        let tls = self.balancer_tls.as_ref();
        let cert = tls.and_then(|tls| tls.cert.as_ref());
        let buffering = &self.buffering;
        let spool = &buffering.spool;
        Options {
            balancer: self.balancers.clone(),
            dns_server: self.dns_server,
            agent_check: self.languages.agent_check,
            agent_check_peers: Some(self.languages.agent_check_peers),
            heartbeat: self.languages.heartbeat,
            orca: self.languages.orca,
            orca_listen: self.languages.orca_listen,
            orca_on_listen: Some(if self.languages.orca_on_listen { Switch::On } else { Switch::Off }),
            orca_min_interval: span(self.languages.orca_min_interval),
            balancer_ca: tls.and_then(|tls| match &tls.trust {
                Trust::System => None,
                Trust::File(file) => Some(file.clone()),
            }),
            client_cert: cert.map(|files| files.cert.clone()),
            client_key: cert.map(|files| files.key.clone()),
            instance: Some(self.instance.clone()),
            listen: match self.path {
                Path::Inline { listen: address } => Some(address.into()),
                Path::Passive => None,
            },
            advertise: self.advertise.clone(),
            name: self.name.clone(),
            service: Some(self.service.clone()),
            version_label: self.version_label.clone(),
            workers: Some(self.workers),
            release: Some(self.release),
            mode: Some(self.path.mode().into()),
            interval: span(self.interval),
            admin: Some(self.admin.clone()),
            token_file: self.token_file.clone(),
            queue_length: Some(self.queue_length),
            queue_timeout: span(self.queue_timeout),
            drain_timeout: span(self.drain_timeout),
            health_path: self.health.path.clone(),
            health_interval: span(self.health.interval),
            health_timeout: span(self.health.timeout),
            threads: Some(self.threads),
            compress: self.compress.encodings.clone(),
            compress_types: self.compress.types.clone(),
            compress_min_size: Some(ByteSize::bytes(self.compress.min_size)),
            compress_threads: Some(self.compress.threads),
            client_head_timeout: span(client.head),
            client_body_timeout: span(client.body_stall),
            client_write_timeout: span(client.write_stall),
            client_keep_alive: span(client.keep_alive),
            half_close_grace: span(client.half_close_grace),
            max_request_line: Some(ByteSize::bytes(client.request_line_bytes as u64)),
            max_head_size: Some(ByteSize::bytes(client.head_bytes as u64)),
            max_header_fields: u16::try_from(client.fields).ok(),
            max_connections: Some(client.connections),
            max_requests_per_connection: Some(client.requests),
            min_upload_rate: Some(client.min_upload_rate),
            min_download_rate: Some(client.min_download_rate),
            max_body_size: Some(ByteSize::bytes(if client.body == u64::MAX { 0 } else { client.body })),
            connect_timeout: span(upstream.connect),
            response_timeout: span(upstream.response_head),
            stream_timeout: span(upstream.body_stall),
            instance_keep_alive: span(upstream.idle),
            unsafe_reuse_timeout: span(upstream.unsafe_reuse),
            tunnel_timeout: span(upstream.tunnel_idle),
            log_format: Some(self.log_format),
            access_log: log.map(|log| log.file.clone()),
            access_log_format: log.map(|log| log.format.clone()),
            scrape: scrape.map(|scrape| scrape.url.to_string()),
            scrape_interval: scrape.and_then(|scrape| span(scrape.interval)),
            scrape_durations: scrape.and_then(|scrape| scrape.durations.clone()),
            scrape_requests: scrape.and_then(|scrape| scrape.requests.clone()),
            scrape_busy: scrape.and_then(|scrape| scrape.busy.clone()),
            scrape_path_label: scrape.and_then(|scrape| scrape.path_label.clone()),
            xsendfile_root: self.xsendfile_root.clone(),
            xsendfile_uri: self.xsendfile_uri.clone(),
            response_buffering: Some(buffering.responses),
            upload_buffering: Some(buffering.uploads),
            buffer_size: Some(ByteSize::bytes(spool.memory.each)),
            buffer_total: Some(ByteSize::bytes(spool.memory.total)),
            spool_dir: spool.directory.clone(),
            spool_size: Some(ByteSize::bytes(spool.files.each)),
            spool_total: Some(ByteSize::bytes(spool.files.total)),
            buffering: buffering.rules.clone(),
            config: None,
            watch_config: Some(self.watch),
            clock: self.clock.iter().map(ClockConfig::effective).collect(),
        }
    }
}

/// Configured times are whole milliseconds.
fn span(duration: Duration) -> Option<Span> {
    u64::try_from(duration.as_millis()).ok().map(Span::from_millis)
}
