//! The decisions of all services in gauges and counters, read when Prometheus asks.

use std::sync::{Arc, Mutex, Weak};

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{GaugeVec, IntCounterVec, IntGaugeVec, Opts, Registry};

use crate::control::ControlState;
use crate::decide::learn::affinity::Worth;
use crate::decide::plan::dedicate::Mode;
use crate::decide::schedule::figures::Figures;
use crate::pool::Service;

/// Reads the schedulers at scrape time, each once under its lock.
pub struct DecisionCollector {
    state: Weak<ControlState>,
    families: Families,
    /// One scrape at a time: the vectors are filled anew by each.
    scraping: Mutex<()>,
}

impl DecisionCollector {
    /// Registers a collector for `state`.
    ///
    /// # Panics
    /// If called twice for one registry.
    pub fn register(registry: &Registry, state: &Arc<ControlState>) {
        let collector =
            Self { state: Arc::downgrade(state), families: Families::new(), scraping: Mutex::default() };
        registry.register(Box::new(collector)).expect("one collector per registry");
    }
}

struct Families {
    lane_queue: IntGaugeVec,
    lane_running: IntGaugeVec,
    lane_cap: IntGaugeVec,
    lane_longest_wait: GaugeVec,
    shed: IntCounterVec,
    mode: IntGaugeVec,
    dedicated: IntGaugeVec,
    foreign: IntGaugeVec,
    urls: IntGaugeVec,
    classes: IntGaugeVec,
    slowness: GaugeVec,
    homes: GaugeVec,
    interference: GaugeVec,
    spills: IntCounterVec,
    ahead: IntCounterVec,
    reclassified: IntCounterVec,
}

const BY_SERVICE: &[&str] = &["service"];
const BY_LANE: &[&str] = &["service", "lane"];
const BY_INSTANCE: &[&str] = &["service", "instance_name"];
const MODES: [(Mode, &str); 3] =
    [(Mode::Pack, "pack"), (Mode::Separate, "separate"), (Mode::Spread, "spread")];

fn ints(name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
    IntGaugeVec::new(Opts::new(name, help), labels).expect("valid names")
}

fn floats(name: &str, help: &str, labels: &[&str]) -> GaugeVec {
    GaugeVec::new(Opts::new(name, help), labels).expect("valid names")
}

fn counts(name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
    IntCounterVec::new(Opts::new(name, help), labels).expect("valid names")
}

impl Families {
    fn new() -> Self {
        Self {
            lane_queue: ints(
                "sluice_lane_queue_length",
                "Requests of a lane that wait for a worker. Staying above 0 in lane small: more instances are needed.",
                BY_LANE,
            ),
            lane_running: ints(
                "sluice_lane_running",
                "Requests of a lane that hold a worker. At sluice_lane_cap_workers while others wait: GET /v1/plan says why not more.",
                BY_LANE,
            ),
            lane_cap: ints(
                "sluice_lane_cap_workers",
                "Workers that a lane and the larger ones may hold: cap at once, high after a wait. GET /v1/plan says why.",
                &["service", "lane", "limit"],
            ),
            lane_longest_wait: floats(
                "sluice_lane_longest_wait_seconds",
                "How long a request of a lane may be expected to wait; longer ones are turned away. Below the configured time: the lane has more to do than the workers can.",
                BY_LANE,
            ),
            shed: counts(
                "sluice_shed_total",
                "Requests turned away when they came, by lane: too_late, as they would have waited for too long, or queue_full. Growing in lane small: more instances are needed.",
                &["service", "lane", "reason"],
            ),
            mode: ints(
                "sluice_plan_mode",
                "1 for how small and large requests share instances now: pack, separate or spread.",
                &["service", "mode"],
            ),
            dedicated: ints(
                "sluice_instance_dedicated",
                "1 if large requests go to the instance first. Changing often: GET /v1/events says why.",
                BY_INSTANCE,
            ),
            foreign: ints(
                "sluice_instance_foreign_workers",
                "Workers of an instance that others than this balancer hold, by its agent's word. Unexpected: look for direct clients.",
                BY_INSTANCE,
            ),
            urls: ints(
                "sluice_predictor_urls",
                "URLs whose cost is remembered apart from their class's. Thousands: a rule would tell the costs better.",
                BY_SERVICE,
            ),
            classes: ints(
                "sluice_classes",
                "Classes that are told apart. At --max-classes: the rest is counted as other.",
                BY_SERVICE,
            ),
            slowness: floats(
                "sluice_instance_slowness_ratio",
                "Time that requests take at an instance over that elsewhere; 1 unless it is known to be slow. Above 1: look at that instance.",
                BY_INSTANCE,
            ),
            homes: floats(
                "sluice_homes_cost_ratio",
                "Time that a request takes away from its class's home over that at home; 1 while homes are not known to pay.",
                BY_SERVICE,
            ),
            interference: floats(
                "sluice_interference_ratio",
                "Share by which a large request prolongs each small one beside it; 0 unless it is enough to keep them apart.",
                BY_SERVICE,
            ),
            spills: counts(
                "sluice_home_spills_total",
                "Requests served away from their class's home, as that had too much to do. Steadily growing: few classes have most of the traffic.",
                BY_SERVICE,
            ),
            ahead: counts(
                "sluice_sent_ahead_total",
                "Requests sent to an instance without a free worker, as so many waited. Steadily growing: more instances are needed.",
                BY_SERVICE,
            ),
            reclassified: counts(
                "sluice_reclassified_total",
                "Requests taken for small that turned out to be large: late, as they held a worker for long, or by the size of their response. Steadily growing: give such requests a rule.",
                &["service", "reason"],
            ),
        }
    }

