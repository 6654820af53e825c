//! What `GET /v1/status` shows: who this is, how the instance is, what it did in the last window, who knows.

use serde::Serialize;
use sluice_process::reload::ReloadState;
use sluice_proto::{
    BootId, ClassName, ClassRelease, ClassReport, HeavyUrl, InstanceName, Measured, Mode, Now, PlanReply,
    Release, ServiceName, SparseSketch, State, Target,
};

use sluice_relay::spool::SpoolUse;

use crate::{
    orca::{LoadReport, Said},
    report::{Link, Published, SendOutcome},
    shared::Shared,
};

#[derive(Debug, Serialize)]
pub(super) struct Status {
    name: InstanceName,
    service: ServiceName,
    /// Where balancers send requests.
    address: Target,
    instance: Target,
    mode: Mode,
    version_label: Option<String>,
    workers: u32,
    /// What became of reading the configuration again.
    configuration: ReloadState,
    release: Release,
    /// What was learned of classes, with the evidence.
    releases: Vec<ClassRelease>,
    boot_id: BootId,
    uptime_ms: u64,
    state: State,
    reason: Option<String>,
    now: Now,
    /// Which of the figures were measured, now and in reports, ...
    measured: Measured,
    /// ... and where they are from, in words.
    learns_from: String,
    /// Its own word on its load, while that holds.
    application: Option<Application>,
    spool: SpoolStatus,
    /// Of the last report. `None`: none was made yet.
    window: Option<Window>,
    balancers: Vec<Balancer>,
}

/// What the application said last in a response (ORCA).
#[derive(Debug, Serialize)]
struct Application {
    #[serde(flatten)]
    load: LoadReport,
    age_ms: u64,
}

impl Application {
    fn of(said: Said) -> Self {
        Self { age_ms: millis_since(said.at), load: said.report }
    }
}

/// Bodies that wait for a slow client or for a worker.
#[derive(Debug, Serialize)]
struct SpoolStatus {
    memory_bytes: u64,
    file_bytes: u64,
    /// Since the start.
    faults: u64,
    last_fault: Option<SpoolFault>,
}

#[derive(Debug, Serialize)]
struct SpoolFault {
    reason: &'static str,
    text: String,
    age_ms: u64,
}

#[derive(Debug, Serialize)]
struct Window {
    seq: u64,
    age_ms: u64,
    window_ms: u32,
    classes: Vec<Class>,
    heavy_urls: Vec<HeavyUrl>,
}

#[derive(Debug, Serialize)]
struct Class {
    class: ClassName,
    requests: u64,
    errors: u64,
    held_us: Quantiles,
    ttfb_us: Quantiles,
    response_bytes: Quantiles,
}

/// `null` if nothing was recorded.
#[derive(Debug, Serialize)]
struct Quantiles {
    p50: Option<u64>,
    p99: Option<u64>,
    max: Option<u64>,
}

#[derive(Debug, Serialize)]
struct Balancer {
    url: String,
    /// Of the last report that was tried. `None`: none was yet.
    outcome: Option<SendOutcome>,
    detail: Option<String>,
    acknowledged_seq: u64,
    /// Since the last acknowledgement, or the start.
    age_ms: u64,
    plan: Option<PlanReply>,
}

impl Status {
    pub(super) fn of(shared: &Shared) -> Self {
        let identity = &shared.identity;
        let (state, reason) = shared.state.standing().word();
        let (measured, learns_from) = shared.figures.now();
        Self {
            name: identity.name.clone(),
            service: identity.service.clone(),
            address: identity.address.clone(),
            instance: shared.config.instance.clone(),
            mode: identity.mode,
            version_label: identity.version_label.clone(),
            workers: shared.workers(),
            configuration: shared.reloads.state(),
            release: identity.release.clone(),
            releases: shared.releases.claims(),
            boot_id: identity.boot_id.clone(),
            uptime_ms: millis_since(shared.started),
            state,
            reason: reason.map(Into::into),
            now: shared.now(),
            measured,
            learns_from,
            application: shared.orca.said(tokio::time::Instant::now()).map(Application::of),
            spool: SpoolStatus::of(&shared.spool.usage()),
            window: shared.published.borrow().as_deref().map(Window::of),
            balancers: shared.links.current().iter().map(|link| Balancer::of(link)).collect(),
        }
    }
}

impl SpoolStatus {
    fn of(usage: &SpoolUse) -> Self {
        let last_fault = usage.last_fault.map(|(fault, age)| SpoolFault {
            reason: fault.label(),
            text: fault.to_string(),
            age_ms: u64::try_from(age.as_millis()).unwrap_or(u64::MAX),
        });
        Self { memory_bytes: usage.memory, file_bytes: usage.files, faults: usage.faults, last_fault }
    }
}

impl Window {
    fn of(published: &Published) -> Self {
        let report = &published.report;
        Self {
            seq: report.seq,
            age_ms: millis_since(published.at),
            window_ms: report.window_ms,
            classes: report.classes.iter().map(Class::of).collect(),
            heavy_urls: report.heavy_urls.iter().cloned().map(without_query).collect(),
        }
    }
}

/// Who may look here need not see what clients write behind the `?`: it can be a key.
fn without_query(mut heavy: HeavyUrl) -> HeavyUrl {
    if let Some(at) = heavy.url.find('?') {
        heavy.url.truncate(at);
        heavy.url.push_str("?...");
    }
    heavy
}

impl Class {
    fn of(report: &ClassReport) -> Self {
        Self {
            class: report.class.clone(),
            requests: report.requests,
            errors: report.errors,
            held_us: Quantiles::of(&report.held_us),
            ttfb_us: Quantiles::of(&report.ttfb_us),
            response_bytes: Quantiles::of(&report.response_bytes),
        }
    }
}

impl Quantiles {
    fn of(sketch: &SparseSketch) -> Self {
        Self { p50: sketch.quantile(0.5), p99: sketch.quantile(0.99), max: sketch.max() }
    }
}

impl Balancer {
    fn of(link: &Link) -> Self {
        let status = link.status();
        let (outcome, detail) = status.last.unzip();
        Self {
            url: link.url.as_str().to_owned(),
            outcome,
            detail: detail.filter(|text| !text.is_empty()),
            acknowledged_seq: status.acknowledged_seq,
            age_ms: millis_since(status.acknowledged_at),
            plan: status.plan,
        }
    }
}

fn millis_since(then: tokio::time::Instant) -> u64 {
    u64::try_from(then.elapsed().as_millis()).unwrap_or(u64::MAX)
}
