//! The thread that writes the access log: a slow or full disk stops nothing.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use prometheus::{IntCounter, IntCounterVec, Registry};
use sluice_process::metrics::{counter, counters};

use crate::observe::access::Destination;

/// Lines that wait for the disk, ...
const WAITING: usize = 16_384;
/// ... and what they may be together, in bytes. Further ones are lost, and counted.
const WAITING_BYTES: usize = 8 << 20;
/// How long the thread lets lines gather once there is one: then it writes them at once. Without that each line would
/// wake it, and a data thread pays for waking another.
const GATHER: Duration = Duration::from_millis(20);
/// As much is written at once, in bytes.
const BATCH: usize = 256 << 10;

/// The way to the thread.
pub(super) struct Writer {
    to_thread: SyncSender<Message>,
    shared: Arc<Shared>,
    /// `None` after the end.
    thread: Mutex<Option<JoinHandle<()>>>,
    metrics: Metrics,
}

#[derive(Default)]
struct Shared {
    /// The file was renamed.
    reopen: AtomicBool,
    /// Bytes of the lines that wait.
    waiting: AtomicUsize,
}

enum Message {
    Line(String),
    /// Look at [`Shared::reopen`].
    Wake,
    /// Write what is there, and end.
    End,
}

#[derive(Clone)]
pub(in crate::observe) struct Metrics {
    lines: IntCounter,
    dropped: IntCounterVec,
}

impl Metrics {
    pub(in crate::observe) fn register(registry: &Registry) -> Self {
        let lines = counter(registry, "sluice_access_log_lines_total", "Lines written to --access-log.");
        let dropped = counters(
            registry,
            "sluice_access_log_dropped_total",
            "Lines that are not in --access-log. queue_full: the disk is too slow for the traffic, try --access-log-sample. write_failed: the log says why.",
            &["reason"],
        );
        for reason in ["queue_full", "write_failed"] {
            dropped.with_label_values(&[reason]);
        }
        Self { lines, dropped }
    }

    fn drop_lines(&self, reason: &str, n: u64) {
        self.dropped.with_label_values(&[reason]).inc_by(n);
    }
}

impl Writer {
    /// Opens the file and starts the thread.
    pub(super) fn start(destination: Destination, metrics: Metrics) -> io::Result<Self> {
        let (to_thread, messages) = sync_channel(WAITING);
        let shared = Arc::new(Shared::default());
        let log = LogFile {
            out: open(&destination)?,
            destination,
            shared: shared.clone(),
            failing: false,
            batch: Batch::default(),
            metrics: metrics.clone(),
        };
        let thread =
            thread::Builder::new().name("access-log".to_owned()).spawn(move || log.run(&messages))?;
        Ok(Self { to_thread, shared, thread: Mutex::new(Some(thread)), metrics })
    }

    pub(super) fn append(&self, line: String) {
        let length = line.len();
        let has_room = self.shared.waiting.fetch_add(length, Relaxed) + length <= WAITING_BYTES;
        if !has_room || self.to_thread.try_send(Message::Line(line)).is_err() {
            self.shared.waiting.fetch_sub(length, Relaxed);
            self.metrics.drop_lines("queue_full", 1);
        }
    }

    pub(super) fn reopen(&self) {
        self.shared.reopen.store(true, Relaxed);
        // If there is no place, the thread has lines to write and will see the flag before.
        if let Err(TrySendError::Disconnected(_)) = self.to_thread.try_send(Message::Wake) {
            tracing::warn!("the access log has ended and is not opened again");
        }
    }

    /// Waits until all that was appended is written.
    pub(super) fn close(&self) {
        let Some(thread) = self.thread.lock().expect("no code panics while holding it").take() else {
            return;
        };
        let told = self.to_thread.send(Message::End).is_ok();
        if !told || thread.join().is_err() {
            tracing::error!("the thread that writes the access log panicked");
        }
    }
}

/// The thread's own.
struct LogFile {
    destination: Destination,
    out: Box<dyn Write + Send>,
    shared: Arc<Shared>,
    /// The last write failed, which has been told; part of a line may have been written.
    failing: bool,
    batch: Batch,
    metrics: Metrics,
}

#[derive(Default)]
struct Batch {
    text: String,
    lines: u64,
}

impl LogFile {
    fn run(mut self, messages: &Receiver<Message>) {
        while let Ok(first) = messages.recv() {
            thread::sleep(GATHER);
            let rest = std::iter::from_fn(|| messages.try_recv().ok());
            let mut goes_on = true;
            for message in std::iter::once(first).chain(rest) {
                goes_on &= self.take(message);
            }
            self.write();
            if !goes_on {
                return;
            }
        }
    }

