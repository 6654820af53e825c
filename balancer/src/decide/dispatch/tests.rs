mod exact;
mod outliers;

use std::time::{Duration, Instant};

use super::*;
use crate::decide::learn::affinity::Worth;
use crate::decide::predict::{ExtensionKey, UrlKey};

const A: InstanceId = InstanceId(1);
const B: InstanceId = InstanceId(2);

fn strict() -> PickParams {
    PickParams { ahead_from: f64::INFINITY, slow_start: Duration::ZERO, ..PickParams::default() }
}

fn dispatcher(
    now: Instant,
    queue: usize,
    params: PickParams,
    instances: &[(InstanceId, u32)],
) -> Dispatcher<u32> {
    let mut d = Dispatcher::new(now, queue, now, params, fastrand::Rng::with_seed(5));
    instances.iter().for_each(|(id, workers)| d.set_instance(*id, *workers, true, now));
    d
}

/// A request whose class is known to be short.
fn page() -> Demand {
    Demand { known_short: true, ..unknown() }
}

fn unknown() -> Demand {
    of_class(0, Lane::SMALL)
}

fn blob() -> Demand {
    of_class(1, Lane::LARGE)
}

fn of_class(class: u32, lane: Lane) -> Demand {
    let (class, url) = (ClassId(class), UrlKey(class.into()));
    Demand::new(RequestKey { class, url, extension: ExtensionKey::Bare }, lane)
}

fn slot(arrival: Arrival) -> Granted {
    match arrival {
        Arrival::Slot(granted) => granted,
        other => panic!("expected a slot: {other:?}"),
    }
}

fn ticket(arrival: Arrival) -> Ticket {
    match arrival {
        Arrival::Waiting(ticket) => ticket,
        other => panic!("expected to wait: {other:?}"),
    }
}

fn load(d: &Dispatcher<u32>, id: InstanceId) -> (u32, u32) {
    let load = d.occupancy(id).expect("known").load;
    (load.working, load.streaming)
}

fn rules(now: Instant, cap: usize, high: usize, dedicated: &[InstanceId]) -> Rules {
    let mut rules = Rules { dedicated: dedicated.to_vec(), ..Rules::none(now) };
    let patience = Duration::from_secs(1);
    rules.lanes[1] = LaneRule { cap, high, patience, starving: Duration::from_secs(60) };
    rules
}

#[test]
fn a_freed_slot_goes_to_the_longest_waiter() {
    let now = Instant::now();
    let mut d = dispatcher(now, 2, strict(), &[(A, 1)]);
    let first = slot(d.arrive(now, page(), &[], || 0));
    ticket(d.arrive(now, page(), &[], || 1));
    let leaves = ticket(d.arrive(now, page(), &[], || 2));
    assert_eq!(d.arrive(now, page(), &[], || 3), Arrival::Refused(Refusal::QueueFull));
    assert_eq!(d.next_grant(now), None);
    d.end(first.run, now);
    let grant = d.next_grant(now).expect("a slot is free");
    assert_eq!((grant.waiter, grant.granted.instance), (1, A));
    assert_eq!(d.next_grant(now), None, "one slot, one grant");
    assert_eq!(d.leave(leaves), Some(2));
    d.end(grant.granted.run, now);
    assert_eq!(d.next_grant(now), None, "the other one left");
    assert_eq!(load(&d, A), (0, 0));
}

#[test]
fn the_first_byte_frees_the_worker_and_not_the_stream() {
    let now = Instant::now();
    let mut d = dispatcher(now, 1, strict(), &[(A, 1)]);
    let first = slot(d.arrive(now, page(), &[], || 0)).run;
    let released = d.first_byte(first, now + Duration::from_millis(5)).expect("it held a worker");
    assert_eq!(released.held, Duration::from_millis(5));
    assert_eq!(d.first_byte(first, now), None, "only once");
    assert_eq!(load(&d, A), (0, 1));
    let second = slot(d.arrive(now, page(), &[], || 1));
    assert_eq!(second.instance, A);
    assert_eq!(d.end(first, now), None, "it held no worker any more");
    assert_eq!(load(&d, A), (1, 0));
    assert_eq!(d.end(first, now), None, "nor is it there twice");
}

