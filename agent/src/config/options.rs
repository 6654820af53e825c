//! The command line, the environment and the file, as given: nothing is filled in or checked yet.

use std::{net::SocketAddr, path::PathBuf};

use serde::{Deserialize, Serialize};
use sluice_process::{
    ByteSize, LogFormat, Span,
    config::{AdminSpec, one_or_many},
    reload::WatchConfig,
};
use sluice_proto::{InstanceName, ServiceName, Target};
use sluice_relay::listen::ListenSpec;

use super::{BufferingRule, ClockOptions, ModeOption, ReleaseOption, Switch, UriRoot};
use crate::compress::{Encoding, MediaPattern};
use crate::discover::Source;
use crate::follow::Format;
use crate::orca::Form;

/// What may be said about an agent. `None` and empty mean "not said"; [`Config`](super::Config) has the defaults.
#[derive(Clone, Debug, Default, PartialEq, clap::Args, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Options {
    /// Admin URL of a balancer to report to, http or https, such as http://10.0.0.1:9900; may be repeated
    ///
    /// dns+http://NAME:PORT reports to every address of NAME, srv+http://_SERVICE._PROTOCOL.NAME to all that this SRV
    /// record names; they are looked up again when their TTL ends, 1s to 5m.
    #[arg(long, value_name = "URL", env = "SLUICE_BALANCER", value_delimiter = ' ')]
    #[serde(deserialize_with = "one_or_many", skip_serializing_if = "Vec::is_empty")]
    pub balancer: Vec<Source>,

    /// DNS server for these names, such as 127.0.0.1:8600 [default: those of /etc/resolv.conf]
    #[arg(long, value_name = "ADDR", env = "SLUICE_DNS_SERVER")]
    pub dns_server: Option<SocketAddr>,

    /// PEM file with the authorities that vouch for https:// balancers, and no others [default: those of this system]
    #[arg(long, value_name = "FILE", env = "SLUICE_BALANCER_CA")]
    pub balancer_ca: Option<PathBuf>,

    /// PEM file with the certificate that this agent shows to https:// balancers: for the name of its instance
    ///
    /// Read again when it changes, as all certificates are.
    #[arg(long, value_name = "FILE", env = "SLUICE_CLIENT_CERT")]
    pub client_cert: Option<PathBuf>,

    /// PEM file with the key of --client-cert
    #[arg(long, value_name = "FILE", env = "SLUICE_CLIENT_KEY")]
    pub client_key: Option<PathBuf>,

    /// Address of the application server beside this agent, such as 127.0.0.1:8000
    #[arg(long, value_name = "ADDR", env = "SLUICE_INSTANCE")]
    pub instance: Option<Target>,

    /// Address to take requests on, where the balancer sends them (mode inline)
    #[arg(long, value_name = "ADDR", env = "SLUICE_LISTEN")]
    pub listen: Option<ListenSpec>,

    /// Address under which balancers reach this agent [default: the address of --listen]
    ///
    /// In mode passive: under which they reach the instance [default: the address of --instance].
    #[arg(long, value_name = "ADDR", env = "SLUICE_ADVERTISE")]
    pub advertise: Option<Target>,

    /// Name of the instance, unique within its service [default: the advertised address]
    #[arg(long, value_name = "NAME", env = "SLUICE_NAME")]
    pub name: Option<InstanceName>,

    /// Service that the instance belongs to [default: default]
    #[arg(long, value_name = "NAME", env = "SLUICE_SERVICE")]
    pub service: Option<ServiceName>,

    /// Release of the application that runs, shown to operators
    #[arg(long, value_name = "TEXT", env = "SLUICE_VERSION_LABEL")]
    pub version_label: Option<String>,

    /// Requests that the instance works on at the same time: its worker processes times their threads [default: 1]
    #[arg(long, value_name = "N", env = "SLUICE_WORKERS")]
    pub workers: Option<u32>,

    /// When a worker is free again: with the first byte of the response body, or with its last [default: auto]
    ///
    /// auto finds it out, by class and length of the response: a worker is free early if others' requests are answered
    /// while as many responses as there are workers are being sent. Requests that wait here anyway may show it, and
    /// those to --health-path. Until then, and after the first contradiction, it is the last byte.
    #[arg(long, value_name = "POINT", env = "SLUICE_RELEASE")]
    pub release: Option<ReleaseOption>,

    /// inline: requests go through the agent. passive: they go to the instance, and the agent learns of them from
    /// an access log, from metrics, or from the application (POST /v1/observe) [default: inline]
    #[arg(long, value_name = "MODE", env = "SLUICE_MODE")]
    pub mode: Option<ModeOption>,

    /// Time between reports, 100ms to 1m; each is sent up to 10 % early or late [default: 1s]
    #[arg(long, value_name = "TIME", env = "SLUICE_INTERVAL")]
    pub interval: Option<Span>,

    /// Address of the admin server (metrics, status, drain): ADDR[,tls=CERT:KEY[,client-ca=FILE]] [default: 127.0.0.1:9901]
    ///
    /// tls: HTTPS. client-ca: POST requests need a client certificate of an authority in this file. An address that is
    /// not loopback needs client-ca or --token-file; with both, both are needed.
    #[arg(long, value_name = "ADDR", env = "SLUICE_ADMIN")]
    pub admin: Option<AdminSpec>,

    /// File with the token that reports carry, and that POST requests to the admin server must carry
    #[arg(long, value_name = "FILE", env = "SLUICE_TOKEN_FILE")]
    pub token_file: Option<PathBuf>,

    /// Directory from which the agent sends files that responses name with X-Sendfile, an absolute path; may be
    /// repeated
    ///
    /// Without one such responses become errors: their path is no client's business.
    #[arg(long, value_name = "DIR", env = "SLUICE_XSENDFILE_ROOT", value_delimiter = ' ')]
    #[serde(deserialize_with = "one_or_many", skip_serializing_if = "Vec::is_empty")]
    pub xsendfile_root: Vec<PathBuf>,

    /// Internal URI that responses name with X-Accel-Redirect, and the directory that it stands for, such as
    /// /internal/=/srv/files; may be repeated
    #[arg(long, value_name = "URI=DIR", env = "SLUICE_XSENDFILE_URI", value_delimiter = ' ')]
    #[serde(deserialize_with = "one_or_many", skip_serializing_if = "Vec::is_empty")]
    pub xsendfile_uri: Vec<UriRoot>,

    /// Access log of the application server, from which the agent learns of requests (mode passive)
    ///
    /// A file, or a FIFO. It may be rotated and truncated, and need not be there yet.
    #[arg(long, value_name = "FILE", env = "SLUICE_ACCESS_LOG", help_heading = PASSIVE)]
    pub access_log: Option<PathBuf>,

    /// Codings to compress responses with, the preferred one first: gzip, br, zstd, such as zstd,br,gzip [default: none]
    ///
    /// Takes place after the instance's worker is free, for clients that accept it (Accept-Encoding).
    #[arg(long, value_name = "CODING", env = "SLUICE_COMPRESS", value_delimiter = ',', hide_possible_values = true, help_heading = COMPRESSION)]
    #[serde(deserialize_with = "one_or_many", skip_serializing_if = "Vec::is_empty")]
    pub compress: Vec<Encoding>,

    /// Media types to compress, such as text/*,application/json,*/*+xml [default: text, JSON, JavaScript, XML, SVG,
    /// WebAssembly, uncompressed fonts]
    #[arg(long, value_name = "TYPE", env = "SLUICE_COMPRESS_TYPES", value_delimiter = ',', help_heading = COMPRESSION)]
    #[serde(deserialize_with = "one_or_many", skip_serializing_if = "Vec::is_empty")]
    pub compress_types: Vec<MediaPattern>,

    /// Smallest response to compress [default: 1KiB]
    #[arg(long, value_name = "SIZE", env = "SLUICE_COMPRESS_MIN_SIZE", help_heading = COMPRESSION)]
    pub compress_min_size: Option<ByteSize>,

    /// Threads that compress; when they have enough to do, responses pass uncompressed [default: 1]
    #[arg(long, value_name = "N", env = "SLUICE_COMPRESS_THREADS", help_heading = COMPRESSION)]
    pub compress_threads: Option<u16>,
    /// Its format: common, combined, combined-us, -ms or -s (with the time at the end), common-us or -s, uvicorn, or
    /// directives of Apache or gunicorn (%>s, %(s)s) or nginx ($status) [default: combined]
    #[arg(long, value_name = "FORMAT", env = "SLUICE_ACCESS_LOG_FORMAT", help_heading = PASSIVE)]
    pub access_log_format: Option<Format>,

    /// Prometheus endpoint of the application, from which the agent learns of requests (mode passive)
    #[arg(long, value_name = "URL", env = "SLUICE_SCRAPE", help_heading = PASSIVE)]
    pub scrape: Option<String>,

    /// Time between scrapes, 1s to 1h [default: 10s]
    #[arg(long, value_name = "TIME", env = "SLUICE_SCRAPE_INTERVAL", help_heading = PASSIVE)]
    pub scrape_interval: Option<Span>,

    /// Histogram or summary of how long requests took [default: the one that a common exporter has]
    #[arg(long, value_name = "NAME", env = "SLUICE_SCRAPE_DURATIONS", help_heading = PASSIVE)]
    pub scrape_durations: Option<String>,

    /// Counter of requests, for their status [default: the one that a common exporter has]
    #[arg(long, value_name = "NAME", env = "SLUICE_SCRAPE_REQUESTS", help_heading = PASSIVE)]
    pub scrape_requests: Option<String>,

    /// Gauge of busy workers [default: none, they are not known]
    ///
    /// With --access-log, the only metric that is read.
    #[arg(long, value_name = "NAME", env = "SLUICE_SCRAPE_BUSY", help_heading = PASSIVE)]
    pub scrape_busy: Option<String>,

    /// Label that says what was asked for [default: path, handler, route, view or the like]
    #[arg(long, value_name = "NAME", env = "SLUICE_SCRAPE_PATH_LABEL", help_heading = PASSIVE)]
    pub scrape_path_label: Option<String>,
    /// Whether responses are read as fast as the instance writes them, so that a slow client holds no worker
    /// [default: on]
    ///
    /// Event streams, and responses with X-Accel-Buffering: no, are not.
    #[arg(long, value_name = "SWITCH", env = "SLUICE_RESPONSE_BUFFERING", help_heading = BUFFERING)]
    pub response_buffering: Option<Switch>,

    /// Whether request bodies are taken in before they get a worker [default: on]
    #[arg(long, value_name = "SWITCH", env = "SLUICE_UPLOAD_BUFFERING", help_heading = BUFFERING)]
    pub upload_buffering: Option<Switch>,

    /// Most memory for one response or upload that waits [default: 1MiB]
    #[arg(long, value_name = "SIZE", env = "SLUICE_BUFFER_SIZE", help_heading = BUFFERING)]
    pub buffer_size: Option<ByteSize>,

    /// Most memory for all of them [default: 256MiB]
    #[arg(long, value_name = "SIZE", env = "SLUICE_BUFFER_TOTAL", help_heading = BUFFERING)]
    pub buffer_total: Option<ByteSize>,

    /// Directory for what finds no room in memory; its files have no name [default: /var/tmp]
    #[arg(long, value_name = "DIR", env = "SLUICE_SPOOL_DIR", help_heading = BUFFERING)]
    pub spool_dir: Option<PathBuf>,

    /// Most that one response or upload may have there; 0: no files at all [default: 1GiB]
    #[arg(long, value_name = "SIZE", env = "SLUICE_SPOOL_SIZE", help_heading = BUFFERING)]
    pub spool_size: Option<ByteSize>,

    /// Most that all of them may have there [default: 8GiB]
    #[arg(long, value_name = "SIZE", env = "SLUICE_SPOOL_TOTAL", help_heading = BUFFERING)]
    pub spool_total: Option<ByteSize>,

    /// Classes for which that is different: only in the file, as `[[buffering]]` tables.
    #[arg(skip)]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub buffering: Vec<BufferingRule>,

    /// Address where HAProxy asks for state, weight and connection limit (agent-check, agent-port) [default: none]
    #[arg(long, value_name = "ADDR", env = "SLUICE_AGENT_CHECK", help_heading = PEERS)]
    pub agent_check: Option<SocketAddr>,

    /// HAProxy processes, times the backends of each, that share the instance's workers by --agent-check [default: 1]
    #[arg(long, value_name = "N", env = "SLUICE_AGENT_CHECK_PEERS", help_heading = PEERS)]
    pub agent_check_peers: Option<u32>,

    /// Address, or multicast group, that gets a datagram each second for httpd's mod_heartmonitor [default: none]
    #[arg(long, value_name = "ADDR", env = "SLUICE_HEARTBEAT", help_heading = PEERS)]
    pub heartbeat: Option<SocketAddr>,

    /// Form in which each response tells the instance's load, for Envoy and gRPC (ORCA): text, json, binary
    /// [default: none]
    ///
    /// What the application says in such fields of its own is heard in any case, and passed on in this form.
    #[arg(long, value_name = "FORM", env = "SLUICE_ORCA", hide_possible_values = true, help_heading = PEERS)]
    pub orca: Option<Form>,

    /// Address where Envoy and gRPC clients get such reports on a stream (ORCA out of band, gRPC in the clear)
    /// [default: none]
    #[arg(long, value_name = "ADDR", env = "SLUICE_ORCA_LISTEN", help_heading = PEERS)]
    pub orca_listen: Option<SocketAddr>,

    /// Whether --listen serves these streams as well, to whoever speaks HTTP/2 in the clear [default: off]
    ///
    /// Envoy asks each endpoint at its own address, or all at the same port: with several agents on a host, this one is
    /// needed. Nothing else is taken by HTTP/2.
    #[arg(long, value_name = "SWITCH", env = "SLUICE_ORCA_ON_LISTEN", help_heading = PEERS)]
    pub orca_on_listen: Option<Switch>,

    /// Least time between two reports on a stream; who asks for less gets this [default: 1s]
    #[arg(long, value_name = "TIME", env = "SLUICE_ORCA_MIN_INTERVAL", help_heading = PEERS)]
    pub orca_min_interval: Option<Span>,

    /// Requests that may wait here for a worker; more are refused, and the balancer sends them elsewhere
    /// [default: 16 per worker]
    #[arg(long, value_name = "N", env = "SLUICE_QUEUE_LENGTH", help_heading = LIMITS)]
    pub queue_length: Option<u32>,

    /// Longest wait here for a worker [default: 30s]
    #[arg(long, value_name = "TIME", env = "SLUICE_QUEUE_TIMEOUT", help_heading = LIMITS)]
    pub queue_timeout: Option<Span>,

    /// Longest time to finish what is in flight when asked to stop [default: 30s]
    #[arg(long, value_name = "TIME", env = "SLUICE_DRAIN_TIMEOUT", help_heading = LIMITS)]
    pub drain_timeout: Option<Span>,

    /// Path that is asked to see if the instance is well: a status below 500 says yes [default: none, a TCP
    /// connection is enough]
    ///
    /// A worker has to answer it, and quickly: --release auto asks for it beside long responses. Where workers are few,
    /// prefer the connection if nothing is to be found out.
    #[arg(long, value_name = "PATH", env = "SLUICE_HEALTH_PATH", help_heading = HEALTH)]
    pub health_path: Option<String>,

    /// Time between health checks of an instance that is well; others are checked every 250ms [default: 2s]
    #[arg(long, value_name = "TIME", env = "SLUICE_HEALTH_INTERVAL", help_heading = HEALTH)]
    pub health_interval: Option<Span>,

    /// Longest time for one health check [default: 1s]
    #[arg(long, value_name = "TIME", env = "SLUICE_HEALTH_TIMEOUT", help_heading = HEALTH)]
    pub health_timeout: Option<Span>,

    /// Threads that relay requests [default: 1]
    #[arg(long, value_name = "N", env = "SLUICE_THREADS", help_heading = LIMITS)]
    pub threads: Option<u16>,

    /// Longest time for a request's head to arrive from its first byte on [default: 10s]
    #[arg(long, value_name = "TIME", env = "SLUICE_CLIENT_HEAD_TIMEOUT", help_heading = LIMITS)]
    pub client_head_timeout: Option<Span>,

    /// Longest pause within a request body [default: 1m, above the balancer's 30s]
    #[arg(long, value_name = "TIME", env = "SLUICE_CLIENT_BODY_TIMEOUT", help_heading = LIMITS)]
    pub client_body_timeout: Option<Span>,

    /// Longest time in which a balancer takes nothing of a response [default: 10m, as it watches its clients itself]
    #[arg(long, value_name = "TIME", env = "SLUICE_CLIENT_WRITE_TIMEOUT", help_heading = LIMITS)]
    pub client_write_timeout: Option<Span>,

    /// How long a balancer's connection may idle between requests [default: 75s, above the balancer's 30s]
    #[arg(long, value_name = "TIME", env = "SLUICE_CLIENT_KEEP_ALIVE", help_heading = LIMITS)]
    pub client_keep_alive: Option<Span>,

    /// How long one that closed its sending side may take nothing before it is taken for gone [default: 1s]
    #[arg(long, value_name = "TIME", env = "SLUICE_HALF_CLOSE_GRACE", help_heading = LIMITS)]
    pub half_close_grace: Option<Span>,

    /// Longest request line, at least 1KiB [default: 32KiB, twice the balancer's]
    #[arg(long, value_name = "SIZE", env = "SLUICE_MAX_REQUEST_LINE", help_heading = LIMITS)]
    pub max_request_line: Option<ByteSize>,

    /// Largest request head: request line and header fields, at least 8KiB [default: 128KiB, twice the balancer's]
    #[arg(long, value_name = "SIZE", env = "SLUICE_MAX_HEAD_SIZE", help_heading = LIMITS)]
    pub max_head_size: Option<ByteSize>,

    /// Most header fields of a request [default: 128, as the balancer adds some to its 100]
    #[arg(long, value_name = "N", env = "SLUICE_MAX_HEADER_FIELDS", help_heading = LIMITS)]
    pub max_header_fields: Option<u16>,

    /// Most connections of balancers at the same time [default: what the limit of open files allows, 32768 at most]
    #[arg(long, value_name = "N", env = "SLUICE_MAX_CONNECTIONS", help_heading = LIMITS)]
    pub max_connections: Option<usize>,

    /// Most requests on one connection, then it is told to end; 0: any number [default: 10000]
    #[arg(long, value_name = "N", env = "SLUICE_MAX_REQUESTS_PER_CONNECTION", help_heading = LIMITS)]
    pub max_requests_per_connection: Option<u64>,

    /// Bytes per second that a balancer must send of a request's body while they are waited for; then 408; 0: any
    /// [default: 0, as it watches its clients itself]
    #[arg(long, value_name = "N", env = "SLUICE_MIN_UPLOAD_RATE", help_heading = LIMITS)]
    pub min_upload_rate: Option<u64>,

    /// Bytes per second that a balancer must take of a response while they wait for it, or it is cut off; 0: any
    /// [default: 0, as it watches its clients itself]
    #[arg(long, value_name = "N", env = "SLUICE_MIN_DOWNLOAD_RATE", help_heading = LIMITS)]
    pub min_download_rate: Option<u64>,

    /// Largest request body; then 413; 0: any [default: 0]
    #[arg(long, value_name = "SIZE", env = "SLUICE_MAX_BODY_SIZE", help_heading = LIMITS)]
    pub max_body_size: Option<ByteSize>,

    /// Longest time to connect to the instance [default: 1s]
    #[arg(long, value_name = "TIME", env = "SLUICE_CONNECT_TIMEOUT", help_heading = LIMITS)]
    pub connect_timeout: Option<Span>,

    /// Longest time from a request's last byte to the head of the response [default: 5m]
    #[arg(long, value_name = "TIME", env = "SLUICE_RESPONSE_TIMEOUT", help_heading = LIMITS)]
    pub response_timeout: Option<Span>,

    /// Longest pause of the instance within a response body [default: 5m]
    #[arg(long, value_name = "TIME", env = "SLUICE_STREAM_TIMEOUT", help_heading = LIMITS)]
    pub stream_timeout: Option<Span>,

    /// How long a connection to the instance is kept unused [default: 30s]
    #[arg(long, value_name = "TIME", env = "SLUICE_INSTANCE_KEEP_ALIVE", help_heading = LIMITS)]
    pub instance_keep_alive: Option<Span>,

    /// A request that must not be sent twice takes only a connection used this recently, or a new one [default: 1s,
    /// below the shortest keep-alive in use, gunicorn's 2s]
    #[arg(long, value_name = "TIME", env = "SLUICE_UNSAFE_REUSE_TIMEOUT", help_heading = LIMITS)]
    pub unsafe_reuse_timeout: Option<Span>,

    /// Longest silence of an upgraded connection (WebSocket) [default: 1h]
    #[arg(long, value_name = "TIME", env = "SLUICE_TUNNEL_TIMEOUT", help_heading = LIMITS)]
    pub tunnel_timeout: Option<Span>,

    /// Configuration file (TOML); its keys are the names of these options, and "clock" for tables of clocks
    #[arg(long, value_name = "FILE", env = "SLUICE_CONFIG")]
    #[serde(skip)] // a file does not name itself
    pub config: Option<PathBuf>,

    /// Whether that file is read again when it changes; on SIGHUP it always is [default: on]
    #[arg(long, value_name = "ON|OFF", env = "SLUICE_WATCH_CONFIG")]
    pub watch_config: Option<WatchConfig>,

    /// How log lines look on stderr; SLUICE_LOG says which there are [default: text]
    #[arg(long, value_name = "FORMAT", env = "SLUICE_LOG_FORMAT")]
    pub log_format: Option<LogFormat>,

    /// Requests that the agent makes on a schedule; only in the file.
    #[arg(skip)]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub clock: Vec<ClockOptions>,
}

