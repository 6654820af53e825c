//! What agents and operators can say to a balancer, what it tells them, and how programs start and end.

mod exposition;

use std::collections::HashSet;
use std::io::Write;
use std::time::Duration;

use serde_json::{Value, json};
use sluice_emulation::instance::{Instance, InstanceConfig};
use sluice_emulation::load::{self, ClassLoad, Progress, RunOptions, Workload};
use sluice_tests::script::{Answering, RawInstance};
use sluice_tests::site::{Agent, Balancer, Chain, Settings, Site};
use sluice_tests::wire::{Conn, ask, get, ok};
use sluice_tests::{PATIENCE, admin, eventually, expect, process};
use tempfile::NamedTempFile;
use tokio::net::TcpStream;

fn file(text: &str) -> NamedTempFile {
    let mut file = NamedTempFile::new().expect("a temporary file");
    file.write_all(text.as_bytes()).expect("it can be written");
    file
}

const TOKEN: &str = "0123456789abcdef0123456789abcdef";
const BEARER: &str = "authorization: Bearer 0123456789abcdef0123456789abcdef\r\n";

fn report(seq: u64) -> Value {
    json!({
        "schema": 1, "name": "zope-1", "address": "127.0.0.1:1", "boot_id": "b", "seq": seq,
        "interval_ms": 1000, "window_ms": 1000, "workers": 2, "mode": "inline", "state": "ready",
        "release": {"point": "end", "found": "assumed"}, "now": {},
    })
}

fn with(mut report: Value, field: &str, value: Value) -> String {
    report[field] = value;
    report.to_string()
}

#[tokio::test]
async fn reports_are_taken_only_with_the_token_whole_and_in_order() {
    let token = file(TOKEN);
    let balancer = Balancer::start(&format!("--token-file {}", token.path().display()));
    let wrong = "authorization: Bearer 0123456789abcdef0123456789abcdee\r\n";
    let good = report(5).to_string();
    let none = json!([]).to_string();
    for (fields, body, status, says) in [
        ("", good.as_str(), 401, "token"),
        (wrong, &good, 403, "token"),
        (BEARER, "{", 400, "JSON"),
        (BEARER, &none, 422, ""),
        (BEARER, &with(report(5), "workers", json!(0)), 422, "workers"),
        (BEARER, &with(report(5), "interval_ms", json!("1s")), 422, "interval_ms"),
        (BEARER, &with(report(5), "address", json!("nowhere")), 422, "address"),
        (BEARER, &with(report(5), "service", json!("shop")), 422, "shop"),
    ] {
        let answer = admin::post(balancer.admin, "/v1/report", fields, body).await;
        assert_eq!(answer.status(), status, "{body}: {}", answer.text());
        assert!(answer.text().contains(says) && answer.text().lines().count() == 1, "{}", answer.text());
    }
    assert!(admin::instances(balancer.admin).await.is_empty(), "refused reports change nothing");

    let answer = admin::post(balancer.admin, "/v1/report", BEARER, &good).await;
    assert_eq!(answer.status(), 200, "{}", answer.text());
    for late in [5, 4] {
        let answer = admin::post(balancer.admin, "/v1/report", BEARER, &report(late).to_string()).await;
        assert_eq!(answer.status(), 409, "{}", answer.text());
    }
    let list = admin::instances(balancer.admin).await;
    assert_eq!((list.len(), &list[0]["name"], &list[0]["workers"]), (1, &json!("zope-1"), &json!(2)));
    for (result, count) in [
        ("accepted", 1.0),
        ("old_sequence", 2.0),
        ("malformed", 1.0),
        ("invalid_field", 4.0),
        ("unknown_service", 1.0),
    ] {
        let label = format!("\"{result}\"");
        assert_eq!(admin::metric(balancer.admin, "sluice_reports_total", &[&label]).await, count, "{result}");
    }
}

