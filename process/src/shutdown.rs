//! Stopping in two stages, seen by every thread: first *leave gracefully*, then *now*.

use std::{io, sync::Arc};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
};

/// How far the program is on its way out. Only ever grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    Running,
    /// A successor has the listening sockets: accept nothing, end each connection when its client would not notice.
    HandedOver,
    /// Take nothing new, finish what is in flight.
    Graceful,
    /// Cut what is in flight.
    Immediate,
}

/// Asks the program to stop. Clones ask the same program.
///
/// When the last clone is dropped, watchers see [`Stage::Immediate`]: whoever was in charge is gone, and a part
/// that nobody can stop any more must not run on.
#[derive(Clone, Debug)]
pub struct Shutdown(Arc<watch::Sender<Stage>>);

/// Sees the stages. Cheap to clone, works on any runtime or thread.
#[derive(Clone, Debug)]
pub struct Watch(watch::Receiver<Stage>);

impl Default for Shutdown {
    fn default() -> Self {
        Self::new()
    }
}

impl Shutdown {
    pub fn new() -> Self {
        Self(Arc::new(watch::Sender::new(Stage::Running)))
    }

    pub fn watch(&self) -> Watch {
        Watch(self.0.subscribe())
    }

    /// Says that a successor has taken over.
    pub fn hand_over(&self) {
        self.advance(Stage::HandedOver);
    }

    /// Asks to leave gracefully.
    pub fn trigger(&self) {
        self.advance(Stage::Graceful);
    }

    /// Asks to stop at once.
    pub fn trigger_now(&self) {
        self.advance(Stage::Immediate);
    }

    fn advance(&self, to: Stage) {
        self.0.send_if_modified(|stage| {
            let later = to > *stage;
            *stage = to.max(*stage);
            later
        });
    }
}

impl Watch {
    /// Resolves once nothing new is to be accepted: a successor has taken over, or stopping was asked for.
    pub async fn leaving(&self) {
        self.reached(Stage::HandedOver).await;
    }

    /// Resolves once a successor has taken over; never if stopping was asked for before.
    pub async fn succeeded(&self) {
        self.leaving().await;
        if self.stage() != Stage::HandedOver {
            std::future::pending().await
        }
    }

    /// Whether nothing new is to be accepted.
    pub fn is_leaving(&self) -> bool {
        self.stage() >= Stage::HandedOver
    }

    /// Resolves once stopping was asked for, gracefully or not.
    pub async fn requested(&self) {
        self.reached(Stage::Graceful).await;
    }

    /// Resolves once what is in flight is to be cut.
    pub async fn now(&self) {
        self.reached(Stage::Immediate).await;
    }

    pub fn stage(&self) -> Stage {
        let orphaned = self.0.has_changed().is_err();
        if orphaned { Stage::Immediate } else { *self.0.borrow() }
    }

    async fn reached(&self, wanted: Stage) {
        // A clone keeps `&self`, so that one watch serves several waits. `Err` is the dropped trigger.
        if self.0.clone().wait_for(|stage| *stage >= wanted).await.is_err() {
            tracing::debug!("the shutdown trigger is gone: stopping");
        }
    }
}

/// Turns SIGTERM and SIGINT into stages: the first is graceful, the second immediate, then this returns.
///
/// Once it was polled, neither signal kills the process by itself, so let it run until the program ends.
/// `Err` if the handlers can not be installed.
pub async fn signals(shutdown: Shutdown) -> io::Result<()> {
    let mut term = signal(SignalKind::terminate())?;
    let mut int = signal(SignalKind::interrupt())?;
    follow(&shutdown, &mut term, &mut int).await;
    Ok(())
}

async fn follow(shutdown: &Shutdown, term: &mut Signal, int: &mut Signal) {
    let name = next(term, int).await;
    tracing::info!(signal = name, "leaving gracefully; the same again stops at once");
    shutdown.trigger();
    let name = next(term, int).await;
    tracing::warn!(signal = name, "stopping at once");
    shutdown.trigger_now();
}

async fn next(term: &mut Signal, int: &mut Signal) -> &'static str {
    tokio::select! {
        _ = term.recv() => "SIGTERM",
        _ = int.recv() => "SIGINT",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn stages_are_seen_in_order_and_never_go_back() {
        let shutdown = Shutdown::new();
        let watch = shutdown.watch();
        assert_eq!(watch.stage(), Stage::Running);

        shutdown.clone().trigger();
        watch.requested().await;
        assert_eq!(watch.stage(), Stage::Graceful);

        shutdown.trigger_now();
        watch.now().await;
        shutdown.trigger();
        watch.requested().await;
        assert_eq!(watch.stage(), Stage::Immediate);
        assert_eq!(shutdown.watch().stage(), Stage::Immediate, "a late watcher sees it too");
    }

    #[tokio::test]
    async fn a_hand_over_is_no_stop_and_a_stop_is_more_than_a_hand_over() {
        let shutdown = Shutdown::new();
        let watch = shutdown.watch();
        assert!(!watch.is_leaving());
        shutdown.hand_over();
        watch.leaving().await;
        assert_eq!((watch.stage(), watch.is_leaving()), (Stage::HandedOver, true));
        shutdown.trigger();
        shutdown.hand_over();
        assert_eq!((watch.stage(), watch.is_leaving()), (Stage::Graceful, true));
    }

    #[tokio::test]
    async fn a_lost_trigger_stops_everything() {
        let shutdown = Shutdown::new();
        let watch = shutdown.watch();
        drop(shutdown);
        watch.requested().await;
        watch.now().await;
        assert_eq!(watch.stage(), Stage::Immediate);
    }

    #[test]
    fn a_runtime_of_its_own_on_another_thread_sees_it() {
        let shutdown = Shutdown::new();
        let watch = shutdown.watch();
        let other = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
            runtime.block_on(watch.requested());
        });
        shutdown.trigger();
        other.join().expect("the other thread ends");
    }

    #[tokio::test]
    async fn the_first_signal_is_graceful_and_the_second_immediate() {
        let shutdown = Shutdown::new();
        let watch = shutdown.watch();
        let mut term = signal(SignalKind::terminate()).expect("a handler");
        let mut int = signal(SignalKind::interrupt()).expect("a handler");
        let following = tokio::spawn(async move { follow(&shutdown, &mut term, &mut int).await });

        raise("TERM");
        watch.requested().await;
        assert_eq!(watch.stage(), Stage::Graceful);
        raise("INT");
        watch.now().await;
        following.await.expect("ends after the second");
    }

    fn raise(signal: &str) {
        let status = std::process::Command::new("sh")
            .args(["-c", &format!("kill -{signal} {}", std::process::id())])
            .status();
        assert!(status.expect("a shell").success());
    }
}
