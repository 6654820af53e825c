//! Instances of two workers each, kept as busy as wanted.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sluice_balancer::decide::dispatch::{
    Arrival, ClassId, Demand, Dispatcher, Granted, InstanceId, Lane, PickParams, Rules, RunId,
};
use sluice_balancer::decide::predict::{ExtensionKey, RequestKey, UrlKey};
use sluice_balancer::decide::schedule::{Ask, Named, Outcome, Scheduler, Settings};
use sluice_proto::ClassName;

pub(crate) const WORKERS: u32 = 2;
/// Mean time that a request holds its worker.
pub(crate) const HELD: Duration = Duration::from_millis(10);
pub(crate) const LATE_AFTER: Duration = Duration::from_millis(250);
pub(crate) const OCCUPANCY: f64 = 0.85;

pub(crate) fn key(class: u32) -> RequestKey {
    RequestKey { class: ClassId(class), url: UrlKey(u64::from(class)), extension: ExtensionKey::Bare }
}

/// What requests are started and ended at.
pub(crate) trait Target {
    /// `None`: it waits.
    fn arrive(&mut self, now: Instant, request: &Request) -> Option<Granted>;
    fn end(&mut self, now: Instant, run: RunId);
    /// Hands one slot to a waiter.
    fn grant(&mut self, now: Instant) -> Option<Granted>;
}

/// What one request asks for.
#[derive(Clone)]
pub(crate) struct Request {
    pub(crate) class: u32,
    pub(crate) lane: Lane,
    pub(crate) only: Option<Arc<[InstanceId]>>,
}

impl Request {
    pub(crate) fn small(class: u32) -> Self {
        Self { class, lane: Lane::SMALL, only: None }
    }
}

impl Target for Dispatcher<()> {
    fn arrive(&mut self, now: Instant, request: &Request) -> Option<Granted> {
        let mut demand = Demand::new(key(request.class), request.lane);
        demand.only.clone_from(&request.only);
        match self.arrive(now, demand, &[], || ()) {
            Arrival::Slot(granted) => Some(granted),
            _ => None,
        }
    }

    fn end(&mut self, now: Instant, run: RunId) {
        self.end(run, now);
    }

    fn grant(&mut self, now: Instant) -> Option<Granted> {
        self.next_grant(now).map(|grant| grant.granted)
    }
}

impl Target for Scheduler<()> {
    fn arrive(&mut self, now: Instant, request: &Request) -> Option<Granted> {
        let ask = Ask { only: request.only.clone(), ..Ask::new(key(request.class)) };
        match self.arrive(now, &ask, &[], || ()).0 {
            Arrival::Slot(granted) => Some(granted),
            _ => None,
        }
    }

    fn end(&mut self, now: Instant, run: RunId) {
        let outcome = Outcome { answered: true, failed: false, bytes: Some(20_000), held_to_the_end: true };
        self.end(run, outcome, now);
    }

    fn grant(&mut self, now: Instant) -> Option<Granted> {
        self.next_grant(now).map(|grant| grant.granted)
    }
}

/// When the instances have been up for long enough to be like the others.
const SETTLED: Duration = Duration::from_secs(60);

pub(crate) fn dispatcher(instances: u64) -> (Dispatcher<()>, Instant) {
    let now = Instant::now();
    let rng = fastrand::Rng::with_seed(1);
    let mut dispatcher = Dispatcher::new(now, usize::MAX, now, PickParams::default(), rng);
    (0..instances).for_each(|id| dispatcher.set_instance(InstanceId(id), WORKERS, true, now));
    let settled = now + SETTLED;
    dispatcher.follow(Rules::none(settled), LATE_AFTER, &[], settled);
    (dispatcher, settled)
}

pub(crate) fn scheduler(named: &Named) -> (Scheduler<()>, Instant) {
    let now = Instant::now();
    let settings = Settings { queue_length: usize::MAX, ..Settings::default() };
    let mut scheduler = Scheduler::new(now, settings, fastrand::Rng::with_seed(1));
    named.instances.iter().for_each(|(id, ..)| scheduler.set_instance(*id, WORKERS, true, now));
    let settled = now + SETTLED;
    scheduler.tick(settled, 0, named.clone());
    (scheduler, settled)
}

/// Names for so many instances and classes.
pub(crate) fn named(instances: u64, classes: u32) -> Named {
    let instance = |id| (InstanceId(id), format!("zope-{id}").parse().expect("a name"), None);
    let class = |id| (ClassId(id), ClassName::parse(&format!("GET /section-{id}/{{n}}")).expect("a name"));
    Named { instances: (0..instances).map(instance).collect(), classes: (0..classes).map(class).collect() }
}

/// A target with requests running, in virtual time.
pub(crate) struct Fleet<T> {
    pub(crate) target: T,
    pub(crate) running: Vec<Granted>,
    pub(crate) now: Instant,
    step: Duration,
    rng: fastrand::Rng,
}

impl<T: Target> Fleet<T> {
    /// `running`: requests that will run at a time; each ends at a random moment.
    pub(crate) fn new((target, now): (T, Instant), running: usize) -> Self {
        let step = HELD.div_f64(running.max(1) as f64);
        Self { target, running: Vec::with_capacity(running), now, step, rng: fastrand::Rng::with_seed(2) }
    }

    pub(crate) fn start(&mut self, request: &Request) -> bool {
        let granted = self.target.arrive(self.now, request);
        self.running.extend(granted);
        granted.is_some()
    }

    /// A request comes, another ends, and what is free then goes to those that wait, if any: what the
    /// balancer does per request. The number of requests does not change.
    pub(crate) fn turn(&mut self, request: &Request) {
        self.now += self.step;
        if !self.start(request) {
            self.hand_out();
        }
        if !self.running.is_empty() {
            self.end_one();
        }
        self.hand_out();
    }

    fn end_one(&mut self) {
        let ended = self.running.swap_remove(self.rng.usize(..self.running.len()));
        self.target.end(self.now, ended.run);
    }

    fn hand_out(&mut self) {
        while let Some(granted) = self.target.grant(self.now) {
            self.running.push(granted);
        }
    }
}

/// Requests that run at a time at [`OCCUPANCY`].
pub(crate) fn busy(instances: u64) -> usize {
    (instances as f64 * f64::from(WORKERS) * OCCUPANCY) as usize
}
