//! Another configuration for what the control plane knows: services and the instances that have no agent.

use std::collections::HashMap;
use std::sync::Arc;

use crate::config::InstanceSpec;
use crate::control::ControlState;
use crate::control::events::Event;
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
        self.set_instances(instances);
        self.replan();
    }

    /// Forgets the instances of services that are gone. Their own tables keep them, so that who waits is served.
    fn leave_services(&self, next: &Directory) {
        let mut membership = self.membership();
        let gone = |key: &&Key| next.get(&key.0).is_none();
        let gone: Vec<_> = membership.iter().map(|(key, _)| key).filter(gone).cloned().collect();
        gone.iter().for_each(|key| drop(membership.remove(key)));
    }

    /// Brings the instances of the configuration to what it says now.
    fn set_instances(&self, specs: &[InstanceSpec]) {
        let wanted: HashMap<Key, &InstanceSpec> =
            specs.iter().map(|spec| ((spec.service.clone(), spec.name.clone()), spec)).collect();
        self.drop_instances(&wanted);
        for (key, spec) in wanted {
            let mut membership = self.membership();
            let is_new = membership.get(&key).is_none();
            membership.set_static(key.clone(), spec.target.clone(), spec.workers.get(), spec.release);
            self.apply(&key, membership.get(&key).expect("just set"));
            drop(membership);
            if is_new {
                self.events.publish(Event::new("instance-registered", &key, "the configuration has it now"));
            }
        }
    }

    /// Those that the configuration had and has no more. One with an agent stays by its agent's word.
    fn drop_instances(&self, wanted: &HashMap<Key, &InstanceSpec>) {
        let directory = self.directory();
        let mut membership = self.membership();
        let unwanted =
            membership.iter().filter(|(key, m)| m.configured.is_some() && !wanted.contains_key(*key));
        let unwanted: Vec<_> = unwanted.map(|(key, _)| key.clone()).collect();
        for key in unwanted {
            let Some(member) = membership.forget_configured(&key) else { continue };
            // Its requests hold it for as long as they last.
            if let Some(service) = directory.get(&key.0) {
                service.remove_instance(member.id);
            }
            let text = "the configuration has it no more: what is under way there is finished";
            self.events.publish(Event::new("instance-gone", &key, text));
        }
    }
}