#[tokio::test]
async fn an_oversized_report_is_refused() {
    let balancer = Balancer::start("");
    let mut conn = Conn::open(balancer.admin).await;
    let length = 1024 * 1024 + 1;
    conn.send(format!("POST /v1/report HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n\r\n")).await;
    conn.send(vec![b' '; length]).await;
    let answer = conn.response().await;
    assert_eq!((answer.status(), answer.text().contains("1MiB")), (413, true), "{}", answer.text());
}

/// An operator's action needs the token as a report does; looking does not.
#[tokio::test]
async fn actions_need_the_token() {
    let token = file(TOKEN);
    let instance = Answering::named("a").await;
    let flags = format!("--token-file {} --instance {},name=a", token.path().display(), instance.address());
    let balancer = Balancer::start(&flags);
    assert_eq!(admin::post(balancer.admin, "/v1/instances/a/drain", "", "").await.status(), 401);
    assert_eq!(ask(balancer.address, get("/")).await.text(), "a");
    assert_eq!(admin::post(balancer.admin, "/v1/instances/a/drain", BEARER, "").await.status(), 200);
    assert_eq!(ask(balancer.address, get("/")).await.status(), 503);
    assert_eq!(admin::get(balancer.admin, "/v1/instances").await.status(), 200);
}

/// An agent with the token gets in, and does not without.
#[tokio::test]
async fn an_agent_reports_with_the_token() {
    let token = file(TOKEN);
    let instance = Answering::named("a").await;
    let flags = format!("--token-file {}", token.path().display());
    let balancer = Balancer::start(&flags);
    let _stranger = Agent::start(balancer.admin, instance.address(), "--name stranger");
    let _known = Agent::start(balancer.admin, instance.address(), &format!("--name known {flags}"));
    admin::until_routed(balancer.admin, 1, PATIENCE).await;
    let list = admin::instances(balancer.admin).await;
    assert_eq!((list.len(), &list[0]["name"]), (1, &json!("known")));
    assert_eq!(ask(balancer.address, get("/")).await.text(), "a");
}

#[tokio::test]
async fn the_operators_word_decides_where_requests_go() {
    let (a, b) = (Answering::named("a").await, Answering::named("b").await);
    let flags = format!("--instance {},name=a --instance {},name=b", a.address(), b.address());
    let balancer = Balancer::start(&flags);
    let act = async |name: &str, word: &str| {
        let answer = admin::post(balancer.admin, &format!("/v1/instances/{name}/{word}"), "", "").await;
        assert_eq!(answer.status(), 200, "{}", answer.text());
    };
    let who_answers = async || {
        let mut names = HashSet::new();
        for _ in 0..20 {
            names.insert(ask(balancer.address, get("/")).await.text());
        }
        let mut names: Vec<_> = names.into_iter().collect();
        names.sort();
        names.concat()
    };
    act("a", "drain").await;
    assert_eq!(who_answers().await, "b");
    act("a", "ready").await;
    act("b", "maintenance").await;
    assert_eq!(who_answers().await, "a");
    let reasons: Vec<_> =
        admin::instances(balancer.admin).await.iter().map(|i| i["operator"].clone()).collect();
    assert_eq!(reasons, ["ready", "maintenance"]);
    act("a", "drain").await;
    assert_eq!(ask(balancer.address, get("/")).await.status(), 503);
    act("b", "ready").await;
    assert_eq!(who_answers().await, "b");
    for (path, status) in [("/v1/instances/zope-9/drain", 404), ("/v1/instances/a/explode", 404)] {
        assert_eq!(admin::post(balancer.admin, path, "", "").await.status(), status, "{path}");
    }
}

#[tokio::test]
async fn a_drained_instance_finishes_what_it_has() {
    let mut instance = RawInstance::start().await;
    let flags = format!("--instance {},name=a", instance.address());
    let balancer = Balancer::start(&flags);
    let mut client = Conn::open(balancer.address).await;
    client.send(get("/")).await;
    let mut upstream = instance.accept().await;
    upstream.request().await;
    admin::post(balancer.admin, "/v1/instances/a/drain", "", "").await;
    upstream.send(ok("finished")).await;
    assert_eq!(client.response().await.text(), "finished");
}

