use std::time::Duration;

use sluice_process::openmetrics::Exemplars;
use sluice_proto::{Kind, Measured, RuleSpec, Rules, SparseSketch};

use super::*;
use crate::decide::treatment::{LanePin, Treatment};

pub(crate) fn table() -> ClassTable {
    with_rules(2, ServiceRules::default(), Instant::now())
}

fn with_rules(capacity: usize, rules: ServiceRules, now: Instant) -> ClassTable {
    let registry = prometheus::Registry::new();
    let metrics = RequestMetrics::register(&registry, &Exemplars::default(), 2).for_service("default");
    ClassTable::new(capacity, metrics, Arc::new(rules), now)
}

fn exports() -> ServiceRules {
    let spec = RuleSpec {
        name: "exports".into(),
        path: Some("^/export/(?P<kind>.*)".into()),
        ..RuleSpec::default()
    };
    let treatment = Treatment { lane: Some(LanePin::Large), ..Treatment::default() };
    ServiceRules::new(Rules::compile(vec![spec]).expect("valid"), vec![treatment])
}

fn get(table: &ClassTable, path: &str, now: Instant) -> Arc<ClassEntry> {
    let request = Request { method: "GET", host: "", path, kind: Kind::Whole, field: &|_| None };
    table.sort(&request, &mut String::new(), now)
}

fn names(table: &ClassTable, now: Instant) -> Vec<String> {
    table.all(now).iter().map(|entry| entry.name.to_string()).collect()
}

fn observation() -> Observation {
    let held = Duration::from_millis(1);
    Observation { error: false, held, ttfb: None, response_bytes: Some(7), latency: Some(held), sent: None }
}

/// A name that no static rule replaces.
fn word(mut i: usize) -> String {
    let mut word = String::from("w");
    while i > 0 {
        word.push(char::from(b'a' + (i % 26) as u8));
        i /= 26;
    }
    word
}

#[test]
fn the_table_is_bounded_and_the_rest_is_other() {
    let (table, now) = (table(), Instant::now());
    for path in ["/a", "/b", "/c", "/a"] {
        get(&table, path, now).observe(observation(), now);
    }
    assert_eq!(table.entry("bad\nname", now).id, ClassId::OTHER);
    assert_eq!(table.entry("other", now).id, ClassId::OTHER);
    let counts: Vec<_> =
        table.all(now).iter().map(|e| (e.name.to_string(), e.seen(now).0.requests)).collect();
    assert_eq!(counts, [("GET /a".into(), 2), ("GET /b".into(), 1), ("other".into(), 1)]);
}

#[test]
fn no_request_misses_its_treatment_for_want_of_room() {
    let now = Instant::now();
    let table = with_rules(2, exports(), now);
    for (path, class) in [
        ("/export/xml", "exports kind=xml"),
        ("/export/csv", "exports"),
        ("/x", "other"),
        ("/export/", "exports"),
    ] {
        let entry = get(&table, path, now);
        assert_eq!(entry.name.as_str(), class, "{path}");
        let pinned = class.starts_with("exports").then_some(LanePin::Large);
        assert_eq!(entry.treatment.lane, pinned, "{path}");
    }
}

#[test]
fn classes_that_become_one_are_merged_with_what_was_seen_of_them() {
    let now = Instant::now();
    let table = with_rules(2000, ServiceRules::default(), now);
    for i in 1..=40 {
        get(&table, &format!("/docs/{}", word(i)), now).observe(observation(), now);
    }
    let in_flight = get(&table, "/docs/wb", now);
    let version = table.classification().version;
    let tended = table.tend(now);
    assert!(tended.learned);
    assert_ne!(table.classification().version, version);
    assert_eq!(names(&table, now), ["GET /docs/*"]);
    let merged = get(&table, "/docs/never-seen", now);
    assert_eq!((merged.name.as_str(), merged.seen(now).0.requests), ("GET /docs/*", 40));
    assert_eq!(tended.freed.len(), 39, "all but the one with a request under way");
    assert!(tended.freed.iter().all(|freed| freed.into == Some(merged.id) && freed.id != in_flight.id));
    let id = in_flight.id;
    drop(in_flight);
    let next = table.tend(now);
    assert_eq!((next.freed, next.learned), (vec![Freed { id, into: Some(merged.id) }], false));
}

#[test]
fn a_number_is_used_again_only_after_it_was_said_to_be_free() {
    let start = Instant::now();
    let at = |s| start + Duration::from_secs(s);
    let table = with_rules(2000, ServiceRules::default(), start);
    let old = get(&table, "/old", at(0)).id;
    assert_eq!(old, ClassId(1));
    assert_eq!(table.tend(at(1)), Tended::default(), "the request is counted");
    assert_eq!(table.tend(at(3600)).freed, [], "just before an hour");
    assert_eq!(table.tend(at(3601)).freed, [Freed { id: old, into: None }]);
    assert_eq!(get(&table, "/new", at(3601)).id, ClassId(2), "not before the next round");
    table.tend(at(3602));
    assert_eq!(get(&table, "/newer", at(3602)).id, old);
}

