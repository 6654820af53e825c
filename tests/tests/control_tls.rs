//! The control plane over TLS: who may report, by certificate, and what every client of it needs.

use std::fmt::Display;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use serde_json::Value;
use sluice_tests::certs::{Authority, Cert, TlsClient, ask_over};
use sluice_tests::script::Answering;
use sluice_tests::site::{Agent, Balancer};
use sluice_tests::wire::{ask, get};
use sluice_tests::{PATIENCE, eventually, expect, process};

/// A directory with an authority, and an instance that waits for its agent.
struct Fixture {
    dir: tempfile::TempDir,
    own: Authority,
}

impl Fixture {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let own = Authority::write(dir.path(), "own");
        Self { dir, own }
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    /// A balancer whose admin server has a certificate for localhost, and asks for one of the same authority.
    fn balancer(&self, flags: &str) -> Balancer {
        let server = self.own.issue(self.path(), "server", &["localhost"]);
        let tls = server.option();
        Balancer::start(&format!("--admin 127.0.0.1:0,{tls},client-ca={} {flags}", self.own.file.display()))
    }

    fn agent(&self, balancer: &Balancer, instance: &Answering, name: &str, cert: Option<&Cert>) -> Agent {
        let cert = cert.map(|cert| {
            flags(&[("--client-cert", cert.cert.display()), ("--client-key", cert.key.display())])
        });
        let url = format!("https://localhost:{}", balancer.admin.port());
        let flags =
            format!("--name {name} --balancer-ca {} {}", self.own.file.display(), cert.unwrap_or_default());
        Agent::reporting_to(&url, instance.address(), &flags)
    }

    async fn read(&self, admin: SocketAddr, path: &str) -> Result<String, String> {
        let tls = TlsClient::believing(&self.own).try_connect(admin, "localhost").await?;
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        let answer = ask_over(tls, &request).await;
        let (head, body) = answer.split_once("\r\n\r\n").ok_or("no answer")?;
        if head.starts_with("HTTP/1.1 200") { Ok(body.to_owned()) } else { Err(head.to_owned()) }
    }

    async fn routed(&self, admin: SocketAddr) -> Vec<String> {
        let list: Vec<Value> =
            serde_json::from_str(&self.read(admin, "/v1/instances").await.expect("read")).expect("JSON");
        let routed = list.iter().filter(|instance| instance["routed"] == true);
        routed.map(|instance| instance["name"].as_str().expect("a name").to_owned()).collect()
    }

    async fn until_routed(&self, admin: SocketAddr, names: &[&str]) {
        eventually("instances routed", PATIENCE, async || {
            expect(self.routed(admin).await, |routed| routed == names)
        })
        .await;
    }

    async fn until_refused(&self, agent: &Agent, outcome: &str, word: &str) {
        eventually(&format!("an agent is told {outcome}"), PATIENCE, async || {
            let status = sluice_tests::admin::json(agent.admin, "/v1/status").await["balancers"][0].clone();
            let told = status["detail"].as_str().is_some_and(|detail| detail.contains(word));
            if status["outcome"] == outcome && told { Ok(()) } else { Err(status.to_string()) }
        })
        .await;
    }
}

fn flags<T: Display>(pairs: &[(&str, T)]) -> String {
    pairs.iter().map(|(flag, value)| format!("{flag} {value} ")).collect()
}

#[tokio::test]
async fn an_agent_speaks_for_the_name_in_its_certificate_and_for_no_other() {
    let fixture = Fixture::new();
    let (a, b, c) = (Answering::named("a").await, Answering::named("b").await, Answering::named("c").await);
    let balancer = fixture.balancer("");
    let cert = fixture.own.issue(fixture.path(), "zope-1", &["zope-1"]);
    let known = fixture.agent(&balancer, &a, "zope-1", Some(&cert));
    fixture.until_routed(balancer.admin, &["zope-1"]).await;
    let second = fixture.agent(&balancer, &b, "zope-1:second", Some(&cert));
    fixture.until_routed(balancer.admin, &["zope-1", "zope-1:second"]).await;

    let other_name = fixture.agent(&balancer, &c, "zope-2", Some(&cert));
    fixture.until_refused(&other_name, "misplaced", "certificate is for zope-1").await;
    let none = fixture.agent(&balancer, &c, "zope-3", None);
    fixture.until_refused(&none, "unauthorized", "client certificate is needed").await;
    let other = Authority::write(fixture.path(), "other");
    let forged = other.issue(fixture.path(), "forged", &["zope-4"]);
    let forged = fixture.agent(&balancer, &c, "zope-4", Some(&forged));
    fixture.until_refused(&forged, "unreachable", "").await;

    assert_eq!(fixture.routed(balancer.admin).await, ["zope-1", "zope-1:second"]);
    let answer = ask(balancer.address, get("/")).await.text();
    assert!(answer == "a" || answer == "b", "{answer}");
    drop((known, second));
}

