//! HTTP/2 by hand (RFC 9113): any frame in any order, right or wrong.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::soon;

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PUSH_PROMISE: u8 = 5;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

pub const END_STREAM: u8 = 1;
pub const ACK: u8 = 1;
pub const END_HEADERS: u8 = 4;
pub const PADDED: u8 = 8;
/// Of HEADERS: a dependency and a weight come first.
pub const PRIORITY_FIELDS: u8 = 0x20;

/// Setting 4 (RFC 9113, 6.5.2).
pub const INITIAL_WINDOW_SIZE: u16 = 4;

/// A frame as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

impl Frame {
    /// The last four bytes as a number: the code of RST_STREAM and, without debug data, of GOAWAY.
    pub fn code(&self) -> u32 {
        let at = if self.kind == GOAWAY { 4 } else { 0 };
        self.payload.get(at..at + 4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_be_bytes)
    }
}

/// A frame's bytes, whatever it means.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a test's payload").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A header block: literal fields, neither indexed nor compressed (RFC 7541, 6.2.2).
pub fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        text(&mut block, name);
        text(&mut block, value);
    }
    block
}

fn text(block: &mut Vec<u8>, text: &str) {
    // RFC 7541, 5.1: an integer with a prefix of 7 bits.
    match text.len() {
        short @ 0..127 => block.push(u8::try_from(short).expect("below 127")),
        long => {
            block.push(127);
            let mut rest = long - 127;
            while rest >= 128 {
                block.push(u8::try_from(rest % 128).expect("below 128") | 128);
                rest /= 128;
            }
            block.push(u8::try_from(rest).expect("below 128"));
        }
    }
    block.extend(text.as_bytes());
}

/// The fields that every request has.
pub fn pseudo(method: &'static str, path: &'static str) -> Vec<(&'static str, &'static str)> {
    vec![(":method", method), (":scheme", "http"), (":authority", "site.example"), (":path", path)]
}

/// `GET /` in one frame that ends the stream.
pub fn get(stream: u32) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | END_STREAM, stream, &block(&pseudo("GET", "/")))
}

/// One connection.
#[derive(Debug)]
pub struct Frames {
    tcp: TcpStream,
    buffer: Vec<u8>,
}

impl Frames {
    /// After the preface and these settings.
    pub async fn open(address: SocketAddr, settings: &[(u16, u32)]) -> Self {
        let mut this = Self::raw(address).await;
        let settings: Vec<u8> = settings
            .iter()
            .flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat())
            .collect();
        this.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
        this.send(frame(SETTINGS, 0, 0, &settings)).await;
        this
    }

    /// Before anything was said.
    pub async fn raw(address: SocketAddr) -> Self {
        let tcp = soon("connect", TcpStream::connect(address)).await.expect("accepted");
        tcp.set_nodelay(true).expect("a socket takes the option");
        Self { tcp, buffer: Vec::new() }
    }

    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes).await.expect("the other side is there");
    }

    /// # Errors
    /// If the other side is gone.
    pub async fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        soon("send", self.tcp.write_all(bytes.as_ref())).await
    }

    /// `None`: the connection has ended.
    pub async fn next(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = self.take() {
                return Some(frame);
            }
            if !matches!(soon("a frame", self.tcp.read_buf(&mut self.buffer)).await, Ok(1..)) {
                return None;
            }
        }
    }

    fn take(&mut self) -> Option<Frame> {
        let head = self.buffer.get(..9)?;
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let (kind, flags) = (head[3], head[4]);
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        let payload = self.buffer.get(9..9 + length)?.to_vec();
        self.buffer.drain(..9 + length);
        Some(Frame { kind, flags, stream, payload })
    }

    /// The first frame of that kind; others are passed over. `None`: the connection ended first.
    pub async fn next_of(&mut self, kind: u8) -> Option<Frame> {
        loop {
            match self.next().await? {
                frame if frame.kind == kind => return Some(frame),
                _ => {}
            }
        }
    }

    /// A PING there and back: what was sent before has been looked at. `false`: the connection has ended.
    pub async fn round_trip(&mut self) -> bool {
        if self.try_send(frame(PING, 0, 0, b"12345678")).await.is_err() {
            return false;
        }
        loop {
            match self.next().await {
                Some(frame) if (frame.kind, frame.flags, &frame.payload[..]) == (PING, ACK, b"12345678") => {
                    return true;
                }
                Some(_) => {}
                None => return false,
            }
        }
    }

    /// Sends what `make` gives, numbered from 0, until the other side ends the connection; panics if it takes all of
    /// `most` and goes on.
    pub async fn flood(mut self, most: u32, mut make: impl FnMut(u32) -> Vec<u8>) {
        let (mut reader, mut writer) = self.tcp.split();
        let flooding = async {
            for n in 0..most {
                if writer.write_all(&make(n)).await.is_err() {
                    return;
                }
            }
            // All is on its way; the end is yet to come.
            std::future::pending().await
        };
        let reading = async {
            let mut scratch = vec![0; 64 * 1024];
            while matches!(reader.read(&mut scratch).await, Ok(1..)) {}
        };
        soon("the end of a flooded connection", async {
            tokio::select! {
                () = flooding => {}
                () = reading => {}
            }
        })
        .await;
    }
}
