use std::{collections::BTreeMap, env, fs, path::PathBuf, process::Command};

use clap::Parser;
use serde::{Deserialize, Serialize};

use super::*;

/// As a program writes its options.
#[derive(Debug, Default, PartialEq, clap::Args, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
struct Options {
    #[arg(long, env = "SLUICE_TEST_LISTEN", value_delimiter = ' ')]
    #[serde(deserialize_with = "one_or_many", skip_serializing_if = "Vec::is_empty")]
    listen: Vec<String>,
    #[arg(long, env = "SLUICE_TEST_REPORT_INTERVAL")]
    report_interval: Option<Span>,
    #[arg(long, env = "SLUICE_TEST_BODY_LIMIT")]
    body_limit: Option<ByteSize>,
    #[arg(long, env = "SLUICE_TEST_WORKERS")]
    workers: Option<u32>,
    #[arg(skip)]
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    service: BTreeMap<String, String>,
}
crate::layered!(Options { listen, report_interval, body_limit, workers, service });

#[derive(Debug, Parser)]
struct Program {
    #[command(flatten)]
    options: Options,
}

fn flags(args: &[&str]) -> Options {
    Program::try_parse_from([&["program"], args].concat()).expect("flags are valid").options
}

fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("sluice.toml");
    fs::write(&path, text).expect("a file in it");
    (dir, path)
}

fn refusal(text: &str) -> String {
    let (_dir, path) = file(text);
    let message = read_file::<Options>(&path).expect_err(text).to_string();
    assert!(message.contains(&path.display().to_string()), "names the file: {message}");
    message
}

#[test]
fn a_flag_beats_the_file_and_the_file_fills_the_rest() {
    let (_dir, path) = file(
        "listen = ['127.0.0.1:1', '127.0.0.1:2']\nreport-interval = '5s'\nworkers = 3\n[service]\nshop = '/shop'",
    );
    let args = flags(&["--listen", "127.0.0.1:9", "--report-interval", "2s"]);

    let options = over_file(args, Some(&path)).expect("the file is valid");

    assert_eq!(options.listen, ["127.0.0.1:9"], "a list replaces, it does not append");
    assert_eq!(options.report_interval, Some(Span::from_secs(2)));
    assert_eq!(options.workers, Some(3));
    assert_eq!(options.body_limit, None);
    assert_eq!(options.service["shop"], "/shop");
}

#[test]
fn without_a_file_the_flags_stand_alone() {
    let options = over_file(flags(&["--workers", "2"]), None).expect("nothing can fail");
    assert_eq!(options, Options { workers: Some(2), ..Options::default() });
}

/// `set_var` is unsafe and environments are shared by threads, so the test runs itself again with one of its own.
#[test]
fn a_flag_beats_the_environment_which_beats_the_file() {
    const CHILD: &str = "SLUICE_TEST_IS_CHILD";
    if env::var_os(CHILD).is_some() {
        let (_dir, path) =
            file("listen = '127.0.0.1:1'\nreport-interval = '5s'\nworkers = 5\nbody-limit = '5KiB'");
        let options = over_file(flags(&["--workers", "1"]), Some(&path)).expect("the file is valid");
        assert_eq!(options.workers, Some(1), "flag over environment over file");
        assert_eq!(options.report_interval, Some(Span::from_secs(2)), "environment over file");
        assert_eq!(options.listen, ["127.0.0.1:7", "127.0.0.1:8"], "separated by spaces");
        assert_eq!(options.body_limit, Some(ByteSize::kib(5)), "the file alone");
        return;
    }
    let name = "config::tests::a_flag_beats_the_environment_which_beats_the_file";
    let run = Command::new(env::current_exe().expect("tests know where they are"))
        .args(["--exact", name])
        .env(CHILD, "1")
        .env("SLUICE_TEST_WORKERS", "2")
        .env("SLUICE_TEST_REPORT_INTERVAL", "2s")
        .env("SLUICE_TEST_LISTEN", "127.0.0.1:7 127.0.0.1:8")
        .output()
        .expect("the test binary runs");
    let stdout = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success() && stdout.contains("1 passed"), "{stdout}");
}

#[test]
fn the_key_of_a_repeated_flag_takes_one_or_many() {
    for (text, expected) in [
        ("listen = 'a'", vec!["a"]),
        ("listen = ['a', 'b']", vec!["a", "b"]),
        ("listen = []", vec![]),
        ("", vec![]),
    ] {
        let (_dir, path) = file(text);
        assert_eq!(read_file::<Options>(&path).expect(text).listen, expected, "{text}");
    }
}

#[test]
fn a_bad_file_is_refused_by_line_key_value_and_what_is_accepted() {
    for (case, text, parts) in [
        ("unknown key", "workers = 1\nlissten = 'a'", &["line 2", "lissten", "`listen`"] as &[_]),
        ("underscore", "report_interval = '1s'", &["line 1", "report_interval", "`report-interval`"]),
        ("no unit", "\nreport-interval = 5", &["line 2", "report-interval = 5", "500ms, 1s, 2m"]),
        ("not a time", "report-interval = 'soon'", &["line 1", "soon", "500ms, 1s, 2m"]),
        ("wrong type", "report-interval = true", &["line 1", "report-interval", "a time such as"]),
        ("size", "body-limit = '1MB'", &["line 1", "1MB", "64KiB, 1MiB"]),
        ("negative", "workers = -1", &["line 1", "workers = -1", "u32"]),
        ("one in a list", "listen = ['a', 7]", &["line 1", "listen", "string"]),
        ("neither", "listen = true", &["line 1", "listen", "one value or a list"]),
        ("twice", "workers = 1\nworkers = 2", &["line 2", "workers", "duplicate key"]),
        ("not TOML", "workers = = 1", &["line 1", "workers = = 1"]),
    ] {
        let message = refusal(text);
        for part in parts {
            assert!(message.contains(part), "{case}: {part:?} is not in: {message}");
        }
    }
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let message = read_file::<Options>("/no/such/sluice.toml").expect_err("no such file").to_string();
    assert!(message.contains("/no/such/sluice.toml") && message.contains("No such file"), "{message}");
}

#[test]
fn a_bad_flag_says_what_is_accepted() {
    let error = Program::try_parse_from(["program", "--report-interval", "5"]).expect_err("no unit");
    let message = error.to_string();
    assert!(message.contains("--report-interval") && message.contains("500ms, 1s, 2m"), "{message}");
}

#[test]
fn what_is_printed_reads_back() {
    let options = Options {
        listen: vec!["127.0.0.1:8080".into(), "[::1]:8080".into()],
        report_interval: Some(Span::from_millis(1500)),
        body_limit: Some(ByteSize::mib(1)),
        workers: None,
        service: BTreeMap::from([("shop".into(), "/shop".into())]),
    };
    let text = to_toml(&options);
    assert!(text.contains("report-interval = \"1s 500ms\"") && !text.contains("workers"), "{text}");
    let (_dir, path) = file(&text);
    assert_eq!(read_file::<Options>(&path).expect("what was printed"), options);
}
