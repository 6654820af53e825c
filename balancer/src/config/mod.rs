//! Configuration: what was asked for, checked, with every default and its reason.
//!
//! [`Options`] is what flags, environment and file say; [`Config`] is what the program runs on.
//! A new key goes into `Options` (with its help text) and into `Config::try_from`.

mod instance;
mod observe;
mod options;
mod rule;
mod service;
mod source;
mod terms;

use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use sluice_process::config::{AdminSpec, ConfigError};
use sluice_process::reload::WatchConfig;
use sluice_process::tls::ServerTlsFiles;
use sluice_process::{ByteSize, Span};
use sluice_relay::Limits;
use sluice_relay::limits::{ClientLimits, Http2Limits, UpstreamLimits};
use sluice_relay::listen::ListenSpec;
use sluice_relay::tls::CertError;

pub use instance::{InstanceSpec, Place};
pub use options::Options;
pub use rule::{HeaderOptions, RuleOptions, StickyOptions};
pub use service::{ServiceOptions, ServiceSpec, routes};
pub use source::{KubernetesService, KubernetesSpec, Port, Source};
pub use terms::Terms;

use crate::control::DecisionFile;
use crate::data::Reveal;
use crate::decide::outlier::OutlierParams;
use crate::decide::plan::PlanParams;
use crate::decide::plan::params::ParamError;
use crate::observe::ObserverSpecs;
use crate::pool::ServiceLimits;
use crate::saved::StateDir;

/// Everything that the balancer needs to start.
#[derive(Clone, Debug)]
pub struct Config {
    pub listen: Vec<ListenSpec>,
    pub admin: SocketAddr,
    /// `None`: the admin server speaks plain HTTP.
    pub admin_tls: Option<ServerTlsFiles>,
    pub token_file: Option<PathBuf>,
    /// Where Envoys ask for endpoints.
    pub xds: Option<AdminSpec>,
    /// Per second and address.
    pub report_rate: NonZeroU32,
    /// Connections to the admin address at once.
    pub admin_connections: usize,
    /// Whether the file is read again when it changes.
    pub watch: WatchConfig,
    /// Those without an agent, and where more of them are found.
    pub instances: Vec<InstanceSpec>,
    /// Who is asked for names; `None`: the servers of the system.
    pub dns_server: Option<SocketAddr>,
    /// How the API server of Kubernetes is reached; `None`: as `kubectl` would, or as pods do.
    pub kubeconfig: Option<PathBuf>,
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
    /// Where what was learned is kept.
    pub state_dir: Option<StateDir>,
    pub decision_log: Option<DecisionFile>,
    /// Who is told what requests came to.
    pub observers: ObserverSpecs,
}

impl TryFrom<Options> for Config {
    type Error = ConfigError;

