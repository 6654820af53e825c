//! The configuration is read again while the agent runs.
//!
//! What can change: how many workers the instance has, the queue in front of them, where files may lie, what is
//! compressed, how long a drain may take. All of it is checked before any of it is changed; the rest is named in the
//! log and needs a restart.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
};

use serde_json::{Map, Value};
use sluice_process::{
    ConfigError,
    reload::{Cause, Source, Triggers},
    supervisor,
};
use tokio::task::spawn_blocking;

use crate::{
    config::{Config, Options},
    files::{Files, Roots},
    shared::Shared,
};

/// Applies configurations, one at a time.
pub struct Reloader {
    source: Source<Options>,
    shared: Arc<Shared>,
    one_at_a_time: Mutex<()>,
}

/// Keys that can change while the agent runs.
const CHANGES: &[&str] = &[
    "workers",
    "queue-length",
    "queue-timeout",
    "drain-timeout",
    "compress",
    "compress-types",
    "compress-min-size",
    "xsendfile-root",
    "xsendfile-uri",
];

impl Reloader {
    pub fn new(source: Source<Options>, shared: Arc<Shared>) -> Self {
        Self { source, shared, one_at_a_time: Mutex::default() }
    }

    /// Reads the configuration again and puts it in force. What came of it is logged and counted.
    pub fn reload(&self, cause: Cause) {
        tracing::info!("reading the configuration again: {}", cause.as_str());
        let result = self.try_reload().map_err(|error| error.to_string());
        match &result {
            Ok(fixed) if fixed.is_empty() => tracing::info!("the configuration is in force"),
            Ok(fixed) => tracing::warn!(
                "the configuration is in force, but for what needs a restart: {}",
                fixed.join(", ")
            ),
            Err(error) => tracing::error!("the configuration in force stays: {error}"),
        }
        self.shared.reloads.note(&result);
    }

    /// Returns what needs a restart.
    fn try_reload(&self) -> Result<Vec<String>, ConfigError> {
        let _one_at_a_time = self.one_at_a_time.lock().expect("no code panics while holding it");
        let read = Config::try_from(self.source.read()?)?;
        let roots = Files::roots(&read)?;
        let running = self.shared.in_force.load_full();
        let (can_compress, wants) =
            (self.shared.compressor.load().is_some(), !read.compress.encodings.is_empty());
        let fixed = fixed(&running, &read, can_compress == wants);
        self.apply(&running, &read, roots, can_compress && wants);
        Ok(fixed)
    }

    fn apply(&self, running: &Config, read: &Config, roots: Roots, compresses: bool) {
        let shared = &self.shared;
        let mut config = running.clone();
        (config.workers, config.queue_length, config.queue_timeout) =
            (read.workers, read.queue_length, read.queue_timeout);
        config.drain_timeout = read.drain_timeout;
        config.xsendfile_root.clone_from(&read.xsendfile_root);
        config.xsendfile_uri.clone_from(&read.xsendfile_uri);
        shared.files.set_roots(roots);
        shared.gate.set_queue(config.queue_length, config.queue_timeout);
        if config.workers != running.workers {
            shared.gate.resize(config.workers);
            shared.releases.set_workers(config.workers);
            shared.grants.set_workers(config.workers);
        }
        if compresses && let Some(compressor) = shared.compressor.load_full() {
            let threads = config.compress.threads;
            config.compress = read.compress.clone();
            config.compress.threads = threads;
            shared.compressor.store(Some(Arc::new(compressor.with(&config.compress))));
        }
        shared.in_force.store(Arc::new(config));
    }
}

/// The keys that differ and can not change now. `compress`: whether what is compressed can.
fn fixed(running: &Config, read: &Config, compress: bool) -> Vec<String> {
    let (running, read) = (keys(running), keys(read));
    let names: BTreeSet<_> = running.keys().chain(read.keys()).collect();
    let differ = names.into_iter().filter(|name| running.get(*name) != read.get(*name));
    let stays = |name: &&String| !CHANGES.contains(&name.as_str()) || (*name == "compress" && !compress);
    differ.filter(stays).cloned().collect()
}

fn keys(config: &Config) -> Map<String, Value> {
    match serde_json::to_value(config.effective()) {
        Ok(Value::Object(keys)) => keys,
        other => unreachable!("options are a table: {other:?}"),
    }
}

/// Reloads whenever there is reason to, for ever.
pub async fn run(reloader: Arc<Reloader>) {
    let watch = reloader.shared.config.watch;
    let mut triggers = match Triggers::new(&reloader.source, watch) {
        Ok(triggers) => triggers,
        Err(error) => {
            tracing::warn!("the configuration will not be read again: {error}");
            return std::future::pending().await;
        }
    };
    loop {
        let cause = triggers.next().await;
        supervisor::reloading();
        let this = reloader.clone();
        // Not on this thread: it reads files.
        if let Err(error) = spawn_blocking(move || this.reload(cause)).await {
            tracing::error!("reading the configuration again failed: {error}");
        }
        supervisor::ready();
    }
}
