//! What the parts of one agent share. Everything in it may be used from any thread.

use std::sync::Arc;

use arc_swap::{ArcSwap, ArcSwapOption};
use prometheus::{GaugeVec, Registry};
use sluice_process::reload::Reloads;
use sluice_proto::{Classifier, Now, report::MAX_CLASSIFICATIONS};
use sluice_relay::Spool;
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};

use crate::{
    activity::Activity,
    compress::Compressor,
    config::{Config, Path},
    figures::Figures,
    files::Files,
    follow::OwnRequests,
    gate::Gate,
    grants::Grants,
    languages::{LanguageMetrics, Load, Told},
    measure::Recorder,
    metrics::{AgentMetrics, ReadAtScrape},
    orca::Orca,
    release::Releases,
    report::{Identity, Link, Links, Published},
    state::StateCell,
};

/// One agent. Written in full before its threads start; from then on each part has one writer, named there.
pub struct Shared {
    /// As it was at the start.
    pub config: Config,
    /// As it is by now; only what `reload` changes can differ.
    pub in_force: ArcSwap<Config>,
    /// What became of reading it again.
    pub reloads: Reloads,
    pub identity: Identity,
    pub started: Instant,
    pub gate: Gate,
    /// When the instance's workers are free.
    pub releases: Releases,
    pub activity: Arc<Activity>,
    pub recorder: Recorder,
    /// `None`: responses are not compressed.
    pub compressor: ArcSwapOption<Compressor>,
    /// How good the figures are.
    pub figures: Figures,
    pub own: Arc<OwnRequests>,
    /// Where responses wait for slow clients, and uploads for a worker.
    pub spool: Arc<Spool>,
    pub state: StateCell,
    pub metrics: AgentMetrics,
    /// What is sent in the instance's stead.
    pub files: Files,
    /// The data path saw a connection refused by an instance that was taken for up; the health checker listens.
    pub connection_refused: Notify,
    /// Who may count on how many workers.
    pub grants: Arc<Grants>,
    /// One per balancer. Written by [`crate::discover::Crew`].
    pub links: Links,
    /// How busy the instance is, for peers. Written by [`crate::languages::measure`].
    pub load: Load,
    pub languages: LanguageMetrics,
    pub told: Told,
    /// Load reports in fields of responses.
    pub orca: Orca,
    /// The newest report. `None`: none was made yet.
    pub published: watch::Sender<Option<Arc<Published>>>,
}

impl Shared {
    /// Readings at this moment, as reports and the status show them.
    pub fn now(&self) -> Now {
        let spool = self.spool.usage();
        Now {
            in_flight: self.busy().unwrap_or_default(),
            streaming: clamped(self.activity.streaming()),
            queued: clamped(self.gate.occupancy().queued),
            spooled_bytes: spool.memory + spool.files,
        }
    }

    /// Workers of the instance, by the configuration in force.
    pub fn workers(&self) -> u32 {
        clamped(self.gate.occupancy().workers)
    }

    /// Workers that are busy now; `None`: nobody knows.
    pub fn busy(&self) -> Option<u32> {
        match self.config.path {
            Path::Inline { .. } => Some(clamped(self.gate.occupancy().busy)),
            Path::Passive => self.figures.busy(),
        }
    }

    /// Whether all workers may be busy, so that one more request gets no answer though the instance is well.
    pub fn may_be_full(&self) -> bool {
        match self.config.path {
            Path::Inline { .. } => self.gate.is_full(),
            Path::Passive => self.figures.busy().is_none_or(|busy| busy >= self.workers()),
        }
    }

    /// How requests are classified, as the first balancer that has said so does it. The same one for
    /// as long as it is there, so that a class keeps its name.
    pub fn classifier(&self) -> Arc<Classifier> {
        self.links.current().iter().find_map(|link| link.classifier()).unwrap_or_default()
    }

    /// The versions that balancers need not send again.
    pub fn classifications(&self) -> Vec<u64> {
        self.links
            .current()
            .iter()
            .filter_map(|link| link.classification())
            .take(MAX_CLASSIFICATIONS)
            .collect()
    }
}

/// Readers take at most a million for impossible.
fn clamped(count: usize) -> u32 {
    count.min(1_000_000) as u32
}

/// Registers the gauges that are read from `shared` when somebody asks.
pub fn register_gauges(shared: &Arc<Shared>, registry: &Registry) {
    let gauge = |name, help, read: fn(&Shared) -> f64| {
        let shared = shared.clone();
        let set = move |gauges: &GaugeVec| gauges.with_label_values::<&str>(&[]).set(read(&shared));
        ReadAtScrape::register(registry, name, help, &[], set);
    };
    gauge("sluice_agent_workers", "Requests that the instance may work on at the same time.", |s| {
        s.gate.occupancy().workers as f64
    });
    gauge(
        "sluice_agent_workers_busy",
        "Requests that hold a worker now. NaN: not known, in mode passive without a gauge (--scrape-busy).",
        |s| s.busy().map_or(f64::NAN, f64::from),
    );
    gauge("sluice_agent_queued", "Requests that wait here for a worker now.", |s| {
        s.gate.occupancy().queued as f64
    });
    gauge("sluice_agent_streaming", "Responses being sent whose worker is free.", |s| {
        s.activity.streaming() as f64
    });
    gauge("sluice_agent_instance_up", "1 if the instance passed its last health checks, else 0.", |s| {
        f64::from(u8::from(s.state.is_up()))
    });
    let spool = shared.spool.clone();
    ReadAtScrape::register(
        registry,
        "sluice_spool_bytes",
        "Bytes of bodies that wait for a slow client or for a worker, by place.",
        &["place"],
        move |gauges| {
            let usage = spool.usage();
            gauges.with_label_values(&["memory"]).set(usage.memory as f64);
            gauges.with_label_values(&["file"]).set(usage.files as f64);
        },
    );
    let links = shared.clone();
    ReadAtScrape::register(
        registry,
        "sluice_agent_report_age_seconds",
        "Time since a balancer last acknowledged a report, or since the start. Above 3 intervals its knowledge is stale.",
        &["balancer"],
        move |gauges| {
            // Those that are no longer in DNS go.
            gauges.reset();
            links.links.current().iter().for_each(|link| set_age(link, gauges));
        },
    );
}

fn set_age(link: &Link, gauges: &GaugeVec) {
    let age = link.status().acknowledged_at.elapsed();
    gauges.with_label_values(&[link.url.as_str()]).set(age.as_secs_f64());
}
