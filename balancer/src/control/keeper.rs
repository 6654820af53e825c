//! Saves what was learned, each minute, at once after the operator's words, and at the end.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::sleep;

use crate::control::ControlState;
use crate::control::planning::unix_ms;
use crate::decide::schedule::Knowledge;
use crate::pool::Service;
use crate::saved::{SCHEMA, SavedService, StateDir};

/// What a crash may cost. More often would write more than it is worth: it is a file of a few MB.
const EVERY: Duration = Duration::from_secs(60);

/// Knows what to save, and where.
#[derive(Clone)]
pub struct Keeper {
    state: Arc<ControlState>,
    dir: StateDir,
    /// One save at a time, so that an older one never replaces a newer one.
    saving: Arc<Mutex<()>>,
}

impl Keeper {
    pub fn new(state: Arc<ControlState>, dir: StateDir) -> Self {
        Self { state, dir, saving: Arc::default() }
    }

    /// Saves from time to time, until it is dropped.
    pub async fn run(self) {
        loop {
            tokio::select! {
                () = sleep(EVERY) => {}
                () = self.state.save_soon.notified() => {}
            }
            // Not on this thread: making and writing the files takes longer than a report may wait.
            let this = self.clone();
            if let Err(error) = tokio::task::spawn_blocking(move || this.save()).await {
                tracing::error!("saving what was learned failed: {error}");
            }
        }
    }

    /// Saves every service, unless that is a successor's task now. What can not be written is logged and counted.
    pub fn save(&self) {
        if self.state.is_succeeded() {
            return;
        }
        let _one_at_a_time = self.saving.lock().expect("no code panics while holding it");
        for service in self.state.directory().iter() {
            if let Err(error) = self.dir.save(&saved(&self.state, service)) {
                let file = self.dir.file(&service.name);
                tracing::warn!("{} can not be written: {error}", file.display());
                self.state.metrics.state_failures.inc();
            }
        }
    }
}

/// What is to be kept of a service. Locks are held for copies alone; names are put to them here.
pub fn saved(state: &ControlState, service: &Service) -> SavedService {
    let (knowledge, classes): (Knowledge, _) = (service.knowledge(), service.classes.names());
    let instances = state.instance_names(&service.name);
    SavedService {
        schema: SCHEMA,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        saved_at_ms: unix_ms(),
        service: service.name.clone(),
        operator: state.words(&service.name),
        templates: service.classes.templates().as_ref().clone(),
        learned: knowledge.state(&classes, &instances),
    }
}
