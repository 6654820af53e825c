//! A file, and what is done to it.

use std::{collections::BTreeMap, io::Write};

use tempfile::TempDir;

use super::*;

const ALL: usize = usize::MAX;

struct Log {
    directory: TempDir,
    tail: Tail,
    now: Instant,
    lines: Vec<String>,
}

impl Log {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let tail = Tail::new(directory.path().join("access.log"));
        Self { directory, tail, now: Instant::now(), lines: Vec::new() }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("access.log")
    }

    /// Opens it as servers do.
    fn writer(&self) -> File {
        OpenOptions::new().append(true).create(true).open(self.path()).expect("it can be opened")
    }

    fn turn(&mut self, budget: usize) -> Turn {
        let lines = &mut self.lines;
        let mut keep = |line: &[u8]| lines.push(String::from_utf8_lossy(line).into_owned());
        self.tail.turn(self.now, budget, &mut keep)
    }

    /// All that there is to read by now.
    fn read(&mut self) -> Vec<String> {
        while self.turn(ALL).more {}
        std::mem::take(&mut self.lines)
    }
}

fn write(mut file: &File, text: &str) {
    file.write_all(text.as_bytes()).expect("it can be written");
}

#[test]
fn what_was_there_at_the_start_is_no_news() {
    let mut log = Log::new();
    let writer = log.writer();
    write(&writer, "history\nhalf");
    assert!(log.read().is_empty());
    write(&writer, " of a line\nnew\npart");
    assert_eq!(log.read(), ["new"]);
    write(&writer, "ial\n");
    assert_eq!(log.read(), ["partial"]);
}

#[test]
fn a_file_that_comes_later_is_read_from_its_start() {
    let mut log = Log::new();
    let turn = log.turn(ALL);
    assert_eq!(turn.error.map(|error| error.kind()), Some(ErrorKind::NotFound));
    write(&log.writer(), "first\n");
    assert_eq!(log.read(), ["first"]);
}

#[test]
fn a_renamed_file_is_read_until_its_writers_have_left_it() {
    let mut log = Log::new();
    let old = log.writer();
    log.read();
    write(&old, "a\n");
    fs::rename(log.path(), log.directory.path().join("access.log.1")).expect("it can be renamed");
    write(&old, "b\n");
    assert_eq!(log.read(), ["a", "b"], "nobody has made a new one");
    let new = log.writer();
    write(&new, "c\n");
    write(&old, "d\n");
    assert_eq!(log.read(), ["d", "c"]);
    log.now += GRACE - Duration::from_millis(1);
    write(&old, "e\n");
    assert_eq!(log.read(), ["e"]);
    log.now += GRACE;
    assert!(log.read().is_empty());
    write(&old, "too late\n");
    write(&new, "f\n");
    assert_eq!(log.read(), ["f"]);
}

#[test]
fn a_truncated_file_is_read_from_its_start_however_long_it_is_again() {
    for again in ["new\n", "of the same length\n", "and this is longer than what was there before\n"] {
        let mut log = Log::new();
        let writer = log.writer();
        log.read();
        write(&writer, "of the same le....\n");
        log.read();
        writer.set_len(0).expect("it can be truncated");
        write(&writer, again);
        assert_eq!(log.read(), [again.trim_end()]);
    }
}

#[test]
fn a_writer_that_does_not_append_leaves_a_hole_that_says_nothing() {
    let mut log = Log::new();
    log.read();
    let writer = File::create(log.path()).expect("it can be made");
    write(&writer, "before\n");
    assert_eq!(log.read(), ["before"]);
    writer.set_len(0).expect("it can be truncated");
    write(&writer, "after\n");
    assert_eq!(log.read(), ["after"]);
}

#[test]
fn what_can_not_be_read_is_tried_again() {
    let mut log = Log::new();
    fs::create_dir(log.path()).expect("it can be made");
    assert!(log.turn(ALL).error.is_some(), "a directory");
    assert!(!log.tail.is_open());
    fs::remove_dir(log.path()).expect("it is empty");
    let writer = log.writer();
    log.read();
    write(&writer, "a\n");
    fs::remove_file(log.path()).expect("it is there");
    write(&writer, "b\n");
    assert_eq!(log.read(), ["a", "b"], "an open file outlives its name");
    assert!(log.turn(ALL).error.is_some() && log.tail.is_open());
}

