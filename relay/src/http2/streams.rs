//! The streams of one connection: how many came to nothing, and which of them their client does not take.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::task::spawn_local;
use tokio::time::Instant;

use crate::alarm::Alarm;
use crate::limits::ClientLimits;
use crate::metrics::RelayMetrics;
use crate::pace::{Pace, Required};
use crate::peer::Peer;

/// What to do about a connection because of its streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Tell it to end.
    Retire,
    /// End it.
    Cut,
}

/// Counts streams and runs them, as the library's executor.
pub(super) struct Streams {
    tally: Cell<Tally>,
    /// The watch of a stream that was announced and is about to be run: the library does the one after the other.
    announced: RefCell<Option<Rc<StreamWatch>>>,
    verdict: Cell<Option<Verdict>>,
    /// The verdict is new.
    decided: Cell<bool>,
    /// Its task acts on verdicts.
    peer: Arc<Peer>,
    limits: ClientLimits,
    metrics: RelayMetrics,
}

/// What became of a connection's requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Tally {
    begun: u64,
    /// Ended before their response had.
    abandoned: u64,
}

impl Tally {
    /// Someone who takes back most of what they ask for, and asks for much, does so for the cost of it.
    /// `worn_out`: the connection has carried as many as one may.
    fn verdict(self, worn_out: bool, abandoned: u64) -> Option<Verdict> {
        let most = self.abandoned * 2 > self.begun;
        if most && self.abandoned >= 2 * abandoned {
            Some(Verdict::Cut)
        } else if worn_out || (most && self.abandoned >= abandoned) {
            Some(Verdict::Retire)
        } else {
            None
        }
    }
}

impl Streams {
    pub(super) fn new(peer: Arc<Peer>, limits: ClientLimits, metrics: RelayMetrics) -> Rc<Self> {
        Rc::new(Self {
            tally: Cell::default(),
            announced: RefCell::default(),
            verdict: Cell::default(),
            decided: Cell::default(),
            peer,
            limits,
            metrics,
        })
    }

    /// A request begins.
    pub(super) fn begin(&self) -> Rc<StreamWatch> {
        let watch = Rc::new(StreamWatch::default());
        self.announced.replace(Some(watch.clone()));
        self.count(|tally| tally.begun += 1);
        watch
    }

    fn count(&self, change: impl FnOnce(&mut Tally)) {
        let mut tally = self.tally.get();
        change(&mut tally);
        self.tally.set(tally);
        let verdict = tally.verdict(self.limits.is_worn_out(tally.begun), self.limits.http2.abandoned);
        if verdict.is_some() && verdict != self.verdict.replace(verdict) {
            self.decided.set(true);
            self.peer.wake();
        }
    }

    /// What is to be done about the connection, told once; it may become worse later.
    pub(super) fn verdict(&self) -> Option<Verdict> {
        self.decided.replace(false).then(|| self.verdict.get()).flatten()
    }

    /// Runs a stream to its end, or until its client has taken nothing for too long. Dropped, it is reset.
    async fn run(self: Rc<Self>, stream: impl Future<Output = ()>, watch: Rc<StreamWatch>) {
        let mut stream = pin!(stream);
        let stalled = poll_fn(|cx| match stream.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(false),
            Poll::Pending => watch.poll_stalled(cx, self.limits.download()).map(|()| true),
        })
        .await;
        if stalled {
            self.metrics.http2_stalled.inc();
        }
        if !watch.finished.get() {
            self.count(|tally| tally.abandoned += 1);
        }
    }
}

/// What runs the library's streams, on the connection's own thread.
#[derive(Clone)]
pub(super) struct Spawner(pub(super) Rc<Streams>);

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for Spawner {
    fn execute(&self, stream: F) {
        let watch = self.0.announced.take().unwrap_or_default();
        spawn_local(self.0.clone().run(stream, watch));
    }
}

/// Notes of one stream's response, made as it passes.
#[derive(Debug, Default)]
pub(crate) struct StreamWatch {
    /// Since when a piece of it waits to be taken.
    owed_since: Cell<Option<Instant>>,
    /// Bytes of that piece.
    owed: Cell<usize>,
    pace: Cell<Pace>,
    /// All of it was handed out.
    finished: Cell<bool>,
    alarm: RefCell<Alarm>,
}

impl StreamWatch {
    /// All that was handed out before is taken. `required`: of this stream.
    pub(crate) fn asks(&self, required: Required) {
        if let Some(since) = self.owed_since.take() {
            self.pace.set(self.pace.get().after(since.elapsed(), self.owed.get(), required));
        }
    }

    /// A piece was handed out. It is asked for the next once the client let this one be sent.
    pub(crate) fn given(&self, bytes: usize, finished: bool) {
        self.owed_since.set(Some(Instant::now()));
        self.owed.set(bytes);
        self.finished.set(finished);
    }

    /// Ready when the client has taken too little for too long.
    fn poll_stalled(&self, cx: &mut Context<'_>, required: Required) -> Poll<()> {
        let Some(since) = self.owed_since.get() else { return Poll::Pending };
        ready!(self.alarm.borrow_mut().poll_at(cx, since + self.pace.get().left(required)));
        Poll::Ready(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_takes_back_most_requests_is_sent_away() {
        for (begun, abandoned, expected) in [
            (0, 0, None),
            (99, 99, None),
            (100, 100, Some(Verdict::Retire)),
            (199, 100, Some(Verdict::Retire)),
            (200, 100, None),
            (199, 199, Some(Verdict::Retire)),
            (200, 200, Some(Verdict::Cut)),
            (399, 200, Some(Verdict::Cut)),
            (400, 200, None),
            (999, 0, None),
            (1000, 0, Some(Verdict::Retire)),
            (1000, 500, Some(Verdict::Retire)),
            (1000, 501, Some(Verdict::Cut)),
        ] {
            assert_eq!(
                Tally { begun, abandoned }.verdict(begun >= 1000, 100),
                expected,
                "{begun} {abandoned}"
            );
        }
    }
}
