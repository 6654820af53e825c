//! What applications and other proxies say: load reports, observations, subscriptions.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use prost::Message;
use sluice_agent::orca::fuzzing::{interval, put, take};
use sluice_agent::orca::{Form, LoadReport};
use sluice_balancer::decide::membership::Word;
use sluice_balancer::xds::conversation::{Conversation, Heard, MOST_NAMES};
use sluice_balancer::xds::delta::Delta;
use sluice_balancer::xds::endpoint::{Standing, tell};
use sluice_balancer::xds::resource::Assignment;
use sluice_balancer::xds::sotw::StateOfTheWorld;
use sluice_balancer::xds::table::Table;
use sluice_proto::{ApplicationLoad, ClassName, Role};

const ORCA: [&str; 6] = [
    "endpoint-load-metrics",
    "endpoint-load-metrics-bin",
    "endpoint-load-metrics-json",
    "x-endpoint-load-metrics",
    "x-endpoint-load-metrics-bin",
    "x-endpoint-load-metrics-json",
];

/// A field of a response, by its number among them and its value. What is heard is possible, bounded, and can be told.
pub fn orca(bytes: &[u8]) {
    let Some((which, value)) = bytes.split_first() else { return };
    let Ok(value) = HeaderValue::from_bytes(value) else { return };
    let mut headers = HeaderMap::new();
    headers.insert(HeaderName::from_static(ORCA[usize::from(*which) % ORCA.len()]), value);
    let taken = take(&mut headers);
    assert!(headers.is_empty(), "nothing of it goes further");
    let Ok(Some(report)) = taken else { return };
    assert_possible(&report);
    for form in [Form::Text, Form::Json, Form::Binary] {
        put(&mut headers, &report, form);
        let again = take(&mut headers);
        match form {
            Form::Binary if report != LoadReport::default() => assert_eq!(again, Ok(Some(report.clone()))),
            // Text has four digits, and not every metric.
            Form::Json if report != LoadReport::default() => {
                assert_possible(&again.expect("ours").expect("put"))
            }
            _ => {}
        }
    }
}

fn assert_possible(report: &LoadReport) {
    let single = [
        report.cpu_utilization,
        report.mem_utilization,
        report.application_utilization,
        report.rps_fractional,
        report.eps,
    ];
    assert!(single.iter().flatten().all(|value| value.is_finite() && *value > 0.0), "{report:?}");
    for map in [&report.request_cost, &report.utilization, &report.named_metrics] {
        assert!(map.len() <= ApplicationLoad::MOST_NAMES && map.values().all(|value| value.is_finite()));
        assert!(map.keys().all(|name| name.len() <= ApplicationLoad::LONGEST_NAME), "{report:?}");
    }
}

/// The body of a request for a stream of load reports. Nobody is told more often than is allowed, or never.
pub fn orca_stream(bytes: &[u8]) {
    let least = Duration::from_secs(1);
    if let Some(every) = interval(bytes, least) {
        assert!((least..=Duration::from_secs(3600)).contains(&every), "{every:?}");
    }
}

/// What an application says of its own requests.
pub fn observe(bytes: &[u8]) {
    sluice_agent::api::fuzzing::observations(bytes, |class, observation| {
        assert_eq!(ClassName::parse(class.as_str()).as_ref(), Some(class));
        let day = Duration::from_secs(24 * 3600);
        assert!([observation.held, observation.ttfb].iter().flatten().all(|time| *time <= day));
        assert!(observation.bytes.is_none_or(|bytes| bytes <= 1 << 50));
    });
}

/// Requests of one stream, each after its length in two bytes; the first byte says by which protocol. Before a response is
/// answered there is no other, and none is larger than what may be asked for.
pub fn xds(bytes: &[u8]) {
    match bytes.split_first() {
        Some((0, requests)) => talk::<StateOfTheWorld>(requests, |said| said.resources.len()),
        Some((_, requests)) => {
            talk::<Delta>(requests, |said| said.resources.len() + said.removed_resources.len());
        }
        None => {}
    }
}

fn talk<C: Conversation<Request: Message + Default>>(mut bytes: &[u8], count: fn(&C::Response) -> usize) {
    let (table, mut stream) = (table(), C::default());
    while let Some((length, rest)) = bytes.split_at_checked(2) {
        let length = usize::from(u16::from_be_bytes([length[0], length[1]])).min(rest.len());
        let Ok(request) = C::Request::decode(&rest[..length]) else { return };
        match stream.hear(request) {
            Err(_excess) => return,
            Ok(Heard::Nack(why)) => assert!(why.chars().count() <= 300 && !why.contains(char::is_control)),
            Ok(Heard::Ack | Heard::Subscription | Heard::Nothing) => {}
        }
        if let Some(said) = stream.say(&table) {
            assert!(count(&said) <= MOST_NAMES);
            assert!(stream.say(&table).is_none(), "one response is under way at a time");
        }
        bytes = &rest[length..];
    }
}

/// Two services, of one of which nothing is known yet.
fn table() -> Table {
    let standing = Standing {
        name: "zope-1".to_owned(),
        address: SocketAddr::from(([10, 0, 0, 1], 8080)),
        version: None,
        role: Role::General,
        workers: 2,
        slowness: 1.0,
        operator: Word::Ready,
        agent: None,
        reachable: true,
        withheld: false,
    };
    let known = Some(Arc::new(Assignment::new(tell(&[standing], 0.0, &[]))));
    Table { services: [("shop".to_owned(), known), ("news".to_owned(), None)].into() }
}
