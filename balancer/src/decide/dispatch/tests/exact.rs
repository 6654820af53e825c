//! Slots are exact whatever happens, and no worker idles beside who may use it.

use super::*;

/// What a request holds in the random test.
struct Held {
    granted: Granted,
    streaming: bool,
}

/// Random arrivals, first bytes, ends, cancellations, reclassifications and membership changes:
/// slots stay exact (I2), and no small request waits beside a worker that it may use (I8).
#[test]
fn slots_are_exact_whatever_happens() {
    for seed in 0..200 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let now = Instant::now();
        let ids: Vec<_> = (0..4).map(InstanceId).collect();
        let params = PickParams { ahead_from: rng.f64() * 3.0, ahead_least: 0, ..strict() };
        let mut d: Dispatcher<u32> = Dispatcher::new(now, 20, now, params, rng.fork());
        ids.iter().for_each(|id| d.set_instance(*id, 1 + (id.0 as u32 % 3), true, now));
        let homes = crate::decide::learn::affinity::Worth::None;
        let rules = Rules { homes, ..rules(now, 2, 3, &ids[3..]) };
        d.follow(rules, Duration::from_secs(1), &[], now);
        let mut held: Vec<Held> = vec![];
        let mut waiting: Vec<(Ticket, u32)> = vec![];
        for step in 0..2000_u32 {
            match rng.u32(..12) {
                0..5 => {
                    let demand = if rng.u32(..4) == 0 { blob() } else { page() };
                    match d.arrive(now, demand, &[], || step) {
                        Arrival::Slot(granted) => held.push(Held { granted, streaming: false }),
                        Arrival::Waiting(ticket) => waiting.push((ticket, step)),
                        Arrival::Refused(_) => {}
                    }
                }
                5 | 6 if !held.is_empty() => {
                    let i = rng.usize(..held.len());
                    assert_eq!(d.first_byte(held[i].granted.run, now).is_some(), !held[i].streaming);
                    held[i].streaming = true;
                }
                7 | 8 if !held.is_empty() => {
                    let gone = held.swap_remove(rng.usize(..held.len()));
                    assert_eq!(d.end(gone.granted.run, now).is_some(), !gone.streaming, "seed {seed}");
                }
                9 if !waiting.is_empty() => {
                    let (ticket, waiter) = waiting.remove(rng.usize(..waiting.len()));
                    assert_eq!(d.leave(ticket), Some(waiter), "seed {seed}");
                }
                10 if !held.is_empty() => {
                    d.reclassify(held[rng.usize(..held.len())].granted.run, Lane::new(rng.usize(..3)));
                }
                _ => d.set_instance(ids[rng.usize(..4)], rng.u32(1..4), rng.u32(..10) > 0, now),
            }
            while let Some(grant) = d.next_grant(now) {
                let at = waiting.iter().position(|(_, w)| *w == grant.waiter).expect("it waited");
                let (ticket, _) = waiting.remove(at);
                let overtaken =
                    |(other, _): &(Ticket, u32)| other.lane == ticket.lane && other.order < ticket.order;
                assert!(!waiting.iter().any(overtaken), "seed {seed}: first come, first served");
                held.push(Held { granted: grant.granted, streaming: false });
            }
            check(&d, &ids, &held, seed);
            let free = ids.iter().any(|id| {
                let o = d.occupancy(*id).expect("never removed");
                o.routable && o.load.has_slot()
            });
            let small = waiting.iter().any(|(ticket, _)| !ticket.lane.is_large());
            assert!(!(small && free), "seed {seed}: a small request beside a free worker");
            assert_eq!(d.queued(), waiting.len(), "seed {seed}");
        }
    }
}

fn check(d: &Dispatcher<u32>, ids: &[InstanceId], held: &[Held], seed: u64) {
    let mut all = 0;
    for id in ids {
        let load = d.occupancy(*id).expect("never removed").load;
        let count =
            |streaming| held.iter().filter(|h| h.granted.instance == *id && h.streaming == streaming).count();
        assert_eq!(
            (load.working as usize, load.streaming as usize),
            (count(false), count(true)),
            "seed {seed}"
        );
        assert!(load.large <= load.working, "seed {seed}: {load:?}");
        all += load.working as usize;
    }
    let by_lane: usize = Lane::all().map(|lane| d.backlog(lane, Instant::now()).running).sum();
    assert_eq!(by_lane, all, "seed {seed}: every held worker is in a lane");
}
