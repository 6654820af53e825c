//! What is counted.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, SystemTime};

use http::Request;
use sluice_balancer::decide::classify;
use sluice_balancer::decide::predict::{ExtensionKey, Predictor, RequestKey, UrlKey, UrlSeed};
use sluice_proto::{ClassSums, Kind, Measured, Report, Rules, Templates};
use sluice_relay::head::{Origin, Position, prepare_request};

use crate::agent;
use crate::fleet::{self, Fleet, Target, busy, dispatcher, named, scheduler};
use crate::sample;

/// Name, and what does it so many times.
type Case = (&'static str, fn(u64));

pub(crate) const CASES: [Case; 9] = [
    ("scheduler-4", |times| turns(scheduler(&named(4, 0)), 4, times)),
    ("scheduler-1000", |times| turns(scheduler(&named(1000, 0)), 1000, times)),
    ("dispatcher-1000", |times| turns(dispatcher(1000), 1000, times)),
    ("classify", classified),
    ("predict", predicted),
    ("request-head", prepared),
    ("agent-request", agent::requests),
    ("report", |times| read_and_merged(&sample::report(), times)),
    ("report-lean", |times| read_and_merged(&sample::lean_report(), times)),
];

const PATH: &str = "/plone/news/2024/a-headline-of-usual-length/@@images/image.jpg";

/// A request comes and another ends.
fn turns(target: (impl Target, std::time::Instant), instances: u64, times: u64) {
    let mut fleet = Fleet::new(target, busy(instances));
    let request = fleet::Request::small(0);
    (0..busy(instances)).for_each(|_| assert!(fleet.start(&request), "workers are free"));
    (0..times).for_each(|_| fleet.turn(&request));
}

fn classified(times: u64) {
    let (rules, templates, mut name) = (Rules::default(), Templates::default(), String::new());
    let field = |_: &str| None;
    for _ in 0..times {
        let path = black_box(PATH);
        let request = classify::Request {
            method: "GET",
            host: "www.example.org",
            path,
            kind: Kind::Whole,
            field: &field,
        };
        black_box(classify::classify(&request, &rules, &templates, &mut name));
    }
}

/// A prediction by URL, and what came of it.
fn predicted(times: u64) {
    let seed = UrlSeed::random(&mut fastrand::Rng::with_seed(1));
    let mut predictor = Predictor::new(Predictor::URLS, seed);
    for n in 0..times {
        let url = UrlKey::of(seed, "GET", "www.example.org", black_box(PATH));
        let extension = ExtensionKey::of_path(PATH);
        let key = RequestKey { class: fleet::key(n as u32 % 100).class, url, extension };
        black_box(predictor.predict(key));
        predictor.observe(key, Duration::from_millis(10), Some(20_000), None);
    }
}

/// A browser's request is checked, and rewritten for an instance.
fn prepared(times: u64) {
    let browser = Request::get(PATH)
        .header("host", "www.example.org")
        .header("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0")
        .header("accept", "text/html,application/xhtml+xml")
        .header("accept-language", "en-US,en;q=0.5")
        .header("accept-encoding", "gzip, deflate, br, zstd")
        .header("connection", "keep-alive")
        .header("cookie", "session=4bf92f3577b34da6a3ce929d0e0e4736");
    let (parts, ()) = browser.body(()).expect("a valid request").into_parts();
    let position = Position::Edge { trusted: Vec::new() };
    let peer = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 17));
    let origin = Origin { peer, scheme: "https", arrived: SystemTime::now() };
    let mut rng = fastrand::Rng::with_seed(1);
    for _ in 0..times {
        let mut parts = parts.clone();
        prepare_request(&mut parts, &position, origin, &mut rng).expect("nothing to refuse");
        black_box(parts);
    }
}

/// An agent's report of twenty classes is read and checked, and what it says is added to what is known of each.
fn read_and_merged(text: &str, times: u64) {
    let measured = Measured::by_agent();
    let mut sums = vec![ClassSums::default(); sample::CLASSES];
    for _ in 0..times {
        let report = Report::parse(black_box(text.as_bytes())).expect("a valid report");
        for (sums, class) in sums.iter_mut().zip(&report.classes) {
            sums.add_report(class, &measured);
        }
    }
}
