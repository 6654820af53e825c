//! The relay's limits as options, and the defaults of an agent where they differ from the engine's.

use std::time::Duration;

use sluice_process::{ByteSize, ConfigError, Span, descriptors};
use sluice_relay::{
    Limits,
    limits::{ClientLimits, UpstreamLimits, connections_within},
};

use super::{
    Options,
    check::{DAY, time, within},
    span,
};

/// Hyper refuses to work with less.
const LEAST_HEAD: ByteSize = ByteSize::kib(8);
/// A short URL.
const LEAST_LINE: ByteSize = ByteSize::kib(1);

pub(super) fn limits(options: &Options) -> Result<Limits, ConfigError> {
    let client = client_defaults();
    let upstream = UpstreamLimits::default();
    let time = |flag, given: Option<Span>, default: Duration| {
        time(flag, given.or(span(default)), Span::default(), 1, DAY)
    };
    let head = options.max_head_size.unwrap_or(ByteSize::bytes(client.head_bytes as u64));
    if !(LEAST_HEAD..=ByteSize::mib(16)).contains(&head) {
        return Err(ConfigError::value("--max-head-size", head, format!("{LEAST_HEAD} to 16MiB")));
    }
    let line =
        options.max_request_line.unwrap_or(ByteSize::bytes(client.request_line_bytes as u64).min(head));
    if !(LEAST_LINE..=head).contains(&line) {
        return Err(ConfigError::value(
            "--max-request-line",
            line,
            format!("{LEAST_LINE} to {head}, the largest head"),
        ));
    }
    let connections = options.max_connections.unwrap_or_else(|| connections_within(descriptors::most()));
    let fields = options.max_header_fields.map_or(client.fields, usize::from);
    Ok(Limits {
        client: ClientLimits {
            head: time("--client-head-timeout", options.client_head_timeout, client.head)?,
            keep_alive: time("--client-keep-alive", options.client_keep_alive, client.keep_alive)?,
            body_stall: time("--client-body-timeout", options.client_body_timeout, client.body_stall)?,
            write_stall: time("--client-write-timeout", options.client_write_timeout, client.write_stall)?,
            half_close_grace: time("--half-close-grace", options.half_close_grace, client.half_close_grace)?,
            request_line_bytes: line.as_usize(),
            head_bytes: head.as_usize(),
            fields: within("--max-header-fields", fields, 16, 1000)?,
            requests: options.max_requests_per_connection.unwrap_or(client.requests),
            min_upload_rate: options.min_upload_rate.unwrap_or(client.min_upload_rate),
            min_download_rate: options.min_download_rate.unwrap_or(client.min_download_rate),
            body: options.max_body_size.map(ByteSize::as_u64).filter(|most| *most > 0).unwrap_or(u64::MAX),
            connections: within("--max-connections", connections, 1, usize::MAX)?,
            // Each balancer is an address, and speaks for many.
            connections_per_client: 0,
            // Balancers speak HTTP/1.1.
            http2: client.http2,
        },
        upstream: UpstreamLimits {
            connect: time("--connect-timeout", options.connect_timeout, upstream.connect)?,
            response_head: time("--response-timeout", options.response_timeout, upstream.response_head)?,
            body_stall: time("--stream-timeout", options.stream_timeout, upstream.body_stall)?,
            idle: time("--instance-keep-alive", options.instance_keep_alive, upstream.idle)?,
            tunnel_idle: time("--tunnel-timeout", options.tunnel_timeout, upstream.tunnel_idle)?,
            unsafe_reuse: time(
                "--unsafe-reuse-timeout",
                options.unsafe_reuse_timeout,
                upstream.unsafe_reuse,
            )?,
        },
    })
}

/// Where the engine's defaults do not fit: its client here is a balancer, which watches over the real ones.
fn client_defaults() -> ClientLimits {
    ClientLimits {
        // The balancer cuts off a stalled upload after 30 s; that should be the one that speaks.
        body_stall: Duration::from_secs(60),
        // A client that reads 1 kB/s is alive, but opens the balancer's receive window only once in minutes.
        // Cutting off dead clients is the balancer's part; this is for a balancer whose machine vanished.
        write_stall: Duration::from_secs(600),
        // Nor is a slow client the balancer's fault.
        min_upload_rate: 0,
        min_download_rate: 0,
        // What the balancer lets pass must pass here, with the fields that it adds.
        request_line_bytes: 32 * 1024,
        head_bytes: 128 * 1024,
        fields: 128,
        ..ClientLimits::default()
    }
}
