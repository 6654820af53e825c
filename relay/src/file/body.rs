//! A response's body on its way from a file to a client.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http_body::{Frame, SizeHint};
use tokio::time::Instant;

use super::read::{Piece, Wanted};
use super::{OpenFile, Segment, at_disk};
use crate::body::{BodyError, End, Observer};
use crate::splice::{self, CAPACITY, Chunk, Feeding, Outlet, Pipe, Piped};

type Polled = Poll<Option<Result<Frame<Chunk>, BodyError>>>;

/// Pipes filled at once for a client that is quick. 4, which is 2 MiB: taking turns with a blocking thread costs two
/// context switches, a tenth of what sending 512 KiB does.
const PIPES_AT_ONCE: usize = 4;

/// A client that has taken what was read within this time is quick. 100 ms: 5 to 20 MB/s. Slower ones hold one pipe.
const QUICK: Duration = Duration::from_millis(100);

/// Pieces of a file, and what stands between them, in order.
pub(crate) struct FileBody<O: Observer> {
    file: OpenFile,
    segments: VecDeque<Segment>,
    /// Where the last byte that is wanted of the file ends.
    needed: u64,
    /// Bytes that were not passed on yet.
    left: u64,
    passed: u64,
    /// For each wait for the disk.
    patience: Duration,
    reading: Option<Reading>,
    /// When reading last began.
    began: Option<Instant>,
    /// Filled, and not yet on their way.
    ahead: VecDeque<Pipe>,
    way: Way,
    /// Why it broke off, to be passed on once what came before has been written.
    broken: Option<BodyError>,
    /// `None` once it was told the end.
    observer: Option<O>,
}

type Reading = Pin<Box<dyn Future<Output = io::Result<Piece>>>>;

/// How bytes get to the client.
enum Way {
    /// Not known before the client's connection is.
    Unknown,
    Splice(Feeding),
    Copy,
}

impl<O: Observer> FileBody<O> {
    pub(crate) fn new(file: OpenFile, segments: Vec<Segment>, patience: Duration, observer: O) -> Self {
        let needed = segments.iter().map(end_in_file).max().unwrap_or(0);
        let mut body = Self {
            left: segments.iter().map(Segment::length).sum(),
            segments: segments.into_iter().filter(|segment| segment.length() > 0).collect(),
            file,
            needed,
            passed: 0,
            patience,
            reading: None,
            began: None,
            ahead: VecDeque::new(),
            way: Way::Unknown,
            broken: None,
            observer: Some(observer),
        };
        if body.left == 0 {
            body.end(End::Complete);
        }
        body
    }

    pub(crate) fn is_end_stream(&self) -> bool {
        self.left == 0 && self.broken.is_none()
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }

    /// `outlet`: the way past the HTTP library, if the client's connection has one.
    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>, outlet: Option<&Arc<Outlet>>) -> Polled {
        if self.observer.is_none() {
            return Poll::Ready(self.broken.take().map(Err));
        }
        match ready!(self.poll_chunk(cx, outlet)) {
            Ok((chunk, length)) => Poll::Ready(Some(Ok(self.pass(chunk, length)))),
            Err(error) => {
                tracing::warn!(%error, after = self.passed, "a file could not be sent to its end");
                self.end(End::CutShort);
                // At an error the library drops what it has not written: it gets a turn to write it.
                self.broken = Some(BodyError::File(error));
                cx.waker().wake_by_ref();
                Poll::Pending
            }
        }
    }

    /// The next piece and its length. To be called only while some bytes are left.
    fn poll_chunk(
        &mut self,
        cx: &mut Context<'_>,
        outlet: Option<&Arc<Outlet>>,
    ) -> Poll<io::Result<(Chunk, usize)>> {
        loop {
            if !self.ahead.is_empty() {
                return self.poll_put(cx);
            }
            if let Some(reading) = &mut self.reading {
                let piece = ready!(reading.as_mut().poll(cx));
                self.reading = None;
                match piece? {
                    Piece::Piped(pipes) => self.ahead = pipes,
                    Piece::Copied(bytes) => {
                        self.way = Way::Copy;
                        let length = bytes.len();
                        return Poll::Ready(Ok((bytes.into(), length)));
                    }
                }
                continue;
            }
            if let Some(Segment::Bytes(bytes)) = self.segments.front() {
                return Poll::Ready(Ok((bytes.clone().into(), bytes.len())));
            }
            self.choose_way(outlet);
            self.reading = Some(ready!(self.poll_begin(cx))?);
        }
    }

    /// Hands the next pipe to the client, once it has taken what is before it.
    fn poll_put(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(Chunk, usize)>> {
        let Way::Splice(feeding) = &self.way else {
            return Poll::Ready(Err(io::Error::other("pipes that nobody empties")));
        };
        let outlet = feeding.outlet();
        ready!(outlet.poll_empty(cx));
        let Some(pipe) = self.ahead.pop_front() else { return Poll::Pending };
        let length = pipe.held();
        outlet.put(pipe)?;
        Poll::Ready(Ok((Piped::new(length, outlet.clone()).into(), length)))
    }

    fn choose_way(&mut self, outlet: Option<&Arc<Outlet>>) {
        if let Way::Unknown = self.way {
            let outlet = outlet.filter(|_| self.left >= splice::SHORTEST);
            self.way = outlet.and_then(|outlet| outlet.open()).map_or(Way::Copy, Way::Splice);
        }
    }

    /// Starts to read. For a client that is not quick: once it has taken what was read before.
    fn poll_begin(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Reading>> {
        let Some(&Segment::File { from, length }) = self.segments.front() else {
            return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
        };
        let pipes = ready!(self.poll_pipes(cx, length))?;
        self.began = Some(Instant::now());
        let (file, wanted) = (self.file.clone(), Wanted { from, length, needed: self.needed });
        let patience = self.patience;
        let reading = async move { at_disk(patience, move || wanted.read(&file, pipes)).await? };
        Poll::Ready(Ok(Box::pin(reading)))
    }

    /// What to fill with the next `length` bytes. None: they are to be copied.
    fn poll_pipes(&self, cx: &mut Context<'_>, length: u64) -> Poll<io::Result<Vec<Pipe>>> {
        let Way::Splice(feeding) = &self.way else { return Poll::Ready(Ok(Vec::new())) };
        let is_quick = self.began.is_some_and(|began| began.elapsed() < QUICK);
        let most = if is_quick { PIPES_AT_ONCE } else { 0 };
        let enough = usize::try_from(length.div_ceil(CAPACITY as u64)).unwrap_or(usize::MAX);
        let own: Vec<_> = std::iter::from_fn(Pipe::take).take(enough.min(most)).collect();
        if own.is_empty() {
            return feeding.outlet().poll_take(cx).map_ok(|pipe| vec![pipe]);
        }
        Poll::Ready(Ok(own))
    }

    /// Notes that `length` bytes are on their way.
    fn pass(&mut self, chunk: Chunk, length: usize) -> Frame<Chunk> {
        let length = length as u64;
        match self.segments.front_mut() {
            Some(Segment::File { from, length: of_file }) if *of_file > length => {
                *from += length;
                *of_file -= length;
            }
            _ => drop(self.segments.pop_front()),
        }
        if self.passed == 0
            && let Some(observer) = &mut self.observer
        {
            observer.first_byte();
        }
        self.passed += length;
        self.left = self.left.saturating_sub(length);
        if self.left == 0 {
            self.end(End::Complete);
        }
        Frame::data(chunk)
    }

    fn end(&mut self, end: End) {
        self.reading = None;
        self.ahead.clear();
        self.way = Way::Copy;
        if let Some(mut observer) = self.observer.take() {
            observer.ended(end, self.passed);
        }
    }
}

impl<O: Observer> Drop for FileBody<O> {
    fn drop(&mut self) {
        self.end(End::ClientGone);
    }
}

fn end_in_file(segment: &Segment) -> u64 {
    match segment {
        Segment::Bytes(_) => 0,
        Segment::File { from, length } => from + length,
    }
}