#[test]
fn a_fifo_is_read_and_not_waited_for() {
    let mut log = Log::new();
    let status = std::process::Command::new("mkfifo").arg(log.path()).status().expect("mkfifo is there");
    assert!(status.success());
    assert!(log.read().is_empty(), "nobody writes");
    let writer = log.writer();
    write(&writer, "a\nb");
    assert_eq!(log.read(), ["a"]);
    drop(writer);
    assert!(log.read().is_empty(), "the writer has left");
    write(&log.writer(), "c\n");
    assert_eq!(log.read(), ["bc"]);
}

/// Numbers lines, so that each can be told from all others.
struct Writer {
    file: File,
    written: u32,
    /// The end of a line that was begun.
    rest: String,
}

impl Writer {
    fn line(&mut self, rng: &mut fastrand::Rng) {
        // No two lines look alike in the middle either: what is read again must not be taken for something else.
        let filling: String = (0..rng.usize(..300)).map(|_| rng.alphanumeric()).collect();
        let line = format!("{} {filling}\n", self.written);
        self.written += 1;
        let (now, later) = line.split_at(if rng.bool() { line.len() } else { rng.usize(..line.len()) });
        write(&self.file, now);
        self.rest = later.to_owned();
    }

    fn finish(&mut self) {
        write(&self.file, &std::mem::take(&mut self.rest));
    }
}

/// Whatever happens in whatever order: each line is read once, but for those that were truncated away unread.
#[test]
fn no_line_is_doubled_and_none_is_lost_that_could_be_read() {
    for _ in 0..40 {
        let seed = fastrand::u64(..);
        println!("seed {seed}");
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut log = Log::new();
        log.turn(ALL);
        let mut writer = Writer { file: log.writer(), written: 0, rest: String::new() };
        let (mut times_read, mut safe, mut truncated) = (BTreeMap::<u32, u32>::new(), 0, Vec::new());
        for step in 0..300 {
            log.now += Duration::from_millis(200);
            match rng.u8(..20) {
                0..12 => {
                    writer.finish();
                    writer.line(&mut rng);
                }
                12..14 => drop(log.turn(rng.usize(1..2000))),
                14..17 => {
                    while log.turn(ALL).more {}
                    // A line that is under way can not be read yet.
                    safe = writer.written - u32::from(!writer.rest.is_empty());
                }
                17 | 18 => {
                    // Rotated faster than it is read, a file in between would never be seen.
                    while log.turn(ALL).more {}
                    // The line that is under way is finished in the old file, as the one after it may be.
                    let moved = log.directory.path().join(format!("access.log.{step}"));
                    fs::rename(log.path(), moved).expect("it can be renamed");
                    for _ in 0..rng.u8(..3) {
                        writer.finish();
                        writer.line(&mut rng);
                    }
                    if rng.bool() {
                        log.turn(rng.usize(1..2000));
                    }
                    writer.finish();
                    writer.file = log.writer();
                    log.turn(rng.usize(1..2000));
                }
                _ => {
                    writer.finish();
                    writer.file.set_len(0).expect("it can be truncated");
                    truncated.push(safe..writer.written);
                }
            }
        }
        writer.finish();
        while log.turn(ALL).more {}
        for line in log.lines {
            let number = line.split(' ').next().and_then(|number| number.parse().ok());
            *times_read.entry(number.expect("a whole line")).or_default() += 1;
        }
        for number in 0..writer.written {
            let may_be_lost = truncated.iter().any(|lost| lost.contains(&number));
            match times_read.get(&number) {
                Some(1) => {}
                None if may_be_lost => {}
                times => panic!("seed {seed}: line {number} of {} was read {times:?} times", writer.written),
            }
        }
    }
}
