//! The event loop.

use fastrand::Rng;

use super::agent::{Agents, INTERVAL};
use super::arrivals::{Source, exponential, stream};
use super::events::{Event, Events};
use super::instance::Instance;
use super::jobs::{Jobs, Stage};
use crate::check::InvariantChecker;
use crate::policy::{Dispatch, Head, Job, JobId, Policy};
use crate::scenario::Scenario;
use crate::stats::{Collector, Finished, Outcome, Totals};
use crate::time::{Nanos, SECOND, duration, nanos};

/// Time between two calls of [`Policy::timer`].
const TIMER: Nanos = SECOND / 4;

/// After the last arrival, jobs have this many times the run's length, and this much more, to end: a policy
/// that keeps one worker of sixteen busy needs as long.
const PATIENCE: (u64, Nanos) = (100, 600 * SECOND);

/// After the last arrival, a policy that has jobs, none at any instance, and does nothing for so long, has
/// forgotten them.
const STALLED: Nanos = 60 * SECOND;

/// One run in progress.
pub struct Simulation<'a> {
    scenario: &'a Scenario,
    policy: &'a mut dyn Policy,
    now: Nanos,
    end: Nanos,
    half_trip: Nanos,
    events: Events,
    jobs: Jobs,
    instances: Vec<Instance>,
    sources: Vec<Source>,
    agents: Agents,
    environment: Rng,
    /// Bursts are on.
    high: bool,
    out: Vec<Dispatch>,
    away: Vec<JobId>,
    checker: InvariantChecker,
    /// When a job last reached an instance or ended there.
    last_progress: Nanos,
    stats: Collector,
}

/// How things stand when the last request has come.
#[derive(Default)]
struct AtEnd {
    used_s: f64,
    waiting: usize,
}

/// Runs `scenario` with `policy` to its end.
pub fn run(scenario: &Scenario, policy: &mut dyn Policy, seed: u64) -> Outcome {
    Simulation::new(scenario, policy, seed).finish()
}

impl<'a> Simulation<'a> {
    pub fn new(scenario: &'a Scenario, policy: &'a mut dyn Policy, seed: u64) -> Self {
        let checker = InvariantChecker::new(&scenario.setup(seed), policy.promise());
        let sources = 0..scenario.classes.len();
        let mut simulation = Self {
            scenario,
            policy,
            now: 0,
            end: nanos(scenario.duration_s),
            half_trip: nanos(scenario.round_trip_s / 2.0),
            events: Events::default(),
            jobs: Jobs::default(),
            instances: scenario.speeds.iter().map(|&speed| Instance::new(scenario, speed)).collect(),
            sources: sources.map(|c| Source::new(scenario, c, stream(seed, 16 + c as u64))).collect(),
            agents: Agents::new(scenario.reports, stream(seed, 1)),
            environment: stream(seed, 2),
            high: true,
            out: Vec::new(),
            away: Vec::new(),
            checker,
            last_progress: 0,
            stats: Collector::new(scenario),
        };
        simulation.schedule_first();
        simulation
    }

    fn schedule_first(&mut self) {
        for class in 0..self.sources.len() {
            self.schedule_arrival(class);
        }
        self.events.add(0, Event::Phase);
        self.events.add(TIMER, Event::Timer);
        self.events.add(INTERVAL, Event::Cut);
        if let Some(antagonists) = self.scenario.antagonists {
            for index in 0..self.instances.len() {
                let first = exponential(&mut self.environment) * antagonists.between_s;
                self.events.add(nanos(first), Event::Antagonist(index as u16));
            }
        }
    }

    fn schedule_arrival(&mut self, class: usize) {
        let at = self.now.saturating_add(self.sources[class].gap());
        if at < self.end {
            self.events.add(at, Event::Arrival(class as u16));
        }
    }

    /// Runs until every job has ended, the policy has forgotten the rest, or patience is at its end.
    pub fn finish(mut self) -> Outcome {
        let mut at_end = None;
        while let Some((at, event)) = self.events.next() {
            if at >= self.end {
                at_end.get_or_insert_with(|| AtEnd { used_s: self.used_s(), waiting: self.jobs.live() });
                if self.is_over(at) {
                    break;
                }
            }
            self.now = at;
            self.stats.events += 1;
            self.handle(event);
            self.checker.after_event(duration(at), &*self.policy);
        }
        self.outcome(at_end.unwrap_or_default())
    }

    fn is_over(&self, at: Nanos) -> bool {
        let working = self.instances.iter().any(|i| i.busy > 0);
        let limit = self.end.saturating_mul(PATIENCE.0).saturating_add(PATIENCE.1);
        self.jobs.live() == 0 || at >= limit || (!working && at > self.last_progress.max(self.end) + STALLED)
    }

    fn outcome(mut self, at_end: AtEnd) -> Outcome {
        let unfinished = self.jobs.live();
        self.checker.finished(unfinished);
        let world = Totals {
            used_s: at_end.used_s,
            hits: self.instances.iter().map(|i| i.hits).sum(),
            lookups: self.instances.iter().map(|i| i.lookups).sum(),
            waiting: at_end.waiting,
            unfinished,
        };
        self.stats.outcome(self.scenario, &world, self.checker.into_violations())
    }

