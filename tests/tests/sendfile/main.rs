//! Files that an application names (`X-Sendfile`, `X-Accel-Redirect`) and the agent sends: the client sees what a
//! correct file server sends, the worker is free at once, and nothing leads out of the configured directories.

mod paths;

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use sluice_tests::admin;
use sluice_tests::script::{Answering, RawInstance};
use sluice_tests::site::{Agent, Balancer, Chain, Settings, Site};
use sluice_tests::wire::{Conn, Ending, Head, Message, ask, get, pattern};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

const BLOB: usize = 2_613_064;
/// More than all sockets and pipes on the way can hold.
const LARGE: u64 = 96 * 1024 * 1024;
const SECRET: &str = "SECRET-CONTENT";
/// As collective.xsendfile 2.0 answers, all but the file's name.
const PLACEHOLDER: &str = "collective.xsendfile - proxy missing?";

/// A site with one worker, and files:
///
/// ```text
/// root/blob      BLOB bytes of the pattern      secret/file        not to be had
/// root/large     LARGE zeros                    root-private/file  neither
/// ```
struct FileSite {
    dir: TempDir,
    site: Site,
    seen: Arc<Mutex<Vec<Head>>>,
    _instance: Answering,
}

impl FileSite {
    async fn start() -> Self {
        let dir = files();
        let root = dir.path().join("root");
        let flags =
            format!("--xsendfile-root {} --xsendfile-uri /internal/={}", root.display(), root.display());
        Self::with(dir, flags.leak()).await
    }

    async fn with(dir: TempDir, agent: &'static str) -> Self {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let noted = seen.clone();
        // Answers what the request says.
        let instance = Answering::with(move |request| {
            noted.lock().expect("no panic").push(request.head.clone());
            request.head.get("x-answer").map_or_else(|| page().into_bytes(), bytes_of)
        })
        .await;
        let settings = Settings { workers: 1, agent, ..Settings::default() };
        let site = Site::start(Chain::Agent, instance.address(), settings).await;
        Self { dir, site, seen, _instance: instance }
    }

    fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    /// `method`, to an instance that names `file` beneath the root.
    fn request(&self, method: &str, file: &str, fields: &str) -> String {
        let answer = naming(&format!("X-Sendfile: {}/{file}", self.root().display()));
        request(method, fields, answer.as_bytes())
    }

    async fn get(&self, file: &str, fields: &str) -> Message {
        ask(self.site.address(), self.request("GET", file, fields)).await
    }

    /// `GET`, to an instance that answers just so.
    async fn answered(&self, answer: impl AsRef<[u8]>) -> Message {
        ask(self.site.address(), request("GET", "", answer.as_ref())).await
    }

    fn agent(&self) -> std::net::SocketAddr {
        self.site.agent.as_ref().expect("there is one").admin
    }

    async fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        admin::metric(self.agent(), name, labels).await
    }
}

fn files() -> TempDir {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let at = |name: &str| dir.path().join(name);
    for name in ["root/dir", "secret", "root-private"] {
        fs::create_dir_all(at(name)).expect("room");
    }
    fs::write(at("root/blob"), pattern(BLOB)).expect("room");
    fs::write(at("root/file"), "public").expect("room");
    File::create(at("root/large")).and_then(|file| file.set_len(LARGE)).expect("room");
    // Long ago: what was just written has weak validators.
    let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
    let blob = File::options().write(true).open(at("root/blob")).expect("it is there");
    blob.set_modified(long_ago).expect("its time is set");
    for name in ["secret/file", "root-private/file"] {
        fs::write(at(name), SECRET).expect("room");
    }
    dir
}

/// A request whose instance answers `answer`.
fn request(method: &str, fields: &str, answer: &[u8]) -> String {
    let hex: String = answer.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{method} /blob.jpg HTTP/1.1\r\nhost: a\r\nx-answer: {hex}\r\n{fields}\r\n")
}

fn bytes_of(hex: &str) -> Vec<u8> {
    let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal");
    (0..hex.len()).step_by(2).map(byte).collect()
}

fn naming(field: &str) -> String {
    let length = PLACEHOLDER.len();
    format!(
        "HTTP/1.1 200 OK\r\ncontent-type: image/jpeg\r\ncontent-disposition: attachment; filename=a.jpg\r\n\
         set-cookie: a=b\r\n{field}\r\ncontent-length: {length}\r\n\r\n{PLACEHOLDER}"
    )
}

