//! A body comes out as it went in, wherever it lay, and whatever the disk does.

use std::future::poll_fn;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex};

use bytes::Bytes;
use prometheus::Registry;

use super::*;

const KIB: u64 = 1024;

/// What the disk is to do.
#[derive(Default)]
struct Plan {
    refuse_files: AtomicBool,
    /// Every write from now on fails with this error number.
    write_error: Mutex<Option<i32>>,
    read_error: Mutex<Option<i32>>,
    /// While it is closed nothing is written.
    gate: (Mutex<bool>, Condvar),
    open_files: AtomicUsize,
}

impl Plan {
    fn stall(&self, stalled: bool) {
        *self.gate.0.lock().expect("no panic") = stalled;
        self.gate.1.notify_all();
    }
}

struct Planned(Arc<Plan>);

struct PlannedFile {
    plan: Arc<Plan>,
    file: std::fs::File,
}

impl Files for Planned {
    fn create(&self) -> io::Result<Arc<dyn SpoolFile>> {
        if self.0.refuse_files.load(Relaxed) {
            return Err(io::ErrorKind::NotFound.into());
        }
        self.0.open_files.fetch_add(1, Relaxed);
        Ok(Arc::new(PlannedFile { plan: self.0.clone(), file: tempfile::tempfile()? }))
    }
}

impl SpoolFile for PlannedFile {
    fn write_all_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        let (closed, opened) = &self.plan.gate;
        drop(opened.wait_while(closed.lock().expect("no panic"), |closed| *closed).expect("no panic"));
        match *self.plan.write_error.lock().expect("no panic") {
            Some(number) => Err(io::Error::from_raw_os_error(number)),
            None => SpoolFile::write_all_at(&self.file, bytes, at),
        }
    }

    fn read_exact_at(&self, into: &mut [u8], at: u64) -> io::Result<()> {
        match *self.plan.read_error.lock().expect("no panic") {
            Some(number) => Err(io::Error::from_raw_os_error(number)),
            None => SpoolFile::read_exact_at(&self.file, into, at),
        }
    }
}

impl Drop for PlannedFile {
    fn drop(&mut self) {
        self.plan.open_files.fetch_sub(1, Relaxed);
    }
}

/// 64 KiB of memory and 256 KiB of disk for each body.
fn spool() -> (Arc<Spool>, Arc<Plan>) {
    let plan = Arc::new(Plan::default());
    let limits = SpoolLimits {
        memory: Allowance { each: 64 * KIB, total: 1024 * KIB },
        files: Allowance { each: 256 * KIB, total: 4096 * KIB },
        directory: None,
    };
    let metrics = SpoolMetrics::register(&Registry::new());
    (Spool::with_files(&limits, Some(Arc::new(Planned(plan.clone()))), metrics), plan)
}

/// A body and the bytes that it must give.
struct Body {
    spooled: Spooled,
    expected: std::collections::VecDeque<u8>,
    next: u8,
}

impl Body {
    fn of(spool: &Arc<Spool>) -> Self {
        Self { spooled: Spooled::new(spool.clone()), expected: Default::default(), next: 0 }
    }

    async fn written(&mut self) {
        poll_fn(|cx| self.spooled.poll_written(cx)).await;
    }

    async fn push(&mut self, length: usize) {
        self.written().await;
        let bytes: Vec<u8> = (0..length).map(|i| self.next.wrapping_add((i % 251) as u8)).collect();
        self.next = self.next.wrapping_add(7);
        self.expected.extend(&bytes);
        self.spooled.push(Bytes::from(bytes));
    }

    /// As much as there is room for. Bytes in.
    async fn fill(&mut self) -> u64 {
        let mut pushed = 0;
        while self.spooled.has_room() {
            self.push(16 * 1024).await;
            self.written().await;
            pushed += 16 * KIB;
        }
        pushed
    }

    /// Takes something, and checks it. `None`: there was nothing.
    async fn take(&mut self) -> Option<io::Result<usize>> {
        let bytes = match poll_fn(|cx| self.spooled.poll_next(cx)).await? {
            Ok(bytes) => bytes,
            Err(error) => return Some(Err(error)),
        };
        let expected: Vec<u8> = self.expected.drain(..bytes.len()).collect();
        assert!(bytes == expected, "other bytes than came, {} before the end", self.expected.len());
        Some(Ok(bytes.len()))
    }

