//! What nobody should read who reads logs, metrics or the dashboard: tokens, passwords, cookies, queries, bodies.
//!
//! The access log is another matter: it has targets with their queries and the referers, as that of every server, for
//! whom the operator gives it to.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde_json::json;
use sluice_tests::process::{Process, free_addresses};
use sluice_tests::script::{Answering, RawInstance};
use sluice_tests::wire::{Conn, ask, get};
use sluice_tests::{PATIENCE, admin, eventually};

const TOKEN: &str = "MARK-token-0123456789abcdef";
/// Every secret has it in it, in capitals or not.
const MARK: &str = "mark-";

/// A request whose every part is somebody's secret, but for its path.
fn request(method: &str, path: &str) -> String {
    format!(
        "{method} {path}?access_token=MARK-query&page=2 HTTP/1.1\r\nhost: site.example\r\n\
         authorization: Basic MARK-authorization\r\nproxy-authorization: Basic MARK-proxy\r\n\
         cookie: session=MARK-cookie\r\nx-api-key: MARK-key\r\nreferer: http://site.example/?t=MARK-referer\r\n\
         content-length: 9\r\n\r\nMARK-body"
    )
}

/// Both programs as processes, which log all they can into files.
struct Site {
    dir: tempfile::TempDir,
    address: SocketAddr,
    balancer: SocketAddr,
    agent: SocketAddr,
    _processes: [Process; 2],
}

fn logging(dir: &Path, program: &str, flags: &str) -> Process {
    let file = dir.join(format!("{program}.log"));
    let script = r#"SLUICE_LOG=debug exec "$@" 2>"$LOG_FILE""#;
    Process::start_by(script, program, flags, |command| {
        command.env("LOG_FILE", file);
    })
}

