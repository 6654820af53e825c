//! The two programs, used as in the README of a benchmark.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Output, Stdio};

struct InstanceProcess {
    child: Child,
    addr: String,
}

impl InstanceProcess {
    fn start(args: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_sluice-instance"))
            .args(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the binary was built");
        let stdout = child.stdout.take().expect("piped");
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).expect("readable");
        let addr = line.trim().strip_prefix("listening on ").expect("the address comes first");
        Self { addr: addr.to_owned(), child }
    }

    fn signal(&mut self, name: &str) -> Option<i32> {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().expect("kill runs").success());
        self.child.wait().expect("our child").code()
    }
}

impl Drop for InstanceProcess {
    fn drop(&mut self) {
        drop(self.child.kill()); // fails when it has ended, which is as good
        drop(self.child.wait());
    }
}

fn load(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sluice-load"));
    command.args(args).output().expect("the binary was built")
}

#[test]
fn a_load_on_an_instance_is_answered_and_both_end_cleanly() {
    for signal in ["-TERM", "-INT"] {
        let mut instance = InstanceProcess::start(&["--workers", "8", "--release", "end"]);
        let run = load(&["--target", &instance.addr, "--workload", "all-small", "--secs", "0.3", "--json"]);
        assert_eq!(run.status.code(), Some(0), "{run:?}");
        let summary: serde_json::Value = serde_json::from_slice(&run.stdout).expect("JSON only");
        assert_eq!(summary["classes"][0]["ok"], summary["classes"][0]["sent"]);
        assert_eq!(instance.signal(signal), Some(0), "{signal}");
    }
}

#[test]
fn a_workload_file_is_run_and_printed_as_a_table() {
    let instance = InstanceProcess::start(&["--cache", "4", "--speed", "2"]);
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    let workload = r#"{"name": "mine", "seed": 5, "secs": 0.2, "classes": [
        {"name": "reports", "rate": {"constant": 100}, "path": {"template": "/report/{n}", "keys": 9},
         "work_ms": {"exponential": {"mean": 1}}, "bytes": {"constant": 100}}]}"#;
    file.write_all(workload.as_bytes()).expect("writable");
    let path = file.path().to_str().expect("a plain path");
    let run = load(&["--target", &instance.addr, "--workload", path, "--seed", "7"]);
    let table = String::from_utf8_lossy(&run.stdout);
    assert_eq!(run.status.code(), Some(0), "{run:?}");
    assert!(table.contains("seed 7") && table.contains("reports"), "{table}");
}

#[test]
fn a_named_workload_is_described_with_its_instances() {
    let described = load(&["--workload", "slow-instance", "--describe", "--seed", "3"]);
    assert_eq!(described.status.code(), Some(0), "{described:?}");
    let json: serde_json::Value = serde_json::from_slice(&described.stdout).expect("JSON only");
    assert_eq!((&json["workload"]["seed"], &json["workload"]["secs"]), (&3.into(), &24.0.into()));
    let slow = serde_json::json!({"workers": 1, "release": "end", "speed": 0.2, "cache": null});
    assert_eq!(json["instances"][3], slow);
}

#[test]
fn single_requests_are_printed_when_asked_for() {
    let instance = InstanceProcess::start(&["--workers", "8"]);
    let target = ["--target", &instance.addr, "--workload", "all-small", "--secs", "0.2", "--json"];
    for (flags, kept) in [(&[][..], false), (&["--requests"][..], true)] {
        let run = load(&[&target[..], flags].concat());
        let summary: serde_json::Value = serde_json::from_slice(&run.stdout).expect("JSON only");
        let requests = summary["requests"].as_array().map_or(0, Vec::len);
        let expected = if kept { summary["classes"][0]["sent"].as_u64().expect("a count") } else { 0 };
        assert_eq!(requests as u64, expected);
    }
}

#[test]
fn failing_and_misused_runs_have_their_own_exit_codes() {
    let mut instance = InstanceProcess::start(&[]);
    let addr = instance.addr.clone();
    instance.signal("-TERM");
    let refused = load(&["--target", &addr, "--workload", "all-small", "--secs", "0.1"]);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    for args in [&["--target", addr.as_str(), "--workload", "no-such"][..], &["--workload", "demo"]] {
        assert_eq!(load(args).status.code(), Some(2), "{args:?}");
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_sluice-instance"));
    let misused = command.args(["--workers", "0"]).output().expect("the binary was built");
    assert_eq!(misused.status.code(), Some(2), "{misused:?}");
}
