//! What a balancer says of itself.

use serde::{Deserialize, Serialize};

use crate::control::planning::Plan;
use crate::control::view::{ClassView, InstanceView};

/// The answers of `/v1/instances`, `/v1/classes` and `/v1/plan`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Site {
    pub(crate) instances: Vec<InstanceView>,
    pub(crate) classes: Vec<ClassView>,
    pub(crate) plan: Plan,
}

/// How a site is, in a line.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Health {
    pub(super) text: String,
    pub(super) is_well: bool,
}

impl Site {
    pub(super) fn json(&self) -> String {
        serde_json::to_string_pretty(self).expect("views are plain data") + "\n"
    }

    pub(super) fn health(&self) -> Health {
        let all = self.instances.len();
        let up = self.instances.iter().filter(|instance| is_up(instance)).count();
        let waiting: usize =
            self.plan.services.iter().flat_map(|service| &service.lanes).map(|lane| lane.waiting).sum();
        let sum = |count: fn(&ClassView) -> f64| self.classes.iter().map(count).sum::<f64>();
        let (requests, errors) =
            (sum(|c| c.seen.requests as f64), sum(|c| c.seen.errors.unwrap_or(0) as f64));
        let rate = sum(|c| c.seen.per_second);
        let failed = if requests > 0.0 { 100.0 * errors / requests } else { 0.0 };
        let word = match (up, all) {
            (_, 0) => "NO INSTANCE: start an agent beside one",
            (0, _) => "DOWN",
            _ if up < all || failed >= 1.0 => "degraded",
            _ => "well",
        };
        Health {
            text: format!(
                "{word}: {up} of {all} instances get requests, {waiting} wait, {rate:.1}/s, {failed:.1} % failed"
            ),
            is_well: word == "well",
        }
    }
}

/// Whether an instance gets requests.
pub(super) fn is_up(instance: &InstanceView) -> bool {
    instance.routed && instance.breaker == "closed"
}
