use sluice_proto::report::ReleasePoint;

use super::*;
use crate::decide::sources::Origin;

fn report(boot: &str, seq: u64, state: &str) -> Report {
    let json = serde_json::json!({
        "schema": 1, "name": "zope-1", "address": "127.0.0.1:8081", "boot_id": boot, "seq": seq,
        "interval_ms": 1000, "window_ms": 1000, "workers": 2, "mode": "inline", "state": state,
        "release": {"point": "end", "found": "assumed"}, "now": {},
    });
    Report::parse(json.to_string().as_bytes()).expect("valid")
}

fn host(n: u8) -> Sender {
    Sender::at([10, 0, 0, n].into())
}

fn key() -> Key {
    (ServiceName::default(), "zope-1".parse().expect("a name"))
}

#[test]
fn late_repeated_and_reordered_reports_change_nothing() {
    let now = Instant::now();
    let mut members = Membership::default();
    let steps = [
        ("a", 5, Ok("registered")),
        ("a", 5, Err("repeated")),
        ("a", 4, Err("reordered")),
        ("a", 9, Ok("updated")),
        ("b", 1, Ok("restarted")),
        ("a", 10, Err("earlier boot")),
        ("b", 2, Ok("updated")),
    ];
    for (boot, seq, expected) in steps {
        let result = members.report(&report(boot, seq, "ready"), &host(1), now);
        let outcome = match result {
            Ok(Accepted::Registered(_)) => Ok("registered"),
            Ok(Accepted::Restarted(_)) => Ok("restarted"),
            Ok(Accepted::Updated(_)) => Ok("updated"),
            Err(Rejected::Stale(Stale::Sequence { got, last })) if got == last => Err("repeated"),
            Err(Rejected::Stale(Stale::Sequence { .. })) => Err("reordered"),
            Err(Rejected::Stale(Stale::EarlierBoot)) => Err("earlier boot"),
            Err(Rejected::Misplaced(_)) => Err("misplaced"),
        };
        assert_eq!(outcome, expected, "{boot} {seq}");
    }
    assert_eq!(members.get(&key()).and_then(|m| m.agent.as_ref()).map(|a| a.seq), Some(2));
}

#[test]
fn release_points_of_classes_are_believed_for_as_long_as_an_agent_in_the_way_repeats_them() {
    let start = Instant::now();
    for (mode, age_ms, believed) in
        [(Mode::Inline, 2_999, 1), (Mode::Inline, 3_001, 0), (Mode::Passive, 0, 0)]
    {
        let claim = r#"{"class": "GET /a", "point": "first-byte", "found": "learned", "up_to_bytes": 9}"#;
        let claim: ClassRelease = serde_json::from_str(claim).expect("valid");
        let mut members = Membership::default();
        let said = Report { mode, releases: vec![claim], ..report("a", 1, "ready") };
        members.report(&said, &host(1), start).expect("news");
        let at = start + Duration::from_millis(age_ms);
        let member = members.get(&key()).expect("known");
        assert_eq!(member.releases(at).len(), believed, "{mode:?} {age_ms}");
        members.report(&report("a", 2, "ready"), &host(1), at).expect("news");
        assert!(members.get(&key()).expect("known").releases(at).is_empty(), "not said again");
    }
}

#[test]
fn workers_of_others_are_heeded_only_where_the_agent_knows_the_present() {
    for (mode, measured, foreign) in [
        ("inline", serde_json::json!(null), 2),
        ("inline", serde_json::json!({"in_flight": "unmeasured"}), 0),
        ("passive", serde_json::json!(null), 0),
        ("passive", serde_json::json!({"by": ["access-log"], "held_us": "estimated"}), 0),
        ("passive", serde_json::json!({"by": ["metrics"], "in_flight": "measured"}), 2),
    ] {
        let mut members = Membership::default();
        let mut said = 0;
        for seq in 1..=6 {
            let mut report = report("a", seq, "ready");
            report.mode = serde_json::from_value(mode.into()).expect("a mode");
            report.measured = serde_json::from_value(measured.clone()).expect("which were measured");
            report.now.in_flight = 3;
            members.report(&report, &host(1), Instant::now()).expect("news");
            said = members.compare(&key(), 1);
        }
        assert_eq!(said, foreign, "{mode} {measured}");
    }
}

