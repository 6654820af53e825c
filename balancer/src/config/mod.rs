//! Configuration: what was asked for, checked, with every default and its reason.
//!
//! [`Options`] is what flags, environment and file say; [`Config`] is what the program runs on.
//! A new key goes into `Options` (with its help text) and into `Config::try_from`.

mod instance;
mod options;
mod service;

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use sluice_process::Span;
use sluice_process::config::{ConfigError, check_admin};
use sluice_relay::Limits;
use sluice_relay::limits::{ClientLimits, UpstreamLimits};
use sluice_relay::listen::ListenSpec;

pub use instance::InstanceSpec;
pub use options::Options;
pub use service::{ServiceOptions, ServiceSpec, routes};

use crate::data::Reveal;
use crate::pool::ServiceLimits;

/// Everything that the balancer needs to start.
#[derive(Clone, Debug)]
pub struct Config {
    pub listen: Vec<ListenSpec>,
    pub admin: SocketAddr,
    pub token_file: Option<PathBuf>,
    pub instances: Vec<InstanceSpec>,
    pub services: Vec<ServiceSpec>,
    /// Data threads.
    pub threads: usize,
    pub service_limits: ServiceLimits,
    pub drain_timeout: Duration,
    pub trusted_proxies: Vec<IpNet>,
    pub reveal: Reveal,
    pub max_classes: usize,
    pub metric_classes: usize,
    pub limits: Limits,
}

impl TryFrom<Options> for Config {
    type Error = ConfigError;

    fn try_from(options: Options) -> Result<Self, ConfigError> {
        let options = options.with_defaults();
        let span = |span: Option<Span>| span.expect("set by with_defaults").duration();
        refuse_zero(&options)?;
        let admin = options.admin.expect("set by with_defaults");
        check_admin(admin, options.token_file.is_some())?;
        let services = service::check(&options.service)?;
        instance::check(&options.instance, &services)?;
        Ok(Self {
            listen: options.listen,
            admin,
            token_file: options.token_file,
            instances: options.instance,
            services,
            threads: options.threads.map_or(1, NonZeroUsize::get),
            service_limits: ServiceLimits {
                queue_length: options.queue_length.map_or(0, NonZeroUsize::get),
                queue_timeout: span(options.queue_timeout),
                large_queue_timeout: span(options.large_queue_timeout),
                startup_hold: span(options.startup_hold),
            },
            drain_timeout: span(options.drain_timeout),
            trusted_proxies: options.trusted_proxy,
            reveal: Reveal {
                request_id: options.reveal.contains(&options::Revealed::RequestId),
                server_timing: options.reveal.contains(&options::Revealed::ServerTiming),
            },
            max_classes: options.max_classes.map_or(1, NonZeroUsize::get),
            metric_classes: options.metric_classes.unwrap_or(0),
            limits: Limits {
                client: ClientLimits {
                    head: span(options.client_head_timeout),
                    keep_alive: span(options.client_keep_alive),
                    body_stall: span(options.client_body_timeout),
                    write_stall: span(options.client_write_timeout),
                    half_close_grace: span(options.half_close_grace),
                    ..ClientLimits::default()
                },
                upstream: UpstreamLimits {
                    connect: span(options.connect_timeout),
                    response_head: span(options.response_timeout),
                    body_stall: span(options.stream_timeout),
                    idle: span(options.instance_keep_alive),
                    tunnel_idle: span(options.tunnel_timeout),
                    ..UpstreamLimits::default()
                },
            },
        })
    }
}

