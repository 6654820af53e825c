//! Connections from many loopback addresses, as if from many hosts.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::{TcpSocket, TcpStream};

/// Senders that share an address: well below what the balancer takes from one.
const BEHIND_ONE: usize = 20;

/// Connects to `target` from the address that the `index`-th sender has.
pub(crate) async fn from(index: usize, target: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from((address(20, index / BEHIND_ONE), 0)))?;
    let stream = socket.connect(target).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// The `index`-th address of 127.`net`.0.0/16.
pub(crate) fn address(net: u8, index: usize) -> Ipv4Addr {
    let [high, low] = u16::try_from(index + 1).unwrap_or(u16::MAX).to_be_bytes();
    Ipv4Addr::new(127, net, high, low)
}
