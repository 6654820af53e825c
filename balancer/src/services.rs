//! The services of a configuration, and what is known of them from an earlier process.

use std::sync::Arc;

use crate::config::{Config, ServiceSpec, routes};
use crate::decide::membership::{Key, Word};
use crate::metrics::RequestMetrics;
use crate::pool::{ClassTable, Directory, Service, now};
use crate::saved::{SavedService, StateDir};
use crate::succession::Inheritance;

/// Makes services, at the start and when the configuration has further ones.
pub struct ServiceMaker {
    metrics: RequestMetrics,
    max_classes: usize,
    state_dir: Option<StateDir>,
}

impl ServiceMaker {
    pub fn new(config: &Config, metrics: RequestMetrics) -> Self {
        Self { metrics, max_classes: config.max_classes, state_dir: config.state_dir.clone() }
    }

    /// The services of `config`: those of `before` under their names, as they are, and new ones, which know what the
    /// process before this one knew, or else what is on disk. Also the operator's words, to an earlier process, on
    /// instances of the new ones.
    pub(crate) fn directory(
        &self,
        config: &Config,
        before: Option<&Directory>,
        inheritance: &Inheritance,
    ) -> (Directory, Vec<(Key, Word)>) {
        let mut words = Vec::new();
        let service = |spec: &ServiceSpec| match before.and_then(|before| before.get(&spec.name)) {
            Some(known) => known.clone(),
            None => self.make(spec, config, inheritance, &mut words),
        };
        let services: Vec<_> = config.services.iter().map(service).collect();
        (Directory::new(routes(&config.services), services), words)
    }

    fn make(
        &self,
        spec: &ServiceSpec,
        config: &Config,
        inheritance: &Inheritance,
        words: &mut Vec<(Key, Word)>,
    ) -> Arc<Service> {
        let metrics = self.metrics.for_service(spec.name.as_str());
        let classes = ClassTable::new(self.max_classes, metrics, spec.class_rules.clone(), now());
        let on_disk = || self.state_dir.as_ref().and_then(|dir| dir.load(&spec.name));
        let saved = inheritance.learned(&spec.name).or_else(on_disk);
        let known = saved.map(|SavedService { operator, templates, learned, .. }| {
            words.extend(operator.into_iter().map(|(name, word)| ((spec.name.clone(), name), word)));
            classes.adopt(templates);
            learned
        });
        let service =
            Service::new(spec.name.clone(), config.service_limits, classes, known, fastrand::Rng::new());
        service.reconfigure(config.service_limits, &spec.class_rules, &spec.versions);
        service
    }
}
