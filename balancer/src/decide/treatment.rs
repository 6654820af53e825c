//! What the operator wants for the requests that a rule matches, beyond a class of their own.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use sluice_proto::{ClassName, InstanceName, Rules};

use crate::decide::ids::Lane;
use crate::decide::sticky::StickySpec;

/// The lane that a class is held in, whatever is learned of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LanePin {
    Small,
    Large,
}

impl LanePin {
    pub fn lane(self) -> Lane {
        match self {
            Self::Small => Lane::SMALL,
            Self::Large => Lane::LARGE,
        }
    }
}

/// What a rule asks for. The default asks for nothing: everything is learned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Treatment {
    pub lane: Option<LanePin>,
    /// From arrival; a request that has no worker by then is of no use to anyone.
    pub deadline: Option<Duration>,
    /// -10 to 10. Of two that wait, the one with the higher is served first; 0 is what all others have.
    pub priority: i8,
    /// The only instances that may serve it. Never empty.
    pub instances: Option<Arc<[InstanceName]>>,
    pub sticky: Option<StickySpec>,
    /// Bytes that a request's body may have. `u64::MAX`: any number.
    pub max_body_size: Option<u64>,
}

impl fmt::Display for Treatment {
    /// For people: what is asked for, in words.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the operator's rule")?;
        match self.lane {
            Some(LanePin::Small) => f.write_str(", lane small")?,
            Some(LanePin::Large) => f.write_str(", lane large")?,
            None => {}
        }
        if let Some(deadline) = self.deadline {
            write!(f, ", deadline {deadline:?}")?;
        }
        if self.priority != 0 {
            write!(f, ", priority {}", self.priority)?;
        }
        if let Some(instances) = &self.instances {
            let names: Vec<_> = instances.iter().map(InstanceName::as_str).collect();
            write!(f, ", only on {}", names.join(", "))?;
        }
        if let Some(sticky) = &self.sticky {
            write!(f, ", sticky by cookie {}", sticky.cookie())?;
        }
        match self.max_body_size {
            Some(u64::MAX) => f.write_str(", bodies of any size"),
            Some(most) => write!(f, ", bodies up to {most} bytes"),
            None => Ok(()),
        }
    }
}

/// The rules of one service, each with its treatment.
#[derive(Clone, Debug, Default)]
pub struct ServiceRules {
    rules: Rules,
    treatments: Vec<Arc<Treatment>>,
}

impl ServiceRules {
    /// `treatments` are in the order of `rules`; a rule without one gets the default.
    pub fn new(rules: Rules, treatments: Vec<Treatment>) -> Self {
        let mut treatments: Vec<_> = treatments.into_iter().map(Arc::new).collect();
        treatments.resize_with(rules.specs().len(), Arc::default);
        Self { rules, treatments }
    }

    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// The place of the rule that names a class, and how its requests are treated.
    pub fn of_class(&self, class: &ClassName) -> Option<(usize, &Arc<Treatment>)> {
        let index = self.rules.of_class(class)?;
        self.treatments.get(index).map(|treatment| (index, treatment))
    }
}
