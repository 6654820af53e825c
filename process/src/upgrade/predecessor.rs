//! The side of the new process.

use std::{
    env,
    fs::File,
    io::{self, stdin},
    os::{
        fd::AsFd,
        unix::{net::UnixStream, process::parent_id},
    },
};

use serde::{Deserialize, Serialize};

use super::{
    PROTOCOL, Sockets, UpgradeError,
    launch::VARIABLE,
    wire::{Kind, Wire},
};

/// Who talks.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Introduction {
    pub(super) protocol: u32,
    pub(super) program: String,
    pub(super) version: String,
    /// Of the process that this is, or that it would be.
    pub(super) generation: u64,
}

/// The process whose work this one takes over.
#[derive(Debug)]
pub struct Predecessor {
    wire: Wire,
    generation: u64,
    sockets: Sockets,
    state: Vec<u8>,
}

impl Predecessor {
    /// Whoever started this process to be succeeded by it; `None`: nobody did.
    ///
    /// To be called once, when the configuration is known to be good.
    ///
    /// # Errors
    /// If the hand-over fails. The predecessor goes on then, and this process must not.
    pub fn find(program: &str, version: &str) -> Result<Option<Self>, UpgradeError> {
        let is_meant = env::var(VARIABLE).is_ok_and(|pid| pid == parent_id().to_string());
        if !is_meant {
            return Ok(None);
        }
        let stream = take_standard_input().map_err(UpgradeError::Wire)?;
        Self::meet(stream, program, version).map(Some)
    }

    /// Asks the predecessor at the other end of `stream` for what it has.
    ///
    /// # Errors
    /// As [`find`](Self::find).
    pub fn meet(stream: UnixStream, program: &str, version: &str) -> Result<Self, UpgradeError> {
        let mut wire = Wire::new(stream)?;
        let (program, version) = (program.to_owned(), version.to_owned());
        let own = Introduction { protocol: PROTOCOL, program, version, generation: 0 };
        wire.send(Kind::Hello, &own.encode())?;
        let offer = Introduction::decode(&wire.expect(Kind::Offer)?.text)?;
        let sockets = Sockets::default();
        let state = loop {
            let message = wire.receive()?;
            match message.kind {
                Kind::Sockets => sockets.add(message.words(), message.descriptors),
                Kind::State => break message.text,
                _ => return Err(message.unexpected()),
            }
        };
        tracing::info!(
            generation = offer.generation,
            predecessor = offer.version,
            places = sockets.places().join(" "),
            "taking over from a running process"
        );
        Ok(Self { wire, generation: offer.generation, sockets, state })
    }

    /// Of this process: that of its predecessor, and one.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// What is not taken from here is closed when this process says that it serves.
    pub fn sockets(&self) -> &Sockets {
        &self.sockets
    }

    /// What the program's former process knew.
    pub fn state(&self) -> &[u8] {
        &self.state
    }

    /// Says that this process serves, and waits until the predecessor accepts nothing more. Its last word, and the wire to
    /// it; `None` if it has died, whereupon this process is alone as well.
    ///
    /// # Errors
    /// If the predecessor has changed its mind. It goes on then, and this process must not.
    pub fn relieve(self) -> Result<Option<(Vec<u8>, Wire)>, UpgradeError> {
        let Self { mut wire, sockets, .. } = self;
        for place in sockets.places() {
            tracing::info!(place, "is listened on no more");
        }
        sockets.close();
        match wire.send(Kind::Ready, b"").and_then(|()| wire.expect(Kind::Yours)) {
            Ok(last) => Ok(Some((last.text, wire))),
            Err(UpgradeError::Wire(error)) if error.kind() != io::ErrorKind::WouldBlock => {
                tracing::warn!(%error, "the process before this one died while it was relieved");
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

impl Introduction {
    pub(super) fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("plain data")
    }

    pub(super) fn decode(text: &[u8]) -> Result<Self, UpgradeError> {
        serde_json::from_slice(text).map_err(|error| UpgradeError::Unexpected(error.to_string()))
    }
}

/// Standard input, in whose place there is nothing afterwards: the wire must end when it is dropped.
fn take_standard_input() -> io::Result<UnixStream> {
    let wire = stdin().as_fd().try_clone_to_owned()?;
    rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
    Ok(wire.into())
}
