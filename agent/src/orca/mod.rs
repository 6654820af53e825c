//! ORCA, the load reports of Envoy and gRPC, as fields of responses: what the application says in them is heard and goes
//! no further; with `--orca` each response tells what the agent knows, and what the application said. With `--orca-listen`
//! the same is told on streams (out of band).
//!
//! ```text
//!  response of the instance ─► field::take ─► said ─► metrics, status
//!                                               │
//!  load, pace, host ────────────────────────────┴─┬─► field::put ─► response to Envoy
//!                                                 └─► stream::reports ─► Envoy, each second
//! ```

mod field;
#[doc(hidden)] // for tests/fuzzing
pub mod fuzzing;
mod host;
mod json;
mod pace;
mod protobuf;
mod report;
pub(crate) mod stream;
mod text;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use http::HeaderMap;
use prometheus::{GaugeVec, IntCounter, Registry};
use sluice_process::metrics::counters;
use tokio::time::{Instant, interval};

pub use field::Form;
pub use report::{LoadReport, OrcaError};

use self::{host::Ticks, pace::Pace, stream::StreamMetrics};
use crate::{metrics::ReadAtScrape, report::Published, shared::Shared};

/// What an application said holds no longer, as gRPC's `weight_expiration_period` is a few minutes and ours should be
/// well below it, and above the time between requests of a quiet site.
const HOLDS: Duration = Duration::from_secs(60);

/// The least that is told of workers: zero is "not said", for which Envoy and gRPC take the processor's, and an idle
/// instance on a busy machine would look as busy as that.
const IDLE: f64 = 0.001;

/// Ticks of a processor are 10 ms: a second has a hundred.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What is known for such reports.
pub struct Orca {
    form: Option<Form>,
    said: Mutex<Option<Said>>,
    own: Mutex<Own>,
    taken: IntCounter,
    malformed: IntCounter,
    /// Of reports out of band.
    streams: StreamMetrics,
}

/// The application's last word.
#[derive(Clone, Debug)]
pub struct Said {
    pub report: LoadReport,
    pub at: Instant,
}

/// What the agent finds itself.
#[derive(Clone, Copy, Debug, Default)]
struct Own {
    pace: Option<Pace>,
    cpu: Option<f64>,
    memory: Option<f64>,
}

impl Orca {
    /// `form`: how responses tell; `None`: they do not.
    ///
    /// # Panics
    /// If called twice for one registry.
    pub fn new(form: Option<Form>, registry: &Registry) -> Self {
        let reports = counters(
            registry,
            "sluice_agent_orca_reports_total",
            "ORCA load reports in responses of the application. Malformed: the log says why (SLUICE_LOG=debug).",
            &["outcome"],
        );
        Self {
            form,
            said: Mutex::default(),
            own: Mutex::default(),
            taken: reports.with_label_values(&["taken"]),
            malformed: reports.with_label_values(&["malformed"]),
            streams: StreamMetrics::register(registry),
        }
    }

    /// What the application said last, if that still holds.
    pub fn said(&self, now: Instant) -> Option<Said> {
        let said = locked(&self.said).clone();
        said.filter(|said| now.saturating_duration_since(said.at) < HOLDS)
    }

    /// Takes the application's report out of a head.
    fn hear(&self, headers: &mut HeaderMap) -> Option<LoadReport> {
        match field::take(headers) {
            Ok(None) => None,
            Ok(Some(report)) => {
                self.taken.inc();
                // What one request cost says nothing about the next.
                let lasting = LoadReport { request_cost: BTreeMap::new(), ..report.clone() };
                *locked(&self.said) = Some(Said { report: lasting, at: Instant::now() });
                Some(report)
            }
            Err(error) => {
                self.malformed.inc();
                tracing::debug!(%error, "the application's load report can not be read");
                None
            }
        }
    }
}

/// A response passes: its report is heard, and replaced by one that says more, if that is wanted.
pub fn pass(shared: &Shared, headers: &mut HeaderMap) {
    let orca = &shared.orca;
    let said = orca.hear(headers);
    if let Some(form) = orca.form {
        field::put(headers, &said.unwrap_or_default().or(current(shared)), form);
    }
}

/// What holds now, apart from any request: what the application said last, and what the agent knows itself.
fn current(shared: &Shared) -> LoadReport {
    let said = shared.orca.said(Instant::now()).map(|said| said.report);
    said.unwrap_or_default().or(own(shared))
}

/// What the agent knows itself.
fn own(shared: &Shared) -> LoadReport {
    let Own { pace, cpu, memory } = *locked(&shared.orca.own);
    let something = |value: &f64| *value > 0.0;
    let now = shared.now();
    let named = [
        ("busy_workers", now.in_flight),
        ("workers", shared.workers()),
        ("queued", now.queued),
        ("streaming", now.streaming),
    ];
    LoadReport {
        cpu_utilization: cpu.filter(something),
        mem_utilization: memory.filter(something),
        application_utilization: shared.load.steady_utilization().map(|taken| taken.max(IDLE)),
        rps_fractional: pace.map(|pace| pace.requests).filter(something),
        eps: pace.map(|pace| pace.errors).filter(something),
        named_metrics: named.map(|(name, count)| (name.to_owned(), f64::from(count))).into(),
        ..LoadReport::default()
    }
}

/// Looks at the machine and at reports, for ever.
pub async fn watch_over(shared: Arc<Shared>) {
    let mut reports = shared.published.subscribe();
    let mut ticks = interval(LOOK_EVERY);
    let mut before = None;
    loop {
        tokio::select! {
            _ = ticks.tick() => {
                // Two files of the kernel's own, which no disk holds up.
                let now = Ticks::read();
                let cpu = now.zip(before).and_then(|(now, before): (Ticks, Ticks)| now.share_since(before));
                before = now;
                let mut own = locked(&shared.orca.own);
                own.cpu = cpu.or(own.cpu);
                own.memory = host::memory();
            }
            Ok(()) = reports.changed() => {
                let report = reports.borrow_and_update().clone();
                let mut own = locked(&shared.orca.own);
                own.pace = report.map_or(own.pace, |report| pace_after(own.pace, &report));
            }
        }
    }
}

fn pace_after(known: Option<Pace>, published: &Published) -> Option<Pace> {
    let classes = &published.report.classes;
    let requests = classes.iter().map(|class| class.requests).sum();
    let errors = classes.iter().map(|class| class.errors).sum();
    Pace::after(known, Duration::from_millis(published.report.window_ms.into()), requests, errors)
}

/// Registers the gauges that tell what the application said.
pub fn register_gauges(shared: &Arc<Shared>, registry: &Registry) {
    let shared = shared.clone();
    let set = move |gauges: &GaugeVec| {
        gauges.reset();
        let said = shared.orca.said(Instant::now());
        for (metric, value) in said.iter().flat_map(|said| said.report.metrics()) {
            gauges.with_label_values(&[metric]).set(value);
        }
    };
    ReadAtScrape::register(
        registry,
        "sluice_agent_application_load",
        "What the application said last of its own load (ORCA), by metric. Utilizations: 1 is full.",
        &["metric"],
        set,
    );
}

fn locked<T>(value: &Mutex<T>) -> MutexGuard<'_, T> {
    // Plain values: each is whole whenever the lock is free.
    value.lock().unwrap_or_else(PoisonError::into_inner)
}