fn page() -> String {
    "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\npage".into()
}

fn assert_nothing_of_the_offload(head: &Head) {
    let offload = |name: &str| {
        name.starts_with("x-sendfile") || name.starts_with("x-accel") || name.starts_with("x-sluice")
    };
    assert!(!head.fields.iter().any(|(name, _)| offload(name)), "{head:?}");
}

#[tokio::test]
async fn the_client_gets_the_file_as_from_a_file_server() {
    let site = FileSite::start().await;
    let whole = site.get("blob", "").await;
    assert_eq!((whole.status(), whole.cut), (200, None));
    assert!(whole.body == pattern(BLOB));
    let head = &whole.head;
    for (name, value) in [
        ("content-length", "2613064"),
        ("content-type", "image/jpeg"),
        ("content-disposition", "attachment; filename=a.jpg"),
        ("set-cookie", "a=b"),
        ("accept-ranges", "bytes"),
        ("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT"),
    ] {
        assert_eq!(head.get(name), Some(value), "{name}");
    }
    assert_nothing_of_the_offload(head);
    let etag = head.get("etag").expect("there is one");
    assert!(etag.starts_with('"'), "it is strong: {etag}");

    for (fields, status, wanted) in [
        ("range: bytes=1000-1999\r\n".into(), 206, Some(&pattern(BLOB)[1000..2000])),
        ("range: bytes=-5\r\n".into(), 206, Some(&pattern(BLOB)[BLOB - 5..])),
        ("range: bytes=1000000-\r\n".into(), 206, Some(&pattern(BLOB)[1_000_000..])),
        (format!("range: bytes=0-9\r\nif-range: {etag}\r\n"), 206, Some(&pattern(10))),
        ("range: bytes=0-9\r\nif-range: \"other\"\r\n".into(), 200, None),
        (format!("if-none-match: {etag}\r\n"), 304, Some(&[])),
        ("if-match: \"other\"\r\n".into(), 412, Some(&[])),
        ("range: bytes=2613064-\r\n".into(), 416, Some(&[])),
    ] {
        let answer = site.get("blob", &fields).await;
        assert_eq!((answer.status(), answer.cut), (status, None), "{fields}");
        assert!(answer.body == wanted.unwrap_or(&pattern(BLOB)), "{fields}");
        assert_nothing_of_the_offload(&answer.head);
    }
    let seen = site.seen.lock().expect("no panic").clone();
    assert!(
        seen.iter().all(|head| head.get("x-forwarded-for") == Some("127.0.0.1")),
        "or it would not offload"
    );
    assert_eq!(site.metric("sluice_agent_files_total", &["sent=\"range\""]).await, 4.0);
}

#[tokio::test]
async fn several_ranges_come_as_parts() {
    let site = FileSite::start().await;
    let answer = site.get("blob", "range: bytes=0-9,1000-1099999,-10\r\n").await;
    assert_eq!((answer.status(), answer.cut), (206, None));
    let content_type = answer.head.get("content-type").expect("parts have one");
    let boundary = content_type.strip_prefix("multipart/byteranges; boundary=").expect(content_type);
    let mut wanted = Vec::new();
    for (first, last) in [(0, 9), (1000, 1_099_999), (BLOB - 10, BLOB - 1)] {
        let head = format!(
            "\r\n--{boundary}\r\nContent-Type: image/jpeg\r\nContent-Range: bytes {first}-{last}/{BLOB}\r\n\r\n"
        );
        wanted.extend(head.bytes());
        wanted.extend(&pattern(BLOB)[first..=last]);
    }
    wanted.extend(format!("\r\n--{boundary}--\r\n").bytes());
    assert!(answer.body == wanted);
}

/// Zope answers HEAD without the field and with the true length; others name the file.
#[tokio::test]
async fn a_head_request_gets_the_true_length() {
    let site = FileSite::start().await;
    let mut client = Conn::open(site.site.address()).await;
    let zope = "HTTP/1.1 200 OK\r\ncontent-type: image/jpeg\r\ncontent-length: 2613064\r\n\r\n";
    for head in [site.request("HEAD", "blob", ""), request("HEAD", "", zope.as_bytes())] {
        client.send(head).await;
        let head = client.head().await;
        assert_eq!((head.status(), head.get("content-length")), (200, Some("2613064")));
        assert_nothing_of_the_offload(&head);
    }
    client.send(site.request("GET", "blob", "")).await;
    assert!(client.response().await.body == pattern(BLOB), "nothing else is on the connection");
}

