//! What outlives a restart of the balancer: what it learned, and the operator's words.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::Value;
use sluice_emulation::instance::{Instance, InstanceConfig};
use sluice_tests::site::{Agent, Balancer};
use sluice_tests::wire::ask;
use sluice_tests::{PATIENCE, admin, eventually, expect, process};
use tempfile::TempDir;

fn dir() -> TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

async fn serve(balancer: &Balancer, path: &str, work_ms: u32, times: usize) {
    for _ in 0..times {
        let work = work_ms * 1000;
        let request = format!("GET {path} HTTP/1.1\r\nhost: h\r\nx-emulate-work-us: {work}\r\n\r\n");
        assert_eq!(ask(balancer.address, request).await.status(), 200, "{path}");
    }
}

async fn size(balancer: &Balancer, path: &str) -> Value {
    admin::json(balancer.admin, &format!("/v1/explain?host=h&path={path}")).await["lane"]["name"].clone()
}

async fn stop(balancer: Balancer) {
    balancer.stop();
    balancer.ended().await;
}

async fn instance() -> Instance {
    Instance::start(InstanceConfig { workers: 2, ..InstanceConfig::default() }).await.expect("a free port")
}

#[tokio::test]
async fn an_export_is_known_to_be_large_at_its_first_request_after_a_restart() {
    let (dir, instance) = (dir(), instance().await);
    let state = dir.path().join("made/by/it");
    let flags = format!("--instance {},workers=2,name=a --state-dir {}", instance.addr(), state.display());
    let balancer = Balancer::start(&flags);
    assert_eq!(size(&balancer, "/exports/7").await, "small", "unknown starts optimistic");
    serve(&balancer, "/page", 2, 20).await;
    serve(&balancer, "/exports/1", 400, 3).await;
    stop(balancer).await;

    let mode = |path: &Path| fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
    assert_eq!((mode(&state), mode(&state.join("learned-default.json"))), (0o700, 0o600));
    let files: Vec<_> = fs::read_dir(&state).expect("a directory").collect();
    assert_eq!(files.len(), 1, "nothing is left over: {files:?}");

    let balancer = Balancer::start(&flags);
    for (path, expected) in [("/exports/7", "large"), ("/page", "small"), ("/never", "small")] {
        assert_eq!(size(&balancer, path).await, expected, "{path}");
    }
}

#[tokio::test]
async fn a_file_that_is_of_no_use_means_that_nothing_is_known_and_is_replaced() {
    let (dir, instance) = (dir(), instance().await);
    let flags = format!("--instance {},name=a --state-dir {}", instance.addr(), dir.path().display());
    let balancer = Balancer::start(&flags);
    serve(&balancer, "/page", 2, 20).await;
    serve(&balancer, "/exports/1", 400, 3).await;
    stop(balancer).await;
    let file = dir.path().join("learned-default.json");
    let good = fs::read_to_string(&file).expect("saved");
    for (case, text) in [
        ("empty", String::new()),
        ("truncated", good[..good.len() / 2].to_owned()),
        ("foreign", "{\"name\": \"something else\"}".to_owned()),
        ("a later schema", good.replacen("\"schema\":1", "\"schema\":2", 1)),
        ("another service's", good.replacen("\"service\":\"default\"", "\"service\":\"shop\"", 1)),
        ("a hole", good.replacen("\"classes\":[", "\"classes\":[null,", 1)),
    ] {
        assert_ne!(text, good, "{case}");
        fs::write(&file, text).expect("written");
        let balancer = Balancer::start(&flags);
        assert_eq!(size(&balancer, "/exports/7").await, "small", "{case}");
        serve(&balancer, "/page", 0, 1).await;
        stop(balancer).await;
        let saved = fs::read_to_string(&file).expect("saved");
        let saved: Value = serde_json::from_str(&saved).unwrap_or_else(|e| panic!("{case}: {e}"));
        assert_eq!(saved["schema"], 1, "{case}");
    }
}