#[tokio::test]
async fn reading_needs_no_certificate_and_operating_does() {
    let fixture = Fixture::new();
    let instance = Answering::named("a").await;
    let balancer = fixture.balancer(&format!("--instance {},name=a", instance.address()));
    for path in ["/healthz", "/metrics", "/v1/instances"] {
        fixture.read(balancer.admin, path).await.expect(path);
    }
    let tls = TlsClient::believing(&fixture.own).connect(balancer.admin, "localhost").await;
    let request = "POST /v1/instances/a/drain HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    let answer = ask_over(tls, request).await;
    assert!(answer.starts_with("HTTP/1.1 403") && answer.contains("client certificate"), "{answer}");
    assert_eq!(ask(balancer.address, get("/")).await.text(), "a");
}

/// Both sides' files are replaced while they run: reports go on, with what is new.
#[tokio::test]
async fn certificates_are_read_again_when_they_change() {
    let fixture = Fixture::new();
    let instance = Answering::named("a").await;
    let balancer = fixture.balancer("");
    let cert = fixture.own.issue(fixture.path(), "client", &["zope-2"]);
    let agent = fixture.agent(&balancer, &instance, "zope-1", Some(&cert));
    fixture.until_refused(&agent, "misplaced", "certificate is for zope-2").await;
    fixture.own.issue(fixture.path(), "client", &["zope-1"]);
    fixture.until_routed(balancer.admin, &["zope-1"]).await;

    let served = async || {
        let tls = TlsClient::believing(&fixture.own).connect(balancer.admin, "localhost").await;
        sluice_tests::certs::certificate_of(&tls)
    };
    let before = served().await;
    fixture.own.issue(fixture.path(), "server", &["localhost"]);
    eventually("the new certificate", PATIENCE, async || {
        if served().await == before { Err("still the old one".to_owned()) } else { Ok(()) }
    })
    .await;
}

#[tokio::test]
async fn top_looks_over_tls() {
    let fixture = Fixture::new();
    let instance = Answering::named("a").await;
    let balancer = fixture.balancer(&format!("--instance {},name=zope-1", instance.address()));
    let run = async |flags: String| {
        // The program may have to be built first.
        tokio::task::spawn_blocking(move || process::run("sluice-balancer", &flags)).await.expect("no panic")
    };
    let url = format!("top --once --admin https://localhost:{}", balancer.admin.port());
    let output = run(format!("{url} --ca {}", fixture.own.file.display())).await;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success() && text.contains("zope-1"),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let other = Authority::write(fixture.path(), "other");
    let output = run(format!("{url} --ca {}", other.file.display())).await;
    assert_eq!(output.status.code(), Some(1), "a balancer that nobody known vouches for");
}

#[test]
fn what_can_not_be_secure_does_not_start() {
    let fixture = Fixture::new();
    let cert = fixture.own.issue(fixture.path(), "server", &["localhost"]);
    let (tls, ca) = (cert.option(), fixture.own.file.display().to_string());
    let missing = fixture.path().join("none.pem");
    fs::write(fixture.path().join("empty.pem"), "").expect("written");
    let empty = fixture.path().join("empty.pem").display().to_string();
    let agent = "check --instance 127.0.0.1:1 --listen 127.0.0.1:2 --balancer";
    for (program, line, code, says) in [
        ("sluice-balancer", format!("check --admin 0.0.0.0:9900,{tls}"), 2, "client-ca"),
        ("sluice-balancer", format!("check --admin 0.0.0.0:9900,{tls},client-ca={ca}"), 0, ""),
        ("sluice-balancer", format!("check --admin 127.0.0.1:9900,{tls},client-ca={empty}"), 2, "empty.pem"),
        (
            "sluice-balancer",
            format!("check --admin 127.0.0.1:9900,tls={0}:{0}", missing.display()),
            2,
            "none.pem",
        ),
        ("sluice-agent", format!("{agent} https://lb:9900 --balancer-ca {ca}"), 0, "balancer-ca"),
        ("sluice-agent", format!("{agent} https://lb:9900 --balancer-ca {empty}"), 2, "empty.pem"),
        (
            "sluice-agent",
            format!("{agent} https://lb:9900 --balancer-ca {ca} --client-cert {ca}"),
            2,
            "--client-key",
        ),
        ("sluice-agent", format!("{agent} http://lb:9900 --balancer-ca {ca}"), 2, "https://"),
        (
            "sluice-agent",
            format!("{agent} http://lb:9900 --admin 0.0.0.0:1,{tls},client-ca={ca}"),
            0,
            "client-ca",
        ),
    ] {
        let output = process::run(program, &line);
        let text =
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{program} {line}: {text}");
        assert!(text.contains(says), "{program} {line}: {text}");
    }
}
