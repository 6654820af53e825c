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
    assert_eq!((here.min_upload_rate, here.min_download_rate), (0, 0), "it judges its clients itself");
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
        ("--instance app:8000 --listen 127.0.0.1:1 --agent-check-peers 2", &["--balancer is missing"]),
        ("LEAST --agent-check 127.0.0.1:1 --agent-check-peers 0", &["--agent-check-peers", "1 to 1000"]),
        ("LEAST --heartbeat 239.0.0.1:0", &["--heartbeat", "239.0.0.1:0", "HeartbeatListen"]),
        ("LEAST --orca text --mode passive", &["--orca", "text", "--mode inline"]),
        ("LEAST --orca-on-listen on --mode passive", &["--orca-on-listen", "--orca-listen"]),
        ("LEAST --orca-min-interval 99ms", &["--orca-min-interval", "99ms", "100ms to 1h"]),
        ("LEAST --workers 0", &["--workers", "\"0\"", "1 to 10000"]),
        ("LEAST --workers 10001", &["--workers", "10001"]),
        ("LEAST --interval 99ms", &["--interval", "99ms", "100ms to 1m"]),
        ("LEAST --interval 61s", &["--interval", "1m 1s", "100ms to 1m"]),
        ("LEAST --threads 0", &["--threads", "1 to 64"]),
        ("LEAST --queue-timeout 0s", &["--queue-timeout", "1ms to 1day"]),
        ("LEAST --connect-timeout 0s", &["--connect-timeout", "1ms to 1day"]),
        ("LEAST --max-head-size 4KiB", &["--max-head-size", "4KiB", "8KiB to 16MiB"]),
        ("LEAST --max-request-line 1", &["--max-request-line", "1KiB to 128KiB"]),
        ("LEAST --max-header-fields 3", &["--max-header-fields", "16 to 1000"]),
        ("LEAST --max-connections 0", &["--max-connections", "0"]),
        ("LEAST --health-path healthz", &["--health-path", "healthz", "starts with /"]),
        ("LEAST --buffer-size 2MiB --buffer-total 1MiB", &["--buffer-size", "2MiB", "--buffer-total"]),
        ("LEAST --spool-total 1MiB", &["--spool-size", "1GiB", "--spool-total"]),
        ("LEAST --admin 0.0.0.0:9901", &["--admin", "0.0.0.0:9901", "--token-file"]),
        ("LEAST --compress gzip,br,gzip", &["--compress", "gzip", "once"]),
        ("LEAST --compress br --mode passive", &["--compress", "br", "--mode inline"]),
        ("LEAST --compress-threads 0", &["--compress-threads", "1 to 64"]),
        (
            "--balancer http://lb --mode passive --instance unix:/a",
            &["--instance", "unix:/a", "mode passive"],
        ),
        (
            "--balancer http://lb --instance app:8000 --listen 127.0.0.1:1,h2c",
            &["--listen", "h2c", "IP:PORT alone"],
        ),
        ("LEAST --access-log /log", &["--access-log", "/log", "--mode passive"]),
        ("LEAST --scrape http://a/metrics", &["--scrape", "http://a/metrics", "--mode passive"]),
        ("LEAST --mode passive --access-log-format combined", &["--access-log is missing"]),
        ("LEAST --mode passive --scrape-busy a", &["--scrape is missing"]),
        (
            "LEAST --mode passive --scrape https://a",
            &["--scrape", "https://a", "http://127.0.0.1:8000/metrics"],
        ),
        (
            "LEAST --mode passive --scrape http://user:secret@a/",
            &["--scrape", "http://127.0.0.1:8000/metrics"],
        ),
        ("LEAST --mode passive --scrape http://a --scrape-busy a-b", &["--scrape-busy", "a-b"]),
        ("LEAST --mode passive --scrape http://a --scrape-interval 1ms", &["--scrape-interval", "1s to 1h"]),
        (
            "LEAST --mode passive --scrape http://a --access-log /log",
            &["--scrape", "--access-log", "--scrape-busy"],
        ),
        ("LEAST --xsendfile-root srv", &["--xsendfile-root", "srv", "absolute"]),
        ("LEAST --xsendfile-root /srv/../etc", &["--xsendfile-root", "/srv/../etc", "without .."]),
        ("LEAST --xsendfile-root /", &["--xsendfile-root", "whole machine"]),
        ("LEAST --xsendfile-root /srv --xsendfile-root /srv/", &["--xsendfile-root", "/srv/", "once"]),
        ("LEAST --xsendfile-root /srv --mode passive", &["--xsendfile-root", "mode passive"]),
        ("LEAST --xsendfile-uri /a/=b", &["--xsendfile-uri", "/a/=b", "absolute"]),
        ("LEAST --xsendfile-uri /a/=/b --xsendfile-uri /a=/c", &["--xsendfile-uri", "/a/=/c", "once"]),
    ] {
        let error = Config::load(options(&flags.replace("LEAST", LEAST))).expect_err(flags).to_string();
        for part in parts {
            assert!(error.contains(part), "{flags}: {part:?} is not in: {error}");
        }
    }
}

/// `clocks` as the file would have it.
fn with_clocks(clocks: &str) -> Result<Config, String> {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("agent.toml");
    fs::write(&path, clocks).expect("a file");
    Config::load(Options { config: Some(path), ..options(LEAST) }).map_err(|error| error.to_string())
}

