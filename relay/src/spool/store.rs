//! One body's bytes, in order, wherever they lie. Decides where the next ones go; what has to be read or written is
//! told to the caller, who reports back.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use bytes::Bytes;

use super::budget::{Hold, Share};
use super::{Fault, Spool, SpoolFile};

/// Memory is taken in pieces of this many bytes, so that a body of many small pieces costs what is counted for it.
const BLOCK: usize = 32 * 1024;

/// Read from a file at a time, in bytes. Slow clients hold that much memory each.
const READ: u64 = 32 * 1024;

/// The bytes of one body that have come and were not taken.
pub(super) struct Store {
    spool: Arc<Spool>,
    memory: Share,
    disk: Share,
    parts: VecDeque<Part>,
    /// The last piece of memory, with room in it.
    tail: Option<Block>,
    length: u64,
    file: Option<File>,
    /// Something went wrong: this body writes no more.
    refused: bool,
}

enum Part {
    Memory(Bytes),
    /// On its way to the file; the last part, if it is there.
    Writing(Bytes),
    /// So many bytes in the file.
    File(u64),
}

/// The file and what of it is in use. Rewound when all of it was read.
struct File {
    handle: Handle,
    written: u64,
    read: u64,
    holds: Vec<Hold>,
}

/// A file that is closed elsewhere: closing one that has no name frees its blocks, which takes time.
struct Handle {
    file: Option<Arc<dyn SpoolFile>>,
    spool: Arc<Spool>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        if let Some(file) = self.file.take() {
            self.spool.disk.detach(move || drop(file));
        }
    }
}

/// A piece of memory that is counted for as long as anybody has it.
struct Block {
    bytes: Vec<u8>,
    _hold: Hold,
}

impl AsRef<[u8]> for Block {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Somebody else's bytes, counted.
struct Counted {
    bytes: Bytes,
    _hold: Hold,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// To be written; then [`Store::written`] is to be told.
pub(super) struct Write {
    /// `None`: to be made first.
    pub(super) file: Option<Arc<dyn SpoolFile>>,
    pub(super) at: u64,
    pub(super) bytes: Bytes,
    hold: Hold,
}

/// To be read; then [`Store::was_read`] is to be told.
pub(super) struct Read {
    pub(super) file: Arc<dyn SpoolFile>,
    pub(super) at: u64,
    pub(super) length: usize,
}

/// The next bytes.
pub(super) enum Next {
    Bytes(Bytes),
    Read(Read),
    /// All that came was taken.
    Nothing,
}

impl Store {
    pub(super) fn new(spool: Arc<Spool>) -> Self {
        Self {
            memory: Share::of(&spool.memory),
            disk: Share::of(&spool.files),
            spool,
            parts: VecDeque::new(),
            tail: None,
            length: 0,
            file: None,
            refused: false,
        }
    }

    pub(super) fn spool(&self) -> &Arc<Spool> {
        &self.spool
    }

    /// Bytes that were not taken, nor asked to be read.
    pub(super) fn len(&self) -> u64 {
        self.length
    }

    /// Whether more may come.
    pub(super) fn has_room(&self) -> bool {
        self.tail.as_ref().is_some_and(Block::has_room)
            || self.memory.grants(BLOCK as u64)
            || (self.may_write() && self.disk.grants(BLOCK as u64))
    }

    fn may_write(&self) -> bool {
        !self.refused && self.spool.may_write()
    }

    /// Takes `bytes`, beyond the limits as well: whether there is room is to be asked before. No other bytes may come
    /// until what this returns is written.
    pub(super) fn push(&mut self, mut bytes: Bytes) -> Option<Write> {
        self.length += bytes.len() as u64;
        self.fill_memory(&mut bytes);
        if bytes.is_empty() {
            return None;
        }
        self.close_tail();
        let hold = self.memory.take(bytes.len() as u64);
        let bytes = Bytes::from_owner(Counted { bytes, _hold: hold });
        match self.write(&bytes) {
            Some(write) => {
                self.parts.push_back(Part::Writing(bytes));
                Some(write)
            }
            None => {
                self.parts.push_back(Part::Memory(bytes));
                None
            }
        }
    }

    fn fill_memory(&mut self, bytes: &mut Bytes) {
        while !bytes.is_empty() {
            match &mut self.tail {
                Some(block) if block.has_room() => block.fill(bytes),
                _ => {
                    self.close_tail();
                    let Some(hold) = self.memory.try_take(BLOCK as u64) else { return };
                    self.tail = Some(Block { bytes: Vec::with_capacity(BLOCK), _hold: hold });
                }
            }
        }
    }

    fn close_tail(&mut self) {
        if let Some(block) = self.tail.take() {
            self.parts.push_back(Part::Memory(Bytes::from_owner(block)));
        }
    }

