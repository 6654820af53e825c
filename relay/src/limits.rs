//! Every time and size limit of the forwarding engine, with its default and the reason for it.

use std::time::Duration;

/// Limits of one relay.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Limits {
    pub client: ClientLimits,
    pub upstream: UpstreamLimits,
}

/// Towards clients, which are not trusted.
#[derive(Clone, Debug, PartialEq)]
pub struct ClientLimits {
    /// From the first byte of a request to the end of its header fields.
    /// 10 s: a slow mobile link needs 2 s; slowloris wants minutes.
    pub head: Duration,
    /// How long a connection may idle between requests. 75 s: as nginx; browsers stop at about 60 s
    /// by themselves, so that the client closes first and no request meets a closing connection.
    pub keep_alive: Duration,
    /// Longest pause within a request body. 30 s: longer than any retransmission back-off that
    /// still recovers.
    pub body_stall: Duration,
    /// Longest time without the client taking a byte that waits for it. 60 s: as nginx' `send_timeout`.
    pub write_stall: Duration,
    /// A client that closed its sending side may still read, or may be gone: the same packet says
    /// both. It is taken for gone after this time in which it took nothing. 1 s: long enough for
    /// the few half-closing clients there are, short enough not to work for the dead.
    pub half_close_grace: Duration,
    /// Request line, in bytes. 16 KiB: RFC 9112 asks for 8000 bytes at least, and URLs of search forms are long.
    pub request_line_bytes: usize,
    /// Request line and header fields together, in bytes. 64 KiB: twice the cookies that browsers
    /// keep for a site.
    pub head_bytes: usize,
    /// Header fields. 100: hyper's default, which needs no allocation.
    pub fields: usize,
}

impl Default for ClientLimits {
    fn default() -> Self {
        Self {
            head: Duration::from_secs(10),
            keep_alive: Duration::from_secs(75),
            body_stall: Duration::from_secs(30),
            write_stall: Duration::from_secs(60),
            half_close_grace: Duration::from_secs(1),
            request_line_bytes: 16 * 1024,
            head_bytes: 64 * 1024,
            fields: 100,
        }
    }
}

/// Towards instances, which are trusted to mean well and not to be well.
#[derive(Clone, Debug, PartialEq)]
pub struct UpstreamLimits {
    /// To establish a connection. 1 s: instances are on the same host or network; one lost SYN
    /// costs 1 s, and another instance is the better answer to it.
    pub connect: Duration,
    /// From the last byte of the request (or the last progress of its body) to the head of the
    /// response. 300 s: an export may take minutes; what never ends must end some time, since it
    /// holds a worker's slot.
    pub response_head: Duration,
    /// Longest pause within a response body. 300 s: as above, and event streams send a comment
    /// every 15 to 60 s.
    pub body_stall: Duration,
    /// How long a connection is kept unused. 30 s: the servers behind have 2 s (gunicorn) to 120 s
    /// (waitress) and close first where theirs is shorter.
    pub idle: Duration,
    /// A request that must not be sent twice takes only a connection that was used this recently,
    /// or a new one: the instance may be closing an older one at this very moment.
    /// 1 s: below the shortest keep-alive in use (gunicorn: 2 s).
    pub unsafe_reuse: Duration,
    /// Longest silence of an upgraded connection. 1 h: as HAProxy's documentation advises for tunnels.
    pub tunnel_idle: Duration,
}

impl Default for UpstreamLimits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(1),
            response_head: Duration::from_secs(300),
            body_stall: Duration::from_secs(300),
            idle: Duration::from_secs(30),
            unsafe_reuse: Duration::from_secs(1),
            tunnel_idle: Duration::from_secs(3600),
        }
    }
}
