//! A response's body as it becomes compressed.

use std::{
    collections::VecDeque,
    io, mem,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Buf, Bytes};
use http::HeaderMap;
use http_body::{Body, Frame};
use sluice_relay::{Chunk, body::BodyError};
use tokio::sync::oneshot;

use super::{
    Compressor, Encoding,
    metrics::EncodingMetrics,
    pool::{Job, Outcome, STEP, Then},
};

/// Read ahead of the compression, in bytes: pages and bundles come in whole, and the instance is done with them
/// however much the threads have to do. Longer ones wait for them from then on.
const AHEAD: usize = 1024 * 1024;

/// Of a response of known length, less than this is not worth a step of its own, in bytes.
const BATCH: usize = 16 * 1024;

/// Reads a body as fast as it comes, has it compressed step by step, and passes on what comes out.
pub(super) struct Compressing<B> {
    /// `None`: all was read.
    source: Option<B>,
    ahead: VecDeque<Bytes>,
    ahead_bytes: usize,
    /// Whether a pause of the instance is passed on: what it has sent by then is complete in itself, perhaps.
    flushes: bool,
    engine: Engine,
    encoding: Encoding,
    trailers: Option<HeaderMap>,
    broken: Option<Broken>,
    compressor: Compressor,
}

enum Engine {
    Idle(Job),
    Working(oneshot::Receiver<Outcome>),
    /// Nothing more comes out.
    Over,
}

/// Why it broke off, to be told once what came before has been written.
enum Broken {
    Pausing(BodyError),
    Telling(BodyError),
}

impl<B: Body<Data = Chunk, Error = BodyError> + Unpin> Compressing<B> {
    pub(super) fn new(source: B, job: Job, compressor: Compressor) -> Self {
        compressor.0.metrics.of(job.encoding).responses.inc();
        Self {
            flushes: source.size_hint().exact().is_none(),
            source: Some(source),
            ahead: VecDeque::new(),
            ahead_bytes: 0,
            encoding: job.encoding,
            engine: Engine::Idle(job),
            trailers: None,
            broken: None,
            compressor,
        }
    }

    fn read_ahead(&mut self, cx: &mut Context<'_>) {
        while self.ahead_bytes < AHEAD
            && let Some(source) = &mut self.source
        {
            match Pin::new(&mut *source).poll_frame(cx) {
                Poll::Pending => return,
                Poll::Ready(Some(Ok(frame))) => {
                    let is_last = source.is_end_stream();
                    self.take_in(frame);
                    if is_last {
                        self.source = None;
                    }
                }
                Poll::Ready(Some(Err(error))) => {
                    self.source = None;
                    self.broken = Some(Broken::Pausing(error));
                }
                Poll::Ready(None) => self.source = None,
            }
        }
    }

    fn take_in(&mut self, frame: Frame<Chunk>) {
        match frame.into_data() {
            Ok(mut data) => {
                self.ahead_bytes += data.remaining();
                self.ahead.push_back(data.copy_to_bytes(data.remaining()));
            }
            Err(other) => self.trailers = other.into_trailers().ok(),
        }
    }

    /// Whether there is enough for a step.
    fn is_due(&self) -> bool {
        let least = if self.flushes { 1 } else { BATCH };
        self.source.is_none() || self.ahead_bytes >= least
    }

    fn begin_step(&mut self, job: Job) -> Engine {
        let input = self.next_input();
        let is_all = self.ahead.is_empty();
        let then = match &self.source {
            None if is_all && self.broken.is_none() => Then::Finish,
            None if is_all => Then::Flush,
            Some(_) if is_all && self.flushes => Then::Flush,
            _ => Then::More,
        };
        Engine::Working(self.compressor.0.pool.submit(job, input, then))
    }

    fn next_input(&mut self) -> Vec<Bytes> {
        let mut input = Vec::new();
        let mut bytes = 0;
        while bytes < STEP
            && let Some(next) = self.ahead.pop_front()
        {
            bytes += next.len();
            input.push(next);
        }
        self.ahead_bytes -= bytes;
        self.metrics().bytes_in.inc_by(bytes as u64);
        input
    }

    /// What came out of a step. A receiver that was told nothing belongs to a step that failed.
    fn end_step(&mut self, outcome: Option<Outcome>) -> Bytes {
        let lost = || Err(io::Error::other("its encoder panicked"));
        let (output, job) = outcome.unwrap_or_else(lost).unwrap_or_else(|error| self.fail(error));
        self.engine = match job {
            Some(job) if self.broken.is_some() && self.ahead.is_empty() => {
                self.compressor.0.pool.abandon(job);
                Engine::Over
            }
            Some(job) => Engine::Idle(job),
            None => Engine::Over,
        };
        self.metrics().bytes_out.inc_by(output.len() as u64);
        output
    }

    fn fail(&mut self, error: io::Error) -> (Bytes, Option<Job>) {
        self.source = None;
        self.ahead.clear();
        self.broken = Some(Broken::Pausing(BodyError::Compression(error)));
        (Bytes::new(), None)
    }

    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Chunk>, BodyError>>> {
        match self.broken.take() {
            Some(Broken::Pausing(error)) => {
                // At an error the HTTP library drops what it has not written.
                self.broken = Some(Broken::Telling(error));
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Some(Broken::Telling(error)) => Poll::Ready(Some(Err(error))),
            None => Poll::Ready(self.trailers.take().map(|trailers| Ok(Frame::trailers(trailers)))),
        }
    }

    fn metrics(&self) -> &EncodingMetrics {
        self.compressor.0.metrics.of(self.encoding)
    }
}

impl<B: Body<Data = Chunk, Error = BodyError> + Unpin> Body for Compressing<B> {
    type Data = Chunk;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Chunk>, BodyError>>> {
        let this = self.get_mut();
        loop {
            this.read_ahead(cx);
            match mem::replace(&mut this.engine, Engine::Over) {
                Engine::Working(mut outcome) => match Pin::new(&mut outcome).poll(cx) {
                    Poll::Pending => {
                        this.engine = Engine::Working(outcome);
                        return Poll::Pending;
                    }
                    Poll::Ready(outcome) => {
                        let output = this.end_step(outcome.ok());
                        if !output.is_empty() {
                            return Poll::Ready(Some(Ok(Frame::data(output.into()))));
                        }
                    }
                },
                Engine::Idle(job) if this.is_due() => this.engine = this.begin_step(job),
                Engine::Idle(job) => {
                    this.engine = Engine::Idle(job);
                    return Poll::Pending;
                }
                Engine::Over => return this.poll_end(cx),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.engine, Engine::Over) && self.broken.is_none() && self.trailers.is_none()
    }
}

impl<B> Drop for Compressing<B> {
    fn drop(&mut self) {
        if let Engine::Idle(job) = mem::replace(&mut self.engine, Engine::Over) {
            self.compressor.0.pool.abandon(job);
        }
    }
}