impl Site {
    fn start(instance: SocketAddr, broken: SocketAddr) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path();
        let token = path.join("token");
        fs::write(&token, TOKEN).expect("written");
        let [address, balancer, data, agent] = free_addresses();
        let config = path.join("balancer.toml");
        fs::write(&config, "[service.broken]\npath-prefixes = [\"/broken\"]\n").expect("written");
        let (token, state, decisions) = (token.display(), path.join("state"), path.join("decisions"));
        let flags = format!(
            "--listen {address} --admin {balancer} --token-file {token} --state-dir {} --decision-log {} \
             --config {} --instance {broken},service=broken --reveal request-id --threads 1",
            state.display(),
            decisions.display(),
            config.display()
        );
        let first = logging(path, "sluice-balancer", &flags);
        let flags = format!(
            "--balancer http://{balancer} --instance {instance} --listen {data} --admin {agent} \
             --token-file {token} --name zope-1"
        );
        let second = logging(path, "sluice-agent", &flags);
        Self { dir, address, balancer, agent, _processes: [first, second] }
    }

    async fn ready(&self) {
        for admin in [self.balancer, self.agent] {
            eventually("an admin address", PATIENCE, async || {
                tokio::net::TcpStream::connect(admin).await.map(drop).map_err(|error| error.to_string())
            })
            .await;
        }
        admin::until_routed(self.balancer, 2, PATIENCE).await;
    }

    /// All that can be read without a token, and the files.
    async fn emitted(&self) -> Vec<(String, String)> {
        let mut all = Vec::new();
        for (admin, paths) in [
            (
                self.balancer,
                &[
                    "/metrics",
                    "/v1/instances",
                    "/v1/classes",
                    "/v1/plan",
                    "/v1/decisions?service=default&n=600",
                    "/v1/explain?host=site.example&path=/docs/1",
                ][..],
            ),
            (self.agent, &["/metrics", "/v1/status"]),
        ] {
            for path in paths {
                all.push((format!("{admin}{path}"), admin::get(admin, path).await.text()));
            }
        }
        for path in ["/v1/live", "/v1/events"] {
            let mut stream = Conn::open(self.balancer).await;
            stream.send(get(path)).await;
            stream.head().await;
            let words = if path == "/v1/live" { stream.until("\n\n").await } else { stream.pending() };
            all.push((path.to_owned(), words));
        }
        all.extend(files(self.dir.path()).into_iter().filter(|file| !file.ends_with("token")).map(|file| {
            let bytes = fs::read(&file).expect("a file that can be read");
            (file.display().to_string(), String::from_utf8_lossy(&bytes).into_owned())
        }));
        all
    }
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).expect("a directory").map(|entry| entry.expect("an entry").path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

#[tokio::test]
async fn secrets_are_in_nothing_that_the_programs_emit() {
    let instance = Answering::with(|_| {
        b"HTTP/1.1 200 OK\r\nset-cookie: session=MARK-set\r\nlocation: /?code=MARK-location\r\ncontent-length: 5\r\n\r\nhello".to_vec()
    })
    .await;
    let mut broken = RawInstance::start().await;
    let site = Site::start(instance.address(), broken.address());
    site.ready().await;

    // Answered; by an instance that breaks off; refused for what they are.
    assert_eq!(ask(site.address, request("POST", "/docs/1")).await.status(), 200);
    let breaking = async {
        let mut upstream = broken.accept().await;
        upstream.request().await;
        upstream.reset();
    };
    let (answer, ()) = tokio::join!(ask(site.address, request("POST", "/broken")), breaking);
    assert_eq!(answer.status(), 502);
    for bad in ["cookie : session=MARK-space", "cookie: MARK-control\u{1}", "content-length: MARK-length"] {
        let refused =
            ask(site.address, format!("GET /?q=MARK-bad HTTP/1.1\r\nhost: a\r\n{bad}\r\n\r\n")).await;
        assert_eq!(refused.status(), 400, "{bad}");
    }
    // Operators and agents, right and wrong.
    for (authorization, status) in [
        (format!("Bearer {TOKEN}"), 200),
        (format!("Bearer {TOKEN}-mistyped"), 403),
        ("Basic MARK-basic".to_owned(), 401),
    ] {
        let fields = format!("authorization: {authorization}\r\n");
        let answer =
            admin::post(site.balancer, "/v1/instances/zope-1/ready?key=MARK-admin", &fields, "").await;
        assert_eq!(answer.status(), status, "{authorization}");
    }
    let bearer = format!("authorization: Bearer {TOKEN}\r\n");
    for body in [r#"{"name": "MARK-"#.to_owned(), json!({"schema": 1, "token": "MARK-field"}).to_string()] {
        let answer = admin::post(site.balancer, "/v1/report", &bearer, &body).await;
        assert!([400, 422].contains(&answer.status()), "{}", answer.text());
        assert!(!answer.text().to_lowercase().contains(MARK), "{}", answer.text());
    }
    // Until the heavy URLs of a window are shown.
    eventually("a window with a URL", PATIENCE, async || {
        ask(site.address, request("POST", "/docs/2")).await;
        let window = admin::json(site.agent, "/v1/status").await["window"].clone();
        let is_told = window["heavy_urls"][0]["url"].as_str().is_some_and(|url| url.starts_with("/docs/"));
        if is_told { Ok(()) } else { Err(window.to_string()) }
    })
    .await;

    let emitted = site.emitted().await;
    let log = |program: &str| {
        let file = format!("{program}.log");
        emitted.iter().find(|(name, _)| name.ends_with(&file)).map(|(_, text)| text.clone()).expect("a log")
    };
    assert!(log("sluice-balancer").contains("report refused"), "it logs what it refuses, without its words");
    assert!(log("sluice-agent").contains("agent starts"));
    for (name, text) in emitted {
        assert!(!text.is_empty() || name == "/v1/events", "{name} is empty");
        let found = text.lines().find(|line| line.to_lowercase().contains(MARK));
        assert_eq!(found, None, "in {name}");
    }
}
