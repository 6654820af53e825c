//! A store's reads and writes, done by other threads and waited for here.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::time::{Sleep, sleep};

use super::budget::Hold;
use super::store::{Next, Store, Written};
use super::{Fault, Spool};

/// How long a write may take. 2 s: a disk under load answers in tenths of a second, and until it does the body's sender
/// waits, which is an instance's worker.
const WRITE_PATIENCE: Duration = Duration::from_secs(2);

/// One body's bytes between its sender and its taker.
pub(crate) struct Spooled {
    store: Store,
    writing: Option<Writing>,
    reading: Option<oneshot::Receiver<io::Result<Vec<u8>>>>,
}

struct Writing {
    result: oneshot::Receiver<Written>,
    hold: Hold,
    length: u64,
    patience: Pin<Box<Sleep>>,
}

impl Spooled {
    pub(crate) fn new(spool: Arc<Spool>) -> Self {
        Self { store: Store::new(spool), writing: None, reading: None }
    }

    pub(crate) fn spool(&self) -> &Arc<Spool> {
        self.store.spool()
    }

    /// Bytes that were not taken.
    pub(crate) fn len(&self) -> u64 {
        self.store.len()
    }

    /// Whether all that came was taken.
    pub(crate) fn is_empty(&self) -> bool {
        self.store.len() == 0 && self.reading.is_none()
    }

    /// Whether more may be [`push`](Self::push)ed, but for a write under way.
    pub(crate) fn has_room(&self) -> bool {
        self.store.has_room()
    }

    /// To be called only when [`poll_written`](Self::poll_written) is ready.
    pub(crate) fn push(&mut self, bytes: Bytes) {
        let Some(write) = self.store.push(bytes) else { return };
        let length = write.bytes.len() as u64;
        let (work, hold) = write.split(self.store.spool());
        let result = self.store.spool().disk.run(work);
        let patience = Box::pin(sleep(WRITE_PATIENCE));
        self.writing = Some(Writing { result, hold, length, patience });
    }

    /// Ready when no write is under way. A disk that takes too long is not waited for.
    pub(crate) fn poll_written(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(writing) = &mut self.writing else { return Poll::Ready(()) };
        let result = match Pin::new(&mut writing.result).poll(cx) {
            Poll::Ready(Ok(written)) => written.map_err(|(fault, error)| (fault, Some(error))),
            // There is no thread to do it.
            Poll::Ready(Err(_)) => Err((Fault::Write, None)),
            Poll::Pending => {
                ready!(writing.patience.as_mut().poll(cx));
                Err((Fault::Stalled, None))
            }
        };
        self.settle(result);
        Poll::Ready(())
    }

    fn settle(&mut self, result: Result<Arc<dyn super::SpoolFile>, (Fault, Option<io::Error>)>) {
        let Some(Writing { hold, length, .. }) = self.writing.take() else { return };
        let spool = self.store.spool();
        let result = match result {
            Ok(file) => {
                spool.metrics.written.inc_by(length);
                Ok(file)
            }
            Err((fault, error)) => {
                spool.failed(fault, error.as_ref());
                Err(fault)
            }
        };
        self.store.written(hold, result);
    }

    /// The next bytes; `None` if all that came was taken.
    ///
    /// # Errors
    /// They could not be read from the file: what follows is lost as well.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        if self.reading.is_none() {
            match self.store.pop() {
                Next::Bytes(bytes) => return Poll::Ready(Some(Ok(bytes))),
                Next::Nothing => return Poll::Ready(None),
                Next::Read(read) => self.reading = Some(self.store.spool().disk.run(move || read.run())),
            }
        }
        let Some(reading) = &mut self.reading else { return Poll::Ready(None) };
        let result = ready!(Pin::new(reading).poll(cx));
        self.reading = None;
        let result = result.unwrap_or_else(|_no_thread| Err(io::ErrorKind::BrokenPipe.into()));
        let bytes = self.store.was_read(result);
        if let Err(error) = &bytes {
            self.store.spool().failed(Fault::Read, Some(error));
        }
        Poll::Ready(Some(bytes))
    }
}
