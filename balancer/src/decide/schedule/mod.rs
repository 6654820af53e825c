//! Everything that decides about the requests of one service, put together.
//!
//! ```text
//!  request ─► Predictor ─► lane ─► Dispatcher ─► slot ─► released ─► Learner, Predictor
//!                            ▲          ▲                               │
//!                          bounds      rules ◄──── plan ◄── snapshot ◄──┘      once a second
//! ```
//!
//! A value without clock, lock or I/O: the balancer runs it behind a lock, the simulation drives it
//! in virtual time.

mod ask;
pub mod explain;
pub mod figures;
mod observe;
mod reported;
mod saved;
#[cfg(test)]
mod saved_tests;
#[cfg(test)]
mod tests;
mod tick;

use std::collections::HashSet;
use std::time::{Duration, Instant};

pub use ask::{Ask, Judgement};
pub use explain::Explanation;
pub use observe::Outcome;
pub use saved::{Knowledge, SchedulerState};
pub use tick::{Named, Planned};

use crate::decide::carrier::Carrier;
use crate::decide::dispatch::{
    Arrival, Backlog, ClassId, Dispatcher, Grant, InstanceId, Lane, Occupancy, PickParams, Rules, RunId,
    Ticket, Workers,
};
use crate::decide::hash::IdMap;
use crate::decide::learn::Learner;
use crate::decide::pauses::Pauses;
use crate::decide::plan::{PlanParams, ServicePlan};
use crate::decide::predict::{Counted, Predictor, UrlSeed};
use crate::decide::versions::Assignment;
use saved::Awaited;

/// Bounds and tuning of one service.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// The most requests that wait at a time.
    pub queue_length: usize,
    /// The longest that a small request, and a large one, may be expected to wait.
    pub small_wait: Duration,
    pub large_wait: Duration,
    /// After the start: how long requests wait for a first instance.
    pub startup_hold: Duration,
    /// URLs to remember.
    pub urls: usize,
    pub pick: PickParams,
    pub plan: PlanParams,
    /// Whether plans are made of what agents report while somebody else sends the requests.
    pub plan_from_reports: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            queue_length: 1000,
            small_wait: Duration::from_secs(30),
            large_wait: Duration::from_secs(60),
            startup_hold: Duration::ZERO,
            urls: Predictor::URLS,
            pick: PickParams::default(),
            plan: PlanParams::default(),
            plan_from_reports: false,
        }
    }
}

/// The decisions of one service. `W` is whatever the caller wakes a waiter by.
pub struct Scheduler<W> {
    settings: Settings,
    predictor: Predictor,
    learner: Learner,
    dispatcher: Dispatcher<W>,
    plan: ServicePlan,
    /// Running requests from which something was learned already, as they took so long.
    counted: IdMap<RunId, Counted>,
    counts: figures::Reclassified,
    /// What an earlier process knew, for instances that have not come yet.
    awaited: Option<Awaited>,
    pauses: Pauses,
    carrier: Carrier,
}

impl<W> Scheduler<W> {
    pub fn new(now: Instant, settings: Settings, mut rng: fastrand::Rng) -> Self {
        let predictor = Predictor::new(settings.urls, UrlSeed::random(&mut rng));
        let hold_until = now + settings.startup_hold;
        let mut dispatcher = Dispatcher::new(now, settings.queue_length, hold_until, settings.pick, rng);
        dispatcher.set_longest_waits(settings.small_wait, settings.large_wait);
        Self {
            settings,
            predictor,
            learner: Learner::default(),
            dispatcher,
            plan: ServicePlan::default(),
            counted: IdMap::default(),
            counts: figures::Reclassified::default(),
            awaited: None,
            pauses: Pauses::default(),
            carrier: Carrier::default(),
        }
    }

    /// Other bounds from now on, but for how long requests are held after the start and how many URLs are remembered.
    pub fn set_settings(&mut self, settings: Settings) {
        self.settings = Settings { urls: self.settings.urls, ..settings };
        self.dispatcher.set_bounds(settings.queue_length, settings.pick);
        self.dispatcher.set_longest_waits(settings.small_wait, settings.large_wait);
    }

    /// The seed that every URL key must be made with.
    pub fn url_seed(&self) -> UrlSeed {
        self.predictor.seed()
    }