    /// Whether it was not the end.
    fn take(&mut self, message: Message) -> bool {
        match message {
            Message::End => return false,
            Message::Wake => {}
            Message::Line(line) => {
                self.shared.waiting.fetch_sub(line.len(), Relaxed);
                self.batch.text.push_str(&line);
                self.batch.lines += 1;
                if self.batch.text.len() >= BATCH {
                    self.write();
                }
            }
        }
        true
    }

    fn write(&mut self) {
        if self.shared.reopen.swap(false, Relaxed) {
            self.begin_anew();
        }
        if self.batch.lines == 0 {
            return;
        }
        if self.failing {
            // What a failed write may have left is no part of the next line.
            self.batch.text.insert(0, '\n');
        }
        let written = self.out.write_all(self.batch.text.as_bytes()).and_then(|()| self.out.flush());
        self.note(written);
        self.batch.text.clear();
        self.batch.lines = 0;
    }

    fn note(&mut self, written: io::Result<()>) {
        match written {
            Ok(()) => {
                self.metrics.lines.inc_by(self.batch.lines);
                if self.failing {
                    tracing::info!("the access log is written to {} again", self.destination);
                }
                self.failing = false;
            }
            Err(error) => {
                self.metrics.drop_lines("write_failed", self.batch.lines);
                if !self.failing {
                    tracing::warn!("the access log can not be written to {}: {error}", self.destination);
                }
                self.failing = true;
            }
        }
    }

    /// The old file stays in use if there can be no new one.
    fn begin_anew(&mut self) {
        match open(&self.destination) {
            Ok(out) => {
                self.out = out;
                tracing::info!("the access log {} was opened again", self.destination);
            }
            Err(error) => {
                tracing::warn!("the access log {} can not be opened again: {error}", self.destination);
            }
        }
    }
}

fn open(destination: &Destination) -> io::Result<Box<dyn Write + Send>> {
    Ok(match destination {
        Destination::Stdout => Box::new(io::stdout()),
        // Who asked for what is nobody else's business.
        Destination::File(path) => Box::new(file(path)?),
    })
}

fn file(path: &std::path::Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o640).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::Path;

    fn writer(path: &Path) -> Writer {
        let destination = Destination::File(path.to_owned());
        Writer::start(destination, Metrics::register(&Registry::new())).expect("a file that can be made")
    }

    fn dropped(writer: &Writer, reason: &str) -> u64 {
        writer.metrics.dropped.with_label_values(&[reason]).get()
    }

    #[test]
    fn everything_is_in_the_file_after_the_end() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("access.log");
        fs::write(&path, "before\n").expect("written");
        let log = writer(&path);
        (0..1000).for_each(|n| log.append(format!("line {n}\n")));
        log.close();
        let text = fs::read_to_string(&path).expect("it is there");
        assert!(text.starts_with("before\nline 0\nline 1\n") && text.ends_with("\nline 999\n"), "{text}");
        assert_eq!((log.metrics.lines.get(), dropped(&log, "queue_full")), (1000, 0));
        log.append("too late\n".to_owned());
        assert_eq!(dropped(&log, "queue_full"), 1);
    }

    #[test]
    fn a_renamed_file_is_left_alone_once_told() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let (path, old) = (dir.path().join("access.log"), dir.path().join("access.log.1"));
        let log = writer(&path);
        fs::rename(&path, &old).expect("renamed");
        log.reopen();
        log.append("new\n".to_owned());
        log.close();
        assert_eq!(fs::read_to_string(&path).expect("made anew"), "new\n");
        assert_eq!(fs::read_to_string(&old).expect("there"), "");
    }

    #[test]
    fn lines_that_find_no_place_are_counted_and_nobody_waits() {
        // Nobody takes them.
        let (to_thread, _messages) = sync_channel(2);
        let (shared, thread) = (Arc::default(), Mutex::new(None));
        let log = Writer { to_thread, shared, thread, metrics: Metrics::register(&Registry::new()) };
        log.append("long".repeat(WAITING_BYTES));
        assert_eq!(dropped(&log, "queue_full"), 1);
        (0..5).for_each(|n| log.append(format!("{n}\n")));
        log.reopen();
        assert_eq!((dropped(&log, "queue_full"), log.shared.waiting.load(Relaxed)), (4, 4));
    }

    #[test]
    fn what_the_disk_does_not_take_is_counted_and_half_a_line_is_not_continued() {
        let log = writer(Path::new("/dev/full"));
        log.append("lost\n".to_owned());
        log.close();
        assert_eq!((dropped(&log, "write_failed"), log.metrics.lines.get()), (1, 0));
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("log");
        let mut log = LogFile {
            destination: Destination::File(path.clone()),
            out: Box::new(file(&path).expect("made")),
            shared: Arc::default(),
            failing: true,
            batch: Batch::default(),
            metrics: Metrics::register(&Registry::new()),
        };
        log.take(Message::Line("whole\n".to_owned()));
        log.write();
        assert_eq!(fs::read_to_string(&path).expect("there"), "\nwhole\n");
    }
}
