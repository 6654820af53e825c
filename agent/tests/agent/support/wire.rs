//! A client that sees every byte, for what HTTP clients hide.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::soon;

pub struct Wire(TcpStream);

impl Wire {
    pub async fn connect(address: SocketAddr) -> Self {
        Self(soon("a connection", TcpStream::connect(address)).await.expect("connects"))
    }

    pub async fn send(&mut self, bytes: &str) {
        soon("bytes to be sent", self.0.write_all(bytes.as_bytes())).await.expect("sends");
    }

    /// Reads up to and including `end`.
    pub async fn read_until(&mut self, end: &str) -> String {
        let mut text = Vec::new();
        while !text.ends_with(end.as_bytes()) {
            let mut byte = [0];
            soon(end, self.0.read_exact(&mut byte)).await.expect("reads on");
            text.push(byte[0]);
        }
        String::from_utf8(text).expect("text")
    }

    /// Everything to the end of the connection; whether that was in order, and not a reset.
    pub async fn read_to_end(&mut self) -> (String, bool) {
        let mut bytes = Vec::new();
        let in_order = soon("the end", self.0.read_to_end(&mut bytes)).await.is_ok();
        (String::from_utf8(bytes).expect("text"), in_order)
    }

    /// Leaves at once, without an end in order.
    pub fn reset(self) {
        socket2::SockRef::from(&self.0).set_linger(Some(Duration::ZERO)).expect("a socket");
    }
}