    fn ints(&self) -> [&IntGaugeVec; 8] {
        [
            &self.lane_queue,
            &self.lane_running,
            &self.lane_cap,
            &self.mode,
            &self.dedicated,
            &self.foreign,
            &self.urls,
            &self.classes,
        ]
    }

    fn floats(&self) -> [&GaugeVec; 4] {
        [&self.lane_longest_wait, &self.slowness, &self.homes, &self.interference]
    }

    fn counts(&self) -> [&IntCounterVec; 4] {
        [&self.shed, &self.spills, &self.ahead, &self.reclassified]
    }

    fn all(&self) -> impl Iterator<Item = &dyn Collector> {
        let ints = self.ints().into_iter().map(|family| family as &dyn Collector);
        let floats = self.floats().into_iter().map(|family| family as &dyn Collector);
        let counts = self.counts().into_iter().map(|family| family as &dyn Collector);
        ints.chain(floats).chain(counts)
    }

    fn fill(&self, state: &ControlState) {
        self.ints().into_iter().for_each(|family| family.reset());
        self.floats().into_iter().for_each(|family| family.reset());
        self.counts().into_iter().for_each(|family| family.reset());
        state.directory().iter().for_each(|service| self.service(service));
        for (key, member) in state.members() {
            let occupancy = state.directory().get(&key.0).and_then(|service| service.occupancy(member.id));
            let Some(occupancy) = occupancy else { continue };
            let labels = [key.0.as_str(), key.1.as_str()];
            self.dedicated.with_label_values(&labels).set(occupancy.dedicated.into());
            self.foreign.with_label_values(&labels).set(occupancy.load.foreign.into());
            self.slowness.with_label_values(&labels).set(occupancy.slowness);
        }
    }

    fn service(&self, service: &Service) {
        let name = service.name.as_str();
        let figures = service.figures();
        self.lanes(name, &figures);
        for (mode, word) in MODES {
            self.mode.with_label_values(&[name, word]).set((figures.mode == mode).into());
        }
        let urls = service.look(|scheduler| scheduler.predictor().urls_remembered());
        self.urls.with_label_values(&[name]).set(as_i64(urls));
        self.classes.with_label_values(&[name]).set(as_i64(service.classes.ids().len()));
        let homes = match figures.homes {
            Worth::Pays { home, away } => away.as_secs_f64() / home.as_secs_f64().max(1e-9),
            Worth::Unknown | Worth::None => 1.0,
        };
        self.homes.with_label_values(&[name]).set(homes);
        self.interference.with_label_values(&[name]).set(figures.interference);
        self.spills.with_label_values(&[name]).inc_by(figures.counts.spills);
        self.ahead.with_label_values(&[name]).inc_by(figures.counts.ahead);
        let reclassified = figures.reclassified;
        for (reason, n) in [("late", reclassified.late), ("size", reclassified.by_size)] {
            self.reclassified.with_label_values(&[name, reason]).inc_by(n);
        }
    }

    fn lanes(&self, service: &str, figures: &Figures) {
        for lane in &figures.lanes {
            let labels = [service, lane.name];
            self.lane_queue.with_label_values(&labels).set(as_i64(lane.waiting));
            self.lane_running.with_label_values(&labels).set(as_i64(lane.running));
            if let Some(ms) = lane.longest_wait_ms {
                self.lane_longest_wait.with_label_values(&labels).set(ms / 1e3);
            }
            for (reason, n) in [("too_late", lane.shed.too_late), ("queue_full", lane.shed.queue_full)] {
                self.shed.with_label_values(&[service, lane.name, reason]).inc_by(n);
            }
            for (limit, workers) in [("cap", lane.cap), ("high", lane.high)] {
                if let Some(workers) = workers {
                    self.lane_cap.with_label_values(&[service, lane.name, limit]).set(as_i64(workers));
                }
            }
        }
    }
}

fn as_i64(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

impl Collector for DecisionCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.families.all().flat_map(Collector::desc).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let Some(state) = self.state.upgrade() else { return Vec::new() };
        let _one_at_a_time = self.scraping.lock().expect("no code panics while holding it");
        self.families.fill(&state);
        self.families.all().flat_map(Collector::collect).collect()
    }
}
