//! HTTP/1.1 by hand, from either side: what is sent is exactly what the test says, what comes is kept as it came.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::soon;

/// One connection, at its client's or its server's end.
#[derive(Debug)]
pub struct Conn {
    tcp: TcpStream,
    /// Read and not yet used.
    buffer: Vec<u8>,
}

/// Start line and fields of a request or response.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Head {
    pub start: String,
    /// In order of arrival, names in lower case.
    pub fields: Vec<(String, String)>,
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    Closed,
    Reset,
}

/// A message whose framing was followed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    pub head: Head,
    pub body: Vec<u8>,
    pub trailers: Vec<(String, String)>,
    /// `None`: the message reached its end as framed. Else the connection ended first.
    pub cut: Option<Ending>,
}

impl Head {
    fn parse(text: &str) -> Self {
        let mut lines = text.split("\r\n").filter(|line| !line.is_empty());
        let start = lines.next().unwrap_or_default().to_owned();
        Self { start, fields: lines.map(field).collect() }
    }

    /// Of a response; 0 if it has none.
    pub fn status(&self) -> u16 {
        self.start.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0)
    }

    /// The only field of that name. Panics if there are several: that would be a finding.
    pub fn get(&self, name: &str) -> Option<&str> {
        let values = self.all(name);
        assert!(values.len() <= 1, "{name} more than once: {self:?}");
        values.first().copied()
    }

    pub fn all(&self, name: &str) -> Vec<&str> {
        self.fields.iter().filter(|(n, _)| n == name).map(|(_, value)| value.as_str()).collect()
    }

    fn length(&self) -> Option<usize> {
        self.get("content-length").and_then(|length| length.parse().ok())
    }

    fn is_chunked(&self) -> bool {
        self.get("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked"))
    }
}

impl Message {
    pub fn status(&self) -> u16 {
        self.head.status()
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

fn field(line: &str) -> (String, String) {
    let (name, value) = line.split_once(':').unwrap_or_else(|| panic!("not a field: {line:?}"));
    (name.to_ascii_lowercase(), value.trim().to_owned())
}

impl Conn {
    pub fn new(tcp: TcpStream) -> Self {
        tcp.set_nodelay(true).expect("a socket takes the option");
        Self { tcp, buffer: Vec::new() }
    }

    pub async fn open(address: SocketAddr) -> Self {
        let tcp = soon("connect", TcpStream::connect(address)).await;
        Self::new(tcp.unwrap_or_else(|error| panic!("connect to {address}: {error}")))
    }

    /// Sends `bytes`; panics if the other side is gone.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes).await.expect("the other side is there");
    }

    /// # Errors
    /// If the other side is gone.
    pub async fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        soon("send", self.tcp.write_all(bytes.as_ref())).await
    }

    /// Closes the sending side only.
    pub async fn half_close(&mut self) {
        soon("half-close", self.tcp.shutdown()).await.expect("the other side is there");
    }

    /// Ends the connection by a reset, as a crash does.
    pub fn reset(self) {
        SockRef::from(&self.tcp).set_linger(Some(Duration::ZERO)).expect("a socket takes the option");
    }

    /// Reads more; how the connection ended if it did.
    async fn fill(&mut self) -> Result<(), Ending> {
        match soon("read", self.tcp.read_buf(&mut self.buffer)).await {
            Ok(0) => Err(Ending::Closed),
            Ok(_) => Ok(()),
            Err(_) => Err(Ending::Reset),
        }
    }

    /// # Errors
    /// How the connection ended before there was a whole head.
    pub async fn try_head(&mut self) -> Result<Head, Ending> {
        loop {
            if let Some(end) = find(&self.buffer, b"\r\n\r\n") {
                let head = self.take(end + 4);
                return Ok(Head::parse(&String::from_utf8_lossy(&head)));
            }
            self.fill().await?;
        }
    }

    pub async fn head(&mut self) -> Head {
        let head = self.try_head().await;
        head.unwrap_or_else(|end| panic!("{end:?} before a head; came: {:?}", self.pending()))
    }

    /// What was read and not used.
    pub fn pending(&self) -> String {
        String::from_utf8_lossy(&self.buffer).into_owned()
    }

    /// The next `n` bytes.
    pub async fn exactly(&mut self, n: usize) -> Vec<u8> {
        while self.buffer.len() < n {
            self.fill().await.unwrap_or_else(|end| panic!("{end:?} before {n} bytes: {:?}", self.pending()));
        }
        self.take(n)
    }

