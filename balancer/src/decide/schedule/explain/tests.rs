use std::time::{Duration, Instant};

use super::*;
use crate::decide::dispatch::explain::Standing;
use crate::decide::dispatch::{Arrival, ClassId, Load, Wait, Why};
use crate::decide::predict::{Estimate, ExtensionKey, RequestKey, UrlKey};
use crate::decide::schedule::Settings;

const ID: InstanceId = InstanceId(3);

fn load(working: u32, workers: u32, large: u32) -> Load {
    Load { workers, believed: workers, working, large, ..Load::default() }
}

fn candidate(standing: Standing, load: Load) -> Candidate {
    Candidate { id: ID, load, dedicated: false, fresh: false, slowness: 1.0, home: false, standing }
}

fn small() -> LaneState {
    LaneState {
        number: 0,
        name: "small",
        by_rule: false,
        from_ms: 0.0,
        to_ms: Some(80.0),
        cap: None,
        high: None,
        patience_ms: 0.0,
        running: 2,
        running_with_larger: 3,
        waiting: 9,
        oldest_wait_ms: 20.0,
        expected_wait_ms: 45.0,
        longest_wait_ms: Some(30_000.0),
        shed: Shed::default(),
    }
}

fn large() -> LaneState {
    LaneState {
        number: 1,
        name: "large",
        from_ms: 80.0,
        to_ms: None,
        cap: Some(2),
        high: Some(3),
        patience_ms: 750.0,
        running_with_larger: 2,
        expected_wait_ms: 70_000.0,
        longest_wait_ms: Some(60_000.0),
        ..small()
    }
}

fn explanation(lane: LaneState, course: Course, candidates: Vec<Candidate>) -> Explanation {
    let estimate = |mean| Estimate { mean, samples: 12.0, from: Source::Class };
    let ms = Duration::from_millis;
    Explanation {
        prediction: Predicted::from(Prediction { held: estimate(0.0123), bytes: estimate(20_480.0) }),
        lane,
        homes: HomesState { of_class: vec![], worth: Worth::Pays { home: ms(10), away: ms(40) } },
        mode: Mode::Pack,
        course,
        candidates,
        others: 0,
    }
}

#[test]
fn decisions_are_told_with_their_figures() {
    let sent = |why| Course::Sent { instance: ID, why };
    let waits = |why, at| Course::Waits { why, at };
    let refused = |why| Course::Refused { why };
    let to = candidate(Standing::Picked, load(1, 4, 1));
    for (lane, course, words) in [
        (
            small(),
            sent(Why::Free),
            "sent to zope-3 at once: the smallest share of its workers is held, 1 of 4",
        ),
        (small(), sent(Why::Home), "sent to zope-3 at once: its class is at home there, 1 of 4 workers held"),
        (
            small(),
            sent(Why::Ahead),
            "sent to zope-3 at once: every worker is held and 9 wait, so one more short request is sent there",
        ),
        (
            small(),
            sent(Why::Beside),
            "sent to zope-3 at once: every free worker is beside large requests, 1 here, 1 of 4 workers held",
        ),
        (
            large(),
            sent(Why::Dedicated),
            "sent to zope-3 at once: it is for large requests first, 1 of 4 workers held",
        ),
        (
            small(),
            waits(Wait::Home, Some(ID)),
            "waits for zope-3, where its class is at home: a request holds a worker for 10 ms at home and for 40 ms elsewhere",
        ),
        (small(), waits(Wait::Queue, None), "waits, for about 45 ms: 9 small requests came before"),
        (small(), waits(Wait::Busy, None), "waits, for about 45 ms: every worker is held"),
        (
            large(),
            waits(Wait::Cap, None),
            "waits, for about 70.0 s: large requests hold 2 workers and may hold 2, 3 after a wait of 750 ms",
        ),
        (
            large(),
            refused(Refusal::TooLate),
            "turned away with 503: it would wait for about 70.0 s, longer than it may: large requests may wait for 60.0 s at present",
        ),
        (small(), refused(Refusal::NoInstance), "turned away with 503: no instance that may serve it is up"),
    ] {
        let told = explanation(lane, course, vec![to]);
        assert_eq!(told.decision(|id| format!("zope-{}", id.0)), words);
    }
}

