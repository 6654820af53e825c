//! All services and the rules that lead to them: a value that is replaced, not changed.

use std::collections::HashMap;
use std::sync::Arc;

use sluice_proto::ServiceName;

use crate::decide::route::Routes;
use crate::pool::Service;

/// Services by name and by request.
#[derive(Debug)]
pub struct Directory {
    routes: Routes,
    services: HashMap<ServiceName, Arc<Service>>,
}

impl Directory {
    /// `services` must hold every service that `routes` can name.
    pub fn new(routes: Routes, services: impl IntoIterator<Item = Arc<Service>>) -> Self {
        let services = services.into_iter().map(|service| (service.name.clone(), service)).collect();
        Self { routes, services }
    }

    /// The service for a request, by its `Host` field and its path.
    pub fn route(&self, host: &str, path: &str) -> &Arc<Service> {
        let name = self.routes.service(host, path);
        self.services.get(name).expect("routes name only services of the same configuration")
    }

    pub fn get(&self, name: &ServiceName) -> Option<&Arc<Service>> {
        self.services.get(name)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Arc<Service>> {
        self.services.values()
    }

    /// Names in order, for error messages.
    pub fn names(&self) -> Vec<&str> {
        let mut names: Vec<_> = self.services.keys().map(ServiceName::as_str).collect();
        names.sort_unstable();
        names
    }
}
