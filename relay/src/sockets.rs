//! How sockets are set up, towards clients and towards instances.

use std::fs::read_to_string;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::LazyLock;
use std::time::Duration;

use rustix::io::Errno;
use sluice_proto::Target;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixStream, lookup_host};

use crate::listen::as_stream;

/// Sets up a client's connection that was just accepted from `address`, if it is one of TCP.
///
/// # Errors
/// The client is gone already.
pub(crate) fn prepare_client(tcp: &TcpStream, address: Option<SocketAddr>) -> io::Result<()> {
    let Some(address) = address else { return Ok(()) };
    // Responses are written whole; waiting for more to send only delays them.
    tcp.set_nodelay(true)?;
    if let Some(paced) = PACED.as_deref().filter(|_| !address.ip().is_loopback()) {
        use_congestion_control(tcp, paced);
    }
    Ok(())
}

/// Sets up a listening socket whose clients go through [`prepare_client`].
pub(crate) fn prepare_listener(tcp: &TcpListener) {
    if PACED.is_some() {
        use_congestion_control(tcp, UNPACED);
    }
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
    if is_local && PACED.is_some() {
        use_congestion_control(&socket, UNPACED);
    }
    let tcp = socket.connect(address).await?;
    tcp.set_nodelay(true)?;
    SockRef::from(&tcp).set_tcp_keepalive(&KEEPALIVE)?;
    Ok(tcp)
}

/// An instance whose host vanished without a word would hold a request until `--response-timeout`, or a tunnel for an
/// hour. 35 s: above what a network takes to find another path, below the minute that people wait.
const KEEPALIVE: TcpKeepalive = TcpKeepalive::new()
    .with_time(Duration::from_secs(20))
    .with_interval(Duration::from_secs(5))
    .with_retries(3);

/// Whether this process, or the system, has no room for one more descriptor.
pub(crate) fn is_exhausted(error: &io::Error) -> bool {
    let exhausted = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM];
    error.raw_os_error().is_some_and(|code| exhausted.iter().any(|errno| errno.raw_os_error() == code))
}

/// What connections within the host use if the system's choice is paced. Every system has it.
const UNPACED: &str = "reno";

/// The system's congestion control, if it spreads what is sent over time by timers, as BBR does.
///
/// Within one host there is no path to be gentle to, and the timers cost half of what long bodies can be sent with. A
/// connection that has begun as a paced one keeps its timers whatever it is told later. So instances are told before
/// connecting, and listeners hand down [`UNPACED`], which clients on other hosts exchange for the system's choice.
static PACED: LazyLock<Option<String>> = LazyLock::new(|| {
    let name = read_to_string("/proc/sys/net/ipv4/tcp_congestion_control").ok()?;
    name.starts_with("bbr").then(|| name.trim_end().to_owned())
});

fn use_congestion_control(socket: &impl AsFd, name: &str) {
    if let Err(error) = SockRef::from(socket).set_tcp_congestion(name.as_bytes()) {
        tracing::debug!(%error, name, "congestion control stays as it is");
    }
}

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

    fn is_paced(tcp: &TcpStream) -> bool {
        SockRef::from(tcp).tcp_congestion().expect("a TCP socket").starts_with(b"bbr")
    }

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
        prepare_listener(&listener);
        let port = listener.local_addr().expect("bound").port();
        for name in [format!("127.0.0.1:{port}"), format!("localhost:{port}")] {
            let near = connect(&name.parse().expect("a target")).await.expect("it listens");
            let (far, address) = listener.accept().await.expect("connected");
            assert!(!is_paced(&far), "not even before it is prepared: it would keep its timers");
            prepare_client(&far, Some(address)).expect("it is there");
            for tcp in [near, far] {
                assert!(!is_paced(&tcp));
                assert!(tcp.nodelay().expect("a TCP socket"));
            }
        }
    }

    #[tokio::test]
    async fn clients_on_other_hosts_get_the_systems_congestion_control() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        prepare_listener(&listener);
        let at = listener.local_addr().expect("bound");
        let _near = TcpStream::connect(at).await.expect("it listens");
        let (far, _) = listener.accept().await.expect("connected");
        prepare_client(&far, Some(([192, 0, 2, 1], 1).into())).expect("it is there");
        assert_eq!(is_paced(&far), PACED.is_some());
    }
}
