use super::*;
use crate::Kind;
use crate::classify::{Request, classify, reason, renamed};
use crate::rules::Rules;

type Table = BTreeMap<ClassName, f64>;

fn class_of(path: &str, templates: &Templates) -> ClassName {
    let mut name = String::new();
    let request = Request { method: "GET", host: "", path, kind: Kind::Whole, field: &|_| None };
    classify(&request, &Rules::default(), templates, &mut name);
    ClassName::parse(&name).expect("a valid name")
}

fn run(previous: &Templates, table: &Table) -> Templates {
    learn(previous, table.iter().map(|(name, count)| (name, *count)), &LearnParams::default())
}

/// What a table of classes does with new templates.
fn renamed_table(table: Table, templates: &Templates) -> Table {
    let mut next = Table::new();
    for (name, count) in table {
        *next.entry(renamed(&name, templates).unwrap_or(name)).or_default() += count;
    }
    next
}

/// Counts `requests` under the templates, then learns from them.
fn see(templates: &Templates, mut table: Table, requests: &[(String, f64)]) -> (Templates, Table) {
    for (path, count) in requests {
        *table.entry(class_of(path, templates)).or_default() += count;
    }
    let next = run(templates, &table);
    let table = renamed_table(table, &next);
    (next, table)
}

fn learned(requests: &[(String, f64)]) -> (Templates, Vec<String>) {
    let (templates, table) = see(&Templates::default(), Table::new(), requests);
    let names = table.keys().map(ToString::to_string).collect();
    (templates, names)
}

/// `prefix` + letters + `suffix`, each with `count` requests.
fn many(prefix: &str, n: usize, suffix: &str, count: f64) -> Vec<(String, f64)> {
    let letters = |mut i: usize| {
        let mut word = String::from("w");
        while i > 0 {
            word.push(char::from(b'a' + (i % 26) as u8));
            i /= 26;
        }
        word
    };
    (1..=n).map(|i| (format!("{prefix}{}{suffix}", letters(i)), count)).collect()
}

#[test]
fn the_33rd_rare_name_makes_one_class_of_all_and_at_the_top_the_129th() {
    for (prefix, n, classes) in
        [("/docs/", 32, 32), ("/docs/", 33, 1), ("/a/b/c/", 33, 1), ("/", 128, 128), ("/", 129, 1)]
    {
        let (_, names) = learned(&many(prefix, n, "", 10.0));
        assert_eq!(names.len(), classes, "{n} under {prefix}: {names:?}");
    }
}

#[test]
fn sections_stay_apart_whatever_is_below_them_and_whatever_a_scanner_tries() {
    let mut requests: Vec<_> =
        (0..32).flat_map(|i| (0..40).map(move |page| (format!("/section-{i}/page/{page}"), 5.0))).collect();
    let sections = learned(&requests).1;
    assert_eq!(sections.len(), 32);
    assert_eq!(sections[0], "GET /section-0/page/{n}");
    requests.extend(many("/", 3000, ".php", 1.0));
    let (_, names) = learned(&requests);
    assert_eq!(names.len(), 33, "{names:?}");
    assert!(names.contains(&"GET /*.php".to_owned()));
}

#[test]
fn busy_names_views_placeholders_and_extensions_stay() {
    let mut requests = many("/docs/", 57, "", 10.0);
    requests.extend(many("/docs/", 20, ".pdf", 10.0));
    for (path, count) in [
        ("/docs/index", 60.0), // 60 of 1,000: 6 %
        ("/docs/@@search", 1.0),
        ("/docs/folder_contents", 1.0),
        ("/docs/17", 1.0),
        ("/docs/", 1.0),
        ("/docs", 166.0),
    ] {
        requests.push((path.to_owned(), count));
    }
    let (templates, names) = learned(&requests);
    assert_eq!(
        names,
        [
            "GET /docs",
            "GET /docs/",
            "GET /docs/*",
            "GET /docs/*.pdf",
            "GET /docs/@@search",
            "GET /docs/folder_contents",
            "GET /docs/index",
            "GET /docs/{n}",
        ]
    );
    let of = |name: &str| reason(&ClassName::parse(name).expect(name), &templates);
    let because = "77 different names under /docs, none above 5 % of its requests";
    assert_eq!(of("GET /docs/*.pdf").as_deref(), Some(because));
    assert_eq!(of("GET /docs/index"), None);
}

