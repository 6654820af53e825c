//! What is seen, row by row.

use std::time::Duration;

use ratatui::buffer::Buffer;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::layout::Rect;
use serde_json::{Value, json};

use super::draw::{Picture, paint};
use super::plain;
use super::screen::{After, Screen};
use super::site::Site;
use super::table::Sorting;
use super::tables::Pane;

fn instance(name: &str, working: u32, more: &[(&str, Value)]) -> Value {
    let mut view = json!({
        "service": "default", "name": name, "address": "127.0.0.1:80", "source": "agent", "state": "ready",
        "routed": true, "reason": "ready", "role": "general", "operator": "ready", "breaker": "closed",
        "workers": 4, "limit": 4, "working": working, "large": 0, "streaming": 0, "foreign": 0, "slowness": 1.0,
        "homes": 0, "dedicated_since_ms": null, "release": { "point": "end", "found": "configured" },
        "mode": "inline", "version_label": null, "knowledge": "fresh", "report_age_ms": 400,
        "last_success_age_ms": 1, "agent": null,
    });
    more.iter().for_each(|(field, value)| view[*field] = value.clone());
    view
}

fn class(name: &str, per_second: f64, p99_ms: Option<f64>) -> Value {
    let spread = |p99: Option<f64>| json!({ "mean": p99, "p50": p99, "p99": p99, "max": p99 });
    let figures = json!({
        "window_s": 30.0, "requests": 300, "errors": 0, "per_second": per_second, "held_ms": spread(p99_ms),
        "ttfb_ms": spread(p99_ms), "response_bytes": spread(Some(2048.0)),
    });
    json!({
        "service": "default", "class": name, "by": "path", "reason": null, "lane": "small",
        "goes": "small: 5.0 ms is below 80 ms; to the least busy instance", "predicted_held_ms": 5.0,
        "predicted_by": "class", "rate": per_second, "homes": [], "seen": figures, "reported": figures,
    })
}

fn site() -> Site {
    let down = [
        ("routed", false.into()),
        ("operator", "drain".into()),
        ("reason", "drained by the operator".into()),
    ];
    let broken = [("breaker", "open".into()), ("version_label", "v1\u{1b}[2J".into())];
    let lanes = json!([
        { "name": "small", "from_s": 0.0, "to_s": 0.08, "running": 3, "waiting": 2, "cap": 12, "high": 12,
          "patience_s": 1.0, "settled": { "base": 12, "high": 12 }, "lower_wanted": 0, "reason": "all workers" },
    ]);
    let service = json!({
        "service": "default", "version": 3, "mode": "pack", "since_ms": 0, "interference": 0.0,
        "homes": "nothing is known of homes", "lanes": lanes, "moves": [],
    });
    let site = json!({
        "instances": [instance("zope-1", 3, &[]), instance("zope-2", 0, &down), instance("zope-3", 1, &broken)],
        "classes": [
            class("GET /rare", 0.5, Some(1500.0)),
            class("GET /busy", 90.0, Some(5.0)),
            class("GET /unknown", 1.0, None),
        ],
        "plan": { "version": 3, "entries": [], "services": [service] },
    });
    serde_json::from_value(site).expect("as the balancer answers")
}

fn picture(width: u16, height: u16, screen: &Screen, failure: Option<&str>) -> Vec<String> {
    let area = Rect::new(0, 0, width, height);
    let mut buffer = Buffer::empty(area);
    let site = site();
    let age = Duration::from_secs(12);
    paint(&Picture { admin: "http://127.0.0.1:9900", site: &site, age, failure, screen }, area, &mut buffer);
    let row = |y| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>().trim_end().to_owned();
    (0..height).map(row).collect()
}

fn at<'a>(lines: &'a [String], text: &str) -> (usize, &'a str) {
    let found = lines.iter().enumerate().find(|(_, line)| line.contains(text));
    found
        .map(|(n, line)| (n, line.as_str()))
        .unwrap_or_else(|| panic!("{text:?} is not in\n{}", lines.join("\n")))
}

fn press(screen: &mut Screen, keys: &str) -> After {
    let key = |c| match c {
        '\t' => KeyCode::Tab,
        '\n' => KeyCode::Enter,
        '\u{1b}' => KeyCode::Esc,
        '<' => KeyCode::Backspace,
        'v' => KeyCode::Down,
        'e' => KeyCode::End,
        c => KeyCode::Char(c),
    };
    keys.chars().map(|c| screen.key(KeyEvent::new(key(c), KeyModifiers::NONE), 3)).last().expect("a key")
}

fn order(screen: &Screen, pane: Pane) -> Vec<String> {
    let rows = screen.table(pane, &site()).rows;
    rows.iter().map(|row| row[0].text.clone()).collect()
}

#[test]
fn a_wide_terminal_shows_everything() {
    let lines = picture(160, 30, &Screen::new(String::new()), None);
    assert!(lines[0].starts_with(" degraded: 1 of 3 instances get requests, 2 wait, 91.5/s"), "{}", lines[0]);
    assert!(lines[0].ends_with("http://127.0.0.1:9900"), "{}", lines[0]);
    for (row, parts) in [
        ("zope-1", &["up", "general", "3/4", "400 ms", "ready"][..]),
        ("zope-2", &["draining", "0/4", "drained by the operator"]),
        ("zope-3", &["unreachable", "1/4", "v1?[2J"]),
        ("all workers", &["small", "0.0 ms to 80 ms", "12", "packed"]),
        ("GET /rare", &["0.5/s", "1.5 s", "2.0 KiB", "to the least busy instance"]),
        ("GET /unknown", &[" - "]),
        ("q quit", &["Tab", "filter"]),
    ] {
        let (_, line) = at(&lines, row);
        parts.iter().for_each(|part| assert!(line.contains(part), "{part:?}: {line}"));
    }
    assert!(at(&lines, "GET /busy").0 < at(&lines, "GET /rare").0, "the most requests first");
}

