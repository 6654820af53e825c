//! Reads a piece of a file, on a blocking thread.

use std::collections::VecDeque;
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
    /// In these pipes, in order, with something in each.
    Piped(VecDeque<Pipe>),
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
    /// Reads some of it, into `pipes` if there are any; by copying if there are none, or if the file can not be spliced.
    ///
    /// # Errors
    /// `UnexpectedEof` if the file is no longer what it was; those of the disk.
    pub(super) fn read(&self, file: &OpenFile, pipes: Vec<Pipe>) -> io::Result<Piece> {
        let piece = if pipes.is_empty() { self.copy(file)? } else { self.splice(file, pipes)? };
        // After reading, so that nothing is passed on that was changed before it was read.
        if file.is_as_it_was(self.needed)? { Ok(piece) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }

    fn splice(&self, file: &OpenFile, pipes: Vec<Pipe>) -> io::Result<Piece> {
        let mut filled = VecDeque::with_capacity(pipes.len());
        let (mut at, end) = (self.from, self.from + self.length);
        for mut pipe in pipes {
            if at == end {
                break;
            }
            match pipe.fill_from_file(&*file.file, at, at_most(end - at, CAPACITY)) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(n) => at += n as u64,
                // Not every file system can.
                Err(error) if is_invalid(&error) && filled.is_empty() => return self.copy(file),
                Err(error) => return Err(error),
            }
            filled.push_back(pipe);
        }
        Ok(Piece::Piped(filled))
    }

    fn copy(&self, file: &OpenFile) -> io::Result<Piece> {
        let mut block = Vec::with_capacity(at_most(self.length, BLOCK));
        match pread(&*file.file, spare_capacity(&mut block), self.from)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => {
                block.truncate(at_most(self.length, BLOCK));
                Ok(Piece::Copied(block.into()))
            }
        }
    }
}

fn at_most(length: u64, size: usize) -> usize {
    usize::try_from(length).unwrap_or(usize::MAX).min(size)
}

fn is_invalid(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::INVAL.raw_os_error())
}
