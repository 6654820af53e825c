//! Which versions of the application get a service's requests.

use std::sync::{Arc, MutexGuard};
use std::time::Instant;

use crate::decide::versions::{Assignment, Candidate, Moved, VersionPolicy, Versions};
use crate::pool::Service;

/// Which versions of the application get requests, and how that was decided.
#[derive(Default)]
pub(super) struct VersionControl {
    policy: VersionPolicy,
    versions: Versions,
    assignment: Assignment,
}

impl Service {
    /// In force from [`Service::decide_versions`] on.
    pub(super) fn set_version_policy(&self, policy: &VersionPolicy) {
        self.version_control().policy = policy.clone();
    }

    /// Whether it matters which versions instances are of.
    pub fn tells_versions_apart(&self) -> bool {
        self.version_control().policy != VersionPolicy::Any
    }

    /// Decides which versions get requests, and puts it in force. Returns what is worth telling of it.
    pub fn decide_versions(self: &Arc<Self>, candidates: &[Candidate], now: Instant) -> Option<Moved> {
        let mut control = self.version_control();
        let VersionControl { policy, versions, .. } = &mut *control;
        let (assignment, moved) = versions.decide(policy, candidates, now);
        // Also if nothing differs: instances may have come, and others may have been let serve meanwhile.
        self.set_versions(&assignment);
        control.assignment = assignment;
        moved
    }

    /// The policy and what it came to.
    pub fn versions(&self) -> (VersionPolicy, Assignment) {
        let control = self.version_control();
        (control.policy.clone(), control.assignment.clone())
    }

    fn version_control(&self) -> MutexGuard<'_, VersionControl> {
        self.versions.lock().expect("no code panics while holding it")
    }
}
