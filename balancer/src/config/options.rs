//! Flags, environment variables and file keys of the balancer. The same names everywhere.

// Help texts show optional parts in brackets.
#![allow(rustdoc::broken_intra_doc_links)]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use sluice_process::config::{AdminSpec, one_or_many};
use sluice_process::reload::WatchConfig;
use sluice_process::{ByteSize, LogFormat, Span, admin, descriptors, layered};
use sluice_relay::limits::{ClientLimits, UpstreamLimits, connections_within};
use sluice_relay::listen::ListenSpec;

use crate::config::{InstanceSpec, KubernetesSpec, RuleOptions, ServiceOptions};
use crate::decide::outlier::OutlierParams;
use crate::decide::plan::PlanParams;
use crate::decide::versions::VersionPolicy;
use crate::observe::AccessFormat;

/// What can be asked of the balancer. Flag beats environment beats file.
#[derive(Clone, Debug, Default, PartialEq, clap::Args, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Options {
    /// Where clients connect: ADDR[,tls=CERT:KEY][,h2c][,proxy] [default: 127.0.0.1:8080]
    ///
    /// ADDR is IP:PORT, unix:PATH (with mode=0660 or another), or fd:NAME or fd:NUMBER for a socket of
    /// systemd's. tls: HTTPS with HTTP/2 and HTTP/1.1; PEM files, read again when they change; more
    /// than once for several names, the first for all others. h2c: HTTP/2 in the clear as well as
    /// HTTP/1.1. proxy: every connection must begin with a PROXY header, version 1 or 2.
    #[arg(long, value_name = "ADDR", env = "SLUICE_LISTEN", value_delimiter = ' ')]
    #[serde(deserialize_with = "one_or_many", skip_serializing_if = "Vec::is_empty")]
    pub listen: Vec<ListenSpec>,

    /// Where agents report, Prometheus scrapes and the dashboard is: ADDR[,tls=CERT:KEY[,client-ca=FILE]] [default: 127.0.0.1:9900]
    ///
    /// tls: HTTPS; PEM files, read again when they change. client-ca: reports and operator's actions need a client
    /// certificate of an authority in this file, and an agent's must be for its name. An address that is not loopback
    /// needs client-ca or --token-file; with both, both are needed.
    #[arg(long, value_name = "ADDR", env = "SLUICE_ADMIN")]
    pub admin: Option<AdminSpec>,

    /// A file with the token that reports and operator's actions must carry
    ///
    /// Read again when it changes. Agents get the same file.
    #[arg(long, value_name = "FILE", env = "SLUICE_TOKEN_FILE")]
    pub token_file: Option<PathBuf>,

    /// Where Envoys ask for endpoints (xDS over gRPC): ADDR[,tls=CERT:KEY[,client-ca=FILE]] [default: nowhere]
    ///
    /// Read-only: weights, health and sluice.role of each instance, as GET /v1/instances shows them. With client-ca only
    /// who has a certificate of such an authority may ask; without, bind it where only Envoys are. A service whose
    /// requests go past this balancer is planned by what its agents report.
    #[arg(long, value_name = "ADDR", env = "SLUICE_XDS")]
    pub xds: Option<AdminSpec>,

    /// Reports per second that are taken from one address; further ones get 429 [default: 500]
    ///
    /// Twice as many at once. A report of 1 MiB counts as seventeen.
    #[arg(long, value_name = "N", env = "SLUICE_REPORT_RATE")]
    pub report_rate: Option<NonZeroU32>,

    /// Connections of agents, dashboards and scrapers; further ones wait [default: by the limit of open files]
    ///
    /// One address gets half of them. By default an eighth of what the process may open: at least 1024, at most 16384.
    #[arg(long, value_name = "N", env = "SLUICE_ADMIN_CONNECTIONS")]
    pub admin_connections: Option<NonZeroUsize>,

    /// A TOML file with the same keys as these flags, and [[rule]] and [service.NAME] tables
    #[arg(long, value_name = "FILE", env = "SLUICE_CONFIG")]
    #[serde(skip)]
    pub config: Option<PathBuf>,

    /// Whether that file is read again when it changes; on SIGHUP it always is [default: on]
    ///
    /// A file that can not be used changes nothing, and the log says why.
    #[arg(long, value_name = "ON|OFF", env = "SLUICE_WATCH_CONFIG")]
    pub watch_config: Option<WatchConfig>,

    /// An instance that has no agent: ADDR[,workers=N][,release=first-byte|end][,service=NAME][,name=NAME]
    ///
    /// workers: requests that it works on at the same time [default: 1]. release: when its worker
    /// is free again [default: end]. Instances with an agent register by themselves. dns:NAME:PORT and
    /// srv:_SERVICE._PROTOCOL.NAME are as many as DNS has addresses; looked up again when their TTL ends, 1s to 5m.
    #[arg(long, value_name = "INSTANCE", env = "SLUICE_INSTANCE", value_delimiter = ' ')]
    #[serde(deserialize_with = "one_or_many", skip_serializing_if = "Vec::is_empty")]
    pub instance: Vec<InstanceSpec>,

    /// DNS server for these names, such as 127.0.0.1:8600 [default: those of /etc/resolv.conf]
    #[arg(long, value_name = "ADDR", env = "SLUICE_DNS_SERVER")]
    pub dns_server: Option<SocketAddr>,

    /// Pods of a Kubernetes service as instances without agents: NAMESPACE/NAME[:PORT][,workers=N][,release=first-byte|end][,service=NAME]
    ///
    /// PORT: the pods', by number or by its name in the service; needed if there are several. Only in programs built
    /// with `--features kubernetes`.
    #[arg(long, value_name = "SERVICE", env = "SLUICE_KUBERNETES_SERVICE", value_delimiter = ' ')]
    #[serde(deserialize_with = "one_or_many", skip_serializing_if = "Vec::is_empty")]
    pub kubernetes_service: Vec<KubernetesSpec>,

    /// How Kubernetes is reached [default: KUBECONFIG, ~/.kube/config, or the pod's service account]
    #[arg(long, value_name = "FILE", env = "SLUICE_KUBECONFIG")]
    pub kubeconfig: Option<PathBuf>,

    /// Threads that carry requests [default: one per core]
    #[arg(long, value_name = "N", env = "SLUICE_THREADS")]
    pub threads: Option<NonZeroUsize>,

    /// Requests of one service that may wait for a worker; further ones get 503 [default: 1000]
    #[arg(long, value_name = "N", env = "SLUICE_QUEUE_LENGTH")]
    pub queue_length: Option<NonZeroUsize>,

    /// How long an ordinary request may wait for a worker before it gets 503 [default: 30s]
    #[arg(long, value_name = "TIME", env = "SLUICE_QUEUE_TIMEOUT")]
    pub queue_timeout: Option<Span>,

    /// How long a request that holds its worker for long may wait before it gets 503 [default: 1m]
    ///
    /// Which requests those are is learned: GET /v1/explain tells of any.
    #[arg(long, value_name = "TIME", env = "SLUICE_LARGE_QUEUE_TIMEOUT")]
    pub large_queue_timeout: Option<Span>,

    /// How long after the start requests wait for a first instance instead of getting 503 [default: 3s]
    #[arg(long, value_name = "TIME", env = "SLUICE_STARTUP_HOLD")]
    pub startup_hold: Option<Span>,

    /// Which versions of the application get the default service's requests: any, majority, or shares as in 2.1=90,2.2=10 [default: any]
    ///
    /// Versions are what agents call them by --version-label. majority: only the one that most instances
    /// have. Other services: `versions` in their tables of the file.
    #[arg(long, value_name = "POLICY", env = "SLUICE_VERSIONS")]
    pub versions: Option<VersionPolicy>,

    /// How long a stop waits for requests that are under way [default: 30s]
    #[arg(long, value_name = "TIME", env = "SLUICE_DRAIN_TIMEOUT")]
    pub drain_timeout: Option<Span>,

    /// Networks of proxies whose X-Forwarded-* fields are believed [default: 127.0.0.0/8 and ::1/128]
    #[arg(long, value_name = "NETWORK", env = "SLUICE_TRUSTED_PROXY", value_delimiter = ' ')]
    #[serde(deserialize_with = "one_or_many", skip_serializing_if = "Vec::is_empty")]
    pub trusted_proxy: Vec<IpNet>,

    /// What responses tell clients about their way [default: nothing]
    #[arg(long, value_name = "WHAT", env = "SLUICE_REVEAL", value_delimiter = ' ')]
    #[serde(deserialize_with = "one_or_many", skip_serializing_if = "Vec::is_empty")]
    pub reveal: Vec<Revealed>,

    /// Request classes that are told apart, per service; the rest is "other" [default: 2000]
    #[arg(long, value_name = "N", env = "SLUICE_MAX_CLASSES")]
    pub max_classes: Option<NonZeroUsize>,

    /// Request classes that have metrics of their own, about 60 time series each [default: 100]
    #[arg(long, value_name = "N", env = "SLUICE_METRIC_CLASSES")]
    pub metric_classes: Option<usize>,

    /// Requests that an instance must fail in a row, while others do not, to be left out for a while; 0: never [default: 5]
    #[arg(long, value_name = "N", env = "SLUICE_EJECT_AFTER")]
    pub eject_after: Option<u32>,

    /// The most of a service's reachable instances, in percent, that may be left out because they fail [default: 50]
    #[arg(long, value_name = "PERCENT", env = "SLUICE_MAX_EJECTED")]
    pub max_ejected: Option<u8>,

    /// Longest time from a request's first byte to the end of its header [default: 10s]
    #[arg(long, value_name = "TIME", env = "SLUICE_CLIENT_HEAD_TIMEOUT")]
    pub client_head_timeout: Option<Span>,

    /// How long a client's connection may idle between requests [default: 1m 15s]
    #[arg(long, value_name = "TIME", env = "SLUICE_CLIENT_KEEP_ALIVE")]
    pub client_keep_alive: Option<Span>,

    /// Longest pause in a request body [default: 30s]
    #[arg(long, value_name = "TIME", env = "SLUICE_CLIENT_BODY_TIMEOUT")]
    pub client_body_timeout: Option<Span>,

    /// Longest time in which a client takes nothing of its response [default: 1m]
    #[arg(long, value_name = "TIME", env = "SLUICE_CLIENT_WRITE_TIMEOUT")]
    pub client_write_timeout: Option<Span>,

    /// How long a client that closed its sending side is still believed to read [default: 1s]
    #[arg(long, value_name = "TIME", env = "SLUICE_HALF_CLOSE_GRACE")]
    pub half_close_grace: Option<Span>,

    /// Longest request line, 1KiB or more; then 414 [default: 16KiB]
    #[arg(long, value_name = "SIZE", env = "SLUICE_MAX_REQUEST_LINE")]
    pub max_request_line: Option<ByteSize>,

    /// Largest request head, request line and header fields, 8KiB to 16MiB; then 431 [default: 64KiB]
    #[arg(long, value_name = "SIZE", env = "SLUICE_MAX_HEAD_SIZE")]
    pub max_head_size: Option<ByteSize>,

    /// Most header fields of a request, 16 to 1000; then 431 [default: 100]
    #[arg(long, value_name = "N", env = "SLUICE_MAX_HEADER_FIELDS")]
    pub max_header_fields: Option<u16>,

    /// Most connections of clients at the same time [default: what the limit of open files allows, 32768 at most]
    ///
    /// Then the ones that have idled for longest are closed, and if there is none, further ones wait to be accepted.
    #[arg(long, value_name = "N", env = "SLUICE_MAX_CONNECTIONS")]
    pub max_connections: Option<NonZeroUsize>,

    /// Most connections from one client address, or IPv6 /64; further ones are closed at once; 0: any number [default: half of --max-connections]
    ///
    /// Addresses in --trusted-proxy are not counted, as they speak for many; with `proxy` it is the address that the
    /// PROXY header tells.
    #[arg(long, value_name = "N", env = "SLUICE_MAX_CONNECTIONS_PER_CLIENT")]
    pub max_connections_per_client: Option<usize>,

    /// Most requests on one connection, then it is told to end; 0: any number [default: 10000]
    #[arg(long, value_name = "N", env = "SLUICE_MAX_REQUESTS_PER_CONNECTION")]
    pub max_requests_per_connection: Option<u64>,

    /// Bytes per second that a client must send of a request's body while they are waited for; then 408; 0: any [default: 240]
    ///
    /// It may be slower, or pause, for as long as --client-body-timeout in all, and gains that again by being faster.
    #[arg(long, value_name = "N", env = "SLUICE_MIN_UPLOAD_RATE")]
    pub min_upload_rate: Option<u64>,

    /// Bytes per second that a client must take of its response while they wait for it, or it is cut off; 0: any [default: 240]
    ///
    /// It may be slower, or pause, for as long as --client-write-timeout in all, and gains that again by being faster.
    #[arg(long, value_name = "N", env = "SLUICE_MIN_DOWNLOAD_RATE")]
    pub min_download_rate: Option<u64>,

    /// Largest request body; then 413; 0: any. Rules may say otherwise (max-body-size) [default: 0]
    #[arg(long, value_name = "SIZE", env = "SLUICE_MAX_BODY_SIZE")]
    pub max_body_size: Option<ByteSize>,

    /// Requests that an HTTP/2 connection may have under way, 1 to 10000; further ones are refused [default: 100]
    #[arg(long, value_name = "N", env = "SLUICE_HTTP2_MAX_STREAMS")]
    pub http2_max_streams: Option<u32>,

    /// Longest time to connect to an instance [default: 1s]
    #[arg(long, value_name = "TIME", env = "SLUICE_CONNECT_TIMEOUT")]
    pub connect_timeout: Option<Span>,

    /// Longest time from the end of a request to the head of its response; then 504 [default: 5m]
    #[arg(long, value_name = "TIME", env = "SLUICE_RESPONSE_TIMEOUT")]
    pub response_timeout: Option<Span>,

    /// Longest pause of an instance within a response body [default: 5m]
    #[arg(long, value_name = "TIME", env = "SLUICE_STREAM_TIMEOUT")]
    pub stream_timeout: Option<Span>,

    /// How long an unused connection to an instance is kept [default: 30s]
    #[arg(long, value_name = "TIME", env = "SLUICE_INSTANCE_KEEP_ALIVE")]
    pub instance_keep_alive: Option<Span>,

    /// Longest silence of a WebSocket or other upgraded connection [default: 1h]
    #[arg(long, value_name = "TIME", env = "SLUICE_TUNNEL_TIMEOUT")]
    pub tunnel_timeout: Option<Span>,

    /// Where what was learned, and the operator's words, outlive a restart [default: nowhere]
    ///
    /// Made if it is not there. Written each minute and at a clean stop; read at the start, and what
    /// can not be used is ignored with a warning. One directory per balancer.
    #[arg(long, value_name = "DIR", env = "SLUICE_STATE_DIR")]
    pub state_dir: Option<PathBuf>,

    /// A file for the planner's decisions and what they were made from, for `replay` [default: none]
    ///
    /// The last 600 are at GET /v1/decisions in any case.
    #[arg(long, value_name = "FILE", env = "SLUICE_DECISION_LOG")]
    pub decision_log: Option<PathBuf>,

    /// Size at which that file is renamed to FILE.1 and begun anew [default: 64MiB]
    #[arg(long, value_name = "SIZE", env = "SLUICE_DECISION_LOG_SIZE")]
    pub decision_log_size: Option<ByteSize>,

    /// A file that gets a line per request, or - for the standard output [default: none]
    ///
    /// Written when the last byte has come from the instance. Opened again on SIGHUP, after the file was renamed.
    #[arg(long, value_name = "FILE", env = "SLUICE_ACCESS_LOG")]
    pub access_log: Option<PathBuf>,

    /// How such a line looks: combined, json, or a text with fields: '$client $status "$class" $queue_ms' [default: combined]
    ///
    /// JSON has all fields: time client scheme method host target protocol referer user_agent status failure
    /// request_bytes response_bytes duration_ms queue_ms ttfb_ms service class lane instance why attempts request_id
    /// trace_id; a text may also have time_clf.
    #[arg(long, value_name = "FORMAT", env = "SLUICE_ACCESS_LOG_FORMAT")]
    pub access_log_format: Option<AccessFormat>,

    /// Share of the requests that get a line, such as 0.1; those that failed always do [default: 1]
    ///
    /// Failed: not answered to the end, or with a status of 500 or above.
    #[arg(long, value_name = "SHARE", env = "SLUICE_ACCESS_LOG_SAMPLE")]
    pub access_log_sample: Option<f64>,

    /// A collector that gets spans, OTLP over HTTP: http://127.0.0.1:4318 [default: none]
    ///
    /// /v1/traces is added. Spans wait in memory, and are lost, and counted, if the collector does not take them.
    #[arg(long, value_name = "URL", env = "SLUICE_OTLP_ENDPOINT")]
    pub otlp_endpoint: Option<String>,

    /// Share of the traces that begin here that are recorded; those that come with a traceparent keep its flag [default: 0.1]
    #[arg(long, value_name = "SHARE", env = "SLUICE_OTLP_SAMPLE")]
    pub otlp_sample: Option<f64>,

    /// How log lines look [default: text]
    #[arg(long, value_name = "FORMAT", env = "SLUICE_LOG_FORMAT")]
    pub log_format: Option<LogFormat>,

    /// What the planner is tuned to; only in the file.
    #[arg(skip)]
    pub planner: Option<PlanParams>,

    /// Rules for requests of the default service; only in the file.
    #[arg(skip)]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rule: Vec<RuleOptions>,

    /// Services by name; only in the file.
    #[arg(skip)]
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub service: BTreeMap<String, ServiceOptions>,
}