/// A time of nothing would let no request through, or spin.
fn refuse_zero(options: &Options) -> Result<(), ConfigError> {
    for (field, span) in [
        ("queue-timeout", options.queue_timeout),
        ("large-queue-timeout", options.large_queue_timeout),
        ("client-head-timeout", options.client_head_timeout),
        ("client-keep-alive", options.client_keep_alive),
        ("client-body-timeout", options.client_body_timeout),
        ("client-write-timeout", options.client_write_timeout),
        ("connect-timeout", options.connect_timeout),
        ("response-timeout", options.response_timeout),
        ("stream-timeout", options.stream_timeout),
        ("instance-keep-alive", options.instance_keep_alive),
        ("tunnel-timeout", options.tunnel_timeout),
    ] {
        if span.is_some_and(|span| span.duration().is_zero()) {
            return Err(ConfigError::value(field, "0s", "a time above zero, such as 30s"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use std::io::Write;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        options: Options,
    }

    fn from(args: &[&str], file: &str) -> Result<Config, String> {
        let mut path = tempfile::NamedTempFile::new().expect("a temporary file");
        path.write_all(file.as_bytes()).expect("written");
        let args = std::iter::once(&"sluice-balancer").chain(args);
        let cli = Cli::try_parse_from(args).map_err(|error| error.to_string())?;
        let options = sluice_process::config::over_file(cli.options, Some(path.path()));
        options.and_then(Config::try_from).map_err(|error| error.to_string())
    }

    #[test]
    fn defaults_are_those_of_the_contract() {
        let config = from(&[], "").expect("nothing is required");
        assert_eq!(config.listen[0].to_string(), "127.0.0.1:8080");
        assert_eq!(config.admin.to_string(), "127.0.0.1:9900");
        assert_eq!(config.limits, Limits::default(), "the flags' defaults are the engine's");
        assert_eq!(config.services.len(), 1, "the default service");
    }

    #[test]
    fn flags_beat_the_file() {
        let file = "listen = [\"127.0.0.1:1\", \"127.0.0.1:2\"]\nqueue-timeout = \"7s\"\nthreads = 3\n";
        let config = from(&["--listen", "127.0.0.1:9", "--threads", "2"], file).expect("valid");
        assert_eq!(config.listen.iter().map(ToString::to_string).collect::<Vec<_>>(), ["127.0.0.1:9"]);
        assert_eq!((config.threads, config.service_limits.queue_timeout.as_secs()), (2, 7));
    }

    #[test]
    fn bad_input_is_named_with_what_is_accepted() {
        for (args, file, parts) in [
            (&[][..], "lisen = \"127.0.0.1:1\"\n", &["lisen", "listen"][..]),
            (&[], "queue-timeout = \"soon\"\n", &["queue-timeout", "soon"]),
            (&[], "threads = 0\n", &["threads"]),
            (&["--stream-timeout", "0s"], "", &["stream-timeout", "0s", "above zero"]),
            (&["--listen", "8080"], "", &["--listen", "8080", "127.0.0.1:8080"]),
            (&["--listen", "127.0.0.1:80,h2c"], "", &["--listen", "h2c", "not available"]),
            (&["--instance", "127.0.0.1:80,wrokers=2"], "", &["wrokers", "workers=N"]),
            (&["--instance", "127.0.0.1:80,workers=0"], "", &["workers", "0"]),
            (&["--instance", "127.0.0.1:80,service=x"], "", &["instance", "x", "default"]),
            (&["--instance", "a:80", "--instance", "a:80"], "", &["instance", "a:80", "once"]),
            (&["--trusted-proxy", "10.0.0.0/40"], "", &["--trusted-proxy", "10.0.0.0/40"]),
            (&["--admin", "0.0.0.0:9900"], "", &["admin", "0.0.0.0:9900", "token"]),
            (&[], "[service.shop]\nhosts = [\"a b\"]\n", &["service.shop.hosts", "a b", "host name"]),
            (&[], "[service.shop]\npath-prefixes = [\"x\"]\n", &["service.shop.path-prefixes", "x", "/"]),
            (&[], "[service.shop]\n", &["service.shop", "hosts"]),
            (&[], "[service.shop]\nhost = [\"a\"]\n", &["host", "hosts"]),
            (&[], "[service.\"a b\"]\nhosts = [\"a\"]\n", &["service", "a b"]),
        ] {
            let error = from(args, file).expect_err("refused");
            for part in parts {
                assert!(error.contains(part), "{args:?} {file:?}: {error}");
            }
        }
    }

    #[test]
    fn the_effective_configuration_reads_back_as_itself() {
        let file = "reveal = \"server-timing\"\ninstance = [\"127.0.0.1:80,workers=2,release=first-byte\"]\n\
            [service.shop]\nhosts = [\"shop.example\"]\npath-prefixes = [\"/shop\"]\n";
        let options =
            |text: &str| -> Options { toml::from_str::<Options>(text).expect("valid").with_defaults() };
        let effective = sluice_process::config::to_toml(&options(file));
        assert_eq!(sluice_process::config::to_toml(&options(&effective)), effective);
        assert!(effective.contains("queue-timeout = \"30s\""), "{effective}");
    }
}
