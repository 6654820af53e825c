//! Versions at the dispatcher: who serves, in which shares, and that nobody is left without.

use std::time::{Duration, Instant};

use super::*;
use crate::decide::predict::{ExtensionKey, RequestKey, UrlKey};
use crate::decide::versions::Assignment;

fn id(n: usize) -> InstanceId {
    InstanceId(n as u64)
}

fn dispatcher(now: Instant, instances: usize, workers: u32) -> Dispatcher<u32> {
    let params =
        PickParams { ahead_from: f64::INFINITY, slow_start: Duration::ZERO, ..PickParams::default() };
    let mut d = Dispatcher::new(now, 100, now, params, fastrand::Rng::with_seed(3));
    (0..instances).for_each(|n| d.set_instance(id(n), workers, true, now));
    d
}

fn page() -> Demand {
    let key = RequestKey { class: ClassId(0), url: UrlKey(0), extension: ExtensionKey::Bare };
    Demand { known_short: true, ..Demand::new(key, Lane::SMALL) }
}

/// `of`: the cohort of each instance; `None`: it is withheld.
fn assigned(shares: &[f64], of: &[Option<usize>]) -> Assignment {
    let shares = shares.iter().enumerate().map(|(n, share)| (format!("v{n}").into(), *share)).collect();
    let cohorts = of.iter().enumerate().filter_map(|(n, cohort)| Some((id(n), (*cohort)?))).collect();
    Assignment { shares, cohorts }
}

fn sent(d: &mut Dispatcher<u32>, now: Instant) -> Option<Granted> {
    match d.arrive(now, page(), &[], || 0) {
        Arrival::Slot(granted) => Some(granted),
        _ => None,
    }
}

#[test]
fn a_version_that_is_withheld_gets_nothing_and_finishes_what_it_has() {
    let now = Instant::now();
    let mut d = dispatcher(now, 2, 1);
    let under_way: Vec<_> = (0..2).filter_map(|_| sent(&mut d, now)).collect();
    d.set_versions(&assigned(&[1.0], &[Some(0), None]));
    assert_eq!(d.occupancy(id(1)).map(|o| (o.load.working, o.withheld)), Some((1, true)));
    for granted in under_way {
        d.end(granted.run, now);
    }
    assert_eq!(sent(&mut d, now).map(|granted| granted.instance), Some(id(0)));
    assert_eq!(sent(&mut d, now), None, "the other one's worker is free, and not to be used");
    d.set_versions(&Assignment::default());
    assert_eq!(d.next_grant(now).map(|grant| grant.granted.instance), Some(id(1)));
}

#[test]
fn a_retry_keeps_to_the_version_while_one_of_its_instances_is_left() {
    let now = Instant::now();
    let mut d = dispatcher(now, 3, 4);
    d.set_versions(&assigned(&[1.0], &[Some(0), Some(0), None]));
    let avoiding = |d: &mut Dispatcher<u32>, avoid: &[InstanceId]| match d.arrive(now, page(), avoid, || 0) {
        Arrival::Slot(granted) => granted.instance,
        other => panic!("{other:?}"),
    };
    assert_eq!(avoiding(&mut d, &[id(0)]), id(1));
    assert_eq!(avoiding(&mut d, &[id(0), id(1)]), id(2), "better than no answer");
}

#[test]
fn when_none_that_should_serve_is_left_all_do_at_once() {
    let now = Instant::now();
    for lose in [
        (|d, now| d.unreachable(id(0), now)) as fn(&mut Dispatcher<u32>, Instant),
        |d, now| d.set_instance(id(0), 1, false, now),
        |d, _| d.remove_instance(id(0)),
    ] {
        let mut d = dispatcher(now, 2, 1);
        d.set_versions(&assigned(&[1.0], &[Some(0), None]));
        lose(&mut d, now);
        assert_eq!(sent(&mut d, now).map(|granted| granted.instance), Some(id(1)));
    }
}

#[test]
fn a_new_instance_waits_for_its_version_to_be_known() {
    let now = Instant::now();
    let mut d = dispatcher(now, 1, 1);
    d.set_versions(&assigned(&[1.0], &[Some(0)]));
    d.set_instance(id(1), 1, true, now);
    assert_eq!(sent(&mut d, now).map(|granted| granted.instance), Some(id(0)));
    assert_eq!(sent(&mut d, now), None);
    d.set_versions(&assigned(&[1.0], &[Some(0), Some(0)]));
    assert_eq!(d.next_grant(now).map(|grant| grant.granted.instance), Some(id(1)));
}