    async fn take_all(&mut self) {
        while let Some(taken) = self.take().await {
            taken.expect("nothing is lost");
        }
        assert!(self.expected.is_empty() && self.spooled.is_empty());
    }
}

/// Waits until what is closed by another thread is.
async fn until_closed(plan: &Plan) {
    while plan.open_files.load(Relaxed) > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn memory_first_then_a_file_then_no_more() {
    let (spool, plan) = spool();
    let mut body = Body::of(&spool);
    body.push(60 * 1024).await;
    body.written().await;
    assert_eq!((spool.usage().memory, spool.usage().files), (64 * KIB, 0));
    assert_eq!(plan.open_files.load(Relaxed), 0, "memory is enough");
    body.fill().await;
    let usage = spool.usage();
    assert!((64 * KIB..=80 * KIB).contains(&usage.memory), "{usage:?}");
    assert!((225 * KIB..=256 * KIB).contains(&usage.files), "{usage:?}");
    assert_eq!((plan.open_files.load(Relaxed), usage.faults), (1, 0));
    body.take_all().await;
    assert_eq!((spool.usage().memory, spool.usage().files), (0, 0));
    until_closed(&plan).await;
    assert!(body.fill().await > 256 * KIB, "there is room again");
    body.take_all().await;
}

/// Whatever the sizes and whoever is faster.
#[tokio::test]
async fn bytes_come_out_as_they_went_in() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut rng = fastrand::Rng::with_seed(seed);
    let (spool, plan) = spool();
    let mut bodies: Vec<_> = (0..4).map(|_| Body::of(&spool)).collect();
    for round in 0..3000 {
        let body = rng.usize(..bodies.len());
        let body = &mut bodies[body];
        // By turns more comes and more is taken.
        if rng.u8(..100) < if round / 300 % 2 == 0 { 80 } else { 20 } {
            body.written().await;
            if body.spooled.has_room() {
                body.push(rng.usize(1..40_000)).await;
            }
        } else if let Some(taken) = body.take().await {
            taken.expect("nothing is lost");
        }
        let usage = spool.usage();
        assert!(usage.files <= 4 * 256 * KIB && usage.memory <= 4 * 180 * KIB, "{usage:?}");
    }
    for body in &mut bodies {
        body.written().await;
        body.take_all().await;
    }
    assert_eq!((spool.usage().memory, spool.usage().files, spool.usage().faults), (0, 0, 0));
    until_closed(&plan).await;
}

#[tokio::test]
async fn a_body_that_is_dropped_gives_everything_back() {
    let (spool, plan) = spool();
    let mut body = Body::of(&spool);
    body.fill().await;
    let given_out = body.take().await;
    drop(body);
    assert_eq!(given_out.expect("bytes").expect("from memory"), 32 * 1024);
    assert_eq!((spool.usage().memory, spool.usage().files), (0, 0));
    until_closed(&plan).await;
}

#[tokio::test]
async fn what_was_given_out_counts_until_it_is_gone() {
    let (spool, _plan) = spool();
    let mut spooled = Spooled::new(spool.clone());
    spooled.push(Bytes::from_static(b"a few"));
    let bytes = poll_fn(|cx| spooled.poll_next(cx)).await.expect("they came").expect("from memory");
    assert_eq!(spool.usage().memory, 32 * KIB, "a block");
    drop((bytes, spooled));
    assert_eq!(spool.usage().memory, 0);
}