/// What a response can carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Revealed {
    /// X-Request-Id, for finding a request in the logs
    RequestId,
    /// Server-Timing with the time in the queue and in the application, class, lane, prediction and instance
    ServerTiming,
}

layered!(Options {
    listen,
    admin,
    token_file,
    xds,
    report_rate,
    admin_connections,
    config,
    watch_config,
    instance,
    dns_server,
    kubernetes_service,
    kubeconfig,
    threads,
    queue_length,
    queue_timeout,
    large_queue_timeout,
    startup_hold,
    versions,
    drain_timeout,
    trusted_proxy,
    reveal,
    max_classes,
    metric_classes,
    eject_after,
    max_ejected,
    client_head_timeout,
    client_keep_alive,
    client_body_timeout,
    client_write_timeout,
    half_close_grace,
    max_request_line,
    max_head_size,
    max_header_fields,
    max_connections,
    max_connections_per_client,
    max_requests_per_connection,
    min_upload_rate,
    min_download_rate,
    max_body_size,
    http2_max_streams,
    connect_timeout,
    response_timeout,
    stream_timeout,
    instance_keep_alive,
    tunnel_timeout,
    state_dir,
    decision_log,
    decision_log_size,
    access_log,
    access_log_format,
    access_log_sample,
    otlp_endpoint,
    otlp_sample,
    log_format,
    planner,
    rule,
    service,
});

