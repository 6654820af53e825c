//! What the balancer learns from the requests that it sees itself: rates and worker-held times by
//! class and lane, the speed of instances, interference, the worth of homes.
//!
//! While requests pass this balancer, nothing here comes from reports, so that losing them changes nothing
//! (algorithms.md 3.8). Where somebody else sends them, there is nothing else to learn from: [`reported`].

pub mod affinity;
pub mod bounds;
mod class;
pub mod interference;
pub mod moments;
pub mod rate;
pub mod ratio;
pub mod reported;
mod saved;
pub mod speed;

use std::time::{Duration, Instant};

use crate::decide::ids::{ClassId, Lane};
use affinity::{Affinity, Worth};
use bounds::Bounds;
use class::ClassStats;
use interference::Interference;
use moments::Moments;
use rate::Rate;
use ratio::RatioOfMeans;
pub use saved::LearnerState;

/// Samples of a lane that are remembered. There are many small requests, and their mean is the
/// measure of everything; of large ones a few must do.
const SMALL_MEMORY: f64 = 500.0;
const LARGE_MEMORY: f64 = 50.0;
/// Small requests seen before instances are compared with each other.
const LEAST_TO_COMPARE: f64 = 100.0;
/// Mean of a small request before any was seen, in seconds.
const PRIOR_SMALL: f64 = 0.01;
/// A body of fewer bytes fits into socket buffers, and says nothing about the way.
const LONG_BODY: u64 = 256 * 1024;
/// Long bodies seen before others are judged by them.
const LEAST_TRANSFERS: f64 = 5.0;
/// A request of lane 0 that still runs after this many times the lane's mean, ...
const LATE_FACTOR: u32 = 10;
/// ... and at least this long, is large.
const LATE_LEAST: Duration = Duration::from_millis(250);

/// One worker's being held, from the sending of a request to the release.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hold {
    pub class: ClassId,
    pub lane: Lane,
    pub held: Duration,
    /// The instance had a free worker when the request was sent, and it was answered: the time is
    /// that of the work alone.
    pub clean: bool,
    /// Large requests on the same instance when it was sent.
    pub large_beside: u32,
    /// The worker sent the body itself: how many bytes, and for how long from the head on.
    pub sent: Option<(u64, Duration)>,
    /// It ran where its class is at home; `None` if the class has no home.
    pub at_home: Option<bool>,
    /// How slow the instance is known to be: 1 or more.
    pub slowness: f64,
}

/// Everything learned about one service.
#[derive(Clone, Debug)]
pub struct Learner {
    classes: Vec<ClassStats>,
    lanes: [LaneStats; Lane::MOST],
    bounds: Bounds,
    interference: Interference,
    affinity: Affinity,
    /// Seconds per byte of bodies that workers send themselves.
    transfer: RatioOfMeans,
    /// Seconds between the last two ticks: rates are per tick.
    tick: f64,
    last_tick: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct LaneStats {
    rate: Rate,
    held: Moments,
}

/// Rate-weighted sums over classes.
#[derive(Default)]
struct Sums {
    rate: f64,
    lasting: f64,
    held: f64,
    square: f64,
    samples: f64,
}

impl Sums {
    fn add(&mut self, class: &ClassStats) {
        // A class that is not asked for at present still tells what its requests cost.
        let weight = class.rate.value().max(1e-6);
        self.rate += class.rate.value();
        self.lasting += class.rate.lasting();
        self.held += weight * class.held().mean().unwrap_or(0.0);
        self.square += weight * class.held().square();
        self.samples += class.held().samples();
    }

    fn lane(&self, memory: f64) -> LaneStats {
        if self.samples <= 0.0 {
            return LaneStats { rate: Rate::default(), held: Moments::new(memory) };
        }
        let weight = self.rate.max(1e-6);
        let samples = self.samples.min(memory);
        let held = Moments::seeded(memory, samples, self.held / weight, self.square / weight);
        LaneStats { rate: Rate::seeded(self.rate, self.lasting), held }
    }
}

impl Default for Learner {
    fn default() -> Self {
        let lane = |memory| LaneStats { rate: Rate::default(), held: Moments::new(memory) };
        let mut lanes = [lane(LARGE_MEMORY); Lane::MOST];
        lanes[0] = lane(SMALL_MEMORY);
        Self {
            classes: Vec::new(),
            lanes,
            bounds: Bounds::default(),
            interference: Interference::default(),
            affinity: Affinity::default(),
            transfer: RatioOfMeans::new(LARGE_MEMORY),
            tick: 1.0,
            last_tick: None,
        }
    }
}

impl Learner {
    /// A request of `class` came and was put into `lane`.
    pub fn arrived(&mut self, class: ClassId, lane: Lane) {
        self.class_mut(class).rate.count(1.0);
        self.lanes[lane.index()].rate.count(1.0);
    }

    /// A request turned out to be of another lane than was thought.
    pub fn moved(&mut self, from: Lane, to: Lane) {
        self.lanes[from.index()].rate.count(-1.0);
        self.lanes[to.index()].rate.count(1.0);
    }