/// Nothing is lost, the reason is told, and the next body tries again.
#[tokio::test]
async fn a_disk_that_fails_leaves_memory_and_is_told() {
    const ENOSPC: i32 = 28;
    const EIO: i32 = 5;
    const EDQUOT: i32 = 122;
    const EFBIG: i32 = 27;
    for (error, fault) in [
        (None, Fault::Create),
        (Some(EIO), Fault::Write),
        (Some(ENOSPC), Fault::Full),
        (Some(EDQUOT), Fault::Full),
        (Some(EFBIG), Fault::Full),
    ] {
        let (spool, plan) = spool();
        plan.refuse_files.store(error.is_none(), Relaxed);
        *plan.write_error.lock().expect("no panic") = error;
        let mut body = Body::of(&spool);
        let pushed = body.fill().await;
        assert!((64 * KIB..=96 * KIB).contains(&pushed), "{fault:?}: memory alone, {pushed}");
        assert_eq!(spool.usage().files, 0, "{fault:?}");
        assert_eq!(spool.usage().last_fault.expect("told").0, fault);
        assert_eq!(spool.usage().faults, 1, "{fault:?}: once, not with every piece");
        body.take_all().await;
        assert!(body.fill().await > 0, "{fault:?}: memory is there again");
        body.take_all().await;

        plan.refuse_files.store(false, Relaxed);
        *plan.write_error.lock().expect("no panic") = None;
        let mut next = Body::of(&spool);
        assert!(next.fill().await > 256 * KIB, "{fault:?}: resumes by itself");
        next.take_all().await;
    }
}

#[tokio::test]
async fn a_disk_that_fails_in_the_middle_keeps_what_it_has() {
    let (spool, plan) = spool();
    let mut body = Body::of(&spool);
    body.push(200 * 1024).await;
    body.written().await;
    assert!(spool.usage().files > 0);
    *plan.write_error.lock().expect("no panic") = Some(5);
    body.push(20_000).await;
    body.written().await;
    assert!(!body.spooled.has_room(), "the memory is full and the disk is not used any more");
    assert_eq!(spool.usage().faults, 1);
    body.take_all().await;
}

#[tokio::test]
async fn what_can_not_be_read_is_an_error_and_not_other_bytes() {
    let (spool, plan) = spool();
    let mut body = Body::of(&spool);
    body.push(200 * 1024).await;
    body.written().await;
    *plan.read_error.lock().expect("no panic") = Some(5);
    let error = loop {
        match body.take().await.expect("an error before the end") {
            Ok(_from_memory) => {}
            Err(error) => break error,
        }
    };
    assert_eq!(error.raw_os_error(), Some(5));
    assert_eq!(spool.usage().last_fault.expect("told").0, Fault::Read);
}

/// The clock jumps as soon as nothing but a timer is waited for, so this takes no time.
#[tokio::test(start_paused = true)]
async fn a_disk_that_does_not_answer_is_not_waited_for() {
    let (spool, plan) = spool();
    plan.stall(true);
    let mut body = Body::of(&spool);
    body.push(100 * 1024).await;
    let began = Instant::now();
    body.written().await;
    assert_eq!(began.elapsed(), Duration::from_secs(2));
    assert_eq!(spool.usage().last_fault.expect("told").0, Fault::Stalled);
    body.take_all().await;

    let mut next = Body::of(&spool);
    next.fill().await;
    assert_eq!(began.elapsed(), Duration::from_secs(2), "others do not try");
    next.take_all().await;
    plan.stall(false);
    until_closed(&plan).await;
    tokio::time::advance(LEFT_ALONE).await;
    let mut later = Body::of(&spool);
    later.push(100 * 1024).await;
    // The disk's thread answers in no time by this clock; the pause must not let the patience pass before.
    tokio::time::resume();
    later.written().await;
    assert!(spool.usage().files > 0, "it is tried again");
    later.take_all().await;
}

#[tokio::test]
async fn bytes_that_are_being_written_may_be_taken() {
    let (spool, plan) = spool();
    plan.stall(true);
    let mut body = Body::of(&spool);
    body.push(100 * 1024).await;
    body.take_all().await;
    plan.stall(false);
    body.written().await;
    assert_eq!(spool.usage().files, 0, "nobody needs them any more");
    assert!(body.fill().await > 256 * KIB);
    body.take_all().await;
}

#[test]
fn room_is_told_by_what_is_left() {
    let (spool, _plan) = spool();
    assert!(spool.has_room_for(64 * KIB) && spool.has_room_for(256 * KIB));
    assert!(!spool.has_room_for(320 * KIB + 1), "more than one body may have");
    let limits = SpoolLimits { directory: None, ..SpoolLimits::default() };
    let spool = Spool::new(&limits, SpoolMetrics::register(&Registry::new()));
    assert!(spool.has_room_for(1024 * KIB) && !spool.has_room_for(1024 * KIB + 1), "no files");
}