#[test]
fn a_canary_gets_its_share_however_many_instances_it_has() {
    let now = Instant::now();
    for (instances, canaries, share) in [(4, 1, 0.1), (4, 3, 0.1), (2, 1, 0.5), (10, 1, 0.02)] {
        let mut d = dispatcher(now, instances, 2);
        let of: Vec<_> = (0..instances).map(|n| Some(usize::from(n < canaries))).collect();
        d.set_versions(&assigned(&[1.0 - share, share], &of));
        let mut to_canary = 0;
        for _ in 0..1000 {
            let granted = sent(&mut d, now).expect("nobody is busy");
            to_canary += usize::from(granted.instance.0 < canaries as u64);
            d.end(granted.run, now);
        }
        assert_eq!(to_canary, (share * 1000.0).round() as usize, "{canaries} of {instances}");
    }
}

#[test]
fn who_waits_for_long_takes_any_version() {
    let now = Instant::now();
    let mut d = dispatcher(now, 2, 1);
    // The first is asked for nine of ten, and busy.
    d.set_versions(&assigned(&[0.9, 0.1], &[Some(0), Some(1)]));
    let first = sent(&mut d, now).expect("free");
    assert_eq!(first.instance, id(0));
    let mut ahead = 0;
    while let Some(granted) = sent(&mut d, now) {
        assert_eq!(granted.instance, id(1));
        d.end(granted.run, now);
        ahead += 1;
    }
    assert!((1..=9).contains(&ahead), "{ahead}");
    assert_eq!(d.next_grant(now + Duration::from_millis(900)), None);
    let granted = d.next_grant(now + Duration::from_secs(1)).expect("it has waited for long");
    assert_eq!(granted.granted.instance, id(1));
}

/// Instances come, go, fail and change versions under load: nobody is over its workers, a withheld one is sent
/// nothing while another can be, and nobody waits for ever.
#[test]
fn whatever_changes_requests_are_served_by_those_that_should() {
    for seed in 0..100 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut now = Instant::now();
        let mut d = dispatcher(now, 4, 2);
        let mut running: Vec<Granted> = Vec::new();
        let mut waiting = 0;
        for step in 0..300 {
            now += Duration::from_millis(rng.u64(0..300));
            let n = rng.usize(..6);
            match rng.u32(..10) {
                0 => d.set_instance(id(n), rng.u32(1..4), rng.bool(), now),
                1 => d.unreachable(id(n), now),
                2 => d.reached(id(n)),
                3 => {
                    let of: Vec<_> = (0..6).map(|_| Some(rng.usize(..3)).filter(|c| *c < 2)).collect();
                    let shares = [&[] as &[f64], &[1.0], &[0.8, 0.2]][rng.usize(..3)];
                    let of: Vec<_> = of.iter().map(|c| c.filter(|c| *c < shares.len())).collect();
                    d.set_versions(&assigned(shares, &of));
                }
                4..7 if !running.is_empty() => {
                    d.end(running.swap_remove(rng.usize(..running.len())).run, now);
                }
                _ => match d.arrive(now, page(), &[], || 0) {
                    Arrival::Slot(granted) => {
                        check(&d, granted, now, seed, step);
                        running.push(granted);
                    }
                    Arrival::Waiting(_) => waiting += 1,
                    Arrival::Refused(_) => {}
                },
            }
            while let Some(grant) = d.next_grant(now) {
                check(&d, grant.granted, now, seed, step);
                running.push(grant.granted);
                waiting -= 1;
            }
        }
        d.set_versions(&Assignment::default());
        (0..6).for_each(|n| d.set_instance(id(n), 2, true, now));
        (0..6).for_each(|n| d.reached(id(n)));
        for _ in 0..1000 {
            for granted in running.drain(..) {
                d.end(granted.run, now);
            }
            now += Duration::from_millis(500);
            while let Some(grant) = d.next_grant(now) {
                running.push(grant.granted);
                waiting -= 1;
            }
        }
        assert_eq!((waiting, d.queued()), (0, 0), "seed {seed}");
    }
}

fn check(d: &Dispatcher<u32>, granted: Granted, now: Instant, seed: u64, step: usize) {
    let at = d.occupancy(granted.instance).expect("known");
    let trial = granted.why == Why::Trial;
    assert!(
        !at.withheld || !d.view(now).table.iter().any(|(_, entry)| entry.is_open()),
        "seed {seed}, step {step}"
    );
    assert!(at.load.working <= at.limit || trial, "seed {seed}, step {step}: {at:?}");
}