#[test]
fn the_lease_ends_after_ten_silent_intervals_and_static_ones_have_none() {
    let start = Instant::now();
    let at = |ms| start + Duration::from_millis(ms);
    let mut members = Membership::default();
    let other = (ServiceName::default(), "static".parse().expect("a name"));
    let target = "127.0.0.1:1".parse().expect("a target");
    let (origin, standing) = (Origin::Configuration, Standing::Serving);
    members.set_wanted(&other, Wanted { target, workers: 1, release: ReleasePoint::End, origin, standing });
    let id = members.report(&report("a", 1, "ready"), &host(1), start).expect("first").id();
    assert!(members.expire(at(9_999), |_, _| None).is_empty());
    assert!(members.expire(at(12_000), |_, _| Some(at(5_000))).is_empty(), "it answered since");
    let gone = members.expire(at(15_000), |_, _| Some(at(5_000)));
    assert_eq!(gone.iter().map(|(_, m)| m.id).collect::<Vec<_>>(), [id]);
    assert!(members.get(&other).is_some());
    let again = members.report(&report("a", 2, "ready"), &host(1), at(16_000)).expect("news");
    assert!(matches!(again, Accepted::Registered(new) if new != id), "an id is never used twice");
}

/// A machine that was suspended for a minute has lost no instance when it goes on.
#[test]
fn nobody_is_silent_while_nobody_listens() {
    let start = Instant::now();
    let at = |ms| start + Duration::from_millis(ms);
    let mut members = Membership::default();
    members.report(&report("a", 1, "ready"), &host(1), start).expect("first");
    members.forgive(Duration::from_secs(60), at(61_000));
    assert!(members.expire(at(61_000), |_, _| None).is_empty());
    assert!(members.expire(at(69_999), |_, _| None).is_empty());
    assert_eq!(members.expire(at(70_000), |_, _| None).len(), 1, "10 s after it could have been heard last");
    members.report(&report("a", 2, "ready"), &host(1), at(71_000)).expect("it is back");
    members.forgive(Duration::from_secs(60), at(72_000));
    assert_eq!(members.expire(at(82_000), |_, _| None).len(), 1, "nobody is heard in the future");
}

#[test]
fn maintenance_outlives_the_lease() {
    let start = Instant::now();
    let at = |ms| start + Duration::from_millis(ms);
    let mut members = Membership::default();
    members.report(&report("a", 1, "ready"), &host(1), start).expect("first");
    members.operate(&key(), Word::Maintenance).expect("known");
    assert_eq!(members.expire(at(20_000), |_, _| None).len(), 1);
    members.report(&report("b", 1, "ready"), &host(1), at(60_000)).expect("it is back");
    let routing = members.get(&key()).expect("known").routing();
    assert!(matches!(routing, Routing::Excluded(_)), "{routing:?}");
}

#[test]
fn the_operator_has_the_last_word() {
    let now = Instant::now();
    for (state, word, routed) in [
        ("ready", Word::Ready, true),
        ("draining", Word::Ready, false),
        ("down", Word::Ready, false),
        ("ready", Word::Drain, false),
        ("ready", Word::Maintenance, false),
    ] {
        let mut members = Membership::default();
        members.report(&report("a", 1, state), &host(1), now).expect("first");
        members.operate(&key(), word).expect("known");
        members.report(&report("a", 2, state), &host(1), now).expect("a report does not undo it");
        let routing = members.get(&key()).expect("known").routing();
        assert_eq!(routing == Routing::Routed, routed, "{state} {word:?}: {routing:?}");
    }
}
