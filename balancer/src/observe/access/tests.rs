//! Lines as readers of logs get them.

use std::sync::Arc;
use std::time::{Duration, Instant, UNIX_EPOCH};

use http::{HeaderValue, Request, request};
use sluice_proto::report::ReleasePoint;
use sluice_relay::head::Origin;
use sluice_relay::trace::TraceParent;
use sluice_relay::{End, Failure, Refusal, RetryAfter};

use super::*;
use crate::decide::dispatch::{InstanceId, Why};
use crate::metrics::Outcome;
use crate::observe::trail::{Asked, Attempt};
use crate::pool::Instance;

/// What a request is made of; the rest is the same for all.
struct Case {
    asked: Asked,
    attempts: Vec<Attempt>,
    outcome: Outcome,
    status: u16,
}

fn parts(target: &str, fields: &[(&str, &[u8])]) -> request::Parts {
    let mut builder = Request::builder().uri(target);
    for (name, value) in fields {
        builder = builder.header(*name, HeaderValue::from_bytes(value).expect("a value"));
    }
    builder.body(()).expect("a request").into_parts().0
}

fn case(target: &str, fields: &[(&str, &[u8])]) -> Case {
    let arrived = UNIX_EPOCH + Duration::from_millis(1_795_509_756_123);
    let origin = Origin { peer: [192, 0, 2, 7].into(), scheme: "http", arrived };
    let mut asked = Asked::new(&parts(target, fields), origin);
    asked.request_id = Some(HeaderValue::from_static("r1"));
    let (name, target) = ("zope-1".parse().expect("a name"), "127.0.0.1:80".parse().expect("an address"));
    let instance = Instance::new(InstanceId(1), name, target, ReleasePoint::End, Instant::now());
    let attempt =
        Attempt { instance: Arc::new(instance), why: Why::Home, sent: Instant::now(), span: 1, lost: None };
    Case { asked, attempts: vec![attempt], outcome: Outcome::Answered(200), status: 200 }
}

impl Case {
    fn finished(&self) -> Finished<'_> {
        let sent = !self.attempts.is_empty();
        Finished {
            asked: &self.asked,
            service: "default",
            class: "GET /docs/{n}",
            lane: sent.then_some("small"),
            attempts: &self.attempts,
            outcome: self.outcome,
            answered: Some(self.status),
            status: self.status,
            arrived: Instant::now(),
            duration: Duration::from_micros(12_345),
            queue: Duration::from_micros(1_000),
            predicted: None,
            ttfb: sent.then(|| Duration::from_millis(10)),
            request_bytes: 3,
            response_bytes: 4096,
            trace: TraceParent::parse(b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
        }
    }

    fn line(&self, format: &str) -> String {
        format.parse::<AccessFormat>().expect("a format").line(&self.finished())
    }
}

const COMMON: &[(&str, &[u8])] =
    &[("host", b"site.example"), ("referer", b"http://site.example/"), ("user-agent", b"curl/8.1")];

#[test]
fn combined_is_what_every_log_reader_knows() {
    assert_eq!(
        case("/docs/1?a=b", COMMON).line("combined"),
        "192.0.2.7 - - [24/Nov/2026:08:42:36 +0000] \"GET /docs/1?a=b HTTP/1.1\" 200 4096 \
         \"http://site.example/\" \"curl/8.1\"\n"
    );
    assert!(case("/", &[]).line("combined").ends_with("\"GET / HTTP/1.1\" 200 4096 \"-\" \"-\"\n"));
}

#[test]
fn json_has_every_field() {
    let value: serde_json::Value =
        serde_json::from_str(&case("/docs/1?a=b", COMMON).line("json")).expect("JSON");
    assert_eq!(
        value,
        serde_json::json!({
            "time": "2026-11-24T08:42:36.123Z", "client": "192.0.2.7", "scheme": "http", "method": "GET",
            "host": "site.example", "target": "/docs/1?a=b", "protocol": "HTTP/1.1",
            "referer": "http://site.example/", "user_agent": "curl/8.1", "status": 200, "failure": null,
            "request_bytes": 3, "response_bytes": 4096, "duration_ms": 12.345, "queue_ms": 1.0, "ttfb_ms": 10.0,
            "service": "default", "class": "GET /docs/{n}", "lane": "small", "instance": "zope-1", "why": "home",
            "attempts": 1, "request_id": "r1", "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
        })
    );
}

