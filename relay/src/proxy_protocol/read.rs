//! Reads the header off a new connection.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{Header, Parsed, ProxyError, parse};

/// What a header told, and what came with it.
pub(crate) struct Introduction {
    /// `None`: whoever the connection comes from.
    pub(crate) source: Option<SocketAddr>,
    /// The first bytes of the client itself.
    pub(crate) ahead: Bytes,
}

/// Why a connection was closed instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProxyRefusal {
    Header(ProxyError),
    Timeout,
    /// Ended before there was a header. Health checks that only connect do so.
    Closed,
}

impl ProxyRefusal {
    pub(crate) const ALL: [Self; 6] = [
        Self::Header(ProxyError::NoHeader),
        Self::Header(ProxyError::Malformed),
        Self::Header(ProxyError::TooLong),
        Self::Header(ProxyError::Unknown),
        Self::Timeout,
        Self::Closed,
    ];

    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Header(ProxyError::NoHeader) => "no_header",
            Self::Header(ProxyError::Malformed) => "malformed",
            Self::Header(ProxyError::TooLong) => "too_long",
            Self::Header(ProxyError::Unknown) => "unknown_version",
            Self::Timeout => "timeout",
            Self::Closed => "closed",
        }
    }
}

/// Reads the header, which must be there within `limit`.
pub(crate) async fn introduce(tcp: &mut TcpStream, limit: Duration) -> Result<Introduction, ProxyRefusal> {
    timeout(limit, read(tcp)).await.unwrap_or(Err(ProxyRefusal::Timeout))
}

async fn read(tcp: &mut TcpStream) -> Result<Introduction, ProxyRefusal> {
    let mut bytes = BytesMut::with_capacity(512);
    loop {
        if !matches!(tcp.read_buf(&mut bytes).await, Ok(1..)) {
            return Err(ProxyRefusal::Closed);
        }
        if let Parsed::Header(Header { length, source }) = parse(&bytes).map_err(ProxyRefusal::Header)? {
            let ahead = bytes.split_off(length).freeze();
            return Ok(Introduction { source, ahead });
        }
    }
}
