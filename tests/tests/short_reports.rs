//! A balancer says that it reads short reports, and what a short one says counts as if it had been said in full. Reports
//! come in by a door of their own, which is no wider than that of the other admin endpoints.

use serde_json::{Value, json};
use sluice_tests::admin;
use sluice_tests::site::Balancer;
use sluice_tests::wire::{Conn, get};

const PATH: &str = "/v1/report";

fn report(name: &str, class: &Value) -> String {
    json!({
        "schema": 1, "name": name, "address": format!("{name}.invalid:1"), "boot_id": "b", "seq": 1,
        "interval_ms": 60_000, "window_ms": 1000, "workers": 2, "mode": "inline", "state": "ready",
        "release": {"point": "end", "found": "assumed"}, "now": {}, "classes": [class],
    })
    .to_string()
}

/// What agents reported of one class.
async fn reported(balancer: &Balancer) -> Value {
    let classes = admin::json(balancer.admin, "/v1/classes").await;
    assert_eq!(classes.as_array().map(Vec::len), Some(1), "{classes}");
    classes[0]["reported"].clone()
}

#[tokio::test]
async fn a_short_report_counts_as_a_full_one() {
    // Three requests of 15 ms, 15.001 ms and 21 ms, of which none failed.
    let sketch = json!({"sum": 51_001, "min": 15_000, "max": 21_000, "bins": [[481, 2], [498, 1]]});
    let full = json!({"class": "GET /a", "requests": 3, "errors": 0, "held_us": sketch});
    let short = json!({"class": "GET /a", "requests": 3, "held_us": "0 51001 15000 21000 481 2 17 1"});
    let mut told = Vec::new();
    for class in [full, short] {
        let balancer = Balancer::start("");
        let answer = admin::post(balancer.admin, PATH, "", &report("zope-1", &class)).await;
        assert_eq!(answer.status(), 200, "{}", answer.text());
        let plan: Value = serde_json::from_slice(&answer.body).expect("a plan");
        assert_eq!(plan["lean"], true, "{plan}");
        told.push(reported(&balancer).await);
    }
    assert_eq!((&told[0]["requests"], &told[0]["held_ms"]["max"]), (&json!(3), &json!(21.0)), "{}", told[0]);
    assert_eq!((&told[0]["requests"], &told[0]["held_ms"]), (&told[1]["requests"], &told[1]["held_ms"]));
}

#[tokio::test]
async fn what_a_short_report_can_not_say_is_refused_by_the_name_of_its_field() {
    let balancer = Balancer::start("");
    for (held, says) in [
        (json!("0 3 15000 21000 481 2 17 1"), "classes[0].held_us: sum 3 does not fit"),
        (json!("0 51001 15000"), "classes[0].held_us: a sketch as text is"),
        (json!("0 51001 15000 21000 9999 2"), "classes[0].held_us: bin 9999"),
        (json!(7), "classes[0].held_us"),
    ] {
        let class = json!({"class": "GET /a", "requests": 3, "held_us": held});
        let answer = admin::post(balancer.admin, PATH, "", &report("zope-1", &class)).await;
        assert_eq!((answer.status(), answer.text().starts_with(says)), (422, true), "{}", answer.text());
    }
    assert!(admin::instances(balancer.admin).await.is_empty());
}

#[tokio::test]
async fn the_reports_door_is_guarded_as_the_others_are() {
    let balancer = Balancer::start("");
    let mut conn = Conn::open(balancer.admin).await;
    conn.send(get(PATH)).await;
    let looked = conn.response().await;
    assert_eq!((looked.status(), looked.head.get("allow")), (405, Some("POST")));
    assert!(looked.text().contains("GET /v1/plan"), "{}", looked.text());
    let class = json!({"class": "GET /a", "requests": 0});
    let taken = admin::post(balancer.admin, PATH, "", &report("zope-1", &class)).await;
    let foreign = "origin: http://evil.example\r\nsec-fetch-site: cross-site\r\n";
    let turned_away = admin::post(balancer.admin, PATH, foreign, &report("zope-2", &class)).await;
    assert_eq!((taken.status(), turned_away.status()), (200, 403));
    for answer in [looked, taken, turned_away] {
        let fields = ["x-content-type-options", "cache-control"].map(|name| answer.head.get(name));
        assert_eq!(fields, [Some("nosniff"), Some("no-store")], "{}", answer.text());
        assert!(answer.head.get("content-security-policy").is_some(), "{}", answer.text());
    }
    assert_eq!(admin::instances(balancer.admin).await.len(), 1);
    let counted = admin::metric(balancer.admin, "sluice_reports_total", &["\"unauthorized\""]).await;
    assert_eq!(counted, 1.0);
}