#[test]
fn who_avoids_an_instance_does_not_block_those_who_do_not() {
    let now = Instant::now();
    let mut d = dispatcher(now, 9, strict(), &[(A, 1), (B, 1)]);
    let on_a = slot(d.arrive(now, page(), &[B], || 0));
    let on_b = slot(d.arrive(now, page(), &[], || 1));
    assert_eq!((on_a.instance, on_b.instance), (A, B));
    ticket(d.arrive(now, page(), &[A], || 2));
    ticket(d.arrive(now, page(), &[], || 3));
    d.end(on_a.run, now);
    assert_eq!(d.next_grant(now).map(|g| (g.waiter, g.granted.instance)), Some((3, A)));
    d.end(on_b.run, now);
    assert_eq!(d.next_grant(now).map(|g| (g.waiter, g.granted.instance)), Some((2, B)));
    assert_eq!(d.arrive(now, page(), &[A, B], || 4), Arrival::Refused(Refusal::NoInstance));
}

#[test]
fn nobody_up_is_refused_but_a_fresh_balancer_waits_for_its_agents() {
    let now = Instant::now();
    let hold = Duration::from_secs(3);
    let mut d: Dispatcher<u32> = Dispatcher::new(now, 9, now + hold, strict(), fastrand::Rng::with_seed(5));
    ticket(d.arrive(now, page(), &[], || 0));
    assert_eq!(d.arrive(now + hold, page(), &[], || 1), Arrival::Refused(Refusal::NoInstance));
    d.set_instance(A, 1, true, now);
    let grant = d.next_grant(now).expect("an instance came");
    d.set_instance(A, 1, false, now);
    assert_eq!(d.arrive(now, page(), &[], || 2), Arrival::Refused(Refusal::NoInstance), "draining");
    d.set_instance(A, 1, true, now);
    d.end(grant.granted.run, now);
    d.unreachable(A, now);
    assert_eq!(d.arrive(now, page(), &[], || 3), Arrival::Refused(Refusal::NoInstance), "unreachable");
    let later = now + Duration::from_millis(250);
    let later = later + Duration::from_secs(1);
    assert_eq!(slot(d.arrive(later, page(), &[], || 4)).instance, A, "one finds out");
    ticket(d.arrive(later + Duration::from_secs(2), page(), &[], || 5));
    d.reached(A);
    assert_eq!(d.next_grant(later), None, "its one worker is held");
}

#[test]
fn who_can_not_be_reached_is_tried_once_at_a_time_and_by_no_request() {
    let now = Instant::now();
    let at = |ms| now + Duration::from_millis(ms);
    let mut d = dispatcher(now, 9, strict(), &[(A, 1), (B, 1)]);
    d.unreachable(A, now);
    assert!(d.due(at(249)).is_empty());
    assert_eq!(d.due(at(250)), [A]);
    assert!(d.due(at(500)).is_empty(), "somebody is finding out");
    d.unreachable(A, at(500));
    d.set_instance(A, 1, false, at(600));
    assert!(d.due(at(1000)).is_empty(), "it is drained");
    d.set_instance(A, 1, true, at(1000));
    assert_eq!(d.due(at(1000)), [A], "after a longer pause");
    assert_eq!(slot(d.arrive(at(1000), page(), &[], || 0)).instance, B);
    ticket(d.arrive(at(1000), page(), &[], || 1));
    d.reached(A);
    assert_eq!(d.next_grant(at(1000)).expect("for who waits").granted.instance, A);
}

/// B says first that it has not checked its instance yet, as every agent may.
#[test]
fn who_comes_back_is_used_after_the_others_for_a_while_but_not_while_the_balancer_starts() {
    let start = Instant::now();
    let params = PickParams { ahead_from: f64::INFINITY, ..PickParams::default() };
    let mut d = dispatcher(start, 9, params, &[(A, 1)]);
    let picks_b = |d: &mut Dispatcher<u32>, now| {
        let granted = slot(d.arrive(now, page(), &[], || 0));
        d.end(granted.run, now);
        granted.instance == B
    };
    for (returns, seen, expected) in [(1, 1, true), (60, 60, false), (60, 69, false), (60, 71, true)] {
        let (returns, seen) = (start + Duration::from_secs(returns), start + Duration::from_secs(seen));
        d.set_instance(B, 1, false, returns);
        d.set_instance(B, 1, true, returns);
        let rules = Rules { homes: Worth::None, ..Rules::none(seen) };
        d.follow(rules, Duration::from_secs(1), &[], seen);
        assert_eq!((0..40).any(|_| picks_b(&mut d, seen)), expected, "{:?} after start", seen - start);
    }
}

#[test]
fn late_words_about_a_removed_instance_change_nothing() {
    let now = Instant::now();
    let mut d = dispatcher(now, 9, strict(), &[(A, 1), (B, 1)]);
    let on_a = slot(d.arrive(now, page(), &[B], || 0)).run;
    d.remove_instance(A);
    assert!(d.first_byte(on_a, now).is_some(), "its time still counts");
    d.end(on_a, now);
    d.unreachable(A, now);
    assert_eq!(d.occupancy(A), None);
    assert_eq!(slot(d.arrive(now, page(), &[], || 1)).instance, B);
}

