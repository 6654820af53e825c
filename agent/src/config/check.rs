//! Each option's default with its reason, and what is refused.

use std::{
    collections::HashSet,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use sluice_process::{
    ConfigError, Span,
    config::AdminSpec,
    tls::{CertError, CertFiles, ClientTls, Trust},
};
use sluice_proto::Mode;

use super::{
    Config, HealthConfig, LanguagesConfig, Options, Path, buffering::buffering, clock::clock,
    compress::compress, file_roots, follow::follow, languages::languages, limits::limits,
};
use crate::discover::Source;

/// Peers: gunicorn 1, waitress 4, Zope 2 to 4. Too few only queues here what could run, which shows at once in the
/// metrics; too many hides the queue inside the instance, where nobody can order it.
const WORKERS: u32 = 1;

/// Per worker. The queue is the balancer's affair: what waits here came from several balancers at once or crossed a
/// report on its way. 16 small pages of 10 ms are 160 ms, less than a person notices; more should go elsewhere.
const QUEUED_PER_WORKER: u32 = 16;

/// As long as HAProxy's `timeout queue` in common use, and half of the minute after which browsers give up.
const QUEUE_TIMEOUT: Span = Span::from_secs(30);

/// Kubernetes' and gunicorn's own grace: what follows then is SIGKILL.
const DRAIN_TIMEOUT: Span = Span::from_secs(30);

/// As HAProxy's `inter`. The data path sees a refused connection sooner.
const HEALTH_INTERVAL: Span = Span::from_secs(2);

/// A connection on the same machine takes microseconds.
const HEALTH_TIMEOUT: Span = Span::from_secs(1);

/// A balancer's knowledge goes stale after three of them, its lease ends after ten.
const INTERVAL: Span = Span::from_secs(1);

/// The agent sits beside a server with few workers and must leave it the processor. One thread relays thousands of
/// requests a second, more than such a server answers.
const THREADS: u16 = 1;

const ADMIN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9901);

impl TryFrom<Options> for Config {
    type Error = ConfigError;

    fn try_from(options: Options) -> Result<Self, ConfigError> {
        // What is missing is told in the order in which people write it.
        let languages = languages(&options, options.mode.map_or(Mode::Inline, Mode::from))?;
        let balancers = balancers(&options.balancer, &languages)?;
        let instance = options.instance.clone().ok_or_else(|| {
            ConfigError::missing("--instance", "give the address of the application server")
        })?;
        let path = path(&options)?;
        let workers = within("--workers", options.workers.unwrap_or(WORKERS), 1, 10_000)?;
        let admin = options.admin.clone().unwrap_or(AdminSpec::from(ADMIN));
        admin.check(options.token_file.is_some())?;
        file_roots::check(&options.xsendfile_root, &options.xsendfile_uri, path.mode())?;
        Ok(Self {
            limits: limits(&options)?,
            compress: compress(&options, path.mode())?,
            clock: clock(&options.clock)?,
            health: health(&options)?,
            follow: follow(&options, path.mode())?,
            buffering: buffering(&options)?,
            balancer_tls: balancer_tls(&options, &balancers)?,
            balancers,
            dns_server: options.dns_server,
            languages,
            instance,
            path,
            advertise: options.advertise,
            name: options.name,
            service: options.service.unwrap_or_default(),
            version_label: version_label(options.version_label)?,
            workers,
            release: options.release.unwrap_or_default(),
            interval: time("--interval", options.interval, INTERVAL, 100, 60_000)?,
            admin,
            token_file: options.token_file,
            xsendfile_root: options.xsendfile_root,
            xsendfile_uri: options.xsendfile_uri,
            queue_length: within(
                "--queue-length",
                options.queue_length.unwrap_or(workers * QUEUED_PER_WORKER),
                0,
                1_000_000,
            )?,
            queue_timeout: time("--queue-timeout", options.queue_timeout, QUEUE_TIMEOUT, 1, DAY)?,
            drain_timeout: time("--drain-timeout", options.drain_timeout, DRAIN_TIMEOUT, 0, DAY)?,
            threads: within("--threads", options.threads.unwrap_or(THREADS), 1, 64)?,
            log_format: options.log_format.unwrap_or_default(),
            watch: options.watch_config.unwrap_or_default(),
        })
    }
}