#[tokio::test]
async fn files_and_pages_keep_their_order_and_the_instances_connection() {
    let site = FileSite::start().await;
    let mut client = Conn::open(site.site.address()).await;
    let files = [site.request("GET", "blob", ""), site.request("GET", "file", ""), get("/page")].concat();
    client.send(files.repeat(2)).await;
    for _ in 0..2 {
        assert!(client.response().await.body == pattern(BLOB));
        assert_eq!(client.response().await.text(), "public");
        assert_eq!(client.response().await.text(), "page");
    }
    site.site.until_idle().await;
    let made = site.metric("sluice_upstream_connections_total", &[]).await;
    assert!(made <= 2.0, "placeholders are read, so that the next request can follow: {made}");
    let sent = site.metric("sluice_agent_file_bytes_total", &[]).await;
    assert_eq!(sent, 2.0 * (BLOB + "public".len()) as f64);
    let bytes = site.metric("sluice_agent_response_bytes_sum", &[]).await;
    assert_eq!(bytes, sent + 2.0 * 4.0, "what is reported is the file's length, not the placeholder's");
}

#[tokio::test]
async fn nginxs_field_is_served_from_its_mapping() {
    let site = FileSite::start().await;
    for (uri, body) in
        [("/internal/file", "public"), ("/internal//file?x=1", "public"), ("/internal/f%69le", "public")]
    {
        let fields = format!("X-Accel-Redirect: {uri}\r\nX-Accel-Buffering: yes\r\nX-Accel-Expires: 60");
        let answer = site.answered(naming(&fields)).await;
        assert_eq!((answer.status(), &*answer.text()), (200, body), "{uri}");
        assert_nothing_of_the_offload(&answer.head);
    }
}

#[tokio::test]
async fn placeholders_of_any_kind_are_thrown_away() {
    let site = FileSite::start().await;
    let file = site.root().join("file").display().to_string();
    let head = format!("HTTP/1.1 200 OK\r\nx-sendfile: {file}\r\n");
    let long = "x".repeat(5_000_000);
    for (what, answer) in [
        ("none", format!("{head}content-length: 0\r\n\r\n")),
        ("chunked", format!("{head}transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")),
        ("long", format!("{head}content-length: 5000000\r\n\r\n{long}")),
        ("to the end of the connection", format!("HTTP/1.0 200 OK\r\nx-sendfile: {file}\r\n\r\nhello")),
        (
            "an answered range",
            format!(
                "HTTP/1.1 206 Partial\r\nx-sendfile: {file}\r\ncontent-range: bytes 0-0/9\r\ncontent-length: 1\r\n\r\nx"
            ),
        ),
    ] {
        let mut instance = RawInstance::start().await;
        let balancer = Balancer::start("");
        let flags = format!("--xsendfile-root {}", site.root().display());
        let agent = Agent::start(balancer.admin, instance.address(), &flags);
        let serve = async {
            let mut conn = instance.accept().await;
            conn.request().await;
            // The long one is not taken to its end.
            let _ = conn.try_send(&answer).await;
        };
        let (_, message) = tokio::join!(serve, ask(agent.address, get("/")));
        assert_eq!((message.status(), &*message.text(), message.cut), (200, "public", None), "{what}");
        assert_eq!(message.head.get("content-length"), Some("6"), "{what}");
    }
}

#[tokio::test]
async fn other_responses_lose_the_field_and_nothing_else() {
    let site = FileSite::start().await;
    for status in ["404 Not Found", "500 Oops", "203 Fine"] {
        let file = site.root().join("file");
        let fields = format!("X-Sendfile: {}\r\nX-Accel-Buffering: no", file.display());
        let answer = site.answered(naming(&fields).replace("200 OK", status)).await;
        assert_eq!((&*answer.head.start, &*answer.text()), (&*format!("HTTP/1.1 {status}"), PLACEHOLDER));
        assert_nothing_of_the_offload(&answer.head);
    }
}