impl Options {
    /// Fills in every default, so that what `check` prints is all there is.
    pub fn with_defaults(self) -> Self {
        let (client, upstream) = (ClientLimits::default(), UpstreamLimits::default());
        let span = |own: Option<Span>, default: Duration| {
            Some(own.unwrap_or(Span::from_millis(u64::try_from(default.as_millis()).unwrap_or(u64::MAX))))
        };
        let bytes = |own: Option<ByteSize>, default: usize| own.or(Some(ByteSize::bytes(default as u64)));
        let seconds = |own: Option<Span>, secs| Some(own.unwrap_or(Span::from_secs(secs)));
        let count = |own: Option<NonZeroUsize>, n| own.or(NonZeroUsize::new(n));
        let cores = || std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        let connections =
            self.max_connections.map_or_else(|| connections_within(descriptors::most()), NonZeroUsize::get);
        let head = self.max_head_size.map_or(client.head_bytes, ByteSize::as_usize);
        Self {
            listen: or_one(self.listen, || SocketAddr::from(([127, 0, 0, 1], 8080)).into()),
            admin: self.admin.or_else(|| Some(SocketAddr::from(([127, 0, 0, 1], 9900)).into())),
            // As many agents behind one address as report once a second.
            report_rate: self.report_rate.or(NonZeroU32::new(500)),
            admin_connections: count(self.admin_connections, admin::connections_within(descriptors::most())),
            watch_config: self.watch_config.or(Some(WatchConfig::default())),
            threads: self.threads.or_else(|| Some(cores())),
            // A queue longer than what a few hundred workers serve within the timeout only delays
            // the 503.
            queue_length: count(self.queue_length, 1000),
            // As long as browsers and front proxies wait before they give up.
            queue_timeout: seconds(self.queue_timeout, 30),
            // Who asks for an export or a film waits longer than who asks for a page.
            large_queue_timeout: seconds(self.large_queue_timeout, 60),
            // Three report intervals: by then every agent that lives has reported.
            startup_hold: seconds(self.startup_hold, 3),
            // What Kubernetes gives a pod before it is killed.
            drain_timeout: seconds(self.drain_timeout, 30),
            // A TLS proxy on the same host is the common case, and whoever is on the host can
            // reach the instances anyway.
            trusted_proxy: if self.trusted_proxy.is_empty() { loopback() } else { self.trusted_proxy },
            max_classes: count(self.max_classes, 2000),
            metric_classes: self.metric_classes.or(Some(100)),
            eject_after: self.eject_after.or(Some(OutlierParams::default().in_a_row)),
            // Below it, what is left would be overrun by what the others do not take.
            max_ejected: self.max_ejected.or(Some(50)),
            client_head_timeout: span(self.client_head_timeout, client.head),
            client_keep_alive: span(self.client_keep_alive, client.keep_alive),
            client_body_timeout: span(self.client_body_timeout, client.body_stall),
            client_write_timeout: span(self.client_write_timeout, client.write_stall),
            half_close_grace: span(self.half_close_grace, client.half_close_grace),
            max_request_line: bytes(self.max_request_line, client.request_line_bytes.min(head)),
            max_head_size: bytes(self.max_head_size, head),
            max_header_fields: self.max_header_fields.or(u16::try_from(client.fields).ok()),
            max_connections: NonZeroUsize::new(connections),
            // No address can take all places; a proxy that somebody forgot to name has thousands left.
            max_connections_per_client: self.max_connections_per_client.or(Some(connections.div_ceil(2))),
            max_requests_per_connection: self.max_requests_per_connection.or(Some(client.requests)),
            min_upload_rate: self.min_upload_rate.or(Some(client.min_upload_rate)),
            min_download_rate: self.min_download_rate.or(Some(client.min_download_rate)),
            max_body_size: self.max_body_size.or(Some(ByteSize::bytes(0))),
            http2_max_streams: self.http2_max_streams.or(Some(client.http2.streams)),
            connect_timeout: span(self.connect_timeout, upstream.connect),
            response_timeout: span(self.response_timeout, upstream.response_head),
            stream_timeout: span(self.stream_timeout, upstream.body_stall),
            instance_keep_alive: span(self.instance_keep_alive, upstream.idle),
            tunnel_timeout: span(self.tunnel_timeout, upstream.tunnel_idle),
            // A week of a site whose plan changes a few times an hour.
            decision_log_size: self.decision_log_size.or(Some(ByteSize::mib(64))),
            access_log_format: self.access_log_format.or_else(|| Some(AccessFormat::combined())),
            access_log_sample: self.access_log_sample.or(Some(1.0)),
            otlp_sample: self.otlp_sample.or(Some(0.1)),
            planner: self.planner.or_else(|| Some(PlanParams::default())),
            log_format: self.log_format.or(Some(LogFormat::default())),
            ..self
        }
    }
}

fn or_one<T>(list: Vec<T>, one: impl FnOnce() -> T) -> Vec<T> {
    if list.is_empty() { vec![one()] } else { list }
}

fn loopback() -> Vec<IpNet> {
    let v4 = ipnet::Ipv4Net::new([127, 0, 0, 0].into(), 8).expect("8 is a prefix length");
    vec![v4.into(), std::net::IpAddr::from(std::net::Ipv6Addr::LOCALHOST).into()]
}
