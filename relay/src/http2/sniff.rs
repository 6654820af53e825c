//! Which HTTP a client speaks in the clear, told by its first bytes.

use bytes::BytesMut;
use tokio::io::AsyncReadExt;

use crate::peer::ClientIo;

/// RFC 9113, 3.4. No HTTP/1 request begins so.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spoken {
    Http1,
    Http2,
}

/// Reads until it is clear what is spoken, and gives back what was read. `None`: the client left before it spoke.
pub(crate) async fn sniff(io: &mut ClientIo) -> Option<Spoken> {
    let mut seen = BytesMut::with_capacity(512);
    loop {
        let came = matches!(io.read_buf(&mut seen).await, Ok(1..));
        let spoken = spoken(&seen);
        if came && spoken.is_none() {
            continue;
        }
        if seen.is_empty() {
            return None;
        }
        io.unread(seen.freeze());
        // Who left in the middle of the preface is answered as whoever breaks off.
        return Some(spoken.unwrap_or(Spoken::Http1));
    }
}

/// `None`: both are possible yet.
fn spoken(seen: &[u8]) -> Option<Spoken> {
    let n = seen.len().min(PREFACE.len());
    if seen[..n] != PREFACE[..n] {
        return Some(Spoken::Http1);
    }
    (n == PREFACE.len()).then_some(Spoken::Http2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_preface_is_http_2() {
        for (bytes, expected) in [
            (&b""[..], None),
            (b"P", None),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r", None),
            (PREFACE, Some(Spoken::Http2)),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0", Some(Spoken::Http2)),
            (b"POST", Some(Spoken::Http1)),
            (b"PRI * HTTP/1.1\r\n", Some(Spoken::Http1)),
            (b"PRI * HTTP/2.0\r\nhost: a\r\n\r\n", Some(Spoken::Http1)),
            (b"GET / HTTP/1.1\r\n", Some(Spoken::Http1)),
        ] {
            assert_eq!(spoken(bytes), expected, "{}", bytes.escape_ascii());
        }
    }
}
