//! Follows a file that others write: its new lines, whatever is done to it.
//!
//! | what happens | what is read |
//! |---|---|
//! | it is there at the start | what is appended from then on |
//! | it comes later | all of it |
//! | renamed, a new one made (logrotate, SIGUSR1) | the old one until nothing came for [`GRACE`], the new one from its start |
//! | truncated (copytruncate) | from its start; what was not read before is lost |
//! | removed, or not readable any more | the open one on; the path is tried again |
//! | a FIFO | what comes |
//!
//! Blocking, and without a clock: for a thread that may wait for a disk.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind, Read},
    os::unix::fs::{FileExt, FileTypeExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::fs::OFlags;
use tokio::time::Instant;

use super::lines::LineBuffer;

/// A file that was renamed is read until nothing came for this long: its writers open the new one when they are told
/// to, each in its own time.
pub const GRACE: Duration = Duration::from_secs(30);

/// Renamed files that are read at the same time.
const MOST_OLD: usize = 4;

/// Bytes read at once.
const CHUNK: usize = 64 * 1024;

/// What was last read of a file is kept, to see that it is still there: a file that was truncated and has grown again
/// is as long as before, but not the same.
const MARK: usize = 128;

/// Follows one path.
#[derive(Debug)]
pub struct Tail {
    path: PathBuf,
    current: Option<Source>,
    old: Vec<Source>,
    /// The path was looked at, and what is there from now on is new.
    started: bool,
    buffer: Box<[u8]>,
}

/// What one turn came to.
#[derive(Debug, Default)]
pub struct Turn {
    pub bytes: usize,
    /// There may be more to read at once.
    pub more: bool,
    /// A new file was opened.
    pub opened: bool,
    /// Instead of one that was renamed or removed.
    pub rotated: bool,
    pub truncated: u64,
    pub too_long: u64,
    /// Why the path can not be read. What was opened before may still be.
    pub error: Option<io::Error>,
}

/// A file that is open.
#[derive(Debug)]
struct Source {
    file: File,
    id: (u64, u64),
    is_fifo: bool,
    position: u64,
    /// The last bytes before `position`, at most [`MARK`].
    mark: Vec<u8>,
    lines: LineBuffer,
    last_data: Instant,
}

/// What a read found.
enum Found {
    /// As many new bytes, at this place of the buffer.
    New {
        start: usize,
        end: usize,
    },
    /// Nothing new.
    End,
    Truncated,
}

impl Tail {
    pub fn new(path: PathBuf) -> Self {
        let buffer = vec![0; MARK + CHUNK].into();
        Self { path, current: None, old: Vec::new(), started: false, buffer }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether there is a file to read on.
    pub fn is_open(&self) -> bool {
        self.current.is_some()
    }

    /// Reads what is new, at most `budget` bytes of each file and a little more, and gives each line to `line`.
    pub fn turn(&mut self, now: Instant, budget: usize, line: &mut impl FnMut(&[u8])) -> Turn {
        let mut turn = Turn::default();
        self.old.retain_mut(|source| {
            let read = source.read(now, budget, &mut self.buffer, line, &mut turn);
            read.is_ok() && now.saturating_duration_since(source.last_data) < GRACE
        });
        if let Some(source) = &mut self.current
            && let Err(error) = source.read(now, budget, &mut self.buffer, line, &mut turn)
        {
            self.current = None;
            turn.error = Some(error);
        }
        if let Err(error) = self.look(now, &mut turn) {
            turn.error = Some(error);
        }
        turn
    }

    /// Sees whether another file is at the path by now.
    fn look(&mut self, now: Instant, turn: &mut Turn) -> io::Result<()> {
        let there = match fs::metadata(&self.path) {
            Ok(there) => there,
            Err(error) => {
                self.started |= error.kind() == ErrorKind::NotFound;
                return Err(error);
            }
        };
        if self.current.as_ref().is_some_and(|source| source.id == (there.dev(), there.ino())) {
            return Ok(());
        }
        let opened = Source::open(&self.path, self.started, now)?;
        self.started = true;
        turn.opened = true;
        turn.more = true;
        if let Some(before) = self.current.replace(opened) {
            turn.rotated = true;
            self.old.push(Source { last_data: now, ..before });
            // The oldest: its writers have had the longest time.
            self.old.drain(..self.old.len().saturating_sub(MOST_OLD));
        }
        Ok(())
    }
}

impl Source {
    fn open(path: &Path, from_start: bool, now: Instant) -> io::Result<Self> {
        // Nobody may be writing to a FIFO yet: that is not waited for.
        let flags = i32::try_from(OFlags::NONBLOCK.bits()).expect("a flag of open(2) is an int");
        let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
        let metadata = file.metadata()?;
        let is_fifo = metadata.file_type().is_fifo();
        if !is_fifo && !metadata.is_file() {
            return Err(io::Error::new(ErrorKind::InvalidInput, "it is neither a file nor a FIFO"));
        }
        let id = (metadata.dev(), metadata.ino());
        let mut source = Self {
            file,
            id,
            is_fifo,
            position: 0,
            mark: Vec::new(),
            lines: LineBuffer::default(),
            last_data: now,
        };
        if !from_start && !is_fifo {
            source.go_to(metadata.len())?;
        }
        Ok(source)
    }

    /// Goes on from there, with the first whole line.
    fn go_to(&mut self, position: u64) -> io::Result<()> {
        let mark = position.min(MARK as u64);
        self.mark = vec![0; mark as usize];
        self.file.read_exact_at(&mut self.mark, position - mark)?;
        self.position = position;
        if self.mark.last().is_some_and(|byte| *byte != b'\n') {
            self.lines = LineBuffer::in_the_middle();
        }
        Ok(())
    }

    fn read(
        &mut self,
        now: Instant,
        budget: usize,
        buffer: &mut [u8],
        line: &mut impl FnMut(&[u8]),
        turn: &mut Turn,
    ) -> io::Result<()> {
        let mut read = 0;
        while read < budget {
            match self.read_once(buffer)? {
                Found::End => return Ok(()),
                Found::Truncated => {
                    turn.truncated += 1;
                    (self.position, self.lines) = (0, LineBuffer::default());
                    self.mark.clear();
                }
                Found::New { start, end } => {
                    let new = &buffer[start..end];
                    turn.too_long += self.lines.push(new, line).too_long;
                    self.remember(new);
                    self.last_data = now;
                    read += new.len();
                    turn.bytes += new.len();
                }
            }
        }
        turn.more = true;
        Ok(())
    }

    /// Of a file, the mark is read again with what follows it, in one call: what does not follow the mark is of
    /// another content.
    fn read_once(&mut self, buffer: &mut [u8]) -> io::Result<Found> {
        if self.is_fifo {
            return match self.file.read(buffer) {
                // Nobody has it open for writing.
                Ok(0) => Ok(Found::End),
                Ok(end) => Ok(Found::New { start: 0, end }),
                Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(Found::End),
                Err(error) if error.kind() == ErrorKind::Interrupted => Ok(Found::New { start: 0, end: 0 }),
                Err(error) => Err(error),
            };
        }
        let start = self.mark.len();
        let end = loop {
            match self.file.read_at(buffer, self.position - start as u64) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                read => break read?,
            }
        };
        if end < start || buffer[..start] != self.mark[..] {
            return Ok(Found::Truncated);
        }
        Ok(if end > start { Found::New { start, end } } else { Found::End })
    }

    fn remember(&mut self, new: &[u8]) {
        if self.is_fifo {
            return;
        }
        self.position += new.len() as u64;
        self.mark.extend_from_slice(&new[new.len().saturating_sub(MARK)..]);
        self.mark.drain(..self.mark.len().saturating_sub(MARK));
    }
}

#[cfg(test)]
mod tests;