    /// A worker is free again. Returns the ratio of the time that it was held to what was expected,
    /// if that says something about the instance.
    pub fn released(&mut self, hold: Hold) -> Option<f64> {
        if !hold.clean {
            return None;
        }
        let held = hold.held.as_secs_f64();
        if let Some((bytes, sending)) = hold.sent.filter(|(bytes, _)| *bytes >= LONG_BODY) {
            self.transfer.add(sending.as_secs_f64(), bytes as f64);
        }
        // At nominal speed, as the planner counts a slow instance's workers for less.
        let nominal = held / hold.slowness;
        self.lanes[hold.lane.index()].held.add(nominal);
        self.class_mut(hold.class).add(nominal);
        if hold.lane.is_large() {
            return None;
        }
        self.learn_affinity(hold, nominal);
        let expected = self.expected(hold);
        self.class_mut(hold.class).add_small(nominal, hold.at_home.unwrap_or(true));
        let expected = expected.filter(|expected| *expected > 0.0)?;
        self.interference.add(held, expected * hold.slowness, hold.large_beside);
        let comparable = hold.large_beside == 0 && self.lanes[0].held.samples() >= LEAST_TO_COMPARE;
        comparable.then(|| held / expected)
    }

    /// What a small request would hold on an ordinary instance; `None` if its class is only known
    /// from where it ran.
    fn expected(&mut self, hold: Hold) -> Option<f64> {
        match (self.affinity.worth(), hold.at_home) {
            // At home there is nobody to compare it with.
            (Worth::Pays { .. }, Some(true)) => None,
            (Worth::Pays { home, away }, Some(false)) => {
                let ratio = away.as_secs_f64() / home.as_secs_f64().max(f64::MIN_POSITIVE);
                Some(self.class_mut(hold.class).expected_at_home()? * ratio)
            }
            _ => Some(self.class_mut(hold.class).expected().unwrap_or_else(|| self.small_mean())),
        }
    }

    fn learn_affinity(&mut self, hold: Hold, held: f64) {
        // Beside a large request it may take longer for another reason.
        match hold.at_home.filter(|_| hold.large_beside == 0) {
            Some(true) => self.affinity.at_home(held),
            Some(false) => {
                if let Some(expected) = self.class_mut(hold.class).expected_at_home() {
                    self.affinity.away(held, expected);
                }
            }
            None => {}
        }
    }

    /// Ends a tick of the rates, and follows the lanes' bounds; to be called once a second.
    pub fn tick(&mut self, now: Instant) {
        let passed = self.last_tick.map_or(1.0, |last| now.saturating_duration_since(last).as_secs_f64());
        self.last_tick = Some(now);
        self.tick = passed.max(0.001);
        self.classes.iter_mut().for_each(|class| class.rate.tick());
        self.lanes.iter_mut().for_each(|lane| lane.rate.tick());
        self.affinity.tick();
        let work = self.classes.iter().filter_map(ClassStats::work).collect();
        if self.bounds.tick(work) {
            self.sort_anew();
        }
    }

    /// The lanes' bounds moved: what each lane is follows from the classes that are now in it.
    fn sort_anew(&mut self) {
        for lane in Lane::all() {
            let inside =
                |class: &&ClassStats| class.held().mean().is_some_and(|held| self.bounds.lane(held) == lane);
            let mut sums = Sums::default();
            self.classes.iter().filter(inside).for_each(|class| sums.add(class));
            let memory = if lane.is_large() { LARGE_MEMORY } else { SMALL_MEMORY };
            self.lanes[lane.index()] = sums.lane(memory);
        }
    }

    /// Forgets a class, whose id will be another's.
    pub fn forget(&mut self, class: ClassId) {
        if let Some(stats) = self.classes.get_mut(class.index()) {
            *stats = ClassStats::default();
        }
    }

    pub fn bounds(&self) -> &Bounds {
        &self.bounds
    }

    /// Requests per second of a lane.
    pub fn lane_rate(&self, lane: Lane) -> f64 {
        self.lanes[lane.index()].rate.value() / self.tick
    }

    /// The same over the last minute, bursts and pauses together.
    pub fn lasting_lane_rate(&self, lane: Lane) -> f64 {
        self.lanes[lane.index()].rate.lasting() / self.tick
    }

    /// Worker-held time of a lane's requests, in seconds.
    pub fn lane_held(&self, lane: Lane) -> &Moments {
        &self.lanes[lane.index()].held
    }

    /// Requests per second of a class.
    pub fn class_rate(&self, class: ClassId) -> f64 {
        self.classes.get(class.index()).map_or(0.0, |stats| stats.rate.value() / self.tick)
    }

    /// Seconds that a class holds a worker on average.
    pub fn class_held(&self, class: ClassId) -> Option<f64> {
        self.classes.get(class.index()).and_then(ClassStats::work).map(|work| work.held)
    }

    /// Mean worker-held time of a small request, in seconds; a guess before any was seen.
    pub fn small_mean(&self) -> f64 {
        self.lanes[0].held.mean().unwrap_or(PRIOR_SMALL)
    }

    /// How long a request of lane 0 may hold a worker before it is taken for large.
    pub fn late_after(&self) -> Duration {
        (Duration::from_secs_f64(self.small_mean()) * LATE_FACTOR).max(LATE_LEAST)
    }

    /// How long a worker that sends `bytes` itself is expected to take for it; zero before that was
    /// seen a few times.
    pub fn transfer(&self, bytes: u64) -> Duration {
        let seconds = self.transfer.value(LEAST_TRANSFERS).unwrap_or(0.0) * bytes as f64;
        Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
    }

    pub fn interference(&self) -> f64 {
        self.interference.value()
    }

    pub fn worth_of_homes(&self) -> Worth {
        self.affinity.worth()
    }

    fn class_mut(&mut self, class: ClassId) -> &mut ClassStats {
        if self.classes.len() <= class.index() {
            self.classes.resize_with(class.index() + 1, ClassStats::default);
        }
        &mut self.classes[class.index()]
    }
}
