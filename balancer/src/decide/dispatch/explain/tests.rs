use std::sync::Arc;
use std::time::{Duration, Instant};

use super::*;
use crate::decide::dispatch::{Arrival, ClassId, Granted, Lane, LaneRule, PickParams, Rules, Ticket};
use crate::decide::learn::affinity::Worth;
use crate::decide::predict::{ExtensionKey, RequestKey, UrlKey};

const INSTANCES: u64 = 6;

fn demand(class: u32, lane: Lane) -> Demand {
    let (class, url) = (ClassId(class), UrlKey(class.into()));
    Demand::new(RequestKey { class, url, extension: ExtensionKey::Bare }, lane)
}

fn random_rules(rng: &mut fastrand::Rng, now: Instant) -> Rules {
    let ms = Duration::from_millis;
    let homes = match rng.u32(..3) {
        0 => Worth::Unknown,
        1 => Worth::None,
        _ => Worth::Pays { home: ms(10), away: ms(rng.u64(15..60)) },
    };
    let cap = rng.usize(1..5);
    let lane = LaneRule { cap, high: cap + rng.usize(..3), patience: ms(500), starving: ms(9000) };
    let mode = [Mode::Pack, Mode::Separate, Mode::Spread][rng.usize(..3)];
    let dedicated = (0..rng.u64(..3)).map(InstanceId).collect();
    let interference = if mode == Mode::Separate { rng.f64() } else { 0.0 };
    let mut rules = Rules { mode, dedicated, homes, interference, ..Rules::none(now) };
    rules.lanes[1..].fill(lane);
    rules
}

fn random_demand(rng: &mut fastrand::Rng) -> Demand {
    let class = rng.u32(1..12);
    let lane = Lane::new(if class > 8 { rng.usize(1..3) } else { 0 });
    let mut demand = Demand { known_short: rng.bool(), ..demand(class, lane) };
    match rng.u32(..10) {
        0 => demand.only = Some(Arc::from([InstanceId(rng.u64(..INSTANCES)), InstanceId(1)])),
        1 => demand.sticky = Some(InstanceId(rng.u64(..INSTANCES))),
        _ => {}
    }
    demand
}

/// A dispatcher that anything happens to.
struct Site {
    dispatcher: Dispatcher<u32>,
    rng: fastrand::Rng,
    now: Instant,
    held: Vec<Granted>,
    waiting: Vec<Ticket>,
}

impl Site {
    fn new(seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let now = Instant::now();
        let params =
            PickParams { ahead_from: rng.f64(), ahead_least: rng.usize(..3), ..PickParams::default() };
        let dispatcher = Dispatcher::new(now, 12, now, params, rng.fork());
        Self { dispatcher, rng, now, held: vec![], waiting: vec![] }
    }

    fn something_happens(&mut self) {
        let (rng, d) = (&mut self.rng, &mut self.dispatcher);
        self.now += Duration::from_millis(rng.u64(..40));
        let (now, id) = (self.now, InstanceId(rng.u64(..INSTANCES)));
        match rng.u32(..16) {
            0 => d.set_instance(id, rng.u32(1..4), rng.u32(..8) > 0, now),
            1 => d.set_foreign(id, rng.u32(..2)),
            2 => d.unreachable(id, now),
            3 => d.reached(id),
            4 => (0..20).for_each(|_| d.judge(id, 4.0, now)),
            5 => (0..20).for_each(|_| d.judge(id, 1.0, now)),
            6 => {
                let rules = random_rules(rng, now);
                d.follow(rules, Duration::from_secs(1), &[], now);
            }
            7 if !self.waiting.is_empty() => {
                d.leave(self.waiting.swap_remove(rng.usize(..self.waiting.len())));
            }
            8..14 if !self.held.is_empty() => {
                d.end(self.held.swap_remove(rng.usize(..self.held.len())).run, now);
            }
            _ => {}
        }
        while let Some(grant) = d.next_grant(now) {
            self.held.push(grant.granted);
        }
    }

