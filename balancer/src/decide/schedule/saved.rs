//! What a scheduler knows, to be saved and continued by the next process.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use sluice_proto::{ClassName, InstanceName};

use super::{Named, Scheduler, Settings};
use crate::decide::dispatch::Dispatcher;
use crate::decide::ids::{ClassId, InstanceId};
use crate::decide::learn::{Learner, LearnerState};
use crate::decide::plan::ServicePlan;
use crate::decide::plan::homes::MOST_HOMES;
use crate::decide::plan::saved::SavedPlan;
use crate::decide::predict::{Predictor, PredictorState};

/// How long an earlier plan, and the homes in it, wait for instances to come: by then every agent
/// that lives has reported.
const AWAIT: Duration = Duration::from_secs(15);

/// A scheduler's knowledge, classes and instances by name. Holds the seed of the URL keys: to be
/// stored where only the operator reads.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SchedulerState {
    plan: SavedPlan,
    homes: Vec<(ClassName, Vec<InstanceName>)>,
    learner: LearnerState,
    predictor: PredictorState,
}

/// A copy of all that is worth saving, taken under the scheduler's lock and written down without.
#[derive(Clone, Debug)]
pub struct Knowledge {
    predictor: Predictor,
    learner: Learner,
    homes: Vec<(ClassId, Vec<InstanceId>)>,
    plan: ServicePlan,
    awaited: Option<Awaited>,
}

/// What is known of instances that have not come yet.
#[derive(Clone, Debug)]
pub(super) struct Awaited {
    until: Instant,
    plan: SavedPlan,
    homes: Vec<AwaitedHomes>,
}

#[derive(Clone, Debug)]
struct AwaitedHomes {
    class: ClassId,
    instances: Vec<InstanceName>,
    /// How many of them are there.
    there: usize,
}

impl Knowledge {
    /// By the names that classes and instances have now; what has none is left out.
    pub fn state(
        &self,
        classes: &HashMap<ClassId, ClassName>,
        instances: &HashMap<InstanceId, InstanceName>,
    ) -> SchedulerState {
        let name = |id: ClassId| classes.get(&id).map(ClassName::as_str);
        let plan = self.awaited.as_ref().map_or_else(|| SavedPlan::of(&self.plan), |a| a.plan.clone());
        let home = |id: &InstanceId| instances.get(id).cloned();
        let own = self.homes.iter().map(|(class, homes)| (*class, homes.iter().filter_map(home).collect()));
        let mut homes: HashMap<ClassId, Vec<InstanceName>> = own.collect();
        let awaited = self.awaited.iter().flat_map(|awaited| &awaited.homes);
        homes.extend(awaited.map(|awaited| (awaited.class, awaited.instances.clone())));
        let named = homes.into_iter().filter_map(|(id, homes)| Some((classes.get(&id)?.clone(), homes)));
        let mut homes: Vec<_> = named.filter(|(_, homes)| !homes.is_empty()).collect();
        homes.sort();
        SchedulerState {
            plan,
            homes,
            learner: self.learner.snapshot(name),
            predictor: self.predictor.snapshot(name),
        }
    }
}

impl<W> Scheduler<W> {
    /// A scheduler that continues what another one knew. `class` says which class has a name now;
    /// what has none is left out.
    pub fn restored(
        now: Instant,
        settings: Settings,
        rng: fastrand::Rng,
        state: SchedulerState,
        mut class: impl FnMut(&str) -> Option<ClassId>,
    ) -> Self {
        let mut this = Self::new(now, settings, rng);
        let homes = state.homes.into_iter().filter_map(|(name, mut instances)| {
            instances.truncate(MOST_HOMES);
            Some(AwaitedHomes { class: class(name.as_str())?, instances, there: 0 })
        });
        let homes = homes.collect();
        this.awaited = Some(Awaited { until: now + AWAIT, plan: state.plan.checked(), homes });
        this.learner = Learner::restore(state.learner, &mut class);
        this.predictor = Predictor::restore(settings.urls, state.predictor, class);
        this
    }

    /// A copy to save. Takes about a millisecond.
    pub fn knowledge(&self) -> Knowledge {
        Knowledge {
            predictor: self.predictor.clone(),
            learner: self.learner.clone(),
            homes: self.dispatcher.homes(),
            plan: self.plan.clone(),
            awaited: self.awaited.clone(),
        }
    }

    /// The plan that the next one continues: while its instances come, that of the earlier process,
    /// so that those that come last are not planned for anew.
    pub(super) fn previous(&mut self, now: Instant, named: &Named) -> ServicePlan {
        let Some(awaited) = &mut self.awaited else { return std::mem::take(&mut self.plan) };
        let ids: HashMap<_, _> = named.instances.iter().map(|(id, name, _)| (name, *id)).collect();
        awaited.move_in(&ids, &mut self.dispatcher);
        let plan = awaited.plan.resolved(|name| ids.get(name).copied());
        let version = plan.version.max(self.plan.version);
        if now >= awaited.until || awaited.is_complete(&ids) {
            self.awaited = None;
        }
        ServicePlan { version, ..plan }
    }

    pub(super) fn forget_awaited(&mut self, class: ClassId) {
        if let Some(awaited) = &mut self.awaited {
            awaited.homes.retain(|homes| homes.class != class);
        }
    }
}

impl Awaited {
    /// Classes are at home on what came of their instances, and nowhere else: where they were sent
    /// meanwhile is no home of theirs.
    fn move_in<W>(&mut self, ids: &HashMap<&InstanceName, InstanceId>, dispatcher: &mut Dispatcher<W>) {
        for homes in &mut self.homes {
            let there: Vec<_> = homes.instances.iter().filter_map(|name| ids.get(name).copied()).collect();
            if there.len() > homes.there {
                homes.there = there.len();
                dispatcher.set_homes(homes.class, &there);
            }
        }
    }

    fn is_complete(&self, ids: &HashMap<&InstanceName, InstanceId>) -> bool {
        let is_there = |name: &InstanceName| ids.contains_key(name);
        self.plan.is_complete(is_there) && self.homes.iter().all(|homes| homes.there == homes.instances.len())
    }
}
