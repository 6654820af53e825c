//! Options in, configuration or a refusal out. The environment is tested on the program: `tests/command_line.rs`.

use std::fs;

use clap::Parser;
use sluice_process::config::to_toml;
use sluice_relay::limits::{ClientLimits, UpstreamLimits};

use super::*;

#[derive(Debug, Parser)]
struct Program {
    #[command(flatten)]
    options: Options,
}

const LEAST: &str = "--balancer http://127.0.0.1:9900 --instance 127.0.0.1:8000 --listen 127.0.0.1:8001";

fn options(flags: &str) -> Options {
    let line = format!("agent {flags}");
    Program::try_parse_from(line.split_whitespace())
        .unwrap_or_else(|error| panic!("{flags}: {error}"))
        .options
}

fn config(flags: &str) -> Config {
    Config::load(options(flags)).unwrap_or_else(|error| panic!("{flags}: {error}"))
}

#[test]
fn defaults_are_those_of_the_contract_and_fit_a_balancer_in_front() {
    let config = config(LEAST);
    assert_eq!(config.path, Path::Inline { listen: "127.0.0.1:8001".parse().expect("an address") });
    assert_eq!(config.admin, "127.0.0.1:9901".parse().expect("an address"));
    assert_eq!((config.workers, config.queue_length, config.threads), (1, 16, 1));
    assert_eq!(config.interval, Duration::from_secs(1));
    assert_eq!(config.release(), Release { point: ReleasePoint::End, found: ReleaseFound::Assumed });
    assert_eq!(config.service, ServiceName::default());
    let edge = ClientLimits::default();
    let here = &config.limits.client;
    assert!(here.body_stall > edge.body_stall && here.write_stall > edge.write_stall);
    assert!(here.head_bytes > edge.head_bytes && here.fields > edge.fields);
    assert!(here.keep_alive > UpstreamLimits::default().idle, "the balancer closes first");
}

#[test]
fn what_is_said_holds() {
    for (release, point) in [("end", ReleasePoint::End), ("first-byte", ReleasePoint::FirstByte)] {
        let config = config(&format!("{LEAST} --release {release}"));
        assert_eq!(config.release(), Release { point, found: ReleaseFound::Configured });
    }
    let four = config(&format!("{LEAST} --workers 4"));
    assert_eq!(four.queue_length, 64, "16 per worker");
    let none = config(&format!("{LEAST} --queue-length 0 --response-timeout 7s"));
    assert_eq!((none.queue_length, none.limits.upstream.response_head), (0, Duration::from_secs(7)));
}

#[test]
fn passive_needs_no_address_to_listen_on() {
    let least = "--balancer http://127.0.0.1:9900 --instance 127.0.0.1:8000 --mode passive";
    assert_eq!(config(least).path, Path::Passive);
    assert_eq!(config(&format!("{least} --listen 127.0.0.1:8001")).path, Path::Passive);
}

#[test]
fn a_refusal_names_flag_value_and_what_is_accepted() {
    for (flags, parts) in [
        ("--instance 127.0.0.1:8000 --listen 127.0.0.1:1", &["--balancer is missing"] as &[_]),
        ("--balancer http://lb --listen 127.0.0.1:1", &["--instance is missing"]),
        ("--balancer http://lb --instance app:8000", &["--listen is missing", "--mode passive"]),
        (
            "--balancer http://lb --instance app:8000 --listen 0.0.0.0:8001",
            &["--listen", "0.0.0.0:8001", "--advertise"],
        ),
        (
            "--balancer http://lb --balancer http://lb/ --instance app:8000 --listen 127.0.0.1:1",
            &["--balancer", "http://lb", "once"],
        ),
        ("LEAST --workers 0", &["--workers", "\"0\"", "1 to 10000"]),
        ("LEAST --workers 10001", &["--workers", "10001"]),
        ("LEAST --interval 99ms", &["--interval", "99ms", "100ms to 1m"]),
        ("LEAST --interval 61s", &["--interval", "1m 1s", "100ms to 1m"]),
        ("LEAST --threads 0", &["--threads", "1 to 64"]),
        ("LEAST --queue-timeout 0s", &["--queue-timeout", "1ms to 1day"]),
        ("LEAST --connect-timeout 0s", &["--connect-timeout", "1ms to 1day"]),
        ("LEAST --max-head-size 4KiB", &["--max-head-size", "4KiB", "8KiB to 16MiB"]),
        ("LEAST --max-request-line 1B", &["--max-request-line", "1KiB to 128KiB"]),
        ("LEAST --max-header-fields 3", &["--max-header-fields", "16 to 1000"]),
        ("LEAST --health-path healthz", &["--health-path", "healthz", "starts with /"]),
        ("LEAST --admin 0.0.0.0:9901", &["--admin", "0.0.0.0:9901", "--token-file"]),
        ("LEAST --xsendfile-root /srv", &["--xsendfile-root", "/srv", "not available in this release"]),
        ("LEAST --access-log /log", &["--access-log", "/log", "not available in this release"]),
    ] {
        let error = Config::load(options(&flags.replace("LEAST", LEAST))).expect_err(flags).to_string();
        for part in parts {
            assert!(error.contains(part), "{flags}: {part:?} is not in: {error}");
        }
    }
}

#[test]
fn control_characters_do_not_get_into_reports() {
    let options = Options { version_label: Some("a\nb".into()), ..options(LEAST) };
    let error = Config::load(options).expect_err("a line break").to_string();
    assert!(error.contains("--version-label") && error.contains("a\\\\nb"), "{error}");
}

#[test]
fn an_address_that_all_interfaces_have_may_be_listened_on_if_another_is_advertised() {
    let flags = LEAST.replace("--listen 127.0.0.1:8001", "--listen [::]:8001 --advertise app1:8001");
    assert_eq!(config(&flags).advertise, Some("app1:8001".parse().expect("an address")));
}

#[test]
fn what_check_prints_means_the_same_as_what_was_said() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("agent.toml");
    for flags in [
        LEAST.to_owned(),
        format!(
            "{LEAST} --workers 3 --release first-byte --name zope-1 --interval 1500ms --health-path /ok?x=1"
        ),
        format!("{LEAST} --mode passive --version-label v1 --advertise app:1 --log-format json --threads 2"),
        format!("{LEAST} --unsafe-reuse-timeout 3s --tunnel-timeout 2h --max-head-size 16KiB"),
    ] {
        let said = config(&flags);
        fs::write(&path, to_toml(&said.effective())).expect("a file");
        let read = Config::load(Options { config: Some(path.clone()), ..Options::default() });
        assert_eq!(read.expect("what is printed is accepted"), said, "{flags}");
    }
}