fn path(options: &Options) -> Result<Path, ConfigError> {
    match options.mode.map_or(Mode::Inline, Mode::from) {
        // A listen address may be left over from mode inline, in a file or a unit; nobody listens there now.
        Mode::Passive => match options.instance.as_ref().filter(|instance| instance.path().is_some()) {
            Some(socket) => {
                let accepted = "in mode passive balancers connect to it: give host:port";
                Err(ConfigError::value("--instance", socket, accepted))
            }
            None => Ok(Path::Passive),
        },
        Mode::Inline => {
            let spec = options.listen.as_ref().ok_or_else(|| {
                ConfigError::missing("--listen", "give the address to take requests on, or --mode passive")
            })?;
            let listen = spec.plain_address().ok_or_else(|| {
                ConfigError::value(
                    "--listen",
                    spec,
                    "balancers speak plain HTTP/1.1 with agents: give IP:PORT alone",
                )
            })?;
            if listen.ip().is_unspecified() && options.advertise.is_none() {
                return Err(ConfigError::value(
                    "--listen",
                    listen,
                    "no balancer can connect to this address; say with --advertise under which it reaches this agent",
                ));
            }
            Ok(Path::Inline { listen })
        }
    }
}

fn balancers(given: &[Source], others: &LanguagesConfig) -> Result<Vec<Source>, ConfigError> {
    if given.is_empty() && others.is_silent() {
        return Err(ConfigError::missing("--balancer", "give the admin URL of each balancer"));
    }
    let mut seen = HashSet::new();
    match given.iter().find(|url| !seen.insert(*url)) {
        Some(twice) => Err(ConfigError::value("--balancer", twice, "give each balancer once")),
        None => Ok(given.to_vec()),
    }
}

/// How balancers are reached by https, if any is.
fn balancer_tls(options: &Options, balancers: &[Source]) -> Result<Option<ClientTls>, ConfigError> {
    let cert = match (&options.client_cert, &options.client_key) {
        (Some(cert), Some(key)) => Some(CertFiles { cert: cert.clone(), key: key.clone() }),
        (None, None) => None,
        (Some(_), None) => return Err(ConfigError::missing("--client-key", "give the key of --client-cert")),
        (None, Some(_)) => {
            return Err(ConfigError::missing("--client-cert", "give the certificate of --client-key"));
        }
    };
    let given = options.balancer_ca.as_ref().or(options.client_cert.as_ref());
    if !balancers.iter().any(Source::is_https) {
        return match given {
            Some(file) => {
                let accepted = "certificates are for https:// balancers, and --balancer names none";
                Err(ConfigError::value("--balancer-ca, --client-cert", file.display(), accepted))
            }
            None => Ok(None),
        };
    }
    let tls = ClientTls { trust: options.balancer_ca.clone().map_or(Trust::System, Trust::File), cert };
    let refused = |error: CertError| match given {
        Some(file) => ConfigError::value("--balancer-ca, --client-cert", file.display(), error.to_string()),
        None => ConfigError::missing("--balancer-ca", error.to_string()),
    };
    tls.check().map_err(refused)?;
    Ok(Some(tls))
}

fn version_label(label: Option<String>) -> Result<Option<String>, ConfigError> {
    match label {
        Some(text) if text.len() > 256 || text.chars().any(char::is_control) => Err(ConfigError::value(
            "--version-label",
            text.escape_debug(),
            "at most 256 bytes without control characters",
        )),
        label => Ok(label),
    }
}

fn health(options: &Options) -> Result<HealthConfig, ConfigError> {
    let path = options.health_path.clone();
    if let Some(path) = path.as_ref().filter(|path| !is_path(path)) {
        return Err(ConfigError::value("--health-path", path, "a path that starts with /, such as /healthz"));
    }
    Ok(HealthConfig {
        path,
        interval: time("--health-interval", options.health_interval, HEALTH_INTERVAL, 100, HOUR)?,
        timeout: time("--health-timeout", options.health_timeout, HEALTH_TIMEOUT, 10, HOUR)?,
    })
}

pub(super) fn is_path(text: &str) -> bool {
    text.starts_with('/') && text.parse::<http::uri::PathAndQuery>().is_ok()
}

/// In milliseconds, as the bounds of [`time`].
pub(super) const HOUR: u64 = 3_600_000;
pub(super) const DAY: u64 = 24 * HOUR;

/// `given` or `default`, refused outside `least..=most` milliseconds.
pub(super) fn time(
    flag: &str,
    given: Option<Span>,
    default: Span,
    least: u64,
    most: u64,
) -> Result<Duration, ConfigError> {
    let (least, most) = (Span::from_millis(least), Span::from_millis(most));
    let value = given.unwrap_or(default);
    if (least..=most).contains(&value) {
        return Ok(value.duration());
    }
    Err(ConfigError::value(flag, value, format!("{least} to {most}")))
}

pub(super) fn within<T: PartialOrd + std::fmt::Display>(
    flag: &str,
    value: T,
    least: T,
    most: T,
) -> Result<T, ConfigError> {
    if least <= value && value <= most {
        return Ok(value);
    }
    Err(ConfigError::value(flag, value, format!("{least} to {most}")))
}