/// Deployments: one agent after the other is told to go, by SIGTERM, and nobody notices.
#[tokio::test]
async fn an_agent_that_is_told_to_stop_under_load_loses_no_request() {
    // Nobody is turned away where a busy machine makes all wait.
    let balancer = Balancer::start("--queue-timeout 2m");
    let settings = || InstanceConfig { workers: 2, ..InstanceConfig::default() };
    let mut instances = Vec::new();
    let mut agents = Vec::new();
    for n in 0..2 {
        let instance = Instance::start(settings()).await.expect("a free port");
        agents.push(Agent::start(balancer.admin, instance.addr(), &format!("--name node-{n} --workers 2")));
        instances.push(instance);
    }
    admin::until_routed(balancer.admin, 2, PATIENCE).await;
    let mut orders = ClassLoad::new("orders", 100.0);
    // A POST that was lost could not be sent again.
    orders.method = "POST".parse().expect("a method");
    orders.request_bytes = 2000;
    let classes = vec![ClassLoad::new("pages", 50.0), orders];
    let workload = Workload { name: "steady".into(), seed: 1, duration: Duration::from_secs(2), classes };
    let progress = Progress::new(&workload);
    let shown = progress.clone();
    let target = balancer.address;
    let running =
        tokio::spawn(async move { load::run(target, &workload, RunOptions::default(), shown).await });
    let (busiest, served) = eventually("requests at one that is to leave", 6 * PATIENCE, async || {
        let served = instances.iter().map(|instance| instance.stats().served).enumerate();
        expect(served.max_by_key(|(_, served)| *served).expect("two"), |(_, served)| *served >= 20)
    })
    .await;
    let leaving = agents.remove(busiest);
    leaving.stop();
    leaving.ended().await;
    let list = admin::instances(balancer.admin).await;
    assert_eq!(
        (&list[busiest]["name"], &list[busiest]["routed"], &list[busiest]["state"]),
        (&json!(format!("node-{busiest}")), &json!(false), &json!("down"))
    );
    let summary = running.await.expect("the load does not panic");
    assert!(summary.all_answered() && summary.classes.iter().all(|class| class.failures() == 0), "{summary}");
    assert!(served < summary.classes.iter().map(|class| class.ok).sum());
    admin::until_idle(balancer.admin).await;
}

#[tokio::test]
async fn a_balancer_that_is_told_to_stop_finishes_what_it_has() {
    let mut instance = RawInstance::start().await;
    let site = Site::start(Chain::Agent, instance.address(), Settings::default()).await;
    let mut client = Conn::open(site.address()).await;
    client.send(get("/")).await;
    let mut upstream = instance.accept().await;
    upstream.request().await;
    let mut idle = Conn::open(site.address()).await;
    site.balancer.stop();
    idle.ended().await;
    eventually("no new connections", PATIENCE, async || match TcpStream::connect(site.address()).await {
        Ok(_) => Err("still accepted".to_owned()),
        Err(_) => Ok(()),
    })
    .await;
    upstream.send(ok("finished")).await;
    let response = client.response().await;
    assert_eq!((response.status(), response.text().as_str()), (200, "finished"));
    client.ended().await;
    site.balancer.ended().await;
}

