//! Another configuration for what the control plane knows: services and the instances that have no agent.

use std::sync::Arc;

use crate::config::InstanceSpec;
use crate::control::ControlState;
use crate::decide::membership::{Key, Word};
use crate::pool::Directory;

impl ControlState {
    /// Puts other services and instances in force. What requests hold of those that are gone stays theirs: it is let
    /// go with the last of them. `words`: the operator's, to an earlier process, on instances of new services.
    pub fn reconfigure(
        &self,
        directory: Arc<Directory>,
        instances: &[InstanceSpec],
        words: Vec<(Key, Word)>,
    ) {
        words.into_iter().for_each(|(key, word)| self.membership().remember(key, word));
        self.leave_services(&directory);
        self.set_directory(directory);
        self.book().configure(instances);
        self.other_sources.notify_one();
        self.reconcile().into_iter().for_each(|event| self.events.publish(event));
        self.replan();
    }

    /// Forgets the instances of services that are gone. Their own tables keep them, so that who waits is served.
    fn leave_services(&self, next: &Directory) {
        let mut membership = self.membership();
        let gone = |key: &&Key| next.get(&key.0).is_none();
        let gone: Vec<_> = membership.iter().map(|(key, _)| key).filter(gone).cloned().collect();
        gone.iter().for_each(|key| drop(membership.remove(key)));
    }
}
