//! Other rules for classes that are there.

use std::sync::Arc;
use std::time::Instant;

use sluice_proto::{ClassName, Classification};

use super::{ClassEntry, ClassTable, Index, Sorting};
use crate::decide::treatment::ServiceRules;

impl ClassTable {
    /// Requests that come from now on are sorted and treated by these rules. A class that is treated otherwise by them
    /// keeps its number, and with it all that was learned of it; a class of a rule that is gone is forgotten when it
    /// has had no request for long, like any other.
    pub fn set_rules(&self, rules: Arc<ServiceRules>, now: Instant) {
        let mut index = self.write();
        self.treat_anew(&mut index, &rules, now);
        let templates = self.templates();
        self.classification.store(Arc::new(Classification::new(rules.rules().specs(), &templates)));
        self.sorting.store(Arc::new(Sorting { rules: rules.clone(), templates }));
        let names: Vec<_> =
            rules.rules().specs().iter().filter_map(|spec| ClassName::parse(&spec.name)).collect();
        let own = |name: ClassName| match index.by_name.get(&name) {
            Some(entry) => entry.clone(),
            None => self.add(&mut index, name, now),
        };
        let own: Vec<_> = names.into_iter().map(own).collect();
        index.by_rule = own;
    }

    /// Replaces the entries whose treatment is another. Those that requests hold go with the last of them.
    fn treat_anew(&self, index: &mut Index, rules: &ServiceRules, now: Instant) {
        let changed: Vec<_> =
            index.by_name.values().filter(|entry| !is_treated_by(entry, rules)).cloned().collect();
        for old in changed {
            let entry = self.make(old.id, old.name.clone(), rules, now);
            entry.absorb(&old, now);
            old.metrics.retire();
            index.by_name.insert(old.name.clone(), entry);
        }
    }
}

fn is_treated_by(entry: &ClassEntry, rules: &ServiceRules) -> bool {
    match rules.of_class(&entry.name) {
        Some((rule, treatment)) => entry.rule == Some(rule) && entry.treatment == *treatment,
        None => entry.rule.is_none(),
    }
}
