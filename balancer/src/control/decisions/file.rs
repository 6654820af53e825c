//! The file of decisions, written by a thread of its own: a slow or full disk stops nothing.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use prometheus::IntCounter;

/// Where decisions are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecisionFile {
    pub path: PathBuf,
    /// Bytes after which it becomes `FILE.1`, and a new one is begun.
    pub most: u64,
}

/// Lines that wait for the disk; further ones are lost, and counted.
const WAITING: usize = 256;

enum Text {
    Line(Arc<str>),
    /// Heads what follows.
    Head(Arc<str>),
}

/// The thread, and the way to it.
pub(super) struct Writer {
    /// `None` after the end.
    thread: Mutex<Option<Thread>>,
    failures: IntCounter,
}

struct Thread {
    lines: SyncSender<Text>,
    handle: JoinHandle<()>,
}

impl Writer {
    pub(super) fn start(file: DecisionFile, head: Arc<str>, failures: IntCounter) -> Self {
        let (lines, waiting) = sync_channel(WAITING);
        let log = LogFile { file, head, open: None, failing: false, failures: failures.clone() };
        let handle = thread::Builder::new().name("decisions".to_owned()).spawn(move || log.run(waiting));
        let handle = handle.inspect_err(|error| tracing::warn!("no decisions are written: {error}")).ok();
        Self { thread: Mutex::new(handle.map(|handle| Thread { lines, handle })), failures }
    }

    pub(super) fn append(&self, line: Arc<str>) {
        self.send(Text::Line(line));
    }

    /// Another head for what follows.
    pub(super) fn begin_with(&self, head: Arc<str>) {
        self.send(Text::Head(head));
    }

    fn send(&self, text: Text) {
        let thread = self.thread.lock().expect("no code panics while holding it");
        let sent = thread.as_ref().is_some_and(|thread| thread.lines.try_send(text).is_ok());
        if !sent {
            self.failures.inc();
        }
    }

    /// Waits until all that was appended is written.
    pub(super) fn close(&self) {
        let thread = self.thread.lock().expect("no code panics while holding it").take();
        if let Some(Thread { lines, handle }) = thread {
            drop(lines);
            if handle.join().is_err() {
                tracing::error!("the thread that writes decisions panicked");
            }
        }
    }
}

/// The thread's own.
struct LogFile {
    file: DecisionFile,
    head: Arc<str>,
    open: Option<Open>,
    /// The last line could not be written, which has been told.
    failing: bool,
    failures: IntCounter,
}

struct Open {
    file: File,
    size: u64,
}

impl LogFile {
    fn run(mut self, lines: Receiver<Text>) {
        for text in lines {
            match text {
                Text::Line(line) => self.append(&line),
                // Written when the file is opened again.
                Text::Head(head) => (self.head, self.open) = (head, None),
            }
        }
    }

    fn append(&mut self, line: &str) {
        match self.try_append(line) {
            Ok(()) if self.failing => {
                tracing::info!("decisions are written to {} again", self.file.path.display());
                self.failing = false;
            }
            Ok(()) => {}
            Err(error) => {
                self.failures.inc();
                if !self.failing {
                    tracing::warn!("decisions can not be written to {}: {error}", self.file.path.display());
                }
                self.failing = true;
            }
        }
    }

    fn try_append(&mut self, line: &str) -> io::Result<()> {
        // Given up when anything fails, as nothing is known of it then.
        let mut open = match self.open.take() {
            Some(open) => open,
            None => self.begin()?,
        };
        let is_empty = open.size <= self.head.len() as u64;
        if !is_empty && open.size + line.len() as u64 > self.file.most {
            self.rotate()?;
            open = self.begin()?;
        }
        open.append(line)?;
        self.open = Some(open);
        Ok(())
    }

    /// Opens the file and heads what follows.
    fn begin(&self) -> io::Result<Open> {
        let mut open = Open::at(&self.file.path)?;
        // A line that a crash left half written must not be continued.
        if !open.ends_whole()? {
            self.rotate()?;
            open = Open::at(&self.file.path)?;
        }
        open.append(&self.head)?;
        Ok(open)
    }

    fn rotate(&self) -> io::Result<()> {
        let mut old = self.file.path.clone().into_os_string();
        old.push(".1");
        fs::rename(&self.file.path, old)
    }
}

impl Open {
    fn at(path: &std::path::Path) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)?;
        let size = file.metadata()?.len();
        Ok(Self { file, size })
    }

    fn ends_whole(&mut self) -> io::Result<bool> {
        if self.size == 0 {
            return Ok(true);
        }
        let mut last = [0];
        self.file.seek(SeekFrom::End(-1))?;
        self.file.read_exact(&mut last)?;
        Ok(last == *b"\n")
    }

    /// All of it or nothing, as far as the disk lets us.
    fn append(&mut self, line: &str) -> io::Result<()> {
        let written = self.file.write_all(line.as_bytes());
        if written.is_err() {
            self.file.set_len(self.size)?;
        }
        self.size += line.len() as u64;
        written
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn writer(path: &Path, most: u64) -> (Writer, IntCounter) {
        let failures = IntCounter::new("failures", "of the test").expect("a valid name");
        let file = DecisionFile { path: path.to_owned(), most };
        (Writer::start(file, "head\n".into(), failures.clone()), failures)
    }

    fn lines(path: &Path) -> Vec<String> {
        let text = fs::read_to_string(path).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_full_file_becomes_the_old_one_and_every_file_has_a_head() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let (path, old) = (dir.path().join("log"), dir.path().join("log.1"));
        let (log, failures) = writer(&path, 15);
        for n in 0..5 {
            log.append(format!("line{n}\n").into());
        }
        log.close();
        // "head\n" and one "line0\n" are 11 bytes, two are 17.
        assert_eq!(
            (lines(&old), lines(&path)),
            (vec!["head".into(), "line3".into()], vec!["head".to_owned(), "line4".to_owned()])
        );
        assert_eq!(failures.get(), 0);
    }

    #[test]
    fn half_a_line_is_not_continued() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("log");
        fs::write(&path, "head\nli").expect("written");
        let (log, _) = writer(&path, 1000);
        log.append("line\n".into());
        log.close();
        assert_eq!(lines(&path), ["head", "line"]);
        assert_eq!(lines(&dir.path().join("log.1")), ["head", "li"]);
    }

    #[test]
    fn what_can_not_be_written_is_counted() {
        let (log, failures) = writer(Path::new("/dev/full"), 1000);
        log.append("line\n".into());
        log.append("line\n".into());
        log.close();
        log.append("after the end\n".into());
        assert_eq!(failures.get(), 3);
    }
}