#[test]
fn a_narrow_terminal_shows_what_matters_most() {
    for (width, gone, left) in [
        (100, &["foreign"][..], &["instance", "state", "role", "report", "why", "goes"][..]),
        (
            60,
            &["role", "streams", "ttfb", "size"],
            &["instance", "state", "workers", "rate", "p99", "why", "goes"],
        ),
        (40, &["report", "errors"], &["instance", "state", "workers", "class", "rate", "p99"]),
    ] {
        let lines = picture(width, 30, &Screen::new(String::new()), None);
        let heads: Vec<_> = [at(&lines, "instance ").1, at(&lines, "class ").1]
            .join(" ")
            .split(' ')
            .map(str::to_owned)
            .collect();
        gone.iter()
            .for_each(|name| assert!(!heads.iter().any(|head| head == name), "{width}: {name}: {heads:?}"));
        left.iter()
            .for_each(|name| assert!(heads.iter().any(|head| head == name), "{width}: {name}: {heads:?}"));
    }
    let low = picture(100, 12, &Screen::new(String::new()), None);
    assert!(at(&low, "zope-1").0 < at(&low, "GET /unknown").0, "the classes, and as many instances as fit");
    // Whatever is left of it, it does not fall over.
    for (width, height) in [(1, 1), (10, 3), (20, 8), (300, 2)] {
        picture(width, height, &Screen::new(String::new()), None);
    }
}

#[test]
fn what_is_old_says_so() {
    let lines = picture(120, 30, &Screen::new(String::new()), Some("connection refused"));
    assert!(lines[0].starts_with(" STALE, 12.0 s old: connection refused"), "{}", lines[0]);
    at(&lines, "zope-1");
    let mut screen = Screen::new(String::new());
    press(&mut screen, " ");
    assert!(picture(120, 30, &screen, None)[0].starts_with(" paused, 12.0 s old: "));
}

#[test]
fn keys_sort() {
    let mut screen = Screen::new(String::new());
    assert_eq!(order(&screen, Pane::Classes), ["GET /busy", "GET /unknown", "GET /rare"]);
    press(&mut screen, "r");
    assert_eq!(order(&screen, Pane::Classes), ["GET /rare", "GET /unknown", "GET /busy"]);
    press(&mut screen, "SS");
    assert_eq!(order(&screen, Pane::Classes), ["GET /busy", "GET /rare", "GET /unknown"], "by name");
    press(&mut screen, "sssss");
    assert_eq!(
        order(&screen, Pane::Classes),
        ["GET /rare", "GET /busy", "GET /unknown"],
        "by p99, unknown last"
    );
    assert_eq!(order(&screen, Pane::Instances), ["zope-1", "zope-2", "zope-3"], "left alone");
    press(&mut screen, "\tsss");
    assert_eq!(order(&screen, Pane::Instances), ["zope-1", "zope-3", "zope-2"], "by workers");
}

#[test]
fn keys_filter_and_quit() {
    let mut screen = Screen::new(String::new());
    assert_eq!(press(&mut screen, "/rArq<"), After::GoOn);
    assert_eq!((screen.filter.as_str(), screen.typing), ("rAr", true));
    assert_eq!(order(&screen, Pane::Classes), ["GET /rare"]);
    assert_eq!(order(&screen, Pane::Lanes).len(), 1, "lanes are always shown");
    at(&picture(100, 30, &screen, None), "filter: rAr_");
    press(&mut screen, "\n");
    at(&picture(100, 30, &screen, None), "filter: rAr  (Esc");
    assert_eq!(press(&mut screen, "\u{1b}"), After::GoOn);
    assert_eq!(order(&screen, Pane::Classes).len(), 3);
    assert_eq!(press(&mut screen, "q"), After::Quit);
    let interrupt = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    assert_eq!(screen.key(interrupt, 3), After::Quit);
}

#[test]
fn rows_that_do_not_fit_can_be_scrolled_to() {
    let mut screen = Screen::new(String::new());
    let before = picture(100, 7, &screen, None);
    assert!(at(&before, "Classes").1.contains("1 to 2 of 3"), "{before:?}");
    press(&mut screen, "e");
    let after = picture(100, 7, &screen, None);
    assert!(at(&after, "Classes").1.contains("2 to 3 of 3"), "{after:?}");
    at(&after, "GET /rare");
}

#[test]
fn plain_tables_are_for_scripts() {
    let mut screen = Screen::new("zope".to_owned());
    let by = Sorting::named(Pane::Instances.columns(), "--sort", Some("-workers")).expect("a column");
    screen.sort(Pane::Instances, by);
    let text = plain::tables(&site(), &screen);
    let lines: Vec<_> = text.lines().collect();
    assert!(lines[0].starts_with("degraded: 1 of 3"), "{text}");
    let names: Vec<_> = lines.iter().filter(|l| l.starts_with("zope")).map(|l| &l[..6]).collect();
    assert_eq!(names, ["zope-2", "zope-3", "zope-1"]);
    assert!(!text.contains("GET /") && !text.contains('\u{1b}'), "{text}");
    let error = Sorting::named(Pane::Classes.columns(), "--sort", Some("speed")).expect_err("no such column");
    assert!(error.to_string().contains("speed") && error.to_string().contains("p99"), "{error}");
    let again: Site = serde_json::from_str(&site().json()).expect("what --json prints can be read");
    assert_eq!(again.json(), site().json());
}