#[test]
fn words_found_under_many_neighbours_stay() {
    let mut requests = Vec::new();
    for user in 0..10 {
        let of = format!("/users/u{}", char::from(b'a' + user));
        requests.push((format!("{of}/profile"), 1.0));
        requests.extend(many(&format!("{of}/{}", char::from(b'k' + user)), 40, "", 1.0));
    }
    let (_, names) = learned(&requests);
    assert_eq!(names.len(), 20, "{names:?}");
    assert!(names.contains(&"GET /users/ua/profile".to_owned()), "{names:?}");
    // The same 40 articles in ten languages are content, not vocabulary.
    let languages: Vec<_> =
        (0..10).flat_map(|i| many(&format!("/l{}/", char::from(b'a' + i)), 40, "", 1.0)).collect();
    assert_eq!(learned(&languages).1.len(), 10);
}

#[test]
fn names_below_names_collapse_in_one_run() {
    let person = |i: u8| char::from(b'A' + i % 26).to_string().repeat(1 + usize::from(i / 26));
    let of_one = |i: u8| many(&format!("/people/{0}/{0}-", person(i)), 20, "/view", 1.0);
    let (templates, names) = learned(&(0..40).flat_map(of_one).collect::<Vec<_>>());
    assert_eq!(names, ["GET /people/*/*/view"]);
    let reason = reason(&ClassName::parse(&names[0]).expect("valid"), &templates);
    let because = "40 different names under /people, none above 5 % of its requests; \
        800 different names under /people/*, none above 5 % of its requests";
    assert_eq!(reason.as_deref(), Some(because));
}

#[test]
fn the_same_traffic_makes_the_same_templates_and_they_are_stable() {
    let requests = [many("/docs/", 100, ".pdf", 2.0), many("/news/", 31, "", 1.0)].concat();
    let (templates, mut table) = see(&Templates::default(), Table::new(), &requests);
    let reversed: Vec<_> = requests.iter().rev().cloned().collect();
    assert_eq!(learned(&reversed).0, templates);
    // Half an hour in which hardly anything comes of what was collapsed.
    let mut now = templates.clone();
    for _ in 0..1800 {
        table.values_mut().for_each(|count| *count = 1.5);
        now = run(&now, &table);
    }
    assert!(now.same_as(&templates));
}

#[test]
fn a_collapse_is_undone_by_an_hour_of_disuse_and_not_before() {
    let (mut templates, _) = learned(&many("/docs/", 57, "", 10.0));
    let forget_after = LearnParams::default().forget_after;
    for _ in 1..forget_after {
        templates = run(&templates, &Table::new());
    }
    assert!(!templates.is_empty());
    let used = Table::from([(ClassName::parse("GET /docs/*").expect("valid"), 1.0)]);
    assert!(!run(&run(&templates, &used), &Table::new()).is_empty(), "use starts the hour anew");
    assert!(run(&templates, &Table::new()).is_empty());
}

#[test]
fn a_busy_name_goes_when_its_share_has_halved() {
    let mut requests = many("/docs/", 57, "", 10.0);
    requests.push(("/docs/index".into(), 60.0));
    let (templates, mut table) = see(&Templates::default(), Table::new(), &requests);
    let index = ClassName::parse("GET /docs/index").expect("valid");
    for (share, stays) in [(0.06, true), (0.03, true), (0.024, false)] {
        table.insert(index.clone(), share * 1000.0);
        table.insert(ClassName::parse("GET /docs/*").expect("valid"), (1.0 - share) * 1000.0);
        let next = run(&templates, &table);
        assert_eq!(renamed(&index, &next).is_none(), stays, "{share}");
    }
}

#[test]
fn made_up_extensions_are_no_classes() {
    let (_, names) = learned(&(0..200).map(|i| (format!("/x/file-{i}.e{i}"), 1.0)).collect::<Vec<_>>());
    assert_eq!(names, ["GET /x/*"]);
}