    /// All that comes, up to `needle` and with it.
    pub async fn until(&mut self, needle: &str) -> String {
        loop {
            if let Some(at) = find(&self.buffer, needle.as_bytes()) {
                let text = self.take(at + needle.len());
                return String::from_utf8_lossy(&text).into_owned();
            }
            self.fill().await.unwrap_or_else(|end| panic!("{end:?} before {needle:?}: {:?}", self.pending()));
        }
    }

    /// All that comes until the other side ends, and how it does.
    pub async fn rest(&mut self) -> (Vec<u8>, Ending) {
        loop {
            if let Err(end) = self.fill().await {
                return (std::mem::take(&mut self.buffer), end);
            }
        }
    }

    /// A request, to the end of its body.
    pub async fn request(&mut self) -> Message {
        let head = self.head().await;
        self.body(head, Some(0)).await
    }

    /// A response to anything but HEAD, to the end of its body. Interim ones are skipped.
    pub async fn response(&mut self) -> Message {
        let mut head = self.head().await;
        while head.status() < 200 && head.status() != 101 {
            head = self.head().await;
        }
        let none = matches!(head.status(), 101 | 204 | 304);
        if none { Message { head, ..Message::default() } } else { self.body(head, None).await }
    }

    /// The body that belongs to `head`; `unframed` is its length if no field says.
    pub async fn body(&mut self, head: Head, unframed: Option<usize>) -> Message {
        let mut message = Message { head, ..Message::default() };
        let result = if message.head.is_chunked() {
            self.chunks(&mut message).await
        } else if let Some(length) = message.head.length().or(unframed) {
            self.up_to(length, &mut message.body).await
        } else {
            let (body, end) = self.rest().await;
            message.body = body;
            if end == Ending::Reset { Err(end) } else { Ok(()) }
        };
        message.cut = result.err();
        message
    }

    async fn up_to(&mut self, length: usize, body: &mut Vec<u8>) -> Result<(), Ending> {
        loop {
            let n = self.buffer.len().min(length - body.len());
            body.extend_from_slice(&self.buffer[..n]);
            self.buffer.drain(..n);
            if body.len() == length {
                return Ok(());
            }
            self.fill().await?;
        }
    }

    async fn chunks(&mut self, message: &mut Message) -> Result<(), Ending> {
        loop {
            let size = self.line().await?;
            let size = usize::from_str_radix(&size, 16).unwrap_or_else(|_| panic!("chunk size {size:?}"));
            let end = message.body.len() + size;
            if size == 0 {
                break;
            }
            self.up_to(end, &mut message.body).await?;
            assert_eq!(self.line().await?, "", "after a chunk");
        }
        loop {
            let line = self.line().await?;
            if line.is_empty() {
                return Ok(());
            }
            message.trailers.push(field(&line));
        }
    }

    async fn line(&mut self) -> Result<String, Ending> {
        loop {
            if let Some(end) = find(&self.buffer, b"\r\n") {
                let line = self.take(end + 2);
                return Ok(String::from_utf8_lossy(&line[..end]).into_owned());
            }
            self.fill().await?;
        }
    }

    fn take(&mut self, n: usize) -> Vec<u8> {
        self.buffer.drain(..n).collect()
    }

    /// How the other side ends the connection; panics if it says anything more.
    pub async fn ended(&mut self) -> Ending {
        let (rest, end) = self.rest().await;
        assert!(rest.is_empty(), "unexpected: {:?}", String::from_utf8_lossy(&rest));
        end
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

/// `bytes` as chunks of at most `size`, with the last chunk but without what ends the message.
pub fn chunked(bytes: &[u8], size: usize) -> Vec<u8> {
    let mut out = Vec::new();
    for chunk in bytes.chunks(size) {
        out.extend(format!("{:x}\r\n", chunk.len()).bytes());
        out.extend(chunk);
        out.extend(b"\r\n");
    }
    out.extend(b"0\r\n");
    out
}

/// `n` bytes that are easily told from others.
pub fn pattern(n: usize) -> Vec<u8> {
    let period: Vec<u8> = (0..251).map(sluice_emulation::pattern::byte_at).collect();
    let mut bytes = period.repeat(n / period.len() + 1);
    bytes.truncate(n);
    bytes
}

/// `GET path` as clients send it.
pub fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: site.example\r\n\r\n")
}

/// A response with a length.
pub fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

/// One request on a connection of its own.
pub async fn ask(address: SocketAddr, request: impl AsRef<[u8]>) -> Message {
    let mut conn = Conn::open(address).await;
    conn.send(request).await;
    conn.response().await
}
