//! Every time and size limit of the forwarding engine, with its default and the reason for it.

use std::time::Duration;

use crate::pace::Required;

/// Limits of one relay.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Limits {
    pub client: ClientLimits,
    pub upstream: UpstreamLimits,
}

/// Towards clients, which are not trusted.
#[derive(Clone, Debug, PartialEq)]
pub struct ClientLimits {
    /// From the first byte of a request to the end of its header fields. A TLS handshake and a PROXY header have as
    /// long. 10 s: a slow mobile link needs 2 s; slowloris wants minutes.
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
    /// Requests per connection, then it is told to end; 0: any number. 10,000: bounds what one connection can gather,
    /// and lets clients spread anew; a new connection costs a hundredth of a percent.
    pub requests: u64,
    /// What a client must bring of a request's body while it is waited for, in bytes per second; 0: a byte per
    /// [`body_stall`](Self::body_stall), which is also how long it may be slower. 240: as Kestrel; a modem had 20 times
    /// as much.
    pub min_upload_rate: u64,
    /// What it must take of its response, likewise, with [`write_stall`](Self::write_stall). 240.
    pub min_download_rate: u64,
    /// Bytes of a request's body; `u64::MAX`: any number. Any: bodies are passed on as they come and not kept, so that
    /// it is the application that knows what is too much for it.
    pub body: u64,
    /// Connections at the same time. Any number, unless who makes these limits knows what the process may open: see
    /// [`connections_within`].
    pub connections: usize,
    /// The same from one client address; 0: any number.
    pub connections_per_client: usize,
    pub http2: Http2Limits,
}

/// What HTTP/2 needs besides: one connection is many clients at once, and its frames cost us more than the sender.
#[derive(Clone, Debug, PartialEq)]
pub struct Http2Limits {
    /// Requests under way on a connection. 100: what RFC 9113 (6.5.2) calls the least that is of use, and what
    /// browsers ask for.
    pub streams: u32,
    /// Bytes of a request body on their way. 256 KiB: at 100 ms an upload gets 2.5 MB/s.
    pub stream_window: u32,
    /// The same for all requests of a connection together, and so what it can make us keep. 1 MiB, as Envoy advises
    /// for the edge (the library's default of 1 MiB for each stream would be 100 MiB).
    pub connection_window: u32,
    /// Streams that the client took back before we looked at them. 20: beyond it, it asks only to take back (rapid
    /// reset, CVE-2023-44487) and is sent away.
    pub unseen_resets: usize,
    /// Streams that the client made us reset by breaking rules (MadeYouReset, CVE-2025-8671). 100.
    pub provoked_resets: usize,
    /// Requests that ended before their response did, most of all requests of the connection: at this number the
    /// connection is told to end, at twice it is cut. 100: someone who leafs through pictures stays below.
    pub abandoned: u64,
    /// Age at which a connection is told to end. 1 h, as nginx' `keepalive_time`.
    pub age: Duration,
    /// Silence after which a client is asked whether it is there. 30 s. It has [`ClientLimits::write_stall`] to
    /// answer, as the question may stand behind a response that it takes slowly.
    pub ping: Duration,
}

impl Http2Limits {
    /// Bytes that may come without any request, any byte of a body, or any byte of a response that was asked for.
    ///
    /// PING, SETTINGS, PRIORITY, WINDOW_UPDATE and unknown frames cost nothing to send, must be answered or looked
    /// at, and the library counts none of them (CVE-2019-9512, -9513, -9515). 256 KiB are 15,000 PINGs, more than a
    /// client sends in its life; and the connection's window may be full of bodies that no instance takes yet.
    pub(crate) const IDLE_BYTES: usize = 1024 * 1024 + 256 * 1024;
}

impl Default for Http2Limits {
    fn default() -> Self {
        Self {
            streams: 100,
            stream_window: 256 * 1024,
            connection_window: 1024 * 1024,
            unseen_resets: 20,
            provoked_resets: 100,
            abandoned: 100,
            age: Duration::from_secs(3600),
            ping: Duration::from_secs(30),
        }
    }
}

impl ClientLimits {
    /// After so much idling the HTTP library's state and buffers of a connection (HTTP/1.1) are given back until the
    /// next request, which makes them anew: some 20 KB. 1 s: making them is a few allocations, once per pause.
    pub(crate) const REST: Duration = Duration::from_secs(1);

    pub(crate) fn upload(&self) -> Required {
        Required { rate: self.min_upload_rate, patience: self.body_stall }
    }

    pub(crate) fn download(&self) -> Required {
        Required { rate: self.min_download_rate, patience: self.write_stall }
    }

    /// Whether a connection that has carried so many requests is to end.
    pub(crate) fn is_worn_out(&self, requests: u64) -> bool {
        self.requests > 0 && requests >= self.requests
    }
}

/// Connections of clients that a process may take that may open `descriptors`.
///
/// Each may have a request under way, and with it a connection to an instance, or a file: so half of what is left
/// beside pipes (two descriptors each, see `splice`), listeners and logs. 32,768 at most, unless somebody says
/// otherwise: systems allow a million descriptors, but that many connections take 10 GB of memory.
pub fn connections_within(descriptors: u64) -> usize {
    const OTHERS: u64 = 320;
    const MOST: u64 = 32_768;
    let left = descriptors.saturating_sub(OTHERS.min(descriptors / 4));
    usize::try_from((left / 2).clamp(1, MOST)).unwrap_or(usize::MAX)
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
            requests: 10_000,
            min_upload_rate: 240,
            min_download_rate: 240,
            body: u64::MAX,
            connections: usize::MAX,
            connections_per_client: 0,
            http2: Http2Limits::default(),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_room_for_those_to_instances() {
        for (descriptors, connections) in [
            (0, 1),
            (16, 6),
            (256, 96),
            (1024, 384),
            (4096, 1888),
            (65_536, 32_608),
            (1 << 20, 32_768),
            (u64::MAX, 32_768),
        ] {
            assert_eq!(connections_within(descriptors), connections, "{descriptors}");
        }
    }

    #[test]
    fn a_connection_ends_with_its_last_request() {
        let worn_out =
            |requests, after| ClientLimits { requests, ..ClientLimits::default() }.is_worn_out(after);
        assert!(!worn_out(2, 1) && worn_out(2, 2) && worn_out(2, 3));
        assert!(!worn_out(0, u64::MAX), "any number");
    }
}
