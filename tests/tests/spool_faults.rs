//! Spool files, seen from outside: nothing is left of them, memory stays within its limit, and whatever is wrong with
//! the directory, responses arrive whole, the fault is counted and told, and spooling resumes by itself.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use sluice_tests::process::{Process, free_addresses};
use sluice_tests::script::Answering;
use sluice_tests::wire::{Conn, ask, get, pattern};
use sluice_tests::{PATIENCE, admin, eventually, expect};
use tokio::net::{TcpSocket, TcpStream};

const MIB: usize = 1024 * 1024;
const BLOB: usize = 8 * MIB;

/// An agent as a process of its own. Nobody listens where its balancer should be.
struct Agent {
    process: Process,
    data: SocketAddr,
    admin: SocketAddr,
    _instance: Answering,
}

impl Agent {
    /// `first`: what a shell does before it becomes the agent.
    async fn start(first: &str, spool_dir: &Path, flags: &str) -> Self {
        let instance = Answering::with(|request| {
            let path = request.head.start.split(' ').nth(1).unwrap_or_default();
            let body = pattern(path.trim_start_matches('/').parse().unwrap_or(4));
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
            [head.into_bytes(), body].concat()
        })
        .await;
        let [data, admin, balancer] = free_addresses();
        let arguments = format!(
            "--balancer http://{balancer} --instance {} --listen {data} --admin {admin} --spool-dir {} {flags}",
            instance.address(),
            spool_dir.display()
        );
        let process = Process::start_after(first, "sluice-agent", &arguments);
        eventually("the agent listens", PATIENCE, async || {
            TcpStream::connect(admin).await.map_err(|error| error.to_string())?;
            TcpStream::connect(data).await.map_err(|error| error.to_string())
        })
        .await;
        Self { process, data, admin, _instance: instance }
    }

    async fn slow_client(&self) -> Conn {
        let socket = TcpSocket::new_v4().expect("a descriptor");
        socket.set_recv_buffer_size(128 * 1024).expect("a socket takes the option");
        let mut client = Conn::new(socket.connect(self.data).await.expect("it listens"));
        client.send(get(&format!("/{BLOB}"))).await;
        client
    }

    async fn until_spool(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        eventually(what, 6 * PATIENCE, async || {
            expect(admin::json(self.admin, "/v1/status").await, |status| wanted(&status["spool"]))
        })
        .await
    }

    /// A slow client makes the agent meet the fault, and gets everything all the same; so does the next page.
    async fn survives(&self, reason: &str) {
        let mut client = self.slow_client().await;
        let label = format!("reason=\"{reason}\"");
        eventually("the fault is counted", 3 * PATIENCE, async || {
            let count = admin::metric(self.admin, "sluice_spool_faults_total", &[&label]).await;
            expect(count, |count| *count >= 1.0)
        })
        .await;
        let status = admin::json(self.admin, "/v1/status").await;
        assert_eq!(status["spool"]["last_fault"]["reason"], reason, "{status}");
        let response = client.response().await;
        assert_eq!((response.status(), response.cut), (200, None), "{reason}");
        assert!(response.body == pattern(BLOB), "{reason}: other bytes than sent");
        assert_eq!(ask(self.data, get("/page")).await.text().len(), 4);
    }

    /// A slow client's response is in a file.
    async fn spools(&self) -> Conn {
        let client = self.slow_client().await;
        self.until_spool("bytes in a file", |spool| spool["file_bytes"].as_u64() > Some(MIB as u64)).await;
        client
    }
}

fn directory() -> tempfile::TempDir {
    tempfile::tempdir().expect("a directory")
}

fn is_empty(directory: &Path) -> bool {
    std::fs::read_dir(directory).expect("it is there").next().is_none()
}

/// 24 responses of 8 MiB with 16 MiB of memory allowed: the rest lies in files that have no name.
#[tokio::test]
async fn memory_is_bounded_and_nothing_is_left_after_kill_9() {
    const CLIENTS: usize = 24;
    let spool = directory();
    let agent = Agent::start("", spool.path(), "--workers 4 --queue-length 100 --buffer-total 16MiB").await;
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        clients.push(agent.slow_client().await);
    }
    // The kernel has some of each, 5 MiB at most.
    let most = (CLIENTS * 2 * MIB) as u64;
    agent.until_spool("most of it in files", |spool| spool["file_bytes"].as_u64() > Some(most)).await;
    assert!(agent.process.unnamed_files(spool.path()) >= CLIENTS / 2, "that is where it is");
    assert!(is_empty(spool.path()), "under no name");
    assert!(clients.remove(7).response().await.body == pattern(BLOB));
    let rss = agent.process.peak_rss_kib();
    println!("peak RSS {rss} KiB");
    assert!(rss < (16 + 40) * 1024, "{rss} KiB");

    clients.truncate(CLIENTS / 2);
    let less = |spool: &Value| spool["file_bytes"].as_u64() < Some((CLIENTS / 2 * BLOB) as u64 + 1);
    agent.until_spool("those who left have freed theirs", less).await;
    agent.process.kill();
    assert!(is_empty(spool.path()), "nothing is left");
    drop(clients);
}

#[tokio::test]
async fn a_directory_that_vanishes_and_comes_back() {
    let parent = directory();
    let spool = parent.path().join("spool");
    std::fs::create_dir(&spool).expect("a directory");
    let agent = Agent::start("", &spool, "").await;
    let mut early = agent.spools().await;
    std::fs::remove_dir(&spool).expect("no file has a name in it");
    agent.survives("create").await;
    assert!(early.response().await.body == pattern(BLOB), "what was spooled before is not lost");
    std::fs::create_dir(&spool).expect("a directory");
    agent.spools().await;
}

#[tokio::test]
async fn permissions_that_are_revoked_and_given_back() {
    let spool = directory();
    // Who is root may write anywhere, but for this.
    let is_root = Command::new("id").arg("-u").output().is_ok_and(|id| id.stdout == b"0\n");
    let humbly = "exec setpriv --bounding-set=-dac_override,-dac_read_search -- \"$0\" \"$@\";";
    let agent = Agent::start(if is_root { humbly } else { "" }, spool.path(), "").await;
    let mode = |mode| {
        let permissions = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(spool.path(), permissions).expect("it is ours");
    };
    mode(0o500);
    agent.survives("create").await;
    mode(0o700);
    agent.spools().await;
}

/// The limit on the size of files stands for every error in the middle of a file.
#[tokio::test]
async fn an_error_in_the_middle_of_a_file() {
    let spool = directory();
    let agent = Agent::start("trap '' XFSZ; ulimit -f 4096;", spool.path(), "").await;
    agent.survives("full").await;
    assert!(agent.process.unnamed_files(spool.path()) <= 1, "what is of no use is closed");
}

#[tokio::test]
async fn a_full_file_system() {
    let parent = directory();
    let spool = parent.path().join("full");
    std::fs::create_dir(&spool).expect("a directory");
    let mount = format!("mount -t tmpfs -o size=1m none {}", spool.display());
    let may_mount = Command::new("unshare").args(["-rm", "sh", "-c", &mount]).status();
    if !may_mount.is_ok_and(|status| status.success()) {
        return println!("not tested: no file system can be mounted here");
    }
    let first = format!("exec unshare -rm sh -c '{mount} && exec \"$0\" \"$@\"' \"$0\" \"$@\";");
    let agent = Agent::start(&first, &spool, "").await;
    agent.survives("full").await;
}
