//! Where clients connect besides IP addresses: Unix sockets, and sockets that systemd hands over; and what systemd is
//! told.

use std::fs;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use sluice_tests::admin::{until_metric, until_routed};
use sluice_tests::certs::ask_over;
use sluice_tests::process::{Process, free_addresses};
use sluice_tests::script::Answering;
use sluice_tests::site::Balancer;
use sluice_tests::wire::{ask, get, ok, pattern};
use sluice_tests::{PATIENCE, soon};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::spawn_blocking;

const CLOSING: &str = "GET / HTTP/1.1\r\nhost: a\r\nx-forwarded-for: 192.0.2.9\r\nconnection: close\r\n\r\n";

async fn connect(path: &Path) -> UnixStream {
    soon("connect", UnixStream::connect(path)).await.expect("it listens")
}

#[tokio::test]
async fn clients_come_by_a_unix_socket() {
    let instance =
        Answering::with(|request| ok(request.head.get("x-forwarded-for").unwrap_or("-")).into_bytes()).await;
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("s");
    let flags = format!("--listen unix:{},mode=0600 --instance {}", path.display(), instance.address());
    let balancer = Balancer::start(&flags);
    assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
    // A front proxy on this host is believed about who asks.
    let answer = ask_over(connect(&path).await, CLOSING).await;
    assert!(answer.ends_with("\r\n\r\n192.0.2.9, 127.0.0.1"), "{answer}");

    let error = Balancer::try_start(&flags).map(drop).expect_err("in use");
    assert!(error.contains("already") && error.contains(&*path.to_string_lossy()), "{error}");
    balancer.stop();
    balancer.ended().await;
    assert!(path.exists(), "left for whoever takes over");
    let _next = Balancer::start(&flags);
    ask_over(connect(&path).await, CLOSING).await;
}

#[tokio::test]
async fn long_bodies_pass_unix_sockets_on_both_sides() {
    let dir = tempfile::tempdir().expect("a directory");
    let (front, back) = (dir.path().join("front"), dir.path().join("back"));
    let body = pattern(1_500_000);
    let instance = UnixListener::bind(&back).expect("a free path");
    let sent = body.clone();
    let serving = tokio::spawn(async move {
        loop {
            let (mut stream, _) = instance.accept().await.expect("a connection");
            let mut request = vec![0; 4096];
            let n = stream.read(&mut request).await.expect("a request");
            assert!(request[..n].starts_with(b"GET / HTTP/1.1\r\n"));
            let head =
                format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", sent.len());
            stream.write_all(head.as_bytes()).await.expect("sent");
            stream.write_all(&sent).await.expect("sent");
        }
    });
    let flags = format!("--listen unix:{} --instance unix:{}", front.display(), back.display());
    let balancer = Balancer::start(&flags);
    let mut client = connect(&front).await;
    client.write_all(CLOSING.as_bytes()).await.expect("sent");
    let mut answer = Vec::new();
    soon("the response", client.read_to_end(&mut answer)).await.expect("whole");
    assert!(answer.ends_with(&body), "{} bytes", answer.len());
    until_metric(balancer.admin, "sluice_client_connections_open", &[], 0.0).await;
    serving.abort();
}

/// `program` with `socket` as descriptor 3, which it is told to be named `web`, as systemd starts it.
fn activated(program: &str, flags: &str, socket: OwnedFd) -> Process {
    Process::start_by(
        "LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=web exec \"$@\" 3<&0 0</dev/null",
        program,
        flags,
        |command| {
            command.stdin(socket);
        },
    )
}

#[tokio::test]
async fn a_socket_of_systemd_is_served() {
    let instance = Answering::named("from the instance").await;
    for name in ["web", "0"] {
        let socket = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = socket.local_addr().expect("bound");
        let [admin] = free_addresses();
        let flags =
            format!("--listen fd:{name} --admin {admin} --threads 2 --instance {}", instance.address());
        let balancer = activated("sluice-balancer", &flags, socket.into());
        // The socket is there before the program is: nothing is refused.
        let answer = ask(address, get("/")).await;
        assert_eq!((answer.status(), answer.text()), (200, "from the instance".to_owned()));
        balancer.kill();
    }
}

#[tokio::test]
async fn a_socket_that_was_not_handed_over_is_an_error_that_says_so() {
    let error = Balancer::try_start("--listen fd:web").map(drop).expect_err("there is none");
    assert!(error.contains("fd:web") && error.contains("none"), "{error}");
}

#[tokio::test]
async fn systemd_is_told_of_readiness_life_and_stopping() {
    let instance = Answering::named("x").await;
    let dir = tempfile::tempdir().expect("a directory");
    let told = |name: &str| {
        let path = dir.path().join(name);
        let socket = UnixDatagram::bind(&path).expect("a free path");
        socket.set_read_timeout(Some(2 * PATIENCE)).expect("a socket takes the option");
        (path, socket)
    };
    let [listen, admin, agent_listen, agent_admin] = free_addresses();
    for (program, flags, admin) in [
        (
            "sluice-balancer",
            format!("--listen {listen} --admin {admin} --instance {}", instance.address()),
            admin,
        ),
        (
            "sluice-agent",
            format!(
                "--balancer http://{admin} --instance {} --listen {agent_listen} --admin {agent_admin}",
                instance.address()
            ),
            agent_admin,
        ),
    ] {
        let (path, socket) = told(program);
        let process = Process::start_by("exec \"$@\"", program, &flags, |command| {
            command.env("NOTIFY_SOCKET", path).env("WATCHDOG_USEC", "200000");
        });
        // On another thread, as this one must go on.
        let until = async |wanted: &'static str| {
            let socket = socket.try_clone().expect("a socket");
            let read = move || {
                let mut buffer = [0; 256];
                loop {
                    let n = socket.recv(&mut buffer).unwrap_or_else(|error| panic!("{wanted}: {error}"));
                    let said = String::from_utf8_lossy(&buffer[..n]).into_owned();
                    if said.lines().any(|line| line == wanted) {
                        return;
                    }
                }
            };
            spawn_blocking(read).await.unwrap_or_else(|error| panic!("{program}: {error}"));
        };
        until("READY=1").await;
        // Ready is who serves.
        if program == "sluice-balancer" {
            until_routed(admin, 1, PATIENCE).await;
            assert_eq!(ask(listen, get("/")).await.status(), 200);
        }
        until("WATCHDOG=1").await;
        process.signal("HUP");
        until("RELOADING=1").await;
        until("READY=1").await;
        process.terminate();
        until("STOPPING=1").await;
    }
}
