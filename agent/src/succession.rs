//! What one agent process hands to the next: what it knows of the instance, and the workers that its requests hold.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sluice_process::{
    RunError,
    upgrade::{Incumbent, Predecessor, Wire},
};

use crate::{
    PROGRAM,
    gate::{Gate, give_back, lend},
    shared::Shared,
    state::{Health, Leaving},
};

/// As JSON between processes that may be of different versions.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Handed {
    /// So that no report calls an instance down only because it was not looked at yet.
    #[serde(default)]
    health: Health,
}

/// The last word.
#[derive(Debug, Serialize, Deserialize)]
struct Holding {
    /// Workers that requests of this process hold, or are to hold.
    held: usize,
}

/// An agent that may be succeeded.
pub struct Succession {
    shared: Arc<Shared>,
}

impl Succession {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }
}

impl Incumbent for Succession {
    fn program(&self) -> (&'static str, &'static str) {
        (PROGRAM, env!("CARGO_PKG_VERSION"))
    }

    fn state(&self) -> Result<Vec<u8>, String> {
        let standing = self.shared.state.standing();
        if standing.leaving() != Leaving::No {
            return Err("this agent is draining".to_owned());
        }
        let handed = Handed { health: standing.health().clone() };
        serde_json::to_vec(&handed).map_err(|error| error.to_string())
    }

    fn leave(&self) -> Vec<u8> {
        let holding = Holding { held: self.shared.gate.hand_over() };
        serde_json::to_vec(&holding).expect("a number")
    }

    async fn remain(self, wire: Wire) {
        match wire.into_stream() {
            Ok(stream) => give_back(&self.shared.gate, stream).await,
            // The successor sees the wire end, and counts all workers as its own.
            Err(error) => tracing::error!(%error, "workers can not be shared with the successor"),
        }
    }
}

/// What the process before this one knew.
pub(crate) struct Inheritance {
    predecessor: Predecessor,
    pub(crate) health: Health,
}

/// Workers that the process before this one still holds, and the way to it.
pub(crate) struct Lent {
    held: usize,
    wire: Wire,
}

impl Inheritance {
    pub(crate) fn of(predecessor: Predecessor) -> Self {
        let Handed { health } = serde_json::from_slice(predecessor.state()).unwrap_or_else(|error| {
            tracing::warn!("what the process before this one knew can not be read: {error}");
            Handed::default()
        });
        Self { predecessor, health }
    }

    /// Relieves the predecessor: from here on this agent is the one that reports. Gives the gate the workers that are not
    /// held by the other.
    ///
    /// # Errors
    /// If it goes on after all.
    pub(crate) fn claim(self, shared: &Shared) -> Result<Option<Lent>, RunError> {
        let relieved = self.predecessor.relieve().map_err(RunError::failed)?;
        let lent = relieved.map(|(word, wire)| {
            let holding = serde_json::from_slice::<Holding>(&word).unwrap_or_else(|error| {
                tracing::error!("it is not known which workers are held: {error}");
                Holding { held: 0 }
            });
            Lent { held: holding.held, wire }
        });
        shared.gate.receive_but(lent.as_ref().map_or(0, |lent| lent.held));
        shared.state.set_health(self.health);
        Ok(lent)
    }
}

impl Lent {
    /// Shares workers with the process before this one, until it has ended.
    pub(crate) async fn share(self, gate: &Gate) {
        match self.wire.into_stream() {
            Ok(stream) => lend(gate, stream, self.held).await,
            Err(error) => {
                tracing::error!(%error, "workers can not be shared with the process before this one")
            }
        }
    }
}
