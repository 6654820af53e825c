//! The cheapest instance there is: it answers each request with the same page.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Bytes of the page.
const PAGE: usize = 1024;

/// Serves until it is killed.
pub(crate) async fn serve(listen: SocketAddr) -> io::Result<String> {
    let listener = TcpListener::bind(listen).await?;
    let head = format!("HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: {PAGE}\r\n\r\n");
    let page: &'static [u8] = [head.into_bytes(), vec![b'x'; PAGE]].concat().leak();
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        // A client that goes away is no fault of the instance's.
        tokio::spawn(async move { answer(stream, page).await.ok() });
    }
}

async fn answer(mut stream: TcpStream, page: &[u8]) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(2048);
    loop {
        while let Some(end) = buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            buffer.drain(..end + 4);
            stream.write_all(page).await?;
        }
        if stream.read_buf(&mut buffer).await? == 0 {
            return Ok(());
        }
    }
}