    fn used_s(&mut self) -> f64 {
        self.instances.iter_mut().map(|i| i.used_s(self.end)).sum()
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Arrival(class) => self.arrival(class.into()),
            Event::Reach(job) => self.reach(job),
            Event::Done(job) => self.done(job),
            Event::Learn(job) => self.learn(job),
            Event::End(job) => self.over(job),
            Event::Timer => self.timer(),
            Event::Cut => self.cut(),
            Event::Deliver => self.policy.report(duration(self.now), &self.agents.deliver()),
            Event::Phase => self.phase(),
            Event::Antagonist(index) => self.antagonist(index.into()),
        }
    }

    fn arrival(&mut self, class: usize) {
        if self.sources[class].accept(self.now, self.high) {
            let draft = self.sources[class].draw(self.now);
            let (label, site, url) = (draft.label(), draft.site(), draft.url);
            let id = self.jobs.add(|id| draft.with_id(id));
            let long = self.scenario.holds_long(label);
            self.checker.arrived(id, self.scenario.classes[label].kind, long);
            self.policy.arrive(duration(self.now), &Job { id, class: label, site, url }, &mut self.out);
            self.dispatch();
        }
        self.schedule_arrival(class);
    }

    /// Carries out what the policy said.
    fn dispatch(&mut self) {
        let mut out = std::mem::take(&mut self.out);
        for Dispatch { job, instance } in out.drain(..) {
            let queued = self.jobs.find(job).filter(|record| record.stage == Stage::Queued);
            let Some(record) = queued.filter(|_| instance < self.instances.len()) else {
                self.checker.refuse(duration(self.now), job, instance);
                continue;
            };
            record.stage = Stage::Sent(instance);
            self.checker.dispatched(duration(self.now), job, instance);
            self.events.add(self.now + self.half_trip, Event::Reach(job));
        }
        self.out = out; // keeps its memory
        self.turn_away();
    }

    fn turn_away(&mut self) {
        let mut away = std::mem::take(&mut self.away);
        self.policy.turned_away(&mut away);
        for job in away.drain(..) {
            let queued = self.jobs.find(job).filter(|record| record.stage == Stage::Queued);
            let Some((class, arrived)) = queued.map(|record| (record.class, record.arrived)) else {
                self.checker.refuse(duration(self.now), job, 0);
                continue;
            };
            self.stats.turned_away(class, arrived, self.now);
            self.jobs.remove(job);
            self.checker.turned_away(job);
        }
        self.away = away;
    }

    fn reach(&mut self, job: JobId) {
        self.last_progress = self.now;
        let instance = self.instance_of(job);
        if self.instances[instance].has_free_worker() {
            self.start(instance, job);
        } else {
            self.instances[instance].waiting.push_back(job);
        }
    }

    fn start(&mut self, instance: usize, job: JobId) {
        let record = self.jobs.get(job);
        record.started = self.now;
        let class = &self.scenario.classes[record.class];
        let held = self.instances[instance].start(self.now, record, class.kind, class.sites.as_ref());
        self.events.add(self.now + held, Event::Done(job));
    }

    fn done(&mut self, job: JobId) {
        let instance = self.instance_of(job);
        let record = self.jobs.get(job);
        let kind = self.scenario.classes[record.class].kind;
        self.instances[instance].finish(self.now, record, kind);
        self.events.add(self.now + self.half_trip, Event::Learn(job));
        if let Some(next) = self.instances[instance].waiting.pop_front() {
            self.start(instance, next);
        }
    }

    fn learn(&mut self, job: JobId) {
        let (bytes, stream) = {
            let record = self.jobs.get(job);
            (record.bytes, record.stream)
        };
        let now = duration(self.now);
        self.policy.head(now, job, Head { bytes });
        self.checker.released(job);
        self.policy.released(now, job, &mut self.out);
        self.dispatch();
        if stream == 0 {
            self.over(job);
        } else {
            self.events.add(self.now + stream, Event::End(job));
        }
    }

    fn over(&mut self, job: JobId) {
        let now = self.now;
        self.last_progress = now;
        let record = self.jobs.get(job);
        self.stats.add(&Finished {
            class: record.class,
            arrived: record.arrived,
            latency: now - record.arrived,
            demand: record.work + record.stream,
        });
        self.jobs.remove(job);
        self.checker.ended(job);
        self.policy.ended(duration(now), job, &mut self.out);
        self.dispatch();
    }

    fn timer(&mut self) {
        self.policy.timer(duration(self.now), &mut self.out);
        self.dispatch();
        self.events.add(self.now + TIMER, Event::Timer);
    }

    fn cut(&mut self) {
        let arrival = self.agents.cut(self.now, &mut self.instances, self.scenario.workers);
        self.events.add(arrival, Event::Deliver);
        self.events.add(self.now + INTERVAL, Event::Cut);
    }

    /// Bursts last 5 s on average, and 20 s lie between them.
    fn phase(&mut self) {
        self.high = !self.high;
        let mean = if self.high { 5.0 } else { 20.0 };
        let length = exponential(&mut self.environment) * mean;
        self.events.add(self.now + nanos(length), Event::Phase);
    }

    fn antagonist(&mut self, index: usize) {
        let Some(antagonists) = self.scenario.antagonists else { return };
        let instance = &mut self.instances[index];
        instance.toggle(antagonists.speed);
        let mean = if instance.is_slowed() { antagonists.slow_s } else { antagonists.between_s };
        let length = exponential(&mut self.environment) * mean;
        self.events.add(self.now + nanos(length), Event::Antagonist(index as u16));
    }

    fn instance_of(&mut self, job: JobId) -> usize {
        match self.jobs.get(job).stage {
            Stage::Sent(instance) => instance,
            stage => unreachable!("only a job that was sent has events at an instance, not {stage:?}"),
        }
    }
}