#[test]
fn large_requests_stay_within_their_cap_and_on_their_instances() {
    let now = Instant::now();
    let instances: Vec<_> = (0..4).map(|id| (InstanceId(id), 2)).collect();
    let mut d = dispatcher(now, 99, strict(), &instances);
    d.follow(rules(now, 3, 4, &[InstanceId(2), InstanceId(3)]), Duration::from_secs(1), &[], now);
    let blobs: Vec<_> = (0..3).map(|i| slot(d.arrive(now, blob(), &[], || i))).collect();
    assert_eq!(blobs[0].instance, blobs[1].instance, "packed");
    assert!(blobs.iter().all(|b| b.instance.0 >= 2), "{blobs:?}");
    ticket(d.arrive(now, blob(), &[], || 7));
    assert_eq!(d.next_grant(now), None, "the cap is 3");
    let pages: Vec<_> = (0..5).map(|i| slot(d.arrive(now, page(), &[], || i)).instance.0).collect();
    assert!(pages[..4].iter().all(|id| *id < 2), "small ones elsewhere first: {pages:?}");
    let patient = now + Duration::from_secs(1);
    assert_eq!(d.next_grant(patient), None, "all workers are held");
    d.end(blobs[0].run, patient);
    assert_eq!(d.next_grant(patient).map(|g| g.waiter), Some(7));
}

#[test]
fn a_large_request_that_has_waited_may_use_one_more_worker() {
    let now = Instant::now();
    let mut d = dispatcher(now, 99, strict(), &[(A, 4)]);
    let mut long = rules(now, 1, 2, &[]);
    long.held[1] = Some(Duration::from_secs(1));
    d.follow(long, Duration::from_secs(1), &[], now);
    slot(d.arrive(now, blob(), &[], || 0));
    ticket(d.arrive(now, blob(), &[], || 1));
    let at = |ms| now + Duration::from_millis(ms);
    assert_eq!(d.next_grant(at(999)), None);
    assert_eq!(d.next_grant(at(1000)).map(|g| g.waiter), Some(1));
    ticket(d.arrive(at(1000), blob(), &[], || 2));
    assert_eq!(d.next_grant(at(3000)), None, "2 is the most");
    assert_eq!(d.next_grant(at(5001)).map(|g| g.waiter), Some(2), "a plan that old is none");
}

#[test]
fn one_that_hangs_does_not_hold_what_large_ones_may_hold() {
    let now = Instant::now();
    let at = |ms| now + Duration::from_millis(ms);
    for (case, held, hangs_at) in [("none is known", None, 2000), ("they take 1 s", Some(1000), 8000)] {
        let mut d = dispatcher(now, 99, strict(), &[(A, 4)]);
        let follow = |d: &mut Dispatcher<u32>, now| {
            let mut one = rules(now, 1, 1, &[]);
            one.held[1] = held.map(Duration::from_millis);
            d.follow(one, Duration::from_millis(250), &[], now);
        };
        follow(&mut d, now);
        let hangs = slot(d.arrive(now, page(), &[], || 0)).run;
        let late = d.next_late(at(250)).expect("overdue").run;
        assert_eq!((late, d.reclassify(late, Lane::LARGE)), (hangs, Some(Lane::SMALL)), "{case}");
        for i in 1..4 {
            ticket(d.arrive(at(250), blob(), &[], || i));
        }
        for ms in (250..hangs_at).step_by(250) {
            follow(&mut d, at(ms));
            assert_eq!(d.next_grant(at(ms)), None, "{case}, after {ms} ms");
        }
        let later = at(hangs_at + 1000);
        let next = d.next_grant(at(hangs_at)).expect("one is let by");
        let backlog = d.backlog(Lane::LARGE, now);
        assert_eq!((next.waiter, backlog.running, backlog.counted), (1, 2, 1), "{case}");
        assert_eq!(d.next_grant(later), None, "{case}: it counts");
        d.end(next.granted.run, later);
        let next = d.next_grant(later).expect("in its place").granted.run;
        d.end(hangs, later);
        assert_eq!(d.next_grant(later), None, "{case}: as before");
        assert!(d.end(next, later).is_some() && d.next_grant(later).is_some(), "{case}");
    }
}

