//! Bodies whose every byte is known: byte `i` is `i mod 251`.
//!
//! 251 is prime, so no power-of-two buffer that is lost, doubled or swapped leaves the pattern intact.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::LazyLock;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

const PERIOD: u64 = 251;

/// Largest frame; longer `chunk`s are clamped to it.
pub const MAX_CHUNK: usize = 64 * 1024;

/// One longest frame at any phase of the pattern; frames are slices of it, so no byte is copied.
static PATTERN: LazyLock<Bytes> = LazyLock::new(|| (0..MAX_CHUNK as u64 + PERIOD).map(byte_at).collect());

/// The byte at `offset` of every pattern body.
pub fn byte_at(offset: u64) -> u8 {
    u8::try_from(offset % PERIOD).expect("a remainder of 251 fits a byte")
}

/// A body of known length, given out in frames of at most `chunk` bytes.
#[derive(Debug)]
pub struct PatternBody {
    given: u64,
    length: u64,
    chunk: usize,
}

impl PatternBody {
    /// `chunk` is clamped to `1..=MAX_CHUNK`.
    pub fn new(length: u64, chunk: usize) -> Self {
        Self { given: 0, length, chunk: chunk.clamp(1, MAX_CHUNK) }
    }

    fn remaining(&self) -> u64 {
        self.length - self.given
    }

    fn next_chunk(&mut self) -> Option<Bytes> {
        let len = usize::try_from(self.remaining()).unwrap_or(usize::MAX).min(self.chunk);
        if len == 0 {
            return None;
        }
        let phase = usize::from(byte_at(self.given));
        self.given += len as u64;
        Some(PATTERN.slice(phase..phase + len))
    }
}

impl Body for PatternBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.next_chunk().map(|chunk| Ok(Frame::data(chunk))))
    }

    fn is_end_stream(&self) -> bool {
        self.remaining() == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.remaining())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_join_to_the_pattern() {
        for (length, chunk) in [(0, 10), (1, 10), (1000, 7), (1000, 251), (200_000, MAX_CHUNK + 1)] {
            let mut body = PatternBody::new(length, chunk);
            let mut joined = Vec::new();
            while let Some(chunk) = body.next_chunk() {
                joined.extend_from_slice(&chunk);
            }
            assert!(joined.iter().copied().eq((0..length).map(byte_at)), "{length} by {chunk}");
            assert!(body.is_end_stream());
        }
    }
}
