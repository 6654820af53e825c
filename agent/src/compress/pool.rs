//! The threads that compress, and how much they take on.
//!
//! Work comes in steps: some bytes of one response. A response that waits for its instance or its client occupies
//! nobody, and a long one does not hold up the others.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
        mpsc,
    },
    thread,
};

use bytes::Bytes;
use tokio::sync::oneshot;

use super::{Encoding, encoder::Encoder};

/// Bytes of one step. Half a millisecond to one of work: what another response waits behind.
pub(super) const STEP: usize = 128 * 1024;

/// Steps that wait, per thread, with which another response passes uncompressed: it would wait for some 5 ms at
/// every step, longer than most clients need for the bytes that compression saves.
const MOST_WAITING: usize = 8;

/// Responses at a time, per thread. Each takes up to 2 MiB: its encoder, and what was read ahead.
const MOST_JOBS: usize = 32;

/// A fixed number of threads. They end when this is dropped.
pub(super) struct Pool {
    steps: mpsc::Sender<Step>,
    load: Arc<Load>,
    threads: usize,
}

#[derive(Default)]
struct Load {
    jobs: AtomicUsize,
    /// Steps that no thread has begun.
    waiting: AtomicUsize,
}

/// One response's compression. Counts as one of the pool's until dropped.
pub(super) struct Job {
    pub(super) encoding: Encoding,
    /// Made by the first step: it is memory to be cleared.
    encoder: Option<Encoder>,
    _place: Place,
}

struct Place(Arc<Load>);

/// What follows the bytes of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    More,
    /// More, but not soon: what there is should reach the client.
    Flush,
    Finish,
}

/// What a step comes to: the bytes that came out, and the job unless it is finished.
pub(super) type Outcome = io::Result<(Bytes, Option<Job>)>;

struct Step {
    job: Job,
    input: Vec<Bytes>,
    then: Then,
    reply: oneshot::Sender<Outcome>,
}

impl Pool {
    /// # Errors
    /// If a thread can not be started.
    pub(super) fn start(threads: u16) -> io::Result<Self> {
        let (steps, receiver) = mpsc::channel();
        let receiver = Arc::new(Mutex::new(receiver));
        let load = Arc::new(Load::default());
        for number in 0..threads {
            let (receiver, load) = (receiver.clone(), load.clone());
            let name = format!("compress-{number}");
            thread::Builder::new().name(name).spawn(move || work(&receiver, &load))?;
        }
        Ok(Self { steps, load, threads: threads.into() })
    }

    /// Takes a response on, unless there is enough to do.
    pub(super) fn admit(&self, encoding: Encoding) -> Option<Job> {
        if self.load.waiting.load(Relaxed) >= self.threads * MOST_WAITING {
            return None;
        }
        let one_more = |jobs| (jobs < self.threads * MOST_JOBS).then_some(jobs + 1);
        self.load.jobs.fetch_update(Relaxed, Relaxed, one_more).ok()?;
        Some(Job { encoding, encoder: None, _place: Place(self.load.clone()) })
    }

    /// Queues a step. A receiver that is told nothing means that it failed.
    pub(super) fn submit(&self, job: Job, input: Vec<Bytes>, then: Then) -> oneshot::Receiver<Outcome> {
        let (reply, outcome) = oneshot::channel();
        self.load.waiting.fetch_add(1, Relaxed);
        if self.steps.send(Step { job, input, then, reply }).is_err() {
            tracing::error!("no compression thread is left");
        }
        outcome
    }

    /// Gives up a job that nobody waits for. Elsewhere, as an encoder may do work when it is dropped.
    pub(super) fn abandon(&self, job: Job) {
        drop(self.submit(job, Vec::new(), Then::More));
    }

    /// Takes on as much as one thread, and never does it.
    #[cfg(test)]
    pub(super) fn stuck() -> Self {
        let (steps, receiver) = mpsc::channel();
        std::mem::forget(receiver);
        Self { steps, load: Arc::default(), threads: 1 }
    }

    #[cfg(test)]
    pub(super) fn jobs(&self) -> usize {
        self.load.jobs.load(Relaxed)
    }
}

fn work(steps: &Mutex<mpsc::Receiver<Step>>, load: &Load) {
    loop {
        let next = steps.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(step) = next else { return };
        load.waiting.fetch_sub(1, Relaxed);
        // A fault in a coding costs one response, not the thread. Nothing of the step is used again.
        if catch_unwind(AssertUnwindSafe(|| step.run())).is_err() {
            tracing::error!("a response could not be compressed: its encoder panicked");
        }
    }
}

impl Step {
    fn run(self) {
        let Self { job, input, then, reply } = self;
        if reply.is_closed() {
            return;
        }
        if let Err(_nobody_waits) = reply.send(job.advance(&input, then)) {
            tracing::trace!("the client of a response that was being compressed has left");
        }
    }
}

impl Job {
    fn advance(mut self, input: &[Bytes], then: Then) -> Outcome {
        let mut encoder = self.encoder.take().map_or_else(|| Encoder::new(self.encoding), Ok)?;
        for bytes in input {
            encoder.write(bytes)?;
        }
        if then == Then::Finish {
            return Ok((encoder.finish()?.into(), None));
        }
        if then == Then::Flush {
            encoder.flush()?;
        }
        let output = encoder.take().into();
        self.encoder = Some(encoder);
        Ok((output, Some(self)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.jobs.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_taken_on_than_fits_and_every_place_comes_back() {
        let pool = Pool::start(1).expect("a thread");
        let jobs: Vec<_> = (0..MOST_JOBS).map(|_| pool.admit(Encoding::Gzip).expect("room")).collect();
        assert!(pool.admit(Encoding::Gzip).is_none(), "full");
        drop(jobs);
        assert_eq!(pool.jobs(), 0);
        assert!(pool.admit(Encoding::Gzip).is_some());
    }

    #[test]
    fn a_backlog_turns_responses_away_until_it_is_done() {
        let pool = Pool::stuck();
        for _ in 0..MOST_WAITING {
            let job = pool.admit(Encoding::Zstd).expect("room");
            drop(pool.submit(job, vec![Bytes::from_static(b"page")], Then::Finish));
        }
        assert!(pool.admit(Encoding::Zstd).is_none(), "{MOST_WAITING} steps wait");
        pool.load.waiting.store(MOST_WAITING - 1, Relaxed);
        assert!(pool.admit(Encoding::Zstd).is_some());
    }

    #[test]
    fn a_job_that_is_abandoned_is_dropped_by_a_thread() {
        let pool = Pool::start(1).expect("a thread");
        let job = pool.admit(Encoding::Brotli).expect("room");
        pool.abandon(job);
        let behind = pool.admit(Encoding::Gzip).expect("room");
        let outcome = pool.submit(behind, Vec::new(), Then::Finish).blocking_recv();
        assert!(outcome.expect("the thread is alive").expect("no error").1.is_none());
        assert_eq!(pool.jobs(), 0);
    }
}