#[tokio::test]
async fn without_a_root_the_path_is_nobodys_business() {
    let site = FileSite::with(files(), "").await;
    for field in ["X-Sendfile", "X-Accel-Redirect", "X-Lighttpd-Send-File", "X-Sendfile2"] {
        let file = site.root().join("file").display().to_string();
        let answer = site.answered(naming(&format!("{field}: {file}"))).await;
        assert_eq!(answer.status(), 500, "{field}");
        assert_nothing_leaks(&answer, &site.dir, field);
    }
    assert_eq!(site.metric("sluice_agent_file_refusals_total", &["no_root"]).await, 3.0);
    assert_eq!(site.get("file", "").await.head.get("set-cookie"), None, "nothing of the response is left");
}

/// Neither content nor path.
fn assert_nothing_leaks(answer: &Message, dir: &TempDir, what: &str) {
    let told = format!("{:?} {}", answer.head, answer.text());
    let path = dir.path().display().to_string();
    for secret in [SECRET, &path, "public", "root:", PLACEHOLDER] {
        assert!(!told.contains(secret), "{what}: {told}");
    }
    assert!(answer.body.len() < 100, "{what}: one line");
    assert_nothing_of_the_offload(&answer.head);
}

/// A client with a small receive buffer that has read the head of the response.
async fn slow_client(site: &FileSite, file: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a descriptor");
    socket.set_recv_buffer_size(8 * 1024).expect("a socket takes the option");
    let mut tcp = socket.connect(site.site.address()).await.expect("it listens");
    tcp.write_all(site.request("GET", file, "").as_bytes()).await.expect("it is there");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(tcp.read_u8().await.expect("a head"));
    }
    tcp
}

#[tokio::test]
async fn a_client_that_takes_its_time_holds_no_worker() {
    let site = FileSite::start().await;
    let first = slow_client(&site, "large").await;
    let second = slow_client(&site, "large").await;
    let page = ask(site.site.address(), get("/page")).await;
    assert_eq!(page.text(), "page", "of one worker, at the agent and at the balancer");
    let now = admin::json(site.agent(), "/v1/status").await["now"].clone();
    assert_eq!((&now["in_flight"], &now["streaming"]), (&0.into(), &2.into()), "{now}");
    drop((first, second));
    site.site.until_idle().await;
    admin::until_metric(site.agent(), "sluice_agent_requests_total", &["client_gone"], 2.0).await;
}

#[tokio::test]
async fn a_file_that_is_truncated_while_it_is_sent_is_seen_to_be_cut_short() {
    let site = FileSite::start().await;
    let tcp = slow_client(&site, "large").await;
    let large = File::options().write(true).open(site.root().join("large")).expect("it is there");
    large.set_len(1000).expect("truncated");
    let (rest, end) = Conn::new(tcp).rest().await;
    assert!((rest.len() as u64) < LARGE, "{} bytes, then {end:?}", rest.len());
    site.site.until_idle().await;
    admin::until_metric(site.agent(), "sluice_agent_requests_total", &["cut_short"], 1.0).await;
    let again = site.get("large", "").await;
    assert_eq!((again.status(), again.body.len(), again.cut), (200, 1000, None), "it is that long now");
}

#[tokio::test]
async fn a_file_that_was_removed_is_sent_to_its_end_and_then_is_missing() {
    let site = FileSite::start().await;
    let mut tcp = slow_client(&site, "blob").await;
    fs::remove_file(site.root().join("blob")).expect("it is there");
    let mut body = vec![0; BLOB];
    tcp.read_exact(&mut body).await.expect("all of it");
    assert!(body == pattern(BLOB));
    assert_eq!(site.get("blob", "").await.status(), 404);
}

#[tokio::test]
async fn a_placeholder_that_never_comes_does_not_keep_the_client_waiting_for_ever() {
    let dir = files();
    let mut instance = RawInstance::start().await;
    let balancer = Balancer::start("");
    let root = dir.path().join("root");
    let agent =
        Agent::start(balancer.admin, instance.address(), &format!("--xsendfile-root {}", root.display()));
    let mut client = Conn::open(agent.address).await;
    client.send(get("/")).await;
    let mut conn = instance.accept().await;
    conn.request().await;
    let head =
        format!("HTTP/1.1 200 OK\r\nx-sendfile: {}/file\r\ncontent-length: 37\r\n\r\n", root.display());
    conn.send(head).await;
    assert_eq!(client.response().await.text(), "public");
    assert_ne!(conn.ended().await, Ending::Reset, "the instance learns that nobody waits for the rest");
}
