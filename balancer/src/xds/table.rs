//! All that is served at one moment.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::xds::resource::Assignment;

/// By service. An immutable value, swapped in whole.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    /// `None`: the service is there, and nothing is known of its instances yet. Whoever knows some from before is not
    /// to be told that there are none.
    pub services: BTreeMap<String, Option<Arc<Assignment>>>,
}

/// What there is under a name.
#[derive(Clone, Debug, PartialEq)]
pub enum Found {
    Assignment(Arc<Assignment>),
    /// There will be something.
    NotYet,
    /// There is no such service.
    Nothing,
}

impl Table {
    /// Clusters are called what their Envoy calls them: where there is one service, every name is its own. Where there
    /// are several, it must be the service's.
    pub fn find(&self, name: &str) -> Found {
        let only = || if self.services.len() == 1 { self.services.values().next() } else { None };
        match self.services.get(name).or_else(only) {
            Some(Some(assignment)) => Found::Assignment(assignment.clone()),
            Some(None) => Found::NotYet,
            None => Found::Nothing,
        }
    }
}