#[test]
fn small_requests_come_before_large_ones_until_those_starve() {
    let now = Instant::now();
    let mut d = dispatcher(now, 99, strict(), &[(A, 1)]);
    let mut starving = rules(now, 1, 1, &[]);
    starving.lanes[1].starving = Duration::from_secs(2);
    d.follow(starving, Duration::from_secs(9), &[], now);
    let first = slot(d.arrive(now, page(), &[], || 0)).run;
    ticket(d.arrive(now, blob(), &[], || 1));
    ticket(d.arrive(now, page(), &[], || 2));
    ticket(d.arrive(now, page(), &[], || 3));
    d.end(first, now);
    let second = d.next_grant(now).expect("free");
    assert_eq!(second.waiter, 2, "small first");
    let later = now + Duration::from_millis(2001);
    d.end(second.granted.run, later);
    assert_eq!(d.next_grant(later).map(|g| g.waiter), Some(1), "it has waited for too long");
}

#[test]
fn one_short_request_is_sent_ahead_but_never_behind_what_may_be_long() {
    let now = Instant::now();
    let at_once = PickParams { ahead_from: 0.0, ahead_least: 0, ..PickParams::default() };
    let mut d = dispatcher(now, 99, at_once, &[(A, 1), (B, 1)]);
    let unknown = slot(d.arrive(now, unknown(), &[], || 0)).instance;
    let known = slot(d.arrive(now, page(), &[], || 1)).instance;
    assert_ne!(unknown, known);
    assert_eq!(slot(d.arrive(now, page(), &[], || 2)).instance, known, "ahead");
    ticket(d.arrive(now, page(), &[], || 3));
    assert_eq!(d.next_grant(now), None, "one is enough");
    assert_eq!(load(&d, known).0, 2);
}

#[test]
fn the_time_of_one_sent_ahead_begins_when_its_worker_is_freed() {
    let now = Instant::now();
    let at = |ms| now + Duration::from_millis(ms);
    let at_once = PickParams { ahead_from: 0.0, ahead_least: 0, ..PickParams::default() };
    let mut d = dispatcher(now, 9, at_once, &[(A, 1)]);
    let first = slot(d.arrive(now, page(), &[], || 0)).run;
    let ahead = slot(d.arrive(now, page(), &[], || 1)).run;
    d.end(first, at(200));
    assert_eq!(d.next_late(at(300)), None, "it has had its worker for 100 ms");
    let released = d.end(ahead, at(240)).expect("held");
    assert!(released.had_worker);
    assert_eq!(released.held, Duration::from_millis(40));
}

#[test]
fn what_turns_out_large_is_counted_as_large() {
    let now = Instant::now();
    let mut d = dispatcher(now, 9, PickParams::default(), &[(A, 1)]);
    let run = slot(d.arrive(now, page(), &[], || 0)).run;
    assert_eq!(d.next_late(now + Duration::from_millis(249)), None);
    let late = d.next_late(now + Duration::from_millis(250)).expect("overdue");
    assert_eq!((late.run, late.age.as_millis()), (run, 250));
    assert_eq!(d.reclassify(run, Lane::LARGE), Some(Lane::SMALL));
    assert_eq!(d.reclassify(run, Lane::LARGE), None, "it is large already");
    ticket(d.arrive(now, page(), &[], || 1));
    assert_eq!(d.next_grant(now), None, "nothing is sent ahead behind it");
    assert_eq!(d.backlog(Lane::LARGE, now).running, 1);
    assert_eq!(d.end(run, now).map(|r| r.lane), Some(Lane::LARGE));
    assert_eq!(d.backlog(Lane::LARGE, now).running, 0);
    assert_eq!(d.next_late(now + Duration::from_secs(9)), None);
}

#[test]
fn a_slow_instance_is_used_when_waiting_would_take_longer() {
    let now = Instant::now();
    let mut d = dispatcher(now, 99, strict(), &[(A, 1), (B, 1)]);
    (0..300).for_each(|_| d.judge(B, 9.0, now));
    let first = slot(d.arrive(now, page(), &[], || 0));
    assert_eq!(first.instance, A);
    for waiter in 1..4 {
        ticket(d.arrive(now, page(), &[], || waiter));
        assert_eq!(d.next_grant(now), None, "nine times slower: better to wait for A");
    }
    ticket(d.arrive(now, page(), &[], || 4));
    // Worth it from 0.5 x 8 waiting requests for the one fast worker on.
    let grant = d.next_grant(now).expect("four wait for one worker");
    assert_eq!((grant.waiter, grant.granted.instance), (1, B));
}

