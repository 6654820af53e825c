//! zc.resumelb: workers tell how fast they are at each class, and get the classes that they are good at.
//!
//! Formulas of its `lb.py` and `worker.py`, see algorithms.md 1.5. Its workers measure from the start of the
//! work to the last byte; when a worker started is known here from the order of answers, as instances serve
//! first come first served.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::placement::Placement;
use crate::policy::{Dispatch, Job, JobId, Policy, Setup};

/// Requests between two résumés, and the memory of a worker's figures. The original's 9,999 would be longer
/// than most runs.
const HISTORY: u64 = 500;

/// Puts and gets of a worker that its mean backlog remembers.
const BACKLOG_HISTORY: f64 = 18.0;

/// Score of a class that a worker has never had, per second.
const UNSKILLED: f64 = 1.0;

/// How much more than its share of the backlog a worker may have and still be chosen for its skill.
const VARIANCE: f64 = 1.0;

/// Label and site.
type Class = (usize, Option<u32>);

pub(super) struct Resume {
    workers: Vec<Worker>,
    capacity: usize,
    half_trip: Duration,
    /// By class and worker: answers per second.
    skills: BTreeMap<Class, Vec<Option<f64>>>,
    total: Decayed,
    backlog: usize,
    picks: u64,
    jobs: Vec<Running>,
    placement: Placement,
}

#[derive(Default)]
struct Worker {
    backlog: usize,
    mean_backlog: Decayed,
    last_used: u64,
    busy: usize,
    waiting: VecDeque<JobId>,
    finished: u64,
    performance: BTreeMap<Class, Performance>,
}

#[derive(Clone, Copy, Default)]
struct Performance {
    generation: u64,
    count: f64,
    elapsed_s: f64,
}

#[derive(Clone, Copy, Default)]
struct Running {
    class: Class,
    started: Duration,
}

/// A mean that forgets.
#[derive(Clone, Copy, Default)]
struct Decayed {
    sum: f64,
    weight: f64,
}

impl Decayed {
    fn add(&mut self, value: f64, history: f64) {
        let keep = 1.0 - 1.0 / history;
        self.sum = self.sum * keep + value;
        self.weight = self.weight * keep + 1.0;
    }

    fn mean(&self) -> f64 {
        if self.weight == 0.0 { 0.0 } else { self.sum / self.weight }
    }
}

impl Worker {
    fn observe(&mut self, class: Class, elapsed_s: f64) {
        let keep: f64 = 1.0 - 1.0 / HISTORY as f64;
        self.finished += 1;
        let new = Performance { generation: self.finished, ..Performance::default() };
        let performance = self.performance.entry(class).or_insert(new);
        let keep = keep.powf((self.finished - performance.generation) as f64);
        performance.generation = self.finished;
        performance.count = performance.count * keep + 1.0;
        performance.elapsed_s = performance.elapsed_s * keep + elapsed_s;
    }
}

impl Resume {
    pub(super) fn new(setup: &Setup) -> Self {
        let count = setup.instances.len();
        let worker = |index| Worker { last_used: index as u64, ..Worker::default() };
        Self {
            workers: (0..count).map(worker).collect(),
            capacity: setup.workers(),
            half_trip: setup.round_trip / 2,
            skills: BTreeMap::new(),
            total: Decayed::default(),
            backlog: 0,
            picks: count as u64,
            jobs: Vec::new(),
            placement: Placement::default(),
        }
    }

    fn pick(&mut self, class: Class) -> usize {
        let count = self.workers.len();
        let oldest = (0..count).min_by_key(|&i| self.workers[i].last_used).unwrap_or(0);
        let skills = self.skills.entry(class).or_insert_with(|| vec![None; count]);
        let most = self.workers[oldest].mean_backlog.mean()
            + 1.0
            + (VARIANCE * self.total.mean() / count as f64).max(1.0);
        let score = |(worker, skill): (&Worker, &Option<f64>)| {
            let skill = skill.filter(|_| worker.mean_backlog.mean() <= most)?;
            Some(skill / worker.backlog.max(1) as f64)
        };
        let scores = self.workers.iter().zip(skills.iter()).map(score).enumerate();
        let best = scores.filter_map(|(i, score)| Some((i, score?))).max_by(|a, b| a.1.total_cmp(&b.1));
        best.map_or_else(
            || {
                skills[oldest].get_or_insert(UNSKILLED);
                oldest
            },
            |(worker, _)| worker,
        )
    }

    /// A put or a get: all means move.
    fn count_backlog(&mut self, worker: usize) {
        let worker = &mut self.workers[worker];
        worker.mean_backlog.add(worker.backlog as f64, BACKLOG_HISTORY);
        self.total.add(self.backlog as f64, BACKLOG_HISTORY * self.workers.len() as f64);
    }

    fn start(&mut self, job: JobId, at: Duration) {
        let reached = self.placement.sent_at(job) + self.half_trip;
        self.jobs[job.index()].started = at.max(reached);
    }

    /// The worker's résumé: from now on the balancer believes it.
    fn publish(&mut self, worker: usize) {
        let count = self.workers.len();
        for (&class, performance) in &self.workers[worker].performance {
            let skills = self.skills.entry(class).or_insert_with(|| vec![None; count]);
            skills[worker] = Some(performance.count / performance.elapsed_s.max(1e-6));
        }
    }
}

impl Policy for Resume {
    fn arrive(&mut self, now: Duration, job: &Job, out: &mut Vec<Dispatch>) {
        let class = (job.class, job.site);
        let index = self.pick(class);
        self.picks += 1;
        self.backlog += 1;
        if self.jobs.len() <= job.id.index() {
            self.jobs.resize(job.id.index() + 1, Running::default());
        }
        self.jobs[job.id.index()].class = class;
        self.placement.send(now, job.id, index, out);
        let worker = &mut self.workers[index];
        worker.last_used = self.picks;
        worker.backlog += 1;
        if worker.busy < self.capacity {
            worker.busy += 1;
            self.start(job.id, now);
        } else {
            worker.waiting.push_back(job.id);
        }
        self.count_backlog(index);
    }

    fn released(&mut self, now: Duration, job: JobId, _out: &mut Vec<Dispatch>) {
        let worker = &mut self.workers[self.placement.instance(job)];
        match worker.waiting.pop_front() {
            Some(next) => self.start(next, now.saturating_sub(self.half_trip)),
            None => worker.busy -= 1,
        }
    }

    fn ended(&mut self, now: Duration, job: JobId, _out: &mut Vec<Dispatch>) {
        let index = self.placement.instance(job);
        let Running { class, started } = self.jobs[job.index()];
        let elapsed = now.saturating_sub(self.half_trip).saturating_sub(started);
        let worker = &mut self.workers[index];
        worker.observe(class, elapsed.as_secs_f64());
        worker.backlog -= 1;
        self.backlog -= 1;
        if worker.finished.is_multiple_of(HISTORY) {
            self.publish(index);
        }
        self.count_backlog(index);
    }
}
