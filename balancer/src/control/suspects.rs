//! Of whom nothing good is known: who may be out of reach, and whose reports have stopped.

use std::time::Instant;

use crate::control::ControlState;
use crate::control::probe::Suspect;
use crate::decide::lease::Knowledge;
use crate::decide::membership::Member;
use crate::pool::now;

impl ControlState {
    /// Instances that may be out of reach: those to which a connection failed, and those of which nothing was heard of
    /// late, neither by their agents nor by a response.
    pub(super) fn suspects(&self, now: Instant) -> Vec<Suspect> {
        // Agents report to the successor, and nothing new is sent from here.
        if self.is_succeeded() {
            return Vec::new();
        }
        let directory = self.directory();
        let mut suspects: Vec<_> = directory
            .iter()
            .flat_map(|service| service.due().into_iter().map(|instance| (service.clone(), instance)))
            .map(|(service, instance)| Suspect { service, instance, silent: false })
            .collect();
        for (key, member) in self.membership().silent(now) {
            let Some(service) = directory.get(&key.0) else { continue };
            let Some(instance) = service.instance(member.id) else { continue };
            if !member.has_answered(instance.last_success(), now) {
                suspects.push(Suspect { service: service.clone(), instance, silent: true });
            }
        }
        suspects
    }

    /// Where reports have stopped, nothing is known of others, nor of when workers are free.
    pub(super) fn forget_what_is_old(&self) {
        let (now, directory) = (now(), self.directory());
        let is_old = |member: &Member| member.knowledge(now) != Knowledge::Fresh;
        let membership = self.membership();
        let old = membership.iter().filter(|(_, member)| is_old(member));
        let old: Vec<_> = old.map(|(key, member)| (key.0.clone(), member.id)).collect();
        drop(membership);
        for (name, id) in old {
            let Some(service) = directory.get(&name) else { continue };
            service.set_shares(id, 0, None);
            if let Some(instance) = service.instance(id) {
                instance.set_releases(&[]);
            }
        }
    }
}