    fn try_from(options: Options) -> Result<Self, ConfigError> {
        let options = options.with_defaults();
        let span = |span: Option<Span>| span.expect("set by with_defaults").duration();
        refuse_zero(&options)?;
        let admin = options.admin.clone().expect("set by with_defaults");
        let plan = planner(&options)?;
        let observers = observe::observers(&options)?;
        let outlier = outlier(&options)?;
        let (line, head, fields) = head_limits(&options)?;
        let streams = streams(&options)?;
        admin.check(options.token_file.is_some())?;
        check_certificates(&options.listen)?;
        check_xds(options.xds.as_ref())?;
        let services = service::check(&options.service, &options.rule, options.versions.as_ref())?;
        instance::check(&options.instance, &services)?;
        source::check(&options.kubernetes_service, &services)?;
        let found = options.kubernetes_service.into_iter().map(InstanceSpec::from);
        Ok(Self {
            listen: options.listen,
            admin: admin.addr,
            admin_tls: admin.tls,
            token_file: options.token_file,
            xds: options.xds.clone(),
            report_rate: options.report_rate.unwrap_or(NonZeroU32::MIN),
            admin_connections: options.admin_connections.map_or(1, NonZeroUsize::get),
            watch: options.watch_config.unwrap_or_default(),
            instances: options.instance.into_iter().chain(found).collect(),
            dns_server: options.dns_server,
            kubeconfig: options.kubeconfig,
            services,
            threads: options.threads.map_or(1, NonZeroUsize::get),
            service_limits: ServiceLimits {
                queue_length: options.queue_length.map_or(0, NonZeroUsize::get),
                queue_timeout: span(options.queue_timeout),
                large_queue_timeout: span(options.large_queue_timeout),
                startup_hold: span(options.startup_hold),
                outlier,
                plan,
                plan_from_reports: options.xds.is_some(),
            },
            observers,
            state_dir: options.state_dir.map(state_dir).transpose()?,
            decision_log: decision_log(options.decision_log, options.decision_log_size)?,
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
                    request_line_bytes: line.as_usize(),
                    head_bytes: head.as_usize(),
                    fields,
                    head: span(options.client_head_timeout),
                    keep_alive: span(options.client_keep_alive),
                    body_stall: span(options.client_body_timeout),
                    write_stall: span(options.client_write_timeout),
                    half_close_grace: span(options.half_close_grace),
                    connections: options.max_connections.map_or(usize::MAX, NonZeroUsize::get),
                    connections_per_client: options.max_connections_per_client.unwrap_or(0),
                    requests: options.max_requests_per_connection.unwrap_or(0),
                    min_upload_rate: options.min_upload_rate.unwrap_or(0),
                    min_download_rate: options.min_download_rate.unwrap_or(0),
                    body: options.max_body_size.map_or(u64::MAX, rule::most_bytes),
                    http2: Http2Limits { streams, ..Http2Limits::default() },
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

/// A certificate that can not be used is said at the start, and by `check`.
fn check_certificates(listen: &[ListenSpec]) -> Result<(), ConfigError> {
    for spec in listen {
        let refused = |error: CertError| ConfigError::value("listen", spec, error.to_string());
        spec.tls.iter().try_for_each(|files| files.check()).map_err(refused)?;
    }
    Ok(())
}

/// It only tells, so that it may be open to others.
fn check_xds(xds: Option<&AdminSpec>) -> Result<(), ConfigError> {
    let Some(spec) = xds else { return Ok(()) };
    let refused = |error: CertError| ConfigError::value("--xds", spec, error.to_string());
    spec.tls.as_ref().map_or(Ok(()), |files| files.check().map_err(refused))
}

fn outlier(options: &Options) -> Result<OutlierParams, ConfigError> {
    let most = options.max_ejected.unwrap_or(0);
    if most > 100 {
        return Err(ConfigError::value("--max-ejected", most, "0 to 100"));
    }
    Ok(OutlierParams { in_a_row: options.eject_after.unwrap_or(0), most: f64::from(most) / 100.0 })
}

/// Sizes of the request line and of the whole head, and the number of fields.
fn head_limits(options: &Options) -> Result<(ByteSize, ByteSize, usize), ConfigError> {
    let (least_line, least_head) = (ByteSize::kib(1), ByteSize::kib(8));
    let head = options.max_head_size.unwrap_or(least_head);
    if !(least_head..=ByteSize::mib(16)).contains(&head) {
        return Err(ConfigError::value("--max-head-size", head, format!("{least_head} to 16MiB")));
    }
    let line = options.max_request_line.unwrap_or(least_line);
    if !(least_line..=head).contains(&line) {
        let accepted = format!("{least_line} to {head}, the largest head");
        return Err(ConfigError::value("--max-request-line", line, accepted));
    }
    let fields = options.max_header_fields.unwrap_or(0);
    if !(16..=1000).contains(&fields) {
        return Err(ConfigError::value("--max-header-fields", fields, "16 to 1000"));
    }
    Ok((line, head, fields.into()))
}

fn streams(options: &Options) -> Result<u32, ConfigError> {
    let streams = options.http2_max_streams.unwrap_or(0);
    if !(1..=10_000).contains(&streams) {
        return Err(ConfigError::value("--http2-max-streams", streams, "1 to 10000"));
    }
    Ok(streams)
}

fn planner(options: &Options) -> Result<PlanParams, ConfigError> {
    let params = options.planner.unwrap_or_default();
    let refused = |e: ParamError| ConfigError::value(format!("planner.{}", e.field), e.value, e.accepted);
    params.check().map_err(refused)?;
    Ok(params)
}

fn state_dir(path: PathBuf) -> Result<StateDir, ConfigError> {
    let accepted = |e: std::io::Error| format!("a directory that can be made, read and written ({e})");
    StateDir::open(&path).map_err(|e| ConfigError::value("state-dir", path.display(), accepted(e)))
}

fn decision_log(path: Option<PathBuf>, most: Option<ByteSize>) -> Result<Option<DecisionFile>, ConfigError> {
    let most = most.unwrap_or_default();
    if most < ByteSize::kib(64) {
        return Err(ConfigError::value("decision-log-size", most, "64KiB or more"));
    }
    let Some(path) = path else { return Ok(None) };
    writable_file("decision-log", &path)?;
    Ok(Some(DecisionFile { path, most: most.as_u64() }))
}

/// A file that can be there. It is not opened: who checks a configuration does not begin a log.
fn writable_file(field: &str, path: &Path) -> Result<(), ConfigError> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    if path.is_dir() || parent.is_some_and(|parent| !parent.is_dir()) {
        return Err(ConfigError::value(field, path.display(), "a file in a directory that exists"));
    }
    Ok(())
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
    use crate::decide::sticky::{CookieSource, StickySpec};
    use crate::decide::treatment::LanePin;
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

    fn with_rule(line: &str) -> String {
        format!("[[rule]]\nname = \"slow\"\n{line}\n")
    }

    #[test]
    fn rules_are_those_of_the_file() {
        let config = from(&[], RULES).expect("valid");
        let service = |name: &str| {
            let spec = config.services.iter().find(|spec| spec.name.as_str() == name).expect("there");
            spec.class_rules.clone()
        };
        let class = |name: &str| sluice_proto::ClassName::parse(name).expect("valid");
        let rules = service("default");
        let (index, treatment) = rules.of_class(&class("reports year=2024")).expect("a rule");
        assert_eq!((index, treatment.lane), (0, Some(LanePin::Large)));
        assert_eq!((treatment.deadline, treatment.priority), (Some(Duration::from_secs(2)), -3));
        let names: Vec<_> = treatment.instances.iter().flat_map(|list| list.iter()).collect();
        assert_eq!(names.iter().map(|name| name.as_str()).collect::<Vec<_>>(), ["zope-1", "zope-2"]);
        let rules = service("shop");
        let (_, cart) = rules.of_class(&class("cart")).expect("a rule");
        assert_eq!(cart.max_body_size, Some(10 << 20));
        let sticky = cart.sticky.as_ref().expect("sticky");
        assert_eq!((sticky.cookie(), sticky.source()), ("SLUICE", CookieSource::Sluice));
        let (_, session) = rules.of_class(&class("session GET /a")).expect("a rule");
        assert_eq!(session.sticky.as_ref().map(StickySpec::source), Some(CookieSource::Application));
        assert!(rules.of_class(&class("GET /a")).is_none());
    }

    const RULES: &str = r#"
        [[rule]]
        name = "reports"
        hosts = ["intra.example", "*.intra.example"]
        methods = "GET"
        path = '^/reports/(?P<year>\d{4})'
        header = { name = "X-Batch", value = "yes" }
        lane = "large"
        deadline = "2s"
        priority = -3
        instances = ["zope-1", "zope-2"]

        [service.shop]
        hosts = "shop.example"

        [[service.shop.rule]]
        name = "cart"
        path = "^/cart"
        sticky = { cookie = "SLUICE" }
        max-body-size = "10MiB"

        [[service.shop.rule]]
        name = "session"
        learned = true
        sticky = { cookie = "__ac", set = false }
    "#;

    #[test]
    fn limits_of_clients_follow_what_is_said() {
        let client = |args: &[&str], file: &str| from(args, file).expect("valid").limits.client;
        let default = client(&[], "");
        assert!((1..=32_768).contains(&default.connections), "{default:?}");
        assert_eq!(default.connections_per_client, default.connections.div_ceil(2));
        assert_eq!((default.body, default.requests, default.http2.streams), (u64::MAX, 10_000, 100));
        let few = client(&["--max-connections", "7", "--max-body-size", "1KiB"], "http2-max-streams = 3\n");
        assert_eq!((few.connections, few.connections_per_client), (7, 4));
        assert_eq!((few.body, few.http2.streams), (1024, 3));
        let none = client(&["--max-connections-per-client", "0", "--max-requests-per-connection", "0"], "");
        assert_eq!((none.connections_per_client, none.requests), (0, 0));
    }

    #[test]
    fn defaults_are_those_of_the_contract() {
        let config = from(&[], "").expect("nothing is required");
        assert_eq!(config.listen[0].to_string(), "127.0.0.1:8080");
        assert_eq!(config.admin.to_string(), "127.0.0.1:9900");
        // How many connections there may be depends on the machine.
        let ClientLimits { connections, connections_per_client, .. } = config.limits.client;
        let client = ClientLimits { connections, connections_per_client, ..ClientLimits::default() };
        let engines = Limits { client, ..Limits::default() };
        assert_eq!(config.limits, engines, "the flags' defaults are the engine's");
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
    fn the_planner_can_be_tuned_and_nothing_is_kept_unless_asked_for() {
        let config = from(&[], "").expect("nothing is required");
        assert_eq!(config.service_limits.plan, PlanParams::default());
        assert!(config.state_dir.is_none() && config.decision_log.is_none());
        let config = from(&[], "[planner]\npatience = 0\n[planner.cap]\nsmall_bias = 1.5\n").expect("valid");
        let plan = config.service_limits.plan;
        assert_eq!((plan.patience, plan.cap.small_bias, plan.lower_after), (0.0, 1.5, 5));
    }

    #[test]
    fn bad_input_is_named_with_what_is_accepted() {
        for (args, file, parts) in [
            (&[][..], "lisen = \"127.0.0.1:1\"\n", &["lisen", "listen"][..]),
            (&[], "queue-timeout = \"soon\"\n", &["queue-timeout", "soon"]),
            (&[], "threads = 0\n", &["threads"]),
            (&["--stream-timeout", "0s"], "", &["stream-timeout", "0s", "above zero"]),
            (&["--max-head-size", "1KiB"], "", &["--max-head-size", "1KiB", "8KiB to 16MiB"]),
            (&["--max-request-line", "65KiB"], "", &["--max-request-line", "65KiB", "1KiB to 64KiB"]),
            (&["--max-ejected", "101"], "", &["--max-ejected", "101", "0 to 100"]),
            (&["--max-header-fields", "9"], "", &["--max-header-fields", "9", "16 to 1000"]),
            (&["--http2-max-streams", "0"], "", &["--http2-max-streams", "0", "1 to 10000"]),
            (&["--max-connections", "0"], "", &["--max-connections", "0"]),
            (&[], &with_rule("max-body-size = \"1MB\""), &["max-body-size", "1MB", "MiB"]),
            (&["--listen", "8080"], "", &["--listen", "8080", "127.0.0.1:8080"]),
            (&["--listen", "127.0.0.1:80,tls=a"], "", &["--listen", "tls=a", "CERT:KEY"]),
            (&["--instance", "127.0.0.1:80,wrokers=2"], "", &["wrokers", "workers=N"]),
            (&["--instance", "127.0.0.1:80,workers=0"], "", &["workers", "0"]),
            (&["--instance", "127.0.0.1:80,service=x"], "", &["instance", "x", "default"]),
            (&["--instance", "a:80", "--instance", "a:80"], "", &["instance", "a:80", "once"]),
            (
                &["--instance", "dns:a", "--threads", "2"],
                "",
                &["--instance", "dns:a", "dns:zope.example:8080"],
            ),
            (&["--instance", "dns:a:1", "--instance", "dns:a:1"], "", &["instance", "dns:a:1", "once"]),
            (&["--instance", "srv:_a._tcp.b,service=x"], "", &["instance", "srv:_a._tcp.b", "default"]),
            (&["--trusted-proxy", "10.0.0.0/40"], "", &["--trusted-proxy", "10.0.0.0/40"]),
            (&["--admin", "0.0.0.0:9900"], "", &["admin", "0.0.0.0:9900", "token"]),
            (&["--xds", "18000"], "", &["--xds", "18000", "IP:PORT"]),
            (&["--xds", "127.0.0.1:1,tls=/none/c:/none/k"], "", &["--xds", "/none/"]),
            (&[], "[service.shop]\nhosts = [\"a b\"]\n", &["service.shop.hosts", "a b", "host name"]),
            (&[], "[service.shop]\npath-prefixes = [\"x\"]\n", &["service.shop.path-prefixes", "x", "/"]),
            (&[], "[service.shop]\n", &["service.shop", "hosts"]),
            (&[], "[service.shop]\nhost = [\"a\"]\n", &["host", "hosts"]),
            (&[], "[[rule]]\n", &["rule.1.name", "1 to 64"]),
            (&[], "[[rule]]\nname = \"a\"\nlanes = \"small\"\n", &["lanes", "lane"]),
            (&[], &with_rule("lane = \"medium\""), &["rule.slow.lane", "medium", "small or large"]),
            (&[], &with_rule("deadline = \"0s\""), &["rule.slow.deadline", "0s", "above zero"]),
            (&[], &with_rule("deadline = \"soon\""), &["deadline", "soon", "500ms"]),
            (&[], &with_rule("priority = 11"), &["rule.slow.priority", "11", "-10 to 10"]),
            (&[], &with_rule("instances = \"a b\""), &["rule.slow.instances", "a b", "A-Z"]),
            (&[], &with_rule("path = \"(\""), &["rule.slow.path", "(", "regular expression", "unclosed"]),
            (&[], &with_rule("methods = \"get\""), &["rule.slow.methods", "get", "capitals"]),
            (&[], &with_rule("hosts = \"a b\""), &["rule.slow.hosts", "a b", "host name"]),
            (&[], &with_rule("header = { name = \"a b\" }"), &["rule.slow.header.name", "a b"]),
            (&[], &with_rule("header = { value = \"a\" }"), &["header", "name"]),
            (&[], &with_rule("sticky = { cookie = \"a b\" }"), &["rule.slow.sticky.cookie", "a b", "__ac"]),
            (&[], &with_rule("[[rule]]\nname = \"slow\""), &["rule.2.name", "slow", "no earlier"]),
            (
                &[],
                &with_rule("[service.default]\n[[service.default.rule]]\nname = \"b\""),
                &["service.default.rule", "one place"],
            ),
            (
                &[],
                "[service.shop]\nhosts = \"a\"\n[[service.shop.rule]]\nname = \"r\"\nlane = \"L\"\n",
                &["service.shop.rule.r.lane", "L"],
            ),
            (&[], "[planner]\ncap.small_bias = 0\n", &["planner.cap.small_bias", "0", "0.1 to 10"]),
            (&[], "[planner]\nlower_after = 0\n", &["planner.lower_after", "0", "from 1"]),
            (&[], "[planner]\nlower_after = 2.5\n", &["lower_after", "2.5"]),
            (&[], "[planner]\npatiens = 0\n", &["patiens", "patience"]),
            (&["--state-dir", "/dev/null/x"], "", &["state-dir", "/dev/null/x", "directory"]),
            (&["--decision-log", "/none/x"], "", &["decision-log", "/none/x", "directory that exists"]),
            (&["--decision-log-size", "1KiB"], "", &["decision-log-size", "1KiB", "64KiB"]),
            (&["--access-log", "/none/x"], "", &["access-log", "/none/x", "directory that exists"]),
            (&["--access-log-format", "$clinet"], "", &["$clinet", "$client", "$trace_id"]),
            (&["--access-log-format", "common"], "", &["common", "combined", "json", "$status"]),
            (&[], "access-log-format = \"$client\\n\"\n", &["access-log-format", "line break"]),
            (
                &["--access-log", "-", "--access-log-sample", "0"],
                "",
                &["access-log-sample", "0", "above 0 to 1"],
            ),
            (&["--otlp-endpoint", "https://c:4318"], "", &["otlp-endpoint", "https://c:4318", "http://"]),
            (&["--otlp-endpoint", "c:4318"], "", &["otlp-endpoint", "c:4318", "http://127.0.0.1:4318"]),
            (&["--otlp-endpoint", "http://c", "--otlp-sample", "2"], "", &["otlp-sample", "2", "0 to 1"]),
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
        let file =
            &format!("{file}{}", RULES.replace("[service.shop]\n        hosts = \"shop.example\"", ""));
        let options =
            |text: &str| -> Options { toml::from_str::<Options>(text).expect("valid").with_defaults() };
        let effective = sluice_process::config::to_toml(&options(file));
        assert_eq!(sluice_process::config::to_toml(&options(&effective)), effective);
        assert_eq!(options(&effective), options(file), "nothing is lost");
        assert!(effective.contains("queue-timeout = \"30s\""), "{effective}");
    }
}