#[test]
fn each_instance_is_told_why_or_why_not() {
    let free = Course::Sent { instance: InstanceId(9), why: Why::Free };
    let home = Course::Sent { instance: InstanceId(9), why: Why::Home };
    let cap = Course::Waits { why: Wait::Cap, at: None };
    let later = |load| candidate(Standing::Later, load);
    let foreign = Load { foreign: 1, ..load(1, 2, 1) };
    for (lane, course, candidate, words) in [
        (small(), free, later(load(1, 2, 0)), "a worker is free: 1 of 2 workers held, others come first"),
        (
            small(),
            free,
            later(load(2, 4, 2)),
            "a worker is free: beside 2 large requests, used after those without",
        ),
        (
            small(),
            free,
            Candidate { dedicated: true, ..later(load(0, 1, 0)) },
            "a worker is free: for large requests first, used when the others are busy",
        ),
        (
            small(),
            free,
            Candidate { fresh: true, ..later(load(0, 1, 0)) },
            "a worker is free: it just came up, used after the others",
        ),
        (small(), home, later(load(0, 1, 0)), "a worker is free: its class is at home elsewhere"),
        (
            small(),
            free,
            candidate(Standing::Held, foreign),
            "no worker is free: it works on 1 request, 1 of them large, and on 1 of others",
        ),
        (
            small(),
            free,
            Candidate { slowness: 4.96, ..candidate(Standing::Slow, load(0, 1, 0)) },
            "5.0 times slower: used when no better worker is free in time",
        ),
        (
            large(),
            cap,
            candidate(Standing::Capped, load(0, 1, 0)),
            "a worker is free, but large requests hold 2 workers and may hold 2, 3 after a wait of 750 ms",
        ),
    ] {
        assert_eq!(explanation(lane, course, vec![candidate]).stands(&candidate), words);
    }
}

#[test]
fn lanes_and_predictions_say_what_they_are_from() {
    assert_eq!(small().words(12.3), "small: 12 ms is less than 80 ms");
    assert_eq!(large().words(1500.0), "large: 1.5 s is 80 ms or more");
    let middle = LaneState { to_ms: Some(800.0), ..large() };
    assert_eq!(middle.words(100.0), "large: 100 ms is between 80 ms and 800 ms");
    let pinned = LaneState { by_rule: true, ..large() };
    assert_eq!(pinned.words(1.0), "large, as the operator's rule says");
    let told = explanation(small(), Course::Refused { why: Refusal::QueueFull }, vec![]);
    assert_eq!(
        told.prediction.words(),
        "holds a worker for 12 ms and sends 20 KiB (12 requests of its class seen)"
    );
    assert_eq!([9.94, 9.96, 999.4, 999.6].map(time), ["9.9 ms", "10 ms", "999 ms", "1.0 s"]);
}

fn ask(class: u32, url: u64) -> Ask {
    Ask::new(RequestKey { class: ClassId(class), url: UrlKey(url), extension: ExtensionKey::Bare })
}

/// Also what the scheduler adds to the pick: lanes as predicted, and waits that are too long.
#[test]
fn the_scheduler_does_what_was_explained() {
    let mut seen = vec![];
    for seed in 0..50 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut now = Instant::now();
        let settings = Settings { small_wait: Duration::from_millis(100), ..Settings::default() };
        let mut scheduler: Scheduler<()> = Scheduler::new(now, settings, rng.fork());
        (0..3).for_each(|id| scheduler.set_instance(InstanceId(id), 1, true, now));
        let mut held = vec![];
        for step in 0..400 {
            now += Duration::from_millis(rng.u64(..20));
            let ask = ask(rng.u32(1..6), step);
            if step % 50 == 0 {
                scheduler.tick(now, 0, Default::default());
            }
            let told = scheduler.explain(&ask, now);
            let (arrival, judgement) = scheduler.arrive(now, &ask, &[], || ());
            assert_eq!(told.lane.number, judgement.lane.index(), "seed {seed}");
            let did = match arrival {
                Arrival::Slot(granted) => {
                    held.push((granted.run, now + Duration::from_millis(u64::from(ask.key.class.0.pow(4)))));
                    Course::Sent { instance: granted.instance, why: granted.why }
                }
                Arrival::Waiting(_) => told.course,
                Arrival::Refused(why) => Course::Refused { why },
            };
            let waits = matches!(told.course, Course::Waits { .. });
            assert_eq!((did, waits), (told.course, matches!(arrival, Arrival::Waiting(_))), "seed {seed}");
            seen.push(told.refusal());
            let outcome = crate::decide::schedule::Outcome {
                answered: true,
                failed: false,
                bytes: Some(1000),
                held_to_the_end: true,
            };
            held.retain(|(run, until)| {
                let over = *until <= now;
                if over {
                    scheduler.end(*run, outcome, now);
                }
                !over
            });
            while let Some(grant) = scheduler.next_grant(now) {
                held.push((grant.granted.run, now + Duration::from_millis(30)));
            }
        }
    }
    assert!(seen.contains(&Some(Refusal::TooLate)) && seen.contains(&None), "both happen");
}
