//! How sockets are set up, towards clients and towards instances.

use std::fs::read_to_string;
use std::io;
use std::net::SocketAddr;
use std::sync::LazyLock;
use std::time::Duration;

use sluice_proto::Target;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpSocket, TcpStream, UnixStream, lookup_host};

use crate::listen::as_stream;

/// Sets up a client's connection that was just accepted from `address`, if it is one of TCP.
///
/// # Errors
/// The client is gone already.
pub(crate) fn prepare_client(tcp: &TcpStream, address: Option<SocketAddr>) -> io::Result<()> {
    let Some(address) = address else { return Ok(()) };
    // Responses are written whole; waiting for more to send only delays them.
    tcp.set_nodelay(true)?;
    if address.ip().is_loopback() {
        unpace(tcp);
    }
    Ok(())
}

/// Connects to an instance, by the first of its addresses that accepts.
///
/// # Errors
/// Those of the last address.
pub(crate) async fn connect(target: &Target) -> io::Result<TcpStream> {
    if let Some(address) = target.literal() {
        return connect_to(address).await;
    }
    if let Some(path) = target.path() {
        return as_stream(UnixStream::connect(path).await?);
    }
    let mut last = io::Error::other("the name has no address");
    for address in lookup_host(target.as_str()).await? {
        match connect_to(address).await {
            Ok(tcp) => return Ok(tcp),
            Err(error) => last = error,
        }
    }
    Err(last)
}

async fn connect_to(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    let is_local = address.ip().is_loopback();
    if let Some(bytes) = LOCAL_RECEIVE_BUFFER.filter(|_| is_local) {
        socket.set_recv_buffer_size(bytes)?;
    }
    let tcp = socket.connect(address).await?;
    tcp.set_nodelay(true)?;
    SockRef::from(&tcp).set_tcp_keepalive(&KEEPALIVE)?;
    if is_local {
        unpace(&tcp);
    }
    Ok(tcp)
}

/// An instance whose host vanished without a word would hold a request until `--response-timeout`, or a tunnel for an
/// hour. 35 s: above what a network takes to find another path, below the minute that people wait.
const KEEPALIVE: TcpKeepalive = TcpKeepalive::new()
    .with_time(Duration::from_secs(20))
    .with_interval(Duration::from_secs(5))
    .with_retries(3);

/// BBR spreads what is sent over time by timers. Within one host there is no path to be gentle to, and the timers
/// cost a third of a relay's time for long bodies. Reno is what every system has.
fn unpace(tcp: &TcpStream) {
    if *PACED && let Err(error) = SockRef::from(tcp).set_tcp_congestion(b"reno") {
        tracing::debug!(%error, "a local connection stays paced");
    }
}

/// Whether this system's connections are paced unless told otherwise.
static PACED: LazyLock<bool> = LazyLock::new(|| {
    read_to_string("/proc/sys/net/ipv4/tcp_congestion_control").is_ok_and(|name| name.starts_with("bbr"))
});

/// Receive buffer towards instances on this host, in bytes: they are rid of a response of that length at once, without
/// waiting for windows to grow with each new connection. `None`: the system lets nobody have so much, and its own
/// sizing gets further.
static LOCAL_RECEIVE_BUFFER: LazyLock<Option<u32>> = LazyLock::new(|| {
    const WORTH_IT: u32 = 2 * 1024 * 1024;
    const ENOUGH: u32 = 4 * 1024 * 1024;
    let most: u32 = read_to_string("/proc/sys/net/core/rmem_max").ok()?.trim().parse().ok()?;
    (most >= WORTH_IT).then_some(most.min(ENOUGH))
});

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn an_instance_that_vanishes_is_noticed() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let target = listener.local_addr().expect("bound").to_string();
        let tcp = connect(&target.parse().expect("a target")).await.expect("it listens");
        let socket = SockRef::from(&tcp);
        let asked = (socket.keepalive(), socket.tcp_keepalive_time(), socket.tcp_keepalive_interval());
        assert!(asked.0.expect("a TCP socket"));
        assert_eq!(asked.1.expect("a TCP socket"), Duration::from_secs(20));
        assert_eq!(asked.2.expect("a TCP socket"), Duration::from_secs(5));
    }

    #[tokio::test]
    async fn connections_within_the_host_are_not_paced() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        for name in [format!("127.0.0.1:{port}"), format!("localhost:{port}")] {
            let near = connect(&name.parse().expect("a target")).await.expect("it listens");
            let (far, address) = listener.accept().await.expect("connected");
            prepare_client(&far, Some(address)).expect("it is there");
            for tcp in [near, far] {
                let algorithm = SockRef::from(&tcp).tcp_congestion().expect("a TCP socket");
                assert!(!algorithm.starts_with(b"bbr"), "{}", String::from_utf8_lossy(&algorithm));
                assert!(tcp.nodelay().expect("a TCP socket"));
            }
        }
    }
}
