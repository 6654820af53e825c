//! Whether the program can do its work, and if not, what it waits for.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

/// Named reasons not to be ready. No reason means ready, so whatever must come first is blocked on before the admin
/// server starts.
#[derive(Debug, Default)]
pub struct Readiness {
    blockers: Mutex<BTreeMap<&'static str, String>>,
}

impl Readiness {
    pub fn new() -> Self {
        Self::default()
    }

    /// Not ready because of `name` until it is cleared. Blocking again replaces the reason.
    pub fn block(&self, name: &'static str, reason: impl Into<String>) {
        let reason = reason.into();
        let before = self.locked().insert(name, reason.clone());
        if before.is_none() {
            tracing::info!(blocker = name, reason, "not ready");
        }
    }

    /// `name` is no longer a reason. Clearing what does not block does nothing.
    pub fn clear(&self, name: &'static str) {
        let (was_blocked, left) = {
            let mut blockers = self.locked();
            (blockers.remove(name).is_some(), blockers.len())
        };
        if was_blocked {
            tracing::info!(blocker = name, left, "no longer in the way of readiness");
        }
    }

    /// `Err` with every reason, `name: reason` joined by `; `, in a stable order.
    pub fn state(&self) -> Result<(), String> {
        let blockers = self.locked();
        if blockers.is_empty() {
            return Ok(());
        }
        let reasons: Vec<_> = blockers.iter().map(|(name, reason)| format!("{name}: {reason}")).collect();
        Err(reasons.join("; "))
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, BTreeMap<&'static str, String>> {
        // Every change is one call on the map: a thread that panicked holding the lock left it whole.
        self.blockers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_once_nothing_blocks() {
        let readiness = Readiness::new();
        assert_eq!(readiness.state(), Ok(()));

        readiness.block("instances", "none has reported");
        readiness.block("drain", "leaving");
        readiness.block("instances", "none is up");
        assert_eq!(readiness.state(), Err("drain: leaving; instances: none is up".into()));

        readiness.clear("drain");
        readiness.clear("never blocked");
        assert_eq!(readiness.state(), Err("instances: none is up".into()));
        readiness.clear("instances");
        assert_eq!(readiness.state(), Ok(()));
    }
}
