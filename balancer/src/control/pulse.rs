//! What is noted each second for those who watch.

use std::collections::HashMap;
use std::sync::{Arc, MutexGuard};

use sluice_proto::ServiceName;

use crate::control::ControlState;
use crate::control::health::ServiceFacts;
use crate::control::history::{Columns, History, Level, Levels};
use crate::control::live::snapshot_frame;
use crate::control::planning::{LaneView, Plan, unix_ms};
use crate::decide::ids::Lane;
use crate::pool::{Service, now};

/// Steps of the history in a minute.
const MINUTE: usize = 12;

impl ControlState {
    /// Ends a second: notes it down, and shows it.
    pub fn pulse(&self) {
        let (at_ms, plan) = (unix_ms(), self.plan());
        for service in self.directory().iter() {
            let levels = self.levels(service, &plan);
            let mut histories = self.histories();
            let history = histories.entry(service.name.clone()).or_default();
            history.add(at_ms, levels, || service.classes.take_traffic());
        }
        self.live.pulse(now(), || snapshot_frame(self));
    }

    /// The last hour of each service, of those as well that have not had a second yet.
    pub(super) fn hours(&self) -> HashMap<ServiceName, Columns> {
        let mut histories = self.histories();
        let directory = self.directory();
        let services = directory.iter().map(|service| service.name.clone());
        services.map(|name| (name.clone(), histories.entry(name).or_default().all())).collect()
    }

    /// The last steps of a service's history.
    pub(super) fn steps(&self, service: &ServiceName, most: usize) -> Columns {
        self.histories().get(service).map(|history| history.last(most)).unwrap_or_default()
    }

    /// What the services' health is judged by.
    pub(super) fn service_facts(&self) -> Vec<ServiceFacts> {
        let facts = |service: &Arc<Service>| {
            let (ended, failed) =
                self.histories().get(&service.name).map(|history| history.ended(MINUTE)).unwrap_or_default();
            let small = service.look(|scheduler| scheduler.lane_state(Lane::SMALL, now()));
            ServiceFacts {
                name: service.name.to_string(),
                oldest_small_ms: small.oldest_wait_ms,
                ended,
                failed,
            }
        };
        let mut all: Vec<_> = self.directory().iter().map(facts).collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }

    fn levels(&self, service: &Service, plan: &Plan) -> Levels {
        let view = plan.services.iter().find(|own| own.service == service.name);
        let (small, large) = view.and_then(|own| own.lanes.split_at_checked(1)).unwrap_or_default();
        let workers = service.look(|scheduler| scheduler.routable_workers());
        Levels { small: level(small), large: level(large), workers }
    }

    fn histories(&self) -> MutexGuard<'_, HashMap<ServiceName, History>> {
        self.histories.lock().expect("no code panics while holding it")
    }
}

fn level(lanes: &[LaneView]) -> Level {
    let sum = |count: fn(&LaneView) -> usize| {
        u32::try_from(lanes.iter().map(count).sum::<usize>()).unwrap_or(u32::MAX)
    };
    Level { waiting: sum(|lane| lane.waiting), working: sum(|lane| lane.running) }
}
