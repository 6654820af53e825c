//! The socket of a slow client.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpSocket, TcpStream};

use super::RunOptions;

/// Connects with Ethernet's segment size and a small receive buffer.
///
/// Both must be set before the handshake, which tells them to the server: with loopback's 64 KiB
/// segments and megabytes of buffer the kernels would take most of a response at once, and no
/// server would ever notice that its client is slow.
pub(super) async fn connect(target: SocketAddr, options: &RunOptions) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(target), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_mss(options.segment)?;
    socket.set_recv_buffer_size(options.receive_buffer)?;
    TcpSocket::from_std_stream(socket.into()).connect(target).await
}

/// How long `bytes` take at `rate` bytes per second.
pub(super) fn time_to_read(bytes: u64, rate: u64) -> Duration {
    Duration::try_from_secs_f64(bytes as f64 / rate.max(1) as f64).unwrap_or(Duration::MAX / 2)
}