#[test]
fn what_is_unused_makes_room_and_what_is_in_use_or_under_way_does_not() {
    let start = Instant::now();
    let at = |s| start + Duration::from_secs(s);
    let table = with_rules(8, exports(), start);
    let paths = ["/a/a", "/a/b", "/a/c", "/a/d", "/a/e", "/a/f", "/a/g"];
    let [_, under_way, ..] = paths.map(|path| get(&table, path, at(0)));
    get(&table, "/a/a", at(0));
    assert_eq!(get(&table, "/new", at(1)).id, ClassId::OTHER, "full: seven and the rule's own");
    table.tend(at(1));
    get(&table, "/a/c", at(30));
    table.tend(at(30));
    assert_eq!(table.tend(at(60)).freed.len(), 0, "just before a minute");
    // At 61 s all but c are idle: 8 are to become 6, the least used first.
    assert_eq!(table.tend(at(61)).freed.len(), 2);
    assert_eq!(get(&table, "/new", at(61)).name.as_str(), "GET /new");
    let left = names(&table, at(61));
    for name in ["GET /a/a", "GET /a/b", "GET /a/c"] {
        assert!(left.contains(&name.to_owned()), "{name} in {left:?}");
    }
    assert!(table.get("exports").is_some(), "its rule may need it");
    drop(under_way);
}

#[test]
fn names_that_agents_make_up_get_half_the_table_and_teach_nothing() {
    let now = Instant::now();
    let table = with_rules(200, ServiceRules::default(), now);
    let report = |name: &str| ClassReport {
        class: ClassName::parse(name).expect("valid"),
        requests: 1,
        errors: 0,
        held_us: SparseSketch::default(),
        ttfb_us: SparseSketch::default(),
        response_bytes: SparseSketch::default(),
    };
    for i in 1..=1000 {
        table.report(&report(&format!("GET /made/{}", word(i))), &Measured::by_agent(), now);
    }
    assert!(!table.tend(now).learned);
    for i in 1..=32 {
        assert_ne!(get(&table, &format!("/real/{}", word(i)), now).id, ClassId::OTHER);
    }
    for i in 1..=40 {
        get(&table, &format!("/docs/{}", word(i)), now);
    }
    assert!(table.tend(now).learned);
    table.report(&report("GET /docs/of-an-old-window"), &Measured::by_agent(), now);
    assert!(table.get("GET /docs/of-an-old-window").is_none(), "counted under its name of today");
    assert_eq!(table.get("GET /docs/*").expect("known").reported(now).0.requests, 1);
}

#[test]
fn a_hundred_thousand_random_urls_end_as_few_classes() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut rng = fastrand::Rng::with_seed(seed);
    let start = Instant::now();
    let table = with_rules(2000, ServiceRules::default(), start);
    let mut highest = 0;
    for second in 0..100 {
        let now = start + Duration::from_secs(second);
        for _ in 0..1000 {
            let depth = rng.usize(1..6);
            let path: String = (0..depth).map(|_| format!("/{}", word(rng.usize(1..100_000)))).collect();
            highest = highest.max(get(&table, &path, now).id.0);
            get(&table, "/section/page/7", now);
        }
        table.tend(now);
        assert!(table.all(now).len() <= 2001, "seed {seed}");
    }
    let left = names(&table, start + Duration::from_secs(100));
    assert!(left.len() < 20, "seed {seed}: {left:?}");
    assert!(left.contains(&"GET /section/page/{n}".to_owned()), "seed {seed}: {left:?}");
    assert!(highest <= 4001, "seed {seed}: numbers stay dense: {highest}");
}

#[test]
fn ten_thousand_articles_beside_sections_leave_the_sections_apart() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut rng = fastrand::Rng::with_seed(seed);
    let start = Instant::now();
    let table = with_rules(2000, ServiceRules::default(), start);
    for second in 0..60 {
        let now = start + Duration::from_secs(second);
        for _ in 0..500 {
            get(&table, &format!("/section-{}/page/{}", rng.usize(..32), rng.usize(..1000)), now);
            get(&table, &format!("/news/article-{}", word(rng.usize(1..10_000))), now);
        }
        table.tend(now);
    }
    let left = names(&table, start + Duration::from_secs(60));
    let sections = left.iter().filter(|name| name.starts_with("GET /section-")).count();
    assert_eq!((sections, left.len()), (32, 33), "seed {seed}: {left:?}");
}
