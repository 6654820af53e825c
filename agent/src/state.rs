//! What the agent says of its instance: ready, draining or down, and why.

use std::{borrow::Cow, sync::Arc};

use serde::{Deserialize, Serialize};
use sluice_process::Readiness;
use sluice_proto::State;
use tokio::sync::watch;

/// What is known of the instance's health.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Health {
    /// Not checked yet: says nothing, so it is not ready.
    #[default]
    Unknown,
    Up,
    Down(Cow<'static, str>),
}

/// How far the agent is on its way out. Only ever grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Leaving {
    #[default]
    No,
    /// Who asked, in words.
    Draining(&'static str),
    Stopped,
}

/// What holds at the moment, and how often it changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    health: Health,
    leaving: Leaving,
    /// Grows by one with each change that a balancer should hear of.
    pub version: u64,
}

impl Standing {
    /// The state and its reason. Down goes before draining: it matters more to whoever holds requests.
    pub fn word(&self) -> (State, Option<Cow<'static, str>>) {
        match (self.leaving, &self.health) {
            (Leaving::Stopped, _) => (State::Down, Some("stopped".into())),
            (_, Health::Unknown) => (State::Down, Some("not checked yet".into())),
            (_, Health::Down(reason)) => (State::Down, Some(reason.clone())),
            (Leaving::Draining(who), Health::Up) => (State::Draining, Some(who.into())),
            (Leaving::No, Health::Up) => (State::Ready, None),
        }
    }

    pub fn health(&self) -> &Health {
        &self.health
    }

    pub fn leaving(&self) -> Leaving {
        self.leaving
    }
}

/// The one place where the state is kept. Everything that follows from a change (report, readiness, log) hangs on it.
#[derive(Debug)]
pub struct StateCell {
    standing: watch::Sender<Standing>,
    readiness: Arc<Readiness>,
}

const INSTANCE: &str = "instance";
const DRAIN: &str = "drain";

impl StateCell {
    pub fn new(readiness: Arc<Readiness>) -> Self {
        let cell = Self { standing: watch::Sender::new(Standing::default()), readiness };
        cell.update_readiness(&Standing::default());
        cell
    }

    /// The health checker's word; nobody else's.
    pub fn set_health(&self, health: Health) {
        self.update(|standing| standing.health = health);
    }

    /// Asks to leave. Returns the version that says so.
    pub fn leave(&self, leaving: Leaving) -> u64 {
        self.update(|standing| standing.leaving = leave_further(standing.leaving, leaving))
    }

    pub fn standing(&self) -> Standing {
        self.standing.borrow().clone()
    }

    /// Whether the last word on the instance's health was good.
    pub fn is_up(&self) -> bool {
        self.standing.borrow().health == Health::Up
    }

    /// Sees every change.
    pub fn subscribe(&self) -> watch::Receiver<Standing> {
        self.standing.subscribe()
    }

    fn update(&self, change: impl FnOnce(&mut Standing)) -> u64 {
        let changed = self.standing.send_if_modified(|standing| {
            let before = standing.word();
            change(standing);
            let changed = standing.word() != before;
            if changed {
                standing.version += 1;
            }
            // Within the lock, or two changes could be told in the wrong order.
            self.update_readiness(standing);
            changed
        });
        let standing = self.standing();
        if changed {
            let (state, reason) = standing.word();
            tracing::info!(?state, reason = reason.as_deref().unwrap_or_default(), "state changed");
        }
        standing.version
    }

    fn update_readiness(&self, standing: &Standing) {
        match &standing.health {
            Health::Up => self.readiness.clear(INSTANCE),
            Health::Unknown => self.readiness.block(INSTANCE, "not checked yet"),
            Health::Down(reason) => self.readiness.block(INSTANCE, reason.clone()),
        }
        match standing.leaving {
            Leaving::No => {}
            Leaving::Draining(who) => self.readiness.block(DRAIN, who),
            Leaving::Stopped => self.readiness.block(DRAIN, "stopped"),
        }
    }
}

/// The first who asks for a drain is the reason, and nothing takes a stop back.
fn leave_further(now: Leaving, asked: Leaving) -> Leaving {
    match (now, asked) {
        (Leaving::Draining(_), Leaving::Draining(_)) => now,
        _ => now.max(asked),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_follows_from_health_and_leaving() {
        let down = || Health::Down("connection refused".into());
        for (health, leaving, state, reason) in [
            (Health::Unknown, Leaving::No, State::Down, Some("not checked yet")),
            (Health::Up, Leaving::No, State::Ready, None),
            (down(), Leaving::No, State::Down, Some("connection refused")),
            (Health::Up, Leaving::Draining("signal"), State::Draining, Some("signal")),
            (down(), Leaving::Draining("signal"), State::Down, Some("connection refused")),
            (Health::Up, Leaving::Stopped, State::Down, Some("stopped")),
            (down(), Leaving::Stopped, State::Down, Some("stopped")),
        ] {
            let standing = Standing { health, leaving, version: 0 };
            assert_eq!(standing.word(), (state, reason.map(Cow::from)), "{standing:?}");
        }
    }

    #[test]
    fn only_what_a_balancer_should_hear_of_is_a_new_version() {
        let readiness = Arc::new(Readiness::new());
        let cell = StateCell::new(readiness.clone());
        assert_eq!(readiness.state(), Err("instance: not checked yet".into()));
        cell.set_health(Health::Up);
        cell.set_health(Health::Up);
        assert_eq!((cell.standing().version, readiness.state()), (1, Ok(())));
        assert_eq!(cell.leave(Leaving::Draining("POST /v1/drain")), 2);
        assert_eq!(cell.leave(Leaving::Draining("signal")), 2, "the first reason stays");
        assert_eq!(readiness.state(), Err("drain: POST /v1/drain".into()));
        assert_eq!(cell.leave(Leaving::Stopped), 3);
        assert_eq!(cell.leave(Leaving::Draining("signal")), 3, "stopped is for good");
        cell.set_health(Health::Down("connection refused".into()));
        assert_eq!(cell.standing().version, 3);
    }
}
