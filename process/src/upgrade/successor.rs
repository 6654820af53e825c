//! The side of the running process.

use std::{
    future::Future,
    io,
    net::Shutdown as End,
    os::{fd::OwnedFd, unix::net::UnixStream},
    process::Child,
};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::oneshot,
    task::spawn_blocking,
};

use super::{
    PROTOCOL, Sockets, UpgradeError, UpgradeMetrics, launch,
    predecessor::Introduction,
    wire::{Kind, MOST_DESCRIPTORS, Wire},
};
use crate::{
    RunError, Shutdown, Watch,
    control::{OwnThread, run_on_own_thread},
    supervisor,
};

/// What a program does when it is succeeded.
pub trait Incumbent: Send + Sync + 'static {
    /// Its name and version.
    fn program(&self) -> (&'static str, &'static str);

    /// What its successor is to know.
    ///
    /// # Errors
    /// Why it can not be succeeded now.
    fn state(&self) -> Result<Vec<u8>, String>;

    /// The successor serves: from here on this process only finishes what it has. What it says last.
    fn leave(&self) -> Vec<u8>;

    /// Talks to its successor until one of them ends, or there is nothing more to say.
    fn remain(self, wire: Wire) -> impl Future<Output = ()>;
}

/// What a process leaves to its successor.
pub struct Heritage<I> {
    pub sockets: Sockets,
    /// Of this process.
    pub generation: u64,
    pub metrics: UpgradeMetrics,
    pub incumbent: I,
}

/// Hands over on SIGUSR2, on a thread of its own.
pub struct Upgrades<I> {
    thread: OwnThread<io::Result<()>>,
    heritage: oneshot::Sender<Heritage<I>>,
}

impl<I: Incumbent> Upgrades<I> {
    /// From here on SIGUSR2 does not end the process; it is answered once there is something to hand over.
    ///
    /// # Errors
    /// If there is no thread to be had.
    pub fn watch(shutdown: &Shutdown) -> Result<Self, RunError> {
        let (heritage, given) = oneshot::channel();
        let shutdown = shutdown.clone();
        let (installed, is_installed) = std::sync::mpsc::channel::<()>();
        let watching = move || async move {
            let asked = signal(SignalKind::user_defined2())?;
            drop(installed);
            if let Ok(heritage) = given.await {
                hand_over(heritage, asked, shutdown).await;
            }
            Ok(())
        };
        let thread = run_on_own_thread("upgrade", watching).map_err(RunError::failed)?;
        // Nothing is sent: that it is dropped is the message.
        _ = is_installed.recv();
        Ok(Self { thread, heritage })
    }

    /// There is something to hand over.
    ///
    /// # Errors
    /// If the signal can not be watched.
    pub fn offer(self, heritage: Heritage<I>) -> Result<(), RunError> {
        if self.heritage.send(heritage).is_ok() {
            return Ok(());
        }
        self.thread.join().map_err(RunError::failed)?.map_err(RunError::failed)
    }
}

/// Until the work was handed over, or the process is stopped.
async fn hand_over<I: Incumbent>(heritage: Heritage<I>, mut asked: Signal, shutdown: Shutdown) {
    let stop = shutdown.watch();
    loop {
        tokio::select! {
            () = stop.requested() => return heritage.sockets.close(),
            _ = asked.recv() => {}
        }
        match succeed(&heritage, &stop).await {
            Ok((mut wire, pid)) => {
                let last_word = heritage.incumbent.leave();
                heritage.sockets.close();
                shutdown.hand_over();
                supervisor::succeeded_by(pid);
                if let Err(error) = wire.send(Kind::Yours, &last_word) {
                    tracing::error!(%error, "the successor died as soon as it served");
                }
                tracing::info!(pid, "handed over: finishing what is under way");
                return heritage.incumbent.remain(wire).await;
            }
            Err(error) => {
                heritage.metrics.failed.inc();
                tracing::error!("no upgrade, this process goes on: {error}");
            }
        }
    }
}

/// Starts a successor and waits until it serves. The wire to it, and its process id.
async fn succeed<I: Incumbent>(heritage: &Heritage<I>, stop: &Watch) -> Result<(Wire, u32), UpgradeError> {
    let state = heritage.incumbent.state().map_err(UpgradeError::NotNow)?;
    let sockets = heritage.sockets.duplicates().map_err(UpgradeError::Wire)?;
    let (program, version) = heritage.incumbent.program();
    let own = Introduction {
        protocol: PROTOCOL,
        program: program.to_owned(),
        version: version.to_owned(),
        generation: heritage.generation + 1,
    };
    let offer = Offer { own, sockets, state };
    let (ours, theirs) = UnixStream::pair().map_err(UpgradeError::Wire)?;
    let to_cut = ours.try_clone().map_err(UpgradeError::Wire)?;
    let mut child = launch::launch(theirs)?;
    let pid = child.id();
    tracing::info!(pid, "SIGUSR2: a new process is to take over");
    let mut talk = spawn_blocking(move || offer.make(ours, &mut child));
    let talked = tokio::select! {
        talked = &mut talk => talked,
        () = stop.requested() => {
            if let Err(error) = to_cut.shutdown(End::Both) {
                tracing::debug!(%error, "the successor has gone already");
            }
            // It sees to the end of the successor.
            _ = talk.await;
            return Err(UpgradeError::Stopping);
        }
    };
    let talked = talked.map_err(|error| UpgradeError::Wire(io::Error::other(error)))?;
    Ok((talked?, pid))
}