    /// Explains a random request, and lets it come.
    fn one_comes(&mut self, seed: u64) -> Course {
        let demand = random_demand(&mut self.rng);
        let told = self.dispatcher.explain(&demand, self.now, 100);
        assert_eq!(told, self.dispatcher.explain(&demand, self.now, 100), "seed {seed}: it is pure");
        consistent(&told, seed);
        match (self.dispatcher.arrive(self.now, demand, &[], || 0), told.course) {
            (Arrival::Slot(granted), Course::Sent { instance, why }) => {
                assert_eq!((granted.instance, granted.why), (instance, why), "seed {seed}");
                self.held.push(granted);
            }
            (Arrival::Waiting(ticket), Course::Waits { .. }) => self.waiting.push(ticket),
            (Arrival::Refused(refusal), Course::Refused { why }) => assert_eq!(refusal, why, "seed {seed}"),
            (did, told) => panic!("seed {seed}: told {told:?}, did {did:?}"),
        }
        told.course
    }
}

/// What is said of the instances fits what is said of the request.
fn consistent(told: &Standings, seed: u64) {
    let standing = |wanted: Standing| told.candidates.iter().filter(move |c| c.standing == wanted);
    let picked: Vec<_> = standing(Standing::Picked).map(|c| c.id).collect();
    assert_eq!(picked, Vec::from_iter(told.course.instance()), "seed {seed}: {told:?}");
    for candidate in &told.candidates {
        let free = candidate.load.has_slot();
        match candidate.standing {
            Standing::Held | Standing::Spare => assert!(!free, "seed {seed}: {candidate:?}"),
            Standing::Later
            | Standing::Equal
            | Standing::Slow
            | Standing::Kept
            | Standing::Capped
            | Standing::Queue
            | Standing::Away => {
                let sent_ahead = matches!(told.course, Course::Sent { .. });
                assert!(free || sent_ahead, "seed {seed}: {candidate:?}");
            }
            _ => {}
        }
    }
}

/// What explain says is what the pick does, whatever the state.
#[test]
fn the_pick_does_what_was_explained() {
    let mut seen = std::collections::HashSet::new();
    for seed in 0..300 {
        let mut site = Site::new(seed);
        for _ in 0..300 {
            site.something_happens();
            let kind = match site.one_comes(seed) {
                Course::Sent { why, .. } => format!("{why:?}"),
                Course::Waits { why, .. } => format!("waits {why:?}"),
                Course::Refused { why } => format!("refused {why:?}"),
            };
            seen.insert(kind);
        }
    }
    for kind in
        ["Session", "Trial", "Allowed", "Ahead", "Home", "Slow", "Dedicated", "Large", "Beside", "Free"]
    {
        assert!(seen.contains(kind), "never sent so: {kind}; {seen:?}");
    }
    for kind in ["Session", "Home", "Cap", "Allowed", "Queue", "Slower", "Kept", "Busy"] {
        assert!(seen.contains(&format!("waits {kind}")), "never waited so: {kind}; {seen:?}");
    }
}

#[test]
fn of_many_instances_the_best_are_told_and_the_rest_counted() {
    let now = Instant::now();
    let params = PickParams { slow_start: Duration::ZERO, ..PickParams::default() };
    let mut d: Dispatcher<u32> = Dispatcher::new(now, 10, now, params, fastrand::Rng::with_seed(1));
    (0..50).for_each(|id| d.set_instance(InstanceId(id), 1, id != 0, now));
    d.follow(Rules { homes: Worth::None, ..Rules::none(now) }, Duration::from_secs(1), &[], now);
    for _ in 0..10 {
        d.arrive(now, demand(1, Lane::SMALL), &[], || 0);
    }
    let told = d.explain(&demand(2, Lane::SMALL), now, 20);
    assert_eq!((told.candidates.len(), told.others), (20, 30));
    assert_eq!(told.candidates[0].standing, Standing::Picked);
    assert!(told.candidates[1..].iter().all(|c| c.standing == Standing::Equal), "{told:?}");
    let all = d.explain(&demand(2, Lane::SMALL), now, 50);
    assert!(all.candidates[40..49].iter().all(|c| c.standing == Standing::Held), "{all:?}");
    assert_eq!(all.candidates[49].standing, Standing::Excluded);
}
