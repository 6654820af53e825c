//! Every request leaves a line that says where it went and why, and the file can be rotated.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use sluice_tests::process::{Process, free_addresses};
use sluice_tests::script::{Answering, RawInstance, Refusing};
use sluice_tests::site::{Balancer, Chain, Settings, Site};
use sluice_tests::wire::{Conn, ask, get, ok};
use sluice_tests::{PATIENCE, admin, eventually, expect};

fn lines(file: &Path) -> Vec<Value> {
    let text = fs::read_to_string(file).unwrap_or_default();
    let line = |line: &str| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line:?}"));
    text.lines().map(line).collect()
}

async fn until_lines(file: &Path, wanted: usize) -> Vec<Value> {
    eventually("lines in the log", PATIENCE, async || expect(lines(file), |all| all.len() == wanted)).await
}

fn log_in(dir: &tempfile::TempDir, more: &str) -> (std::path::PathBuf, &'static str) {
    let file = dir.path().join("access.log");
    let flags = format!("--access-log {} --access-log-format json {more}", file.display());
    (file, flags.leak())
}

#[tokio::test]
async fn a_line_tells_a_requests_way() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (file, balancer) = log_in(&dir, "");
    let instance = Answering::named("hello").await;
    for (n, chain) in [Chain::Balancer, Chain::Agent].into_iter().enumerate() {
        let site = Site::start(chain, instance.address(), Settings { balancer, ..Settings::default() }).await;
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        let request = format!(
            "GET /docs/17?q=a%22b HTTP/1.1\r\nhost: site.example\r\nuser-agent: a\"b\\\r\nx-request-id: r-{n}\r\n\
             x-forwarded-for: 203.0.113.9\r\ntraceparent: 00-{trace}-00f067aa0ba902b7-01\r\n\r\n"
        );
        assert_eq!(ask(site.address(), request).await.status(), 200);
        let line = until_lines(&file, n + 1).await.remove(n);
        for (field, wanted) in [
            ("client", "203.0.113.9".into()),
            ("method", "GET".into()),
            ("host", "site.example".into()),
            ("target", "/docs/17?q=a%22b".into()),
            ("user_agent", "a\"b\\".into()),
            ("status", 200.into()),
            ("failure", Value::Null),
            ("response_bytes", 5.into()),
            ("service", "default".into()),
            ("class", "GET /docs/{n}".into()),
            ("lane", "small".into()),
            ("attempts", 1.into()),
            ("request_id", format!("r-{n}").into()),
            ("trace_id", trace.into()),
        ] {
            assert_eq!(line[field], wanted, "{field}: {line}");
        }
        let instances = admin::instances(site.balancer.admin).await;
        assert_eq!(line["instance"], instances[0]["name"]);
        assert!(line["duration_ms"].as_f64() >= line["ttfb_ms"].as_f64(), "{line}");
    }
}

#[tokio::test]
async fn what_failed_says_why_and_is_never_left_out() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (file, flags) = log_in(&dir, "--access-log-sample 0.000001 --queue-timeout 50ms --queue-length 1");
    let mut slow = RawInstance::start().await;
    let balancer = Balancer::start(&format!("--instance {},workers=1 {flags}", slow.address()));
    // One that is answered: not in the sample.
    let mut client = Conn::open(balancer.address).await;
    client.send(get("/fine")).await;
    let mut instance = slow.accept().await;
    instance.request().await;
    instance.send(ok("fine")).await;
    assert_eq!(client.response().await.status(), 200);
    // One that holds the worker, one that waits in vain behind it, and one that can be read in two ways.
    client.send(get("/holds")).await;
    instance.request().await;
    assert_eq!(ask(balancer.address, get("/waits")).await.status(), 503);
    let ambiguous = "GET /two HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n";
    assert_eq!(ask(balancer.address, ambiguous).await.status(), 400);
    client.reset();
    let told = until_lines(&file, 3).await;
    let told: Vec<_> =
        told.iter().map(|l| (l["target"].clone(), l["status"].clone(), l["failure"].clone())).collect();
    // Of what can be read in two ways nothing is told but that it came.
    let expected = [
        ("/waits".into(), 503, "queue_timeout"),
        (Value::Null, 400, "bad_request"),
        ("/holds".into(), 499, "client_gone"),
    ];
    assert_eq!(told, expected.map(|(target, status, why)| (target, status.into(), why.into())));
    assert!(lines(&file)[0]["queue_ms"].as_f64() >= Some(50.0), "it waited all the time");
}

#[tokio::test]
async fn attempts_are_counted_and_the_last_instance_is_named() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (file, flags) = log_in(&dir, "");
    let (refusing, instance) = (Refusing::start(), Answering::named("here").await);
    let balancer = Balancer::start(&format!(
        "--instance {},name=gone --instance {},name=there {flags}",
        refusing.address(),
        instance.address()
    ));
    let mut asked = 0;
    eventually("one that is sent to nobody first", PATIENCE, async || {
        asked += 1;
        assert_eq!(ask(balancer.address, get("/")).await.status(), 200);
        expect(admin::metric(balancer.admin, "sluice_retries_total", &[]).await, |retries| *retries >= 1.0)
    })
    .await;
    let told = until_lines(&file, asked).await;
    assert!(told.iter().all(|line| line["instance"] == "there"), "{told:?}");
    assert!(
        told.iter().any(|line| line["attempts"] == 2),
        "one was sent to the instance that is not there: {told:?}"
    );
}

#[tokio::test]
async fn a_renamed_file_is_begun_anew_on_sighup_and_all_is_written_at_the_end() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (file, flags) = log_in(&dir, "");
    let old = dir.path().join("access.log.1");
    let instance = Answering::named("hello").await;
    let [listen, admin] = free_addresses();
    let line = format!("--listen {listen} --admin {admin} --instance {} {flags}", instance.address());
    let mut balancer = Process::start("sluice-balancer", &line);
    eventually("the balancer answers", Duration::from_secs(60), async || {
        let answer = tokio::net::TcpStream::connect(listen).await;
        answer.map(drop).map_err(|e| e.to_string())
    })
    .await;
    admin::until_routed(admin, 1, PATIENCE).await;
    assert_eq!(ask(listen, get("/before")).await.status(), 200);
    until_lines(&file, 1).await;
    fs::rename(&file, &old).expect("renamed");
    balancer.signal("HUP");
    eventually("a new file", PATIENCE, async || expect(file.exists(), |there| *there)).await;
    for _ in 0..100 {
        assert_eq!(ask(listen, get("/after")).await.status(), 200);
    }
    balancer.terminate();
    let status = eventually("the end", PATIENCE, async || balancer.ended().ok_or("it runs".to_owned())).await;
    assert!(status.success());
    assert_eq!((lines(&old).len(), lines(&file).len()), (1, 100));
}
