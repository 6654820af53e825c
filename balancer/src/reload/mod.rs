//! The configuration is read again while the balancer runs.
//!
//! ```text
//!  SIGHUP, file ─► read ─► check ─► open listeners, logs ─► swap services, settings, listeners
//!                    └────────┴──────────┴─► refused: nothing is changed, and the reason is told
//! ```
//!
//! All that can fail comes before the first change. What only a restart brings into force is named, and keeps the
//! value that it has.

mod fixed;

use std::sync::{Arc, Mutex};

use sluice_process::reload::{Cause, Source, Triggers};
use sluice_process::{RunError, Watch, supervisor};
use sluice_relay::head::Position;
use sluice_relay::{Doors, Limits};
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::spawn_blocking;

use crate::config::{Config, Options};
use crate::control::{ControlState, Event};
use crate::data::{DataPath, Order, Settings};
use crate::listeners::Listeners;
use crate::observe::ObserverOpener;
use crate::services::ServiceMaker;
use crate::succession::Inheritance;

/// Applies configurations, one at a time.
pub struct Reloader {
    source: Source<Options>,
    state: Arc<ControlState>,
    path: Arc<DataPath>,
    services: ServiceMaker,
    observers: ObserverOpener,
    /// One per data thread.
    orders: Vec<UnboundedSender<Order>>,
    current: Mutex<Current>,
}

/// What is in force.
struct Current {
    options: Options,
    config: Config,
    listeners: Listeners,
    doors: Arc<Doors>,
}

/// What a reloader works on, beside the configuration that the balancer was started with.
pub struct Parts {
    pub state: Arc<ControlState>,
    pub path: Arc<DataPath>,
    pub services: ServiceMaker,
    pub observers: ObserverOpener,
    pub orders: Vec<UnboundedSender<Order>>,
    pub listeners: Listeners,
    pub doors: Arc<Doors>,
}

impl Reloader {
    /// `options` and `config` are what `parts` were made by; `source` is where they came from.
    pub fn new(source: Source<Options>, options: Options, config: Config, parts: Parts) -> Self {
        let Parts { state, path, services, observers, orders, listeners, doors } = parts;
        let current = Mutex::new(Current { options: options.with_defaults(), config, listeners, doors });
        Self { source, state, path, services, observers, orders, current }
    }

    /// Reads the configuration again and puts it in force. What came of it is logged, counted, and told in events.
    pub fn reload(&self, cause: Cause) {
        tracing::info!("reading the configuration again: {}", cause.as_str());
        let result = self.try_reload().map_err(|error| error.to_string());
        match &result {
            Ok(unchanged) if unchanged.is_empty() => {
                self.tell(
                    "configuration-applied",
                    "the configuration was read again and is in force".to_owned(),
                );
            }
            Ok(fixed) => {
                let text = format!(
                    "the configuration was read again and is in force, but for what needs a restart: {}",
                    fixed.join(", ")
                );
                self.tell("configuration-applied", text);
            }
            Err(error) => {
                tracing::error!("the configuration in force stays: {error}");
                self.tell("configuration-refused", format!("the configuration in force stays: {error}"));
            }
        }
        self.state.reloads.note(&result);
    }

    fn tell(&self, kind: &'static str, text: String) {
        self.state.events.publish(Event::of_all(kind, text));
    }

    /// Returns what needs a restart.
    fn try_reload(&self) -> Result<Vec<String>, RunError> {
        let mut current = self.current.lock().expect("no code panics while holding it");
        let read = self.source.read()?.with_defaults();
        // The whole file is checked, also for what a restart would use.
        Config::try_from(read.clone())?;
        let (options, fixed) = fixed::keep(&current.options, read);
        let config = Config::try_from(options.clone())?;
        self.apply(&mut current, &config)?;
        (current.options, current.config) = (options, config);
        Ok(fixed.into_iter().map(str::to_owned).collect())
    }

    fn apply(&self, current: &mut Current, config: &Config) -> Result<(), RunError> {
        let listeners = current.listeners.prepare(&config.listen)?;
        let before = self.path.settings.load_full();
        let observers =
            self.observers.reopen(before.observers.as_ref(), &current.config.observers, config)?;
        let Limits { client, upstream } = &config.limits;
        let anew = *client != current.config.limits.client
            || config.trusted_proxies != current.config.trusted_proxies;
        // Connections from before are counted as before.
        let doors = match anew {
            true => Doors::new(client, config.trusted_proxies.clone()),
            false => current.doors.clone(),
        };
        let stands = current.listeners.commit(listeners, client, &doors, anew)?;
        // From here on nothing fails.
        current.doors = doors;
        let known = Inheritance::default();
        let (directory, words) = self.services.directory(config, Some(&before.directory), &known);
        let directory = Arc::new(directory);
        for spec in &config.services {
            if let Some(service) = directory.get(&spec.name) {
                service.reconfigure(config.service_limits, &spec.class_rules, &spec.versions);
            }
        }
        self.state.decisions.set_params(config.service_limits.plan);
        self.state.reconfigure(directory.clone(), &config.instances, words);
        self.path.settings.store(Arc::new(Settings {
            directory,
            position: Position::Edge { trusted: config.trusted_proxies.clone() },
            limits: upstream.clone(),
            max_body: client.body,
            reveal: config.reveal,
            observers,
        }));
        let connect_anew = *upstream != current.config.limits.upstream;
        for (orders, stands) in self.orders.iter().zip(stands) {
            let limits = connect_anew.then(|| Order::Upstream(upstream.clone()));
            for order in limits.into_iter().chain(stands.into_iter().map(Order::Serve)) {
                // Who takes none any more is stopping, and so are all.
                drop(orders.send(order));
            }
        }
        Ok(())
    }

    /// What is in force of it.
    pub fn config(&self) -> Config {
        self.current.lock().expect("no code panics while holding it").config.clone()
    }

    /// The access log's file was renamed: begins a new one.
    fn reopen_logs(&self) {
        if let Some(observers) = &self.path.settings.load().observers {
            observers.reopen();
        }
    }

    /// Waits until all that was logged of requests is written.
    pub fn close_logs(&self) {
        if let Some(observers) = &self.path.settings.load().observers {
            observers.close();
        }
    }

    /// The program stops: nobody is to connect any more.
    pub fn close_listeners(&self) {
        self.current.lock().expect("no code panics while holding it").listeners.close();
    }
}

/// Reloads whenever there is reason to, until listeners are closed or a successor has them.
pub async fn run(reloader: Arc<Reloader>, stop: Watch) {
    let mut triggers = match Triggers::new(&reloader.source, reloader.config().watch) {
        Ok(triggers) => triggers,
        Err(error) => return tracing::warn!("SIGHUP will not read the configuration again: {error}"),
    };
    loop {
        let cause = tokio::select! {
            cause = triggers.next() => cause,
            () = stop.leaving() => return,
        };
        supervisor::reloading();
        let this = reloader.clone();
        // Not on this thread: it reads files and opens sockets.
        let reloaded = spawn_blocking(move || {
            if cause == Cause::Hangup {
                this.reopen_logs();
            }
            this.reload(cause);
        });
        if let Err(error) = reloaded.await {
            tracing::error!("reading the configuration again failed: {error}");
        }
        supervisor::ready();
    }
}
