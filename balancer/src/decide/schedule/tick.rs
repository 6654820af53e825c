//! Once a second: what was learned is planned with.

use std::time::{Duration, Instant};

use sluice_proto::{ClassName, InstanceName};

use super::Scheduler;
use crate::decide::dispatch::{ClassId, InstanceId, Lane, LaneRule, Rules};
use crate::decide::learn::affinity::Worth;
use crate::decide::plan::homes::MOST_HOMES;
use crate::decide::plan::snapshot::{ClassLoad, HomesLoad, InstanceLoad, LaneLoad, Snapshot};
use crate::decide::plan::{ServicePlan, plan};

/// A large request that has waited for this many times what it takes starves, ...
const STARVING: f64 = 30.0;
/// ... but not sooner than this, and no later than this: half of what it may wait.
const STARVING_LEAST: Duration = Duration::from_secs(5);
const STARVING_MOST: Duration = Duration::from_secs(30);

/// What the planner is told of instances and classes besides the scheduler's own knowledge.
#[derive(Clone, Debug, Default)]
pub struct Named {
    /// Every instance of the service: id, name, and why it gets no requests, if so.
    pub instances: Vec<(InstanceId, InstanceName, Option<String>)>,
    pub classes: Vec<(ClassId, ClassName)>,
}

/// A plan and all that it was made from: with the parameters, enough to make it again.
#[derive(Clone, Debug, PartialEq)]
pub struct Planned {
    pub previous: ServicePlan,
    pub snapshot: Snapshot,
    pub plan: ServicePlan,
}

impl<W> Scheduler<W> {
    /// Ends a second: rates, bounds, a new plan, which is in force at once. `at_ms`: Unix time, see
    /// [`Snapshot::at_ms`].
    pub fn tick(&mut self, now: Instant, at_ms: u64, named: Named) -> Planned {
        self.look_at_late_ones(now);
        self.learner.tick(now);
        self.carrier.tick();
        self.house(&named);
        self.dispatcher.tick(now);
        self.replan(now, at_ms, named)
    }

    /// Makes a new plan of what is known, because an instance came or went.
    pub fn replan(&mut self, now: Instant, at_ms: u64, named: Named) -> Planned {
        let previous = self.previous(now, &named);
        let snapshot = self.snapshot(now, at_ms, named);
        self.plan = plan(&snapshot, &previous, &self.settings.plan);
        let rules = self.rules(now);
        self.dispatcher.follow(rules, self.learner.late_after(), &self.plan.moves, now);
        Planned { previous, snapshot, plan: self.plan.clone() }
    }

    /// Tells classes that may have homes from those too busy for it: so busy that more homes than a
    /// class can have would be filled by half.
    fn house(&mut self, named: &Named) {
        let most = MOST_HOMES.min(named.instances.len().div_ceil(2)) as f64;
        let workers = self.dispatcher.workers_for(Lane::SMALL) as f64 / named.instances.len().max(1) as f64;
        for (class, _) in &named.classes {
            let load = self.learner.class_rate(*class) * self.learner.class_held(*class).unwrap_or(0.0);
            self.dispatcher.set_everywhere(*class, load > 0.5 * workers * most);
        }
    }

    fn rules(&self, now: Instant) -> Rules {
        let mut rules = Rules {
            mode: self.plan.dedicated.mode,
            dedicated: self.plan.dedicated.instances.clone(),
            interference: self.learner.interference(),
            homes: self.learner.worth_of_homes(),
            small_held: Duration::from_secs_f64(self.learner.small_mean()),
            held: std::array::from_fn(|lane| self.held(Lane::new(lane))),
            ..Rules::none(now)
        };
        let planned = self.plan.lanes.iter().zip(Lane::all()).skip(1);
        for (plan, lane) in planned {
            let held = self.learner.lane_held(lane).mean().unwrap_or(0.0);
            rules.lanes[lane.index()] = LaneRule {
                cap: plan.cap,
                high: plan.high,
                patience: seconds(plan.patience_s),
                starving: seconds(STARVING * held).clamp(STARVING_LEAST, STARVING_MOST),
            };
        }
        // A lane that the plan does not know yet is bounded as the largest that it knows.
        let last = rules.lanes[self.plan.lanes.len().clamp(1, Lane::MOST) - 1];
        if self.plan.lanes.len() > 1 {
            rules.lanes[self.plan.lanes.len()..].fill(last);
        }
        rules
    }

    /// What a lane's requests hold a worker for; of a lane that had none yet, that of the small ones, which is too
    /// little.
    fn held(&self, lane: Lane) -> Option<Duration> {
        let small = || self.learner.lane_held(Lane::SMALL).mean();
        self.learner.lane_held(lane).mean().or_else(small).map(seconds)
    }

    fn snapshot(&self, now: Instant, at_ms: u64, named: Named) -> Snapshot {
        let lanes = Lane::all().take(self.learner.bounds().lanes());
        let instance = |(id, name, excluded): (_, _, Option<String>)| {
            let occupancy = self.dispatcher.occupancy(id);
            // What others hold is what is planned for, where others send all.
            let workers = occupancy.map_or(1, |o| if self.is_bypassed() { o.load.workers } else { o.limit });
            let slowness = occupancy.map_or(1.0, |o| o.slowness);
            let ejected = occupancy.and_then(|o| o.ejection).map(|ejection| ejection.cause.to_string());
            InstanceLoad { id, name, workers, slowness, excluded: excluded.or(ejected) }
        };
        let mut instances: Vec<_> = named.instances.into_iter().map(instance).collect();
        instances.sort_by(|a, b| a.name.cmp(&b.name));
        Snapshot {
            at_ms,
            lanes: lanes.map(|lane| self.lane_load(lane, now)).collect(),
            instances,
            interference: self.learner.interference(),
            homes: self.homes_load(named.classes),
        }
    }

    fn lane_load(&self, lane: Lane, now: Instant) -> LaneLoad {
        let held = self.learner.lane_held(lane);
        let backlog = self.dispatcher.backlog(lane, now);
        LaneLoad {
            begins_s: self.learner.bounds().begin(lane),
            rate: self.learner.lane_rate(lane),
            lasting_rate: Some(self.learner.lasting_lane_rate(lane)),
            held_s: held.mean().unwrap_or(0.0),
            scv: held.scv(),
            waiting: backlog.waiting,
            running: backlog.running,
            oldest_wait_s: backlog.oldest_wait.as_secs_f64(),
        }
    }

    fn homes_load(&self, classes: Vec<(ClassId, ClassName)>) -> Option<HomesLoad> {
        let Worth::Pays { home, away } = self.learner.worth_of_homes() else { return None };
        let class = |(id, name): (ClassId, ClassName)| {
            let homes = self.dispatcher.homes_of(id).to_vec();
            let load = self.learner.class_rate(id) * self.learner.class_held(id)?;
            (!homes.is_empty()).then_some(ClassLoad { id, name, load, homes })
        };
        Some(HomesLoad { home, away, classes: classes.into_iter().filter_map(class).collect() })
    }
}

fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
}
