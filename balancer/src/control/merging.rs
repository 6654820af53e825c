//! A report is taken in: who is there and how it is, what each class came to, and the answer.

use std::sync::Arc;

use sluice_proto::{ClassReport, Classification, Mode, PlanReply, Report, Role, SCHEMA, ServiceName};

use crate::control::ControlState;
use crate::control::events::Event;
use crate::control::state::says;
use crate::decide::dispatch::InstanceId;
use crate::decide::learn::moments::Batch;
use crate::decide::learn::reported::ReportedClass;
use crate::decide::membership::{Accepted, Key, Member, Rejected, Routing};
use crate::decide::sender::Sender;
use crate::decide::treatment::LanePin;
use crate::pool::{Service, now};

/// Why a report was not taken, beyond its own faults.
#[derive(Debug, thiserror::Error)]
pub enum Unwanted {
    #[error("service: {0:?} is not a service of this balancer; it has {1}")]
    UnknownService(ServiceName, String),
    #[error(transparent)]
    Rejected(#[from] Rejected),
}

impl ControlState {
    /// Takes in a report and answers it.
    ///
    /// # Errors
    /// [`Unwanted`]; nothing is changed then.
    pub fn report(&self, report: &Report, sender: &Sender) -> Result<PlanReply, Unwanted> {
        let directory = self.directory();
        let Some(service) = directory.get(&report.service) else {
            let names = directory.names().join(", ");
            return Err(Unwanted::UnknownService(report.service.clone(), names));
        };
        let key = (report.service.clone(), report.name.clone());
        let mut membership = self.membership();
        let label = report.version_label.as_deref().unwrap_or_default();
        let known = membership.get(&key);
        let (before, same_version) =
            (known.map(Member::routing), known.is_some_and(|member| member.version() == label));
        let accepted = membership.report(report, sender, now())?;
        let member = membership.get(&key).expect("it was just taken in");
        self.apply(&key, member);
        let after = member.routing();
        drop(membership);
        self.announce(&key, accepted, before.as_ref(), &after);
        self.heed_foreign(service, &key, accepted.id());
        let told = merge_classes(service, report);
        if service.plans_from_reports() {
            service.reported(accepted.id(), &told);
        }
        let same_routing = before.as_ref() == Some(&after);
        if !same_routing {
            self.reached(service, accepted.id());
        }
        if !(same_routing && same_version) {
            self.replan_soon();
        }
        let classification = missing_classification(service, report);
        let (used, wanted) = service.demand(accepted.id()).unzip();
        Ok(PlanReply { classification, used, wanted, ..self.reply(&key) })
    }

    /// Takes in what agents reported last to the process before this one.
    pub fn take_over(&self, reports: impl Iterator<Item = (Report, Sender)>) {
        for (report, sender) in reports {
            if let Err(unwanted) = self.report(&report, &sender) {
                tracing::info!(instance = %report.name, "no longer of use: {unwanted}");
            }
        }
    }

    /// Workers that others hold, or may count on, are not counted upon.
    fn heed_foreign(&self, service: &Arc<Service>, key: &Key, id: InstanceId) {
        let own = service.occupancy(id).map_or(0, |occupancy| occupancy.load.working);
        let mut membership = self.membership();
        let foreign = membership.compare(key, own);
        let granted = membership.get(key).and_then(|member| member.agent.as_ref()?.grant);
        drop(membership);
        service.set_shares(id, foreign, granted);
    }

    /// An instance that changed its mind is worth a try at once.
    fn reached(&self, service: &Arc<Service>, id: InstanceId) {
        if let Some(instance) = service.instance(id) {
            service.reached(&instance);
        }
    }

    fn announce(&self, key: &Key, accepted: Accepted, before: Option<&Routing>, after: &Routing) {
        let kind = match accepted {
            Accepted::Registered(_) => "instance-registered",
            Accepted::Restarted(_) => "agent-restarted",
            Accepted::Updated(_) if before == Some(after) => return,
            Accepted::Updated(_) => "instance-state",
        };
        self.events.publish(Event::new(kind, key, says(after)));
    }

    fn reply(&self, key: &Key) -> PlanReply {
        let plan = self.plan();
        let entry = plan.entry(&key.0, &key.1);
        PlanReply {
            schema: SCHEMA,
            plan: plan.version,
            role: entry.map_or(Role::General, |entry| entry.role.clone()),
            reason: entry.map_or_else(|| "not planned yet".to_owned(), |entry| entry.reason.clone()),
            routed: entry.is_some_and(|entry| entry.routed),
            used: None,
            wanted: None,
            lean: true,
            classification: None,
        }
    }
}

/// Merges what is reported of each class. Also what of it is to be planned with.
fn merge_classes(service: &Service, report: &Report) -> Vec<ReportedClass> {
    let (now, measured, planned) = (now(), report.measured(), service.plans_from_reports());
    let bypassed = service.is_bypassed();
    let merge = |class: &ClassReport| {
        let entry = service.classes.report(class, &measured, now);
        if bypassed {
            entry.count(class.requests);
        }
        planned.then(|| ReportedClass {
            class: entry.id,
            pinned: entry.treatment.lane.map(LanePin::lane),
            requests: class.requests,
            held: Batch::of_sketch(&class.held_us),
        })
    };
    report.classes.iter().filter_map(merge).collect()
}

/// How the service's requests are classified, if the agent does that itself and does not have it.
fn missing_classification(service: &Service, report: &Report) -> Option<Arc<Classification>> {
    let wanted = service.classes.classification();
    let has_it = report.classifications.contains(&wanted.version);
    let sorts_itself = report.mode == Mode::Passive || service.is_bypassed();
    (sorts_itself && !has_it).then_some(wanted)
}
