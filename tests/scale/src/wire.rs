//! As much HTTP/1.1 as a client needs that knows what it will be told: responses with a length.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// One connection, and what was read of it.
pub(crate) struct Wire {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// A response's status and body.
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

impl Wire {
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self { stream, buffer: Vec::with_capacity(1024) }
    }

    /// Sends a whole request and reads the whole response.
    pub(crate) async fn exchange(&mut self, request: &[u8]) -> io::Result<Reply> {
        self.stream.write_all(request).await?;
        loop {
            if let Some((status, head, length)) = head(&self.buffer)?
                && self.buffer.len() >= head + length
            {
                let body = self.buffer[head..head + length].to_vec();
                self.buffer.drain(..head + length);
                return Ok(Reply { status, body });
            }
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

/// Status, length of the head and length of the body, once the head is there.
fn head(bytes: &[u8]) -> io::Result<Option<(u16, usize, usize)>> {
    let mut fields = [httparse::EMPTY_HEADER; 32];
    let mut response = httparse::Response::new(&mut fields);
    let invalid = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what);
    let parsed = response.parse(bytes).map_err(|error| invalid(&error.to_string()))?;
    let httparse::Status::Complete(head) = parsed else { return Ok(None) };
    let length = response.headers.iter().find(|field| field.name.eq_ignore_ascii_case("content-length"));
    let length = length.and_then(|field| std::str::from_utf8(field.value).ok()?.parse().ok());
    let length = length.ok_or_else(|| invalid("a response without a length"))?;
    Ok(Some((response.code.unwrap_or(0), head, length)))
}