#[test]
fn classes_go_home_when_it_pays_and_elsewhere_within_a_budget() {
    let now = Instant::now();
    let mut d = dispatcher(now, 99, strict(), &[(A, 1), (B, 1)]);
    let of = |class| Demand { known_short: true, ..of_class(class, Lane::SMALL) };
    let homes = Worth::Pays { home: Duration::from_millis(10), away: Duration::from_millis(50) };
    d.follow(Rules { homes, ..Rules::none(now) }, Duration::from_secs(1), &[], now);
    let at_home = slot(d.arrive(now, of(7), &[], || 0));
    assert_eq!(d.homes_of(ClassId(7)), [at_home.instance]);
    ticket(d.arrive(now, of(7), &[], || 1));
    assert_eq!(d.next_grant(now), None, "10 ms of waiting are less than the 40 ms that leaving costs");
    let released = d.end(at_home.run, now).expect("held");
    assert_eq!(released.at_home, Some(true));
    let second = d.next_grant(now).expect("home is free");
    assert_eq!((second.waiter, second.granted.instance), (1, at_home.instance));
    ticket(d.arrive(now, of(7), &[], || 2));
    // 1.5 x 3 x 40 ms, and a worker of two is idle: more than a fifth.
    let overdue = now + Duration::from_millis(181);
    let spilled = d.next_grant(overdue).expect("it has waited for too long");
    assert_ne!(spilled.granted.instance, at_home.instance);
    assert_eq!(d.end(spilled.granted.run, overdue).and_then(|r| r.at_home), Some(false));
}

#[test]
fn a_lost_home_frees_those_who_wait_for_it() {
    let now = Instant::now();
    let mut d = dispatcher(now, 99, strict(), &[(A, 1), (B, 1)]);
    let homes = Worth::Pays { home: Duration::from_millis(10), away: Duration::from_millis(50) };
    d.follow(Rules { homes, ..Rules::none(now) }, Duration::from_secs(1), &[], now);
    let home = slot(d.arrive(now, page(), &[], || 0)).instance;
    ticket(d.arrive(now, page(), &[], || 1));
    assert_eq!(d.next_grant(now), None);
    d.set_instance(home, 1, false, now);
    let other = d.next_grant(now).expect("the other one serves it");
    assert_ne!(other.granted.instance, home);
}

#[test]
fn sessions_pins_priorities_and_deadlines_are_kept() {
    let now = Instant::now();
    let mut d = dispatcher(now, 99, strict(), &[(A, 1), (B, 1)]);
    let sticky = Demand { sticky: Some(A), ..page() };
    let on_a = slot(d.arrive(now, sticky.clone(), &[], || 0));
    assert_eq!(on_a.instance, A);
    ticket(d.arrive(now, sticky, &[], || 1));
    assert_eq!(d.next_grant(now), None, "it waits for its session");
    let pinned = Demand { only: Some([B].into()), ..page() };
    let on_b = slot(d.arrive(now, pinned, &[], || 2));
    assert_eq!(on_b.instance, B);
    ticket(d.arrive(now, page(), &[], || 3));
    ticket(d.arrive(now, Demand { due: Some(now + Duration::from_secs(1)), ..page() }, &[], || 4));
    ticket(d.arrive(now, Demand { priority: 1, ..page() }, &[], || 5));
    let mut run = on_b.run;
    let mut order = vec![];
    for _ in 0..3 {
        d.end(run, now);
        let grant = d.next_grant(now).expect("B is free");
        order.push(grant.waiter);
        run = grant.granted.run;
    }
    assert_eq!(order, [5, 4, 3], "by priority, then by deadline, then by arrival");
    d.end(on_a.run, now);
    assert_eq!(d.next_grant(now).map(|g| (g.waiter, g.granted.instance)), Some((1, A)));
}

#[test]
fn nobody_waits_for_a_home_that_no_longer_pays() {
    let now = Instant::now();
    let mut d = dispatcher(now, 9, strict(), &[(A, 1), (B, 1)]);
    let (home, away) = (Duration::from_millis(10), Duration::from_millis(40));
    let pays = Rules { homes: Worth::Pays { home, away }, ..Rules::none(now) };
    d.follow(pays, Duration::from_secs(1), &[], now);
    slot(d.arrive(now, page(), &[], || 1));
    ticket(d.arrive(now, page(), &[], || 2));
    assert!(d.next_grant(now).is_none(), "it waits for its home beside a free worker");
    d.follow(Rules { homes: Worth::None, ..Rules::none(now) }, Duration::from_secs(1), &[], now);
    assert_eq!(d.next_grant(now).map(|grant| grant.waiter), Some(2));
}
