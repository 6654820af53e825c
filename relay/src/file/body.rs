//! A response's body on its way from a file to a client.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http_body::{Frame, SizeHint};

use super::read::{Piece, Wanted};
use super::{OpenFile, Segment, at_disk};
use crate::body::{BodyError, End, Observer};
use crate::splice::{self, Chunk, Feeding, Outlet, Piped};

type Polled = Poll<Option<Result<Frame<Chunk>, BodyError>>>;

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
        if self.reading.is_none() {
            if let Some(Segment::Bytes(bytes)) = self.segments.front() {
                let bytes = bytes.clone();
                return Poll::Ready(Ok((bytes.clone().into(), bytes.len())));
            }
            self.choose_way(outlet);
            self.reading = Some(ready!(self.poll_begin(cx))?);
        }
        let Some(reading) = &mut self.reading else { return Poll::Pending };
        let piece = ready!(reading.as_mut().poll(cx));
        self.reading = None;
        Poll::Ready(self.taken(piece?))
    }

    fn choose_way(&mut self, outlet: Option<&Arc<Outlet>>) {
        if let Way::Unknown = self.way {
            let outlet = outlet.filter(|_| self.left >= splice::SHORTEST);
            self.way = outlet.and_then(|outlet| outlet.open()).map_or(Way::Copy, Way::Splice);
        }
    }

    /// Starts to read, once the client has taken what was read before.
    fn poll_begin(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Reading>> {
        let pipe = match &self.way {
            Way::Splice(feeding) => Some(ready!(feeding.outlet().poll_take(cx))?),
            Way::Copy | Way::Unknown => None,
        };
        let Some(&Segment::File { from, length }) = self.segments.front() else {
            return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
        };
        let (file, wanted) = (self.file.clone(), Wanted { from, length, needed: self.needed });
        let patience = self.patience;
        let reading = async move { at_disk(patience, move || wanted.read(&file, pipe)).await? };
        Poll::Ready(Ok(Box::pin(reading)))
    }

    fn taken(&mut self, piece: Piece) -> io::Result<(Chunk, usize)> {
        match (piece, &self.way) {
            (Piece::Piped(pipe), Way::Splice(feeding)) => {
                let length = pipe.held();
                feeding.outlet().put(pipe)?;
                Ok((Piped::new(length, feeding.outlet().clone()).into(), length))
            }
            (Piece::Copied(bytes), _) => {
                self.way = Way::Copy;
                let length = bytes.len();
                Ok((bytes.into(), length))
            }
            (Piece::Piped(_), _) => Err(io::Error::other("a pipe that nobody empties")),
        }
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