#[test]
fn a_clock_that_can_not_be_used_is_told_by_name_field_and_value() {
    const LEAST: &str = "[[clock]]\nname = 'tick'\npath = '/tick'\nevery = '10m'\n";
    const CRON: &str = "[[clock]]\nname = 'tick'\npath = '/tick'\n";
    assert!(with_clocks(LEAST).is_ok());
    for (clocks, parts) in [
        ("[[clock]]\npath = '/'\nevery = '1m'", &["clock.1.name", "printable ASCII"] as &[_]),
        ("LEASTevery = 1", &["agent.toml", "line 5"]),
        ("LEASTnonsense = 1", &["nonsense", "`path`"]),
        (
            "LEAST[[clock]]\nname = 'tick'\npath = '/'\nevery = '1m'",
            &["clock.2.name", "tick", "no other clock"],
        ),
        ("[[clock]]\nname = 'a\"b'\npath = '/'\nevery = '1m'", &["clock.1.name", "quotes"]),
        ("[[clock]]\nname = 'tick'\npath = 'tick'\nevery = '1m'", &["clock.tick.path", "starts with /"]),
        ("[[clock]]\nname = 'tick'\nevery = '1m'", &["clock.tick.path", "starts with /"]),
        (CRON, &["clock.tick.every is missing", "cron ="]),
        ("LEASTcron = '* * * * *'", &["clock.tick.cron", "either every or cron"]),
        ("LEASTzone = 'local'", &["clock.tick.zone", "only with cron"]),
        ("CRONcron = '* * * *'", &["clock.tick.cron", "\"* * * *\"", "five fields", "*/5 2 * * *"]),
        ("CRONcron = '0 0 30 2 *'", &["clock.tick.cron", "no such day"]),
        ("CRONcron = '* * * * *'\nzone = 'CET'", &["line 5", "utc", "local"]),
        ("CRONevery = '999ms'", &["clock.tick.every", "999ms", "1s to"]),
        ("LEASTmethod = 'BREW'", &["clock.tick.method", "BREW", "GET, HEAD, POST"]),
        ("LEASTjitter = '11m'", &["clock.tick.jitter", "11m", "0s to 10m"]),
        ("LEASTtimeout = '0s'", &["clock.tick.timeout", "1ms to 1day"]),
        ("LEASThost = 'a b'", &["clock.tick.host", "a b", "site.example"]),
        ("LEASTheaders = { 'a b' = 'c' }", &["clock.tick.headers.a b", "header field's name"]),
        ("LEASTheaders = { Host = 'c' }", &["clock.tick.headers.Host", "connection"]),
        ("LEASTheaders = { a = \"b\\nc\" }", &["clock.tick.headers.a", "value"]),
        (
            "LEASTcredentials-file = 'f'\nheaders = { authorization = 'x' }",
            &["headers.authorization", "credentials-file"],
        ),
    ] {
        let clocks = clocks.replace("LEAST", LEAST).replace("CRON", CRON);
        let error = with_clocks(&clocks).expect_err(&clocks);
        for part in parts {
            assert!(error.contains(part), "{clocks}\n{part:?} is not in: {error}");
        }
    }
}

#[test]
fn clocks_are_read_as_they_are_printed() {
    let said = with_clocks(
        "[[clock]]\nname = 'pack'\npath = '/pack?days=7'\nmethod = 'POST'\ncron = '30 4 * * SUN'\nzone = 'local'\n\
         host = 'site.example:8080'\njitter = '5m'\ntimeout = '1h'\ncredentials-file = '/etc/pack'\n\
         headers = { X-Task = 'pack', Accept = 'text/plain' }\n[[clock]]\nname = 'tick'\npath = '/'\nevery = '90s'\n",
    );
    let said = said.expect("two clocks");
    assert_eq!(said.clock.len(), 2);
    let printed = to_toml(&said.effective());
    let (_, clocks) = printed.split_once("[[clock]]").expect("they are printed last");
    assert_eq!(with_clocks(&format!("[[clock]]{clocks}")).expect(&printed), said);
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
        format!("{LEAST} --compress br,gzip --compress-types text/*,*/*+xml --compress-min-size 2KiB"),
        format!("{LEAST} --mode passive --access-log /log --access-log-format combined-us"),
        format!(
            "{LEAST} --mode passive --access-log /log --access-log-format $request|$status|$request_time"
        ),
        format!(
            "{LEAST} --mode passive --scrape http://127.0.0.1:8000/metrics --scrape-interval 5s --scrape-busy a"
        ),
        format!("{LEAST} --xsendfile-root /srv/a --xsendfile-root /srv/b --xsendfile-uri /i/=/srv/c"),
        format!("{LEAST} --response-buffering off --buffer-size 0 --spool-dir /srv/spool --spool-size 10MiB"),
        format!(
            "{LEAST} --agent-check 127.0.0.1:9902 --agent-check-peers 3 --heartbeat 239.0.0.1:27999 --orca json"
        ),
        "--instance 127.0.0.1:8000 --listen 127.0.0.1:8001 --agent-check 127.0.0.1:9902".to_owned(),
        format!("{LEAST} --orca-listen 127.0.0.1:9903 --orca-on-listen on --orca-min-interval 10s"),
        "--instance 127.0.0.1:8000 --mode passive --orca-listen 127.0.0.1:9903".to_owned(),
        format!("{LEAST} --balancer dns+http://lb.example:9900 --dns-server 127.0.0.1:8600"),
        format!("{LEAST} --unsafe-reuse-timeout 3s --tunnel-timeout 2h --max-head-size 16KiB"),
    ] {
        let mut said = config(&flags);
        said.buffering.rules = vec![BufferingRule {
            class: "POST /upload*".into(),
            uploads: Some(Switch::Off),
            responses: None,
        }];
        fs::write(&path, to_toml(&said.effective())).expect("a file");
        let read = Config::load(Options { config: Some(path.clone()), ..Options::default() });
        assert_eq!(read.expect("what is printed is accepted"), said, "{flags}");
    }
}
