//! The program itself: what it says, and how it ends.

use std::{
    fs,
    process::{Command, Output},
};

const LEAST: [&str; 6] =
    ["--balancer", "http://127.0.0.1:9900", "--instance", "127.0.0.1:8000", "--listen", "127.0.0.1:8001"];

/// Runs the program to its end with nothing of this environment.
fn program(args: &[&str], environment: &[(&str, &str)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sluice-agent"))
        .env_clear()
        .envs(environment.iter().copied())
        .args(args)
        .output()
        .expect("the program runs")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("text")
}

#[test]
fn flag_beats_environment_beats_file() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("agent.toml");
    fs::write(&path, "workers = 5\ninterval = '5s'\nname = 'of-the-file'\nadmin = '127.0.0.1:5'")
        .expect("a file");
    let path = path.to_str().expect("UTF-8");
    let args = [&["check", "--config", path, "--workers", "1"], &LEAST[2..]].concat();
    let environment = [
        ("SLUICE_WORKERS", "2"),
        ("SLUICE_INTERVAL", "2s"),
        ("SLUICE_BALANCER", "http://a:1 http://b:2"),
        ("SLUICE_LOG_FORMAT", "json"),
    ];
    let output = program(&args, &environment);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let printed = text(&output.stdout);
    for line in [
        "workers = 1",
        "interval = \"2s\"",
        "name = \"of-the-file\"",
        "admin = \"127.0.0.1:5\"",
        "log-format = \"json\"",
        "queue-timeout = \"30s\"",
    ] {
        assert!(printed.lines().any(|have| have == line), "{line} is not in:\n{printed}");
    }
    assert!(printed.contains("http://a:1") && printed.contains("http://b:2"), "{printed}");
}

#[test]
fn check_prints_clocks_with_their_defaults() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("agent.toml");
    fs::write(&path, "[[clock]]\nname = 'pack'\npath = '/pack'\ncron = '*/5 2 * * *'\n").expect("a file");
    let args = [&["check", "--config", path.to_str().expect("UTF-8")], &LEAST[..]].concat();
    let output = program(&args, &[]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let printed = text(&output.stdout);
    let (_, clock) = printed.split_once("[[clock]]\n").unwrap_or_else(|| panic!("no clock in: {printed}"));
    for line in [
        "name = \"pack\"",
        "path = \"/pack\"",
        "method = \"GET\"",
        "cron = \"*/5 2 * * *\"",
        "zone = \"utc\"",
        "timeout = \"5m\"",
        "jitter = \"0s\"",
    ] {
        assert!(clock.lines().any(|have| have == line), "{line} is not in:\n{clock}");
    }
}

#[test]
fn what_is_wrong_is_told_with_exit_code_2() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("agent.toml");
    fs::write(&path, "workers = 1\nlissten = 'a'").expect("a file");
    let path = path.to_str().expect("UTF-8");
    for (args, parts) in [
        (vec![], &["--balancer is missing"] as &[_]),
        (vec!["run", "--balancer", "http://user:pw@lb"], &["--balancer", "no user and no password"]),
        (vec!["--nonsense"], &["--nonsense"]),
        (vec!["check", "--config", path], &[path, "line 2", "lissten", "`listen`"]),
        (vec!["check", "--config", "/no/such/file"], &["/no/such/file"]),
        ([&LEAST[..], &["--token-file", "/no/such/token"]].concat(), &["--token-file", "/no/such/token"]),
        (
            [&LEAST[..], &["--xsendfile-root", "/no/such/directory"]].concat(),
            &["--xsendfile-root", "/no/such/directory", "No such file"],
        ),
        (
            [&LEAST[..], &["--xsendfile-uri", "/internal"]].concat(),
            &["--xsendfile-uri", "/internal/=/srv/files"],
        ),
    ] {
        let output = program(&args, &[]);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        let told = text(&output.stderr);
        for part in parts {
            assert!(told.contains(part), "{args:?}: {part:?} is not in: {told}");
        }
    }
}

#[test]
fn help_names_every_flag_of_the_contract() {
    let output = program(&["--help"], &[]);
    assert_eq!(output.status.code(), Some(0));
    let help = text(&output.stdout);
    for flag in [
        "balancer",
        "instance",
        "listen",
        "advertise",
        "name",
        "service",
        "version-label",
        "workers",
        "release",
        "mode",
        "interval",
        "admin",
        "token-file",
        "xsendfile-root",
        "xsendfile-uri",
        "access-log",
        "access-log-format",
        "scrape",
        "config",
        "log-format",
        "version",
    ] {
        assert!(help.contains(&format!("--{flag} ")) || help.contains(&format!("--{flag}\n")), "--{flag}");
    }
    assert!(help.contains("SLUICE_WORKERS"), "{help}");
    assert!(text(&program(&["--version"], &[]).stdout).starts_with("sluice-agent "));
}
