//! Pieces of a response's body as the HTTP library handles them: bytes, or a stand-in for bytes in a pipe.

use std::sync::{Arc, LazyLock};

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::{CAPACITY, Outlet};

/// What stand-ins point at. Never read and never written, so it takes address space only.
static STAND_IN: LazyLock<Box<[u8]>> = LazyLock::new(|| vec![0; CAPACITY].into_boxed_slice());

/// Whether `slice` is a stand-in. Told by its address: nothing else lies there.
pub(crate) fn is_stand_in(slice: &[u8]) -> bool {
    !slice.is_empty() && STAND_IN.as_ptr_range().contains(&slice.as_ptr())
}

/// A piece of a body.
#[derive(Debug)]
pub struct Chunk(Kind);

#[derive(Debug)]
enum Kind {
    Bytes(Bytes),
    Piped(Piped),
}

impl From<Bytes> for Chunk {
    fn from(bytes: Bytes) -> Self {
        Self(Kind::Bytes(bytes))
    }
}

impl From<Piped> for Chunk {
    fn from(piped: Piped) -> Self {
        Self(Kind::Piped(piped))
    }
}

impl Chunk {
    /// The bytes themselves; `None` if it only stands for some.
    pub(crate) fn into_bytes(self) -> Option<Bytes> {
        match self.0 {
            Kind::Bytes(bytes) => Some(bytes),
            Kind::Piped(_) => None,
        }
    }

    /// Keeps `most` bytes and returns what is beyond them. A stand-in stays whole.
    pub(crate) fn split_off(&mut self, most: usize) -> Option<Self> {
        match &mut self.0 {
            Kind::Bytes(bytes) if bytes.len() > most => Some(bytes.split_off(most).into()),
            Kind::Bytes(_) | Kind::Piped(_) => None,
        }
    }
}

impl Buf for Chunk {
    fn remaining(&self) -> usize {
        match &self.0 {
            Kind::Bytes(bytes) => bytes.remaining(),
            Kind::Piped(piped) => piped.left,
        }
    }

    fn chunk(&self) -> &[u8] {
        match &self.0 {
            Kind::Bytes(bytes) => bytes.chunk(),
            Kind::Piped(piped) => &STAND_IN[..piped.left],
        }
    }

    fn advance(&mut self, n: usize) {
        match &mut self.0 {
            Kind::Bytes(bytes) => bytes.advance(n),
            Kind::Piped(piped) => piped.advance(n),
        }
    }

    /// Bytes are not copied.
    fn copy_to_bytes(&mut self, n: usize) -> Bytes {
        if let Kind::Bytes(bytes) = &mut self.0 {
            return bytes.copy_to_bytes(n);
        }
        let mut copy = BytesMut::with_capacity(n);
        copy.put(self.take(n));
        copy.freeze()
    }
}

/// Stands for bytes in an [`Outlet`]'s pipe. The library counts them, queues them and asks for them to be written;
/// [`Outlet::send`] then moves as many out of the pipe.
///
/// Whatever the library takes from here must have gone that way. Should it ever take bytes otherwise, by copying them
/// to a buffer of its own, then the outlet notices here, before that buffer can be written, and sends nothing more.
#[derive(Debug)]
pub(crate) struct Piped {
    left: usize,
    outlet: Arc<Outlet>,
}

impl Piped {
    /// For `length` bytes, at most [`CAPACITY`], that were just put into `outlet`.
    pub(crate) fn new(length: usize, outlet: Arc<Outlet>) -> Self {
        assert!(length <= CAPACITY, "no pipe is filled with more");
        Self { left: length, outlet }
    }

    fn advance(&mut self, n: usize) {
        assert!(n <= self.left, "advanced past the end of a chunk");
        self.left -= n;
        self.outlet.settle(n);
    }
}

impl Drop for Piped {
    fn drop(&mut self) {
        if self.left > 0 {
            self.outlet.shut();
        }
    }
}