#[tokio::test]
async fn services_are_told_apart_by_host_and_path() {
    let config = file(
        "[service.shop]\nhosts = [\"shop.example\"]\n[service.blog]\nhosts = [\"*.blog.example\"]\n\
         [service.api]\nhosts = [\"shop.example\"]\npath-prefixes = [\"/api\"]\n",
    );
    let (shop, blog, api, rest) = (
        Answering::named("shop").await,
        Answering::named("blog").await,
        Answering::named("api").await,
        Answering::named("rest").await,
    );
    let balancer = Balancer::start(&format!(
        "--config {} --instance {},service=shop --instance {},service=api --instance {}",
        config.path().display(),
        shop.address(),
        api.address(),
        rest.address()
    ));
    let _agent = Agent::start(balancer.admin, blog.address(), "--service blog");
    admin::until_routed(balancer.admin, 4, PATIENCE).await;
    for (host, path, service) in [
        ("shop.example", "/", "shop"),
        ("SHOP.example:8080", "/apple", "shop"),
        ("shop.example", "/api/v1", "api"),
        ("anna.blog.example", "/", "blog"),
        ("blog.example", "/", "rest"),
        ("elsewhere.example", "/api", "rest"),
    ] {
        let response = ask(balancer.address, format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n\r\n")).await;
        assert_eq!(response.text(), service, "{host}{path}");
    }
}

#[tokio::test]
async fn explain_names_service_class_and_instance() {
    let config = file("[service.shop]\nhosts = [\"shop.example\"]\n");
    let instance = Answering::named("a").await;
    let balancer = Balancer::start(&format!(
        "--config {} --instance {},service=shop,name=zope-1",
        config.path().display(),
        instance.address()
    ));
    let request = "GET /orders/17?page=2 HTTP/1.1\r\nhost: shop.example\r\n\r\n";
    assert_eq!(ask(balancer.address, request).await.status(), 200);
    let path = "/v1/explain?method=get&host=shop.example&path=/orders/18%3Fpage%3D3";
    let told = admin::json(balancer.admin, path).await;
    assert_eq!((&told["service"], &told["instance"]), (&json!("shop"), &json!("zope-1")));
    let class = told["class"].as_str().expect("text");
    assert!(class.starts_with("GET /orders/") && !class.contains("18"), "{class}");
    assert_eq!(told["known"]["seen"]["requests"], 1, "of the request before: {told}");
    assert!(told["decision"].as_str().expect("text").contains("zope-1"), "{told}");
    let told = admin::json(balancer.admin, "/v1/explain?host=elsewhere.example&path=/").await;
    assert_eq!((&told["service"], &told["instance"]), (&json!("default"), &Value::Null));
}

#[tokio::test]
async fn events_tell_who_comes_and_goes() {
    let instance = Answering::named("a").await;
    let balancer = Balancer::start("");
    let mut events = Conn::open(balancer.admin).await;
    events.send(get("/v1/events")).await;
    let head = events.head().await;
    assert_eq!((head.status(), head.get("content-type")), (200, Some("text/event-stream")));
    let agent = Agent::start(balancer.admin, instance.address(), "--name zope-1");
    let text = events.until("event: instance-registered\n").await + &events.until("\n\n").await;
    assert!(text.contains("\"zope-1\""), "{text}");
    agent.stop();
    let text = events.until("event: instance-state\n").await + &events.until("\n\n").await;
    assert!(text.contains("\"zope-1\""), "{text}");
    agent.ended().await;
}

#[tokio::test]
async fn a_taken_address_is_an_error_that_names_it() {
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = taken.local_addr().expect("bound");
    let error = Balancer::try_start(&format!("--listen {address}")).err().expect("taken");
    assert!(error.contains(&address.to_string()), "{error}");
    let running = Balancer::start("");
    let own = running.address;
    let error = Balancer::try_start(&format!("--listen {own}")).err().expect("taken by another balancer");
    assert!(error.contains(&own.to_string()), "{error}");
    for (program, flags) in [
        ("sluice-balancer", format!("--listen {address} --admin 127.0.0.1:0")),
        ("sluice-balancer", format!("--listen 127.0.0.1:0 --admin {address}")),
        (
            "sluice-agent",
            format!(
                "--balancer http://127.0.0.1:1 --instance 127.0.0.1:1 --listen {address} --admin 127.0.0.1:0"
            ),
        ),
        (
            "sluice-agent",
            format!(
                "--balancer http://127.0.0.1:1 --instance 127.0.0.1:1 --listen 127.0.0.1:0 --admin {address}"
            ),
        ),
        (
            "sluice-agent",
            format!(
                "--instance 127.0.0.1:1 --listen 127.0.0.1:0 --admin 127.0.0.1:0 --agent-check {address}"
            ),
        ),
    ] {
        let (status, stderr) = process::run_soon(program, &flags).await;
        assert_eq!(status.code(), Some(1), "{program} {flags}: {stderr}");
        let last = stderr.lines().last().unwrap_or_default().to_owned();
        assert!(
            last.starts_with("error:") && last.contains(&address.to_string()),
            "{program} {flags}: {stderr}"
        );
    }
}

/// What `check` prints is a file that says the same.
#[test]
fn check_prints_what_holds_or_says_what_is_wrong() {
    let token = file(TOKEN);
    let good = [
        (
            "sluice-balancer",
            "queue-length = 7\n[service.shop]\nhosts = [\"shop.example\"]\n",
            "queue-length = 7",
        ),
        (
            "sluice-agent",
            "balancer = \"http://127.0.0.1:9900\"\ninstance = \"127.0.0.1:80\"\nlisten = \"127.0.0.1:81\"\nworkers = 7\n",
            "workers = 7",
        ),
    ];
    for (program, text, says) in good {
        let config = file(text);
        let check = |path: &std::path::Path| {
            let output = process::run(program, &format!("check --config {}", path.display()));
            assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8(output.stdout).expect("text")
        };
        let effective = check(config.path());
        assert!(effective.contains(says) && effective.contains("drain-timeout = "), "{effective}");
        assert_eq!(check(file(&effective).path()), effective);
    }
    let bad = [
        ("sluice-balancer", "queue-lenght = 7\n", "queue-lenght"),
        ("sluice-balancer", "queue-timeout = \"soon\"\n", "soon"),
        ("sluice-balancer", "this is no TOML", ""),
        (
            "sluice-agent",
            "workers = 0\nbalancer = \"http://127.0.0.1:9900\"\ninstance = \"127.0.0.1:80\"\nlisten = \"127.0.0.1:81\"\n",
            "workers",
        ),
        ("sluice-agent", "balancer = \"http://127.0.0.1:9900\"\nlisten = \"127.0.0.1:81\"\n", "instance"),
    ];
    for (program, text, says) in bad {
        let config = file(text);
        let output = process::run(program, &format!("check --config {}", config.path().display()));
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{program} {text}: {stderr}");
        assert!(stderr.starts_with("error:") && stderr.contains(says), "{program} {text}: {stderr}");
    }
    let output = process::run("sluice-balancer", "check --admin 0.0.0.0:9900");
    assert_eq!(output.status.code(), Some(2), "an open admin address needs a token");
    let flags = format!("check --admin 0.0.0.0:9900 --token-file {}", token.path().display());
    assert_eq!(process::run("sluice-balancer", &flags).status.code(), Some(0));
}

/// SIGTERM ends both programs with 0.
#[tokio::test]
async fn programs_end_by_sigterm_with_code_0() {
    let [data, admin, agent_data, agent_admin] = process::free_addresses();
    let instance = Answering::named("a").await;
    let flags = format!("--listen {data} --admin {admin}");
    let mut balancer = process::Process::start("sluice-balancer", &flags);
    let flags = format!(
        "--balancer http://{admin} --instance {} --listen {agent_data} --admin {agent_admin} --interval 100ms",
        instance.address()
    );
    let mut agent = process::Process::start("sluice-agent", &flags);
    eventually("the balancer's admin address", PATIENCE, async || {
        TcpStream::connect(admin).await.map(drop).map_err(|error| error.to_string())
    })
    .await;
    admin::until_routed(admin, 1, PATIENCE).await;
    for program in [&mut agent, &mut balancer] {
        program.terminate();
        let status =
            eventually("its end", PATIENCE, async || program.ended().ok_or_else(|| "it runs".to_owned()))
                .await;
        assert_eq!(status.code(), Some(0));
    }
}
