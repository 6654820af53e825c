//! Instances that fail while others do not.

use super::*;

/// `outcomes`: x fails, . is answered.
fn serve(d: &mut Dispatcher<u32>, id: InstanceId, outcomes: &str, now: Instant) {
    for outcome in outcomes.chars() {
        if outcome == 'x' { d.failed(id, now) } else { d.answered(id) }
    }
}

fn is_out(d: &Dispatcher<u32>, id: InstanceId) -> bool {
    d.occupancy(id).expect("known").ejection.is_some()
}

#[test]
fn who_fails_while_others_do_not_is_left_out_for_a_while() {
    let now = Instant::now();
    let mut d = dispatcher(now, 9, strict(), &[(A, 1), (B, 1)]);
    serve(&mut d, B, "..........", now);
    serve(&mut d, A, "xxxx", now);
    assert!(!is_out(&d, A));
    serve(&mut d, A, "x", now);
    assert!(is_out(&d, A));
    let on_b = slot(d.arrive(now, page(), &[], || 0));
    assert_eq!(on_b.instance, B);
    let waits = ticket(d.arrive(now, page(), &[], || 1));
    assert_eq!(d.next_grant(now), None, "nobody is sent to one that fails");
    let only_a = Demand { only: Some(vec![A].into()), ..page() };
    let pinned = slot(d.arrive(now, only_a, &[], || 2));
    assert_eq!(pinned.instance, A, "but for those who may go nowhere else");
    d.end(pinned.run, now);
    let back = now + Duration::from_secs(5);
    d.tick(back);
    assert!(!is_out(&d, A));
    assert_eq!(d.next_grant(back).map(|grant| grant.granted.instance), Some(A));
    serve(&mut d, A, "x", back);
    assert!(is_out(&d, A), "the first failure takes it out again");
    assert_eq!(d.leave(waits), None);
}

#[test]
fn never_are_more_left_out_than_stay() {
    let now = Instant::now();
    let ids: Vec<_> = (0..4).map(InstanceId).collect();
    let instances: Vec<_> = ids.iter().map(|id| (*id, 1)).collect();
    let mut d = dispatcher(now, 9, strict(), &instances);
    serve(&mut d, ids[3], "....................", now);
    ids[..3].iter().for_each(|id| serve(&mut d, *id, "xxxxx", now));
    let out = |d: &Dispatcher<u32>| ids.iter().filter(|id| is_out(d, **id)).count();
    assert_eq!(out(&d), 2);
    d.unreachable(ids[3], now);
    assert_eq!(out(&d), 1, "of three that can be reached one may be out");
    d.set_instance(ids[2], 1, false, now);
    assert_eq!(out(&d), 1);
    d.set_instance(ids[1], 1, false, now);
    assert_eq!(out(&d), 0, "one that fails now and then is better than none");
    assert!(matches!(d.arrive(now, page(), &[], || 0), Arrival::Slot(_)));
}