/// All that a successor gets before it serves.
struct Offer {
    own: Introduction,
    sockets: Vec<(String, Vec<OwnedFd>)>,
    state: Vec<u8>,
}

impl Offer {
    /// Blocks until the successor serves, or can not.
    fn make(self, stream: UnixStream, child: &mut Child) -> Result<Wire, UpgradeError> {
        self.converse(stream).map_err(|error| {
            let end = launch::end(child);
            UpgradeError::Refused(format!("{error}{end}"))
        })
    }

    fn converse(&self, stream: UnixStream) -> Result<Wire, UpgradeError> {
        let mut wire = Wire::new(stream)?;
        let other = Introduction::decode(&wire.expect(Kind::Hello)?.text)?;
        if let Some(reason) = self.reason_against(&other) {
            wire.send(Kind::Refusal, reason.as_bytes())?;
            return Err(UpgradeError::Unexpected(reason));
        }
        wire.send(Kind::Offer, &self.own.encode())?;
        for (place, sockets) in &self.sockets {
            for some in sockets.chunks(MOST_DESCRIPTORS) {
                wire.send_with(Kind::Sockets, place.as_bytes(), some)?;
            }
        }
        wire.send(Kind::State, &self.state)?;
        wire.expect(Kind::Ready)?;
        Ok(wire)
    }

    fn reason_against(&self, other: &Introduction) -> Option<String> {
        let (own, other_program) = (&self.own.program, &other.program);
        if own != other_program {
            return Some(format!("{other_program} can not succeed {own}"));
        }
        let (own, other) = (self.own.protocol, other.protocol);
        (own != other).then(|| format!("protocol {other} can not be spoken by a process of protocol {own}"))
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::upgrade::Predecessor;

    fn offer(program: &str, protocol: u32) -> Offer {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        Offer {
            own: Introduction {
                protocol,
                program: program.to_owned(),
                version: "1".to_owned(),
                generation: 3,
            },
            sockets: vec![("admin".to_owned(), vec![listener.into()])],
            state: b"known".to_vec(),
        }
    }

    #[test]
    fn a_successor_gets_everything_and_the_last_word() {
        let (old, new) = UnixStream::pair().expect("sockets");
        let offering = thread::spawn(move || {
            let mut wire = offer("p", PROTOCOL).converse(old)?;
            wire.send(Kind::Yours, b"2 are held")
        });
        let predecessor = Predecessor::meet(new, "p", "2").expect("they understand each other");
        assert_eq!((predecessor.generation(), predecessor.state()), (3, &b"known"[..]));
        assert_eq!(predecessor.sockets().take("admin").len(), 1);
        assert!(predecessor.sockets().take("admin").is_empty(), "taken");
        let (word, _wire) = predecessor.relieve().expect("it agrees").expect("it lives");
        assert_eq!(word, b"2 are held");
        offering.join().expect("no panic").expect("all was sent");
    }

    #[test]
    fn strangers_are_refused_and_both_are_told() {
        for (program, protocol, part) in
            [("other", PROTOCOL, "p can not succeed other"), ("p", PROTOCOL + 1, "protocol")]
        {
            let (old, new) = UnixStream::pair().expect("sockets");
            let offering = thread::spawn(move || {
                offer(program, protocol).converse(old).map(drop).map_err(|e| e.to_string())
            });
            let refused = Predecessor::meet(new, "p", "2").expect_err(part).to_string();
            let told = offering.join().expect("no panic").expect_err(part);
            assert!(refused.contains(part) && told.contains(part), "{refused}; {told}");
        }
    }

    #[test]
    fn a_predecessor_that_dies_has_left_its_work() {
        let (old, new) = UnixStream::pair().expect("sockets");
        let offering = thread::spawn(move || offer("p", PROTOCOL).converse(old).map(drop));
        let predecessor = Predecessor::meet(new, "p", "2").expect("an offer");
        assert!(predecessor.relieve().expect("nobody objects").is_none());
        offering.join().expect("no panic").expect("it was ready");
    }

    #[test]
    fn a_successor_that_dies_is_no_successor() {
        let (old, new) = UnixStream::pair().expect("sockets");
        let offering = thread::spawn(move || offer("p", PROTOCOL).converse(old).map(drop));
        drop(Predecessor::meet(new, "p", "2").expect("an offer"));
        let error = offering.join().expect("no panic").expect_err("never ready").to_string();
        assert!(error.contains("it has gone"), "{error}");
    }
}