#[test]
fn a_format_of_ones_own_has_what_it_names() {
    let format = r#"$time $status $failure "$class" $lane $queue_ms/$ttfb_ms $instance|$attempts"#;
    assert_eq!(
        case("/", &[]).line(format),
        "2026-11-24T08:42:36.123Z 200 - \"GET /docs/{n}\" small 1.000/10.000 zope-1|1\n"
    );
    let outcome = Outcome::Failed(Failure::QueueFull(RetryAfter::SOON));
    let refused = Case { attempts: vec![], outcome, status: 503, ..case("/", &[]) };
    assert_eq!(
        refused.line(format),
        "2026-11-24T08:42:36.123Z 503 queue_full \"GET /docs/{n}\" - 1.000/- -|0\n"
    );
    let class_is_bare = case("/", &[]).line("$class $status");
    assert_eq!(class_is_bare, "GET\\x20/docs/{n} 200\n", "a blank would be another field");
}

/// A client sends what it likes: whatever that is, a line stays one line with as many fields.
#[test]
fn clients_can_not_forge_lines_or_fields() {
    let evil: &[&[u8]] = &[
        b"x\" 200 1 \"-\" \"-",
        b"\\\" 200",
        b"a\tb",
        b"\xff\xfe\xc3\x28",
        b"a|b,c;d e",
        b"{\"status\":200}",
        &[b'x'; 9000],
    ];
    for agent in evil {
        let case = case("/a?q=%22|,", &[("user-agent", agent), ("referer", agent), ("host", agent)]);
        let combined = case.line("combined");
        assert_eq!(combined.matches('"').count(), 6, "{combined}");
        assert_eq!(combined.matches('\n').count(), 1, "{combined}");
        assert!(combined.bytes().all(|b| b == b'\n' || (b' '..=b'~').contains(&b)), "{combined}");
        let bare = case.line("$status|$user_agent|$host,$referer $target;$class");
        assert_eq!(bare.matches(['|', ',', ' ', ';']).count(), 5, "{bare}");
        let json = case.line("json");
        assert_eq!(json.matches('\n').count(), 1, "{json}");
        let value: serde_json::Value = serde_json::from_str(&json).expect("JSON");
        assert_eq!((&value["status"], value.as_object().map(|o| o.len())), (&200.into(), Some(24)), "{json}");
    }
}

#[test]
fn of_a_head_that_was_refused_nothing_is_told_that_the_client_did_not_say() {
    let mut case = case("/", COMMON);
    case.asked.is_unread = true;
    assert_eq!(case.line("$status $method $host $target $protocol"), "200 - - - -\n");
}

#[test]
fn the_reason_of_a_failure_is_told() {
    for (outcome, failure, notable) in [
        (Outcome::Answered(200), None, false),
        (Outcome::Answered(404), None, false),
        (Outcome::Answered(500), None, true),
        (Outcome::Broken(End::CutShort), Some("cut_short"), true),
        (Outcome::Broken(End::ClientGone), Some("client_gone"), true),
        (Outcome::Failed(Failure::QueueTimeout), Some("queue_timeout"), true),
        (Outcome::Failed(Failure::BadRequest(Refusal::malformed("x"))), Some("bad_request"), true),
    ] {
        let status = crate::observe::finished::status(outcome, Some(200));
        let case = Case { outcome, status, ..case("/", &[]) };
        assert_eq!(
            (case.finished().failure(), case.finished().is_notable()),
            (failure, notable),
            "{outcome:?}"
        );
    }
}

#[test]
fn formats_that_can_not_be_used_say_what_can() {
    for (format, part) in [
        ("common", "combined nor json"),
        ("", "combined nor json"),
        ("$", "$client"),
        ("$Client", "$client"),
        ("$clients", "$clients; there are $time"),
        ("$client\n$status", "line break"),
    ] {
        let error = format.parse::<AccessFormat>().expect_err(format).to_string();
        assert!(error.contains(part), "{format:?}: {error}");
    }
    for format in ["combined", "json", "$client $status"] {
        assert_eq!(format.parse::<AccessFormat>().expect("valid").to_string(), format);
    }
}
