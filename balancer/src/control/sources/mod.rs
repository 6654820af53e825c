//! Instances that are found: who looks for them, and what is done about what is found.
//!
//! ```text
//!  configuration ───────────────► book ─► wanted ─► decide::sources::reconcile ─► membership, pool
//!  DNS, by its TTL ──────┐         ▲
//!  Kubernetes, watched ──┴─ heard ─┘
//! ```
//!
//! What can not be asked keeps what it had: that DNS is gone does not mean that the instances are.

mod book;
#[cfg(feature = "kubernetes")]
mod kubernetes;
mod metrics;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use sluice_process::Watch;
use sluice_process::discover::{Follower, Name, Resolver};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::sleep;

pub(super) use book::Book;
pub use book::Found;
pub(super) use metrics::SourceMetrics;

use crate::config::Source;
use crate::control::ControlState;
use crate::control::events::Event;
use crate::control::state::says;
use crate::decide::membership::Membership;
use crate::decide::sources::{Change, Endpoint, Origin, Standing};

/// More instances than anyone runs behind one name; a wrong one must not make a balancer connect to half the world.
const MOST: usize = 4096;

/// Who is asked.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// `None`: the DNS servers of the system.
    pub dns_server: Option<SocketAddr>,
    /// `None`: as `kubectl` would, or as pods do.
    pub kubeconfig: Option<PathBuf>,
}

/// What a source says.
enum Heard {
    /// All that it has now.
    Endpoints(Vec<Endpoint>),
    /// As before.
    Same,
    Failed,
}

/// Looks for instances wherever the configuration says, until the stop is requested.
pub async fn run(state: Arc<ControlState>, access: Access, stop: Watch) {
    let mut tasks = JoinSet::new();
    let mut followed: HashMap<Source, AbortHandle> = HashMap::new();
    loop {
        let wanted = state.book().sources();
        for (source, task) in followed.extract_if(|source, _| !wanted.contains(source)) {
            task.abort();
            state.source_metrics.forget(&source);
        }
        for source in wanted {
            let begin = || {
                state.source_metrics.begin(&source);
                tasks.spawn(follow(source.clone(), access.clone(), state.clone()))
            };
            followed.entry(source.clone()).or_insert_with(begin);
        }
        tokio::select! {
            () = state.other_sources.notified() => {}
            Some(ended) = tasks.join_next() => match ended {
                Err(error) if error.is_cancelled() => {}
                ended => tracing::error!(?ended, "a source of instances is not asked any more: restart the balancer"),
            },
            () = stop.requested() => return,
        }
    }
}

async fn follow(source: Source, access: Access, state: Arc<ControlState>) {
    match &source {
        Source::Dns(name) => follow_dns(name, &source, &access, &state).await,
        #[cfg(feature = "kubernetes")]
        Source::Kubernetes(service) => {
            kubernetes::follow(service, access.kubeconfig.as_deref(), |heard| state.heard(&source, heard))
                .await;
        }
        #[cfg(not(feature = "kubernetes"))]
        Source::Kubernetes(_) => unreachable!("refused with the configuration"),
    }
}

async fn follow_dns(name: &Name, source: &Source, access: &Access, state: &ControlState) {
    let resolver = Resolver::new(access.dns_server);
    let mut follower = Follower::new(name.clone(), resolver, MOST, fastrand::Rng::new());
    loop {
        let looked = follower.look_up().await;
        let heard = match looked.changed {
            Some(addresses) => Heard::Endpoints(addresses.into_iter().map(serving).collect()),
            None if looked.failed => Heard::Failed,
            None => Heard::Same,
        };
        state.heard(source, heard);
        sleep(looked.pause).await;
    }
}

/// DNS says no more than that it is there.
fn serving(address: SocketAddr) -> Endpoint {
    Endpoint::new(address.ip(), address.port(), None, Standing::Serving)
}

fn in_words(origin: &Origin) -> String {
    match origin {
        Origin::Configuration => "the configuration".to_owned(),
        Origin::Source(source) => source.to_string(),
    }
}

impl ControlState {
    fn heard(&self, source: &Source, heard: Heard) {
        match heard {
            Heard::Failed => self.source_metrics.failed(source),
            Heard::Same => self.source_metrics.answered(source),
            Heard::Endpoints(endpoints) => {
                self.source_metrics.answered(source);
                self.source_metrics.has(source, endpoints.len());
                self.book().heard(source, endpoints);
                self.provide_instances();
            }
        }
    }

    /// What an earlier process found holds until it is looked for anew.
    pub fn inherit_found(&self, found: Found) {
        self.book().inherit(found);
        self.provide_instances();
    }

    /// What sources found until now.
    pub fn found(&self) -> Found {
        self.book().found().clone()
    }

    /// Brings the instances to what the configuration and its sources have now, tells of it, and plans with it.
    pub(super) fn provide_instances(&self) {
        let told = self.reconcile();
        if !told.is_empty() {
            told.into_iter().for_each(|event| self.events.publish(event));
            self.replan();
        }
    }

    /// Brings the instances to what there should be. Returns what is to be told of it.
    pub(super) fn reconcile(&self) -> Vec<Event> {
        // Both are held: another thread may bring another configuration.
        let book = self.book();
        let mut membership = self.membership();
        let changes = membership.changes(book.wanted());
        changes.into_iter().filter_map(|change| self.carry_out(&mut membership, change)).collect()
    }

    fn carry_out(&self, membership: &mut Membership, change: Change) -> Option<Event> {
        match change {
            Change::Set(key, wanted) => {
                let origin = wanted.origin.clone();
                let before = membership.get(&key).map(|member| member.routing());
                let is_new = membership.set_wanted(&key, wanted);
                let member = membership.get(&key).expect("just set");
                self.apply(&key, member);
                let after = member.routing();
                if is_new {
                    let text = format!("{} has it now", in_words(&origin));
                    return Some(Event::new("instance-registered", &key, text));
                }
                (before != Some(after.clone())).then(|| Event::new("instance-state", &key, says(&after)))
            }
            Change::Drop(key, origin) => {
                let member = membership.forget_wanted(&key)?;
                // Its requests hold it for as long as they last.
                if let Some(service) = self.directory().get(&key.0) {
                    service.remove_instance(member.id);
                }
                let text =
                    format!("{} has it no more: what is under way there is finished", in_words(&origin));
                Some(Event::new("instance-gone", &key, text))
            }
        }
    }
}