#[tokio::test]
async fn the_operators_words_outlive_the_balancer_even_if_it_is_killed() {
    let (dir, instance) = (dir(), instance().await);
    let flags =
        format!("--instance {},workers=2,name=fixed --state-dir {}", instance.addr(), dir.path().display());
    let agent_flags = "--name reporting --workers 2";
    let balancer = Balancer::start(&flags);
    let agent = Agent::start(balancer.admin, instance.addr(), agent_flags);
    admin::until_routed(balancer.admin, 2, PATIENCE).await;
    for (name, word) in [("fixed", "drain"), ("reporting", "maintenance")] {
        let path = format!("/v1/instances/{name}/{word}");
        assert_eq!(admin::post(balancer.admin, &path, "", "").await.status(), 200);
    }
    let file = dir.path().join("learned-default.json");
    let saved = async || serde_json::from_slice(&fs::read(&file).unwrap_or_default()).unwrap_or(Value::Null);
    eventually("both words on disk", PATIENCE, async || {
        let words = saved().await["operator"].clone();
        expect(words, |words| words["fixed"] == "drain" && words["reporting"] == "maintenance")
    })
    .await;
    // Not stopped: nothing is saved at the end.
    drop((agent, balancer));

    let balancer = Balancer::start(&flags);
    let words = async |balancer: &Balancer| {
        let list = admin::instances(balancer.admin).await;
        let word = |i: &Value| format!("{}: {}, {}", i["name"], i["operator"], i["routed"]);
        list.iter().map(word).collect::<Vec<_>>().join("; ").replace('"', "")
    };
    assert_eq!(words(&balancer).await, "fixed: drain, false");
    // A restart before the agent reports again loses nothing either.
    stop(balancer).await;
    let balancer = Balancer::start(&flags);
    let _agent = Agent::start(balancer.admin, instance.addr(), agent_flags);
    eventually("the agent's instance", PATIENCE, async || {
        expect(words(&balancer).await, |w| w == "fixed: drain, false; reporting: maintenance, false")
    })
    .await;
    assert_eq!(admin::post(balancer.admin, "/v1/instances/fixed/ready", "", "").await.status(), 200);
    stop(balancer).await;
    let balancer = Balancer::start(&flags);
    assert_eq!(words(&balancer).await, "fixed: ready, true");
}

#[test]
fn a_directory_that_can_not_be_used_is_told_before_anything_starts() {
    let dir = dir();
    let not_a_directory = dir.path().join("file");
    fs::write(&not_a_directory, "").expect("written");
    for command in ["check", "run"] {
        let arguments = format!("{command} --state-dir {}/x", not_a_directory.display());
        let ended = process::run("sluice-balancer", &arguments);
        let told = String::from_utf8(ended.stderr).expect("text");
        assert_eq!(ended.status.code(), Some(2), "{command}: {told}");
        assert!(told.contains("state-dir") && told.contains("file/x"), "{told}");
    }
}

#[tokio::test]
async fn recorded_decisions_are_made_again_the_same() {
    let (dir, instance) = (dir(), instance().await);
    let log = dir.path().join("decisions");
    let flags = format!("--instance {},workers=2,name=a --decision-log {}", instance.addr(), log.display());
    let balancer = Balancer::start(&flags);
    serve(&balancer, "/page", 2, 20).await;
    for word in ["drain", "ready"] {
        admin::post(balancer.admin, &format!("/v1/instances/a/{word}"), "", "").await;
    }
    let answer = admin::get(balancer.admin, "/v1/decisions?service=default&n=2").await;
    assert_eq!((answer.status(), answer.text().lines().count()), (200, 3), "{}", answer.text());
    let of_nobody = admin::get(balancer.admin, "/v1/decisions?service=shop").await;
    assert_eq!(of_nobody.text().lines().count(), 1, "{}", of_nobody.text());
    let downloaded = dir.path().join("downloaded");
    fs::write(&downloaded, &answer.body).expect("written");
    stop(balancer).await;

    let replay = |arguments: String| {
        let ended = process::run("sluice-balancer", &format!("replay {arguments}"));
        let told = String::from_utf8(ended.stdout).expect("text") + &String::from_utf8_lossy(&ended.stderr);
        (ended.status.code(), told)
    };
    let (code, told) = replay(downloaded.display().to_string());
    assert!(code == Some(0) && told.starts_with("2 decisions, 0 differ; "), "{code:?}: {told}");
    let (code, told) = replay(format!("{} --json", log.display()));
    let summary: Value = serde_json::from_str(told.trim()).expect("one object");
    assert_eq!((code, &summary["summary"]["differ"]), (Some(0), &Value::from(0)), "{told}");
    assert!(summary["summary"]["decisions"].as_u64() >= Some(3), "the start, drain, ready: {told}");
    for (arguments, code, part) in [
        (format!("{} --set patients=0", log.display()), 2, "cap.small_bias"),
        (format!("{} --set patience", log.display()), 2, "KEY=VALUE"),
        (dir.path().join("none").display().to_string(), 1, "none"),
    ] {
        let (ended, told) = replay(arguments.clone());
        assert!(ended == Some(code) && told.contains(part), "{arguments}: {ended:?} {told}");
    }
}
