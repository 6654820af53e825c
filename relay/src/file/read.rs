//! Reads a piece of a file, on a blocking thread.

use std::io;

use bytes::Bytes;
use rustix::buffer::spare_capacity;
use rustix::io::{Errno, pread};

use super::OpenFile;
use crate::splice::{CAPACITY, Pipe};

/// Read at a time by copying, in bytes. 128 KiB: stays in the cache until it is written.
const BLOCK: usize = 128 * 1024;

/// What was read. Never empty.
pub(super) enum Piece {
    /// In the pipe.
    Piped(Pipe),
    Copied(Bytes),
}

/// What to read of a file.
pub(super) struct Wanted {
    pub(super) from: u64,
    /// Above zero.
    pub(super) length: u64,
    /// Where the last byte of the whole body ends: what of the file must still be there.
    pub(super) needed: u64,
}

impl Wanted {
    /// Reads some of it, into `pipe` if there is one; by copying if there is none, or if the file can not be spliced.
    ///
    /// # Errors
    /// `UnexpectedEof` if the file is no longer what it was; those of the disk.
    pub(super) fn read(&self, file: &OpenFile, pipe: Option<Pipe>) -> io::Result<Piece> {
        let piece = match pipe {
            Some(pipe) => self.splice(file, pipe)?,
            None => self.copy(file)?,
        };
        // After reading, so that nothing is passed on that was changed before it was read.
        if file.is_as_it_was(self.needed)? { Ok(piece) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }

    fn splice(&self, file: &OpenFile, mut pipe: Pipe) -> io::Result<Piece> {
        match pipe.fill_from_file(&*file.file, self.from, self.at_most(CAPACITY)) {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => Ok(Piece::Piped(pipe)),
            // Not every file system can.
            Err(error) if error.raw_os_error() == Some(Errno::INVAL.raw_os_error()) => self.copy(file),
            Err(error) => Err(error),
        }
    }

    fn copy(&self, file: &OpenFile) -> io::Result<Piece> {
        let mut block = Vec::with_capacity(self.at_most(BLOCK));
        match pread(&*file.file, spare_capacity(&mut block), self.from)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => {
                block.truncate(self.at_most(BLOCK));
                Ok(Piece::Copied(block.into()))
            }
        }
    }

    fn at_most(&self, size: usize) -> usize {
        usize::try_from(self.length).unwrap_or(usize::MAX).min(size)
    }
}