const COMPRESSION: &str = "Compression";
const LIMITS: &str = "Limits";
const BUFFERING: &str = "Buffering";
const HEALTH: &str = "Health check";
const PEERS: &str = "Beside other balancers";
const PASSIVE: &str = "Mode passive";

sluice_process::layered!(Options {
    balancer,
    dns_server,
    balancer_ca,
    client_cert,
    client_key,
    instance,
    listen,
    advertise,
    name,
    service,
    version_label,
    workers,
    release,
    mode,
    interval,
    admin,
    token_file,
    xsendfile_root,
    xsendfile_uri,
    access_log,
    compress,
    compress_types,
    compress_min_size,
    compress_threads,
    access_log_format,
    scrape,
    scrape_interval,
    scrape_durations,
    scrape_requests,
    scrape_busy,
    scrape_path_label,
    response_buffering,
    upload_buffering,
    buffer_size,
    buffer_total,
    spool_dir,
    spool_size,
    spool_total,
    buffering,
    agent_check,
    agent_check_peers,
    heartbeat,
    orca,
    orca_listen,
    orca_on_listen,
    orca_min_interval,
    queue_length,
    queue_timeout,
    drain_timeout,
    health_path,
    health_interval,
    health_timeout,
    threads,
    client_head_timeout,
    client_body_timeout,
    client_write_timeout,
    client_keep_alive,
    half_close_grace,
    max_request_line,
    max_head_size,
    max_header_fields,
    max_connections,
    max_requests_per_connection,
    min_upload_rate,
    min_download_rate,
    max_body_size,
    connect_timeout,
    response_timeout,
    stream_timeout,
    instance_keep_alive,
    unsafe_reuse_timeout,
    tunnel_timeout,
    config,
    watch_config,
    log_format,
    clock,
});