    /// See [`Dispatcher::arrive`]. `retry`: the request was counted when it came first.
    pub fn arrive(
        &mut self,
        now: Instant,
        ask: &Ask,
        avoid: &[InstanceId],
        waiter: impl FnOnce() -> W,
    ) -> (Arrival, Judgement) {
        let judgement = self.judge(ask);
        if avoid.is_empty() {
            self.carrier.arrived();
            self.learner.arrived(ask.key.class, judgement.lane);
        }
        let demand = self.demand(now, ask, &judgement);
        (self.dispatcher.arrive(now, demand, avoid, waiter), judgement)
    }

    /// The process runs. To be told several times a second, so that nothing is learned of times in which it does not.
    pub fn runs(&mut self, now: Instant) {
        self.pauses.runs(now);
    }

    /// See [`Dispatcher::leave`].
    pub fn leave(&mut self, ticket: Ticket) -> Option<W> {
        self.dispatcher.leave(ticket)
    }

    /// See [`Dispatcher::retry_after`].
    pub fn retry_after(&mut self, lane: Lane, now: Instant) -> u8 {
        self.dispatcher.retry_after(lane, now)
    }

    /// See [`Dispatcher::next_grant`].
    pub fn next_grant(&mut self, now: Instant) -> Option<Grant<W>> {
        self.look_at_late_ones(now);
        self.dispatcher.next_grant(now)
    }

    /// Forgets a class, whose id will be another's.
    pub fn forget_class(&mut self, class: ClassId) {
        self.predictor.forget_class(class);
        self.learner.forget(class);
        self.dispatcher.forget_class(class);
        self.forget_awaited(class);
    }

    /// See [`Dispatcher::set_instance`].
    pub fn set_instance(
        &mut self,
        id: InstanceId,
        workers: impl Into<Workers>,
        routable: bool,
        now: Instant,
    ) {
        self.dispatcher.set_instance(id, workers, routable, now);
    }

    /// See [`Dispatcher::set_versions`].
    pub fn set_versions(&mut self, assignment: &Assignment) {
        self.dispatcher.set_versions(assignment);
    }

    /// See [`Dispatcher::session_weight`].
    pub fn session_weight(&self, id: InstanceId) -> f64 {
        self.dispatcher.session_weight(id)
    }

    pub fn set_foreign(&mut self, id: InstanceId, workers: u32) {
        self.dispatcher.set_foreign(id, workers);
    }

    /// See [`Dispatcher::set_granted`].
    pub fn set_granted(&mut self, id: InstanceId, workers: Option<u32>) {
        self.dispatcher.set_granted(id, workers);
    }

    pub fn remove_instance(&mut self, id: InstanceId) {
        self.dispatcher.remove_instance(id);
    }

    pub fn reached(&mut self, id: InstanceId) {
        self.dispatcher.reached(id);
    }

    /// Instances to which a connection ought to be tried.
    pub fn due(&mut self, now: Instant) -> Vec<InstanceId> {
        self.dispatcher.due(now)
    }

    pub fn unreachable(&mut self, id: InstanceId, now: Instant) {
        self.dispatcher.unreachable(id, now);
    }

    pub fn occupancy(&self, id: InstanceId) -> Option<Occupancy> {
        self.dispatcher.occupancy(id)
    }

    /// Instances whose version of the application gets no requests.
    pub fn withheld(&self) -> HashSet<InstanceId> {
        self.dispatcher.withheld()
    }

    /// Workers that requests may be sent to, of all instances that are to get some.
    pub fn routable_workers(&self) -> u32 {
        self.dispatcher.routable_workers()
    }

    pub fn queued(&self) -> usize {
        self.dispatcher.queued()
    }

    pub fn backlog(&self, lane: Lane, now: Instant) -> Backlog {
        self.dispatcher.backlog(lane, now)
    }

    pub fn has_instance(&self, now: Instant) -> bool {
        self.dispatcher.has_instance(now)
    }

    pub fn plan(&self) -> &ServicePlan {
        &self.plan
    }

    /// What the plan and the learner tell the pick at present.
    pub fn rules_in_force(&self) -> &Rules {
        self.dispatcher.rules()
    }

    pub fn learner(&self) -> &Learner {
        &self.learner
    }

    pub fn predictor(&self) -> &Predictor {
        &self.predictor
    }
}
