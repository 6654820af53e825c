//! A gigabyte each way through balancer and agent: every byte as it was sent, in memory that does not depend on it.

use std::net::SocketAddr;
use std::time::Instant;

use sluice_emulation::pattern::byte_at;
use sluice_tests::process::{Process, free_addresses};
use sluice_tests::{PATIENCE, admin, eventually};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const GIGABYTE: u64 = 1 << 30;
const BLOCK: usize = 256 * 1024;
const PERIOD: usize = 251;
/// Far above what a relay needs and far below what it would take to hold a body.
const MOST_MEMORY_KIB: u64 = 64 * 1024;

/// The pattern from any phase on, at least a block of it.
fn pattern() -> Vec<u8> {
    (0..(BLOCK + PERIOD) as u64).map(byte_at).collect()
}

async fn write_gigabyte(to: &mut (impl AsyncWrite + Unpin)) {
    let pattern = pattern();
    let mut sent = 0;
    while sent < GIGABYTE {
        let phase = usize::from(byte_at(sent));
        let length = BLOCK.min(usize::try_from(GIGABYTE - sent).expect("at most a gigabyte"));
        to.write_all(&pattern[phase..phase + length]).await.expect("the relay takes it");
        sent += length as u64;
    }
}

async fn read_gigabyte(from: &mut (impl AsyncRead + Unpin)) {
    let pattern = pattern();
    let mut block = vec![0; BLOCK];
    let mut received = 0;
    while received < GIGABYTE {
        let most = BLOCK.min(usize::try_from(GIGABYTE - received).expect("at most a gigabyte"));
        let n = from.read(&mut block[..most]).await.expect("the relay sends it");
        assert!(n > 0, "ended after {received} bytes");
        let phase = usize::from(byte_at(received));
        assert!(block[..n] == pattern[phase..phase + n], "other bytes than sent, after {received}");
        received += n as u64;
    }
}

/// Reads a head byte by byte, so that the body is left in the socket.
async fn head(from: &mut (impl AsyncRead + Unpin)) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(from.read_u8().await.expect("a whole head"));
    }
    String::from_utf8(head).expect("text")
}

struct Relays {
    data: SocketAddr,
    balancer: Process,
    agent: Process,
}

impl Relays {
    async fn start(instance: SocketAddr) -> Self {
        let [data, admin, agent_data, agent_admin] = free_addresses();
        let balancer =
            Process::start("sluice-balancer", &format!("--listen {data} --admin {admin} --threads 1"));
        let agent = Process::start(
            "sluice-agent",
            &format!(
                "--balancer http://{admin} --instance {instance} --listen {agent_data} --admin {agent_admin} \
                 --interval 100ms"
            ),
        );
        eventually("the balancer's admin address", PATIENCE, async || {
            TcpStream::connect(admin).await.map(drop).map_err(|error| error.to_string())
        })
        .await;
        admin::until_routed(admin, 1, PATIENCE).await;
        Self { data, balancer, agent }
    }

    fn assert_small(&self, what: &str, began: Instant) {
        let (balancer, agent) = (self.balancer.peak_rss_kib(), self.agent.peak_rss_kib());
        let seconds = began.elapsed().as_secs_f64();
        println!("{what}: {seconds:.1} s; peak RSS: balancer {balancer} KiB, agent {agent} KiB");
        assert!(balancer < MOST_MEMORY_KIB && agent < MOST_MEMORY_KIB, "{balancer} and {agent} KiB");
    }
}

#[tokio::test]
async fn a_gigabyte_goes_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let relays = Relays::start(listener.local_addr().expect("bound")).await;
    let began = Instant::now();
    let instance = async {
        let mut tcp = accept_request(&listener).await;
        assert!(head(&mut tcp).await.contains(&format!("content-length: {GIGABYTE}\r\n")));
        read_gigabyte(&mut tcp).await;
        tcp.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.expect("the relay is there");
    };
    let client = async {
        let mut tcp = TcpStream::connect(relays.data).await.expect("the balancer listens");
        let request = format!("PUT /backup HTTP/1.1\r\nhost: a\r\ncontent-length: {GIGABYTE}\r\n\r\n");
        tcp.write_all(request.as_bytes()).await.expect("the relay is there");
        write_gigabyte(&mut tcp).await;
        assert!(head(&mut tcp).await.starts_with("HTTP/1.1 200 "));
    };
    tokio::join!(instance, client);
    relays.assert_small("1 GB up", began);
}

#[tokio::test]
async fn a_gigabyte_comes_down() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let relays = Relays::start(listener.local_addr().expect("bound")).await;
    let began = Instant::now();
    let instance = async {
        let mut tcp = accept_request(&listener).await;
        head(&mut tcp).await;
        let response = format!("HTTP/1.1 200 OK\r\ncontent-length: {GIGABYTE}\r\n\r\n");
        tcp.write_all(response.as_bytes()).await.expect("the relay is there");
        write_gigabyte(&mut tcp).await;
    };
    let client = async {
        let mut tcp = TcpStream::connect(relays.data).await.expect("the balancer listens");
        tcp.write_all(b"GET /video HTTP/1.1\r\nhost: a\r\n\r\n").await.expect("the relay is there");
        assert!(head(&mut tcp).await.contains(&format!("content-length: {GIGABYTE}\r\n")));
        read_gigabyte(&mut tcp).await;
    };
    tokio::join!(instance, client);
    relays.assert_small("1 GB down", began);
}

/// The first connection on which something is said; the others are health checks.
async fn accept_request(listener: &TcpListener) -> TcpStream {
    loop {
        let (tcp, _) = listener.accept().await.expect("it listens");
        if tcp.peek(&mut [0]).await.is_ok_and(|n| n > 0) {
            return tcp;
        }
    }
}