    fn write(&mut self, bytes: &Bytes) -> Option<Write> {
        if !self.may_write() {
            return None;
        }
        let hold = self.disk.try_take(bytes.len() as u64)?;
        let (file, at) = match &self.file {
            Some(file) => (file.handle.file.clone(), file.written),
            None => (None, 0),
        };
        Some(Write { file, at, bytes: bytes.clone(), hold })
    }

    /// What became of a [`Write`]. Bytes that could not be written stay in memory.
    pub(super) fn written(&mut self, hold: Hold, result: Result<Arc<dyn SpoolFile>, Fault>) {
        // It may have been taken meanwhile; what was written is then overwritten.
        let bytes = match self.parts.pop_back() {
            Some(Part::Writing(bytes)) => Some(bytes),
            other => {
                self.parts.extend(other);
                None
            }
        };
        match result {
            Ok(handle) => {
                let spool = &self.spool;
                let file = self.file.get_or_insert_with(|| File {
                    handle: Handle { file: Some(handle), spool: spool.clone() },
                    written: 0,
                    read: 0,
                    holds: Vec::new(),
                });
                if let Some(bytes) = bytes {
                    file.written += bytes.len() as u64;
                    file.holds.push(hold);
                    self.add_to_file(bytes.len() as u64);
                }
            }
            Err(_) => {
                self.refused = true;
                self.parts.extend(bytes.map(Part::Memory));
            }
        }
        self.rewind();
    }

    fn add_to_file(&mut self, more: u64) {
        match self.parts.back_mut() {
            Some(Part::File(length)) => *length += more,
            _ => self.parts.push_back(Part::File(more)),
        }
    }

    /// Takes the next bytes. After [`Next::Read`] not before that is done.
    pub(super) fn pop(&mut self) -> Next {
        let next = match self.parts.pop_front() {
            Some(Part::Memory(bytes) | Part::Writing(bytes)) => Next::Bytes(bytes),
            Some(Part::File(length)) => self.pop_from_file(length),
            None => match self.tail.take() {
                Some(block) => Next::Bytes(Bytes::from_owner(block)),
                None => Next::Nothing,
            },
        };
        self.length -= match &next {
            Next::Bytes(bytes) => bytes.len() as u64,
            Next::Read(read) => read.length as u64,
            Next::Nothing => 0,
        };
        next
    }

    fn pop_from_file(&mut self, length: u64) -> Next {
        let file = self.file.as_ref().expect("a part in the file is there only with the file");
        let now = length.min(READ);
        if length > now {
            self.parts.push_front(Part::File(length - now));
        }
        let handle = file.handle.file.clone().expect("taken only by the drop");
        Next::Read(Read { file: handle, at: file.read, length: now as usize })
    }

    /// What a [`Read`] gave, counted as memory.
    ///
    /// # Errors
    /// The bytes are lost.
    pub(super) fn was_read(&mut self, result: io::Result<Vec<u8>>) -> io::Result<Bytes> {
        let bytes = result?;
        if let Some(file) = &mut self.file {
            file.read += bytes.len() as u64;
        }
        self.rewind();
        let hold = self.memory.take(bytes.len() as u64);
        Ok(Bytes::from_owner(Block { bytes, _hold: hold }))
    }

    /// Gives the disk back as soon as all that was written has been read.
    fn rewind(&mut self) {
        let is_writing = matches!(self.parts.back(), Some(Part::Writing(_)));
        if !is_writing && self.file.as_ref().is_some_and(|file| file.read == file.written) {
            self.file = None;
        }
    }
}

impl Block {
    fn has_room(&self) -> bool {
        self.bytes.len() < BLOCK
    }

    fn fill(&mut self, from: &mut Bytes) {
        let n = from.len().min(BLOCK - self.bytes.len());
        self.bytes.extend_from_slice(&from.split_to(n));
    }
}

impl Write {
    /// What is to be done on the disk, and what [`Store::written`] wants back.
    pub(super) fn split(self, spool: &Spool) -> (impl FnOnce() -> Written + Send + 'static, Hold) {
        let Self { file, at, bytes, hold } = self;
        let source = spool.source.clone();
        let work = move || {
            let file = match (file, source) {
                (Some(file), _) => file,
                (None, Some(source)) => source.create().map_err(|error| (Fault::Create, error))?,
                (None, None) => return Err((Fault::Create, io::ErrorKind::NotFound.into())),
            };
            match file.write_all_at(&bytes, at) {
                Ok(()) => Ok(file),
                Err(error) => Err((Fault::of_write(&error), error)),
            }
        };
        (work, hold)
    }
}

/// What a write came to.
pub(super) type Written = Result<Arc<dyn SpoolFile>, (Fault, io::Error)>;

impl Read {
    /// Reads. Blocks.
    pub(super) fn run(self) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; self.length];
        self.file.read_exact_at(&mut bytes, self.at)?;
        Ok(bytes)
    }
}
