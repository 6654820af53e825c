//! Connections that are made for nothing but to find out whether an instance can be reached: where one failed before, and
//! where an agent has fallen silent.
//!
//! A network that swallows packets says nothing, and nor does a process that is stopped, though its kernel accepts
//! connections for it. What was sent there would wait for longer than people do, and each request that is sent after it
//! as well. So an agent is asked whether it runs. Instances without one are only connected to: they have no answer that
//! does not take a worker. Older agents neither, as they pass on whatever they are asked.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sluice_relay::{Failure, probe as question, upstream};
use tokio::task::JoinSet;

use crate::control::ControlState;
use crate::decide::dispatch::InstanceId;
use crate::pool::{Instance, Service, now};

/// More than a second, after which TCP says its first packet again: one that is lost proves nothing.
const WITHIN: Duration = Duration::from_millis(1500);
/// How often an instance is tried whose agent goes on being silent.
const PAUSE: Duration = Duration::from_secs(1);

/// An instance to try.
pub(super) struct Suspect {
    pub(super) service: Arc<Service>,
    pub(super) instance: Arc<Instance>,
    /// Neither its agent nor a response was heard of late: what can not be connected to either has gone.
    pub(super) silent: bool,
}

/// What is being tried, and what was a moment ago.
#[derive(Default)]
pub(super) struct Prober {
    under_way: JoinSet<()>,
    not_before: HashMap<InstanceId, Instant>,
}

impl Prober {
    /// Tries whoever ought to be tried now. Does not wait for what comes of it.
    pub(super) fn tick(&mut self, state: &ControlState) {
        while self.under_way.try_join_next().is_some() {}
        let now = now();
        self.not_before.retain(|_, at| *at > now);
        for suspect in state.suspects(now) {
            let known = self.not_before.contains_key(&suspect.instance.id);
            if !(suspect.silent && known) {
                self.not_before.insert(suspect.instance.id, now + WITHIN + PAUSE);
                self.under_way.spawn(probe(suspect));
            }
        }
    }
}

async fn probe(Suspect { service, instance, silent }: Suspect) {
    match reach(&instance).await {
        Ok(()) => service.reached(&instance),
        // Which says nothing about the instance.
        Err(Failure::NoDescriptors) => {}
        Err(failure) => {
            service.unreachable(&instance);
            if silent {
                tracing::warn!(
                    instance = %instance.name,
                    reason = failure.label(),
                    "its agent is silent and nothing answers there: what may be sent twice is sent elsewhere"
                );
                instance.give_up();
            }
        }
    }
}

async fn reach(instance: &Instance) -> Result<(), Failure> {
    match instance.answers_probes() {
        true => question::ask(&instance.target, WITHIN).await,
        false => upstream::reach(&instance.target, WITHIN).await,
    }
}
