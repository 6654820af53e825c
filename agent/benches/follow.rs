//! How many lines of an access log are read, classified and counted in a second of one core's time. Not criterion:
//! the figure of interest is processor time, of which other programs take nothing.

use std::{fs, io::Write, path::Path, sync::Arc, time::Duration};

use prometheus::Registry;
use sluice_agent::{
    follow::{Format, tail::Tail, tally::Tally},
    measure::Recorder,
    metrics::AgentMetrics,
};
use tokio::time::Instant;

const LINES: u32 = 1_000_000;

fn main() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    println!("| format | lines/s per core | bytes/s per core | of a core for a million lines a minute |");
    println!("|---|---|---|---|");
    for (format, end) in [
        ("combined", ""),
        ("combined-us", " 10342"),
        (
            r#"$remote_addr - - [$time_local] "$request" $status $body_bytes_sent "$http_referer" "$http_user_agent" $request_time $upstream_response_time"#,
            " 0.011 0.010",
        ),
    ] {
        let log = directory.path().join("access.log");
        let (lines, bytes, seconds) = follow(&log, format, end);
        assert_eq!(lines, LINES, "each line is read");
        let per_second = f64::from(lines) / seconds;
        println!(
            "| {} | {per_second:.0} | {:.0} M | {:.1} % |",
            format.split(' ').next().unwrap_or_default(),
            bytes as f64 / seconds / 1e6,
            1e6 / 60.0 / per_second * 100.0
        );
        fs::remove_file(log).expect("it is there");
    }
}

/// Lines, bytes, and seconds of processor time.
fn follow(log: &Path, format: &str, end: &str) -> (u32, usize, f64) {
    let format: Format = format.parse().expect("a format");
    let mut tally = Tally::new(&format, Arc::default(), AgentMetrics::register(&Registry::new()));
    let recorder = Recorder::new(Instant::now());
    let mut tail = Tail::new(log.to_owned());
    // Not there yet: what comes is new.
    tail.turn(Instant::now(), usize::MAX, &mut |_| {});
    write(log, end);
    let (mut lines, mut bytes) = (0, 0);
    let before = processor_time();
    loop {
        let turn = tail.turn(Instant::now(), 4 * 1024 * 1024, &mut |line| {
            let line = String::from_utf8_lossy(line);
            if let Some(entry) = format.read(&line) {
                tally.take(&entry, &recorder);
                lines += 1;
            }
        });
        bytes += turn.bytes;
        if !turn.more {
            break;
        }
    }
    (lines, bytes, (processor_time() - before).as_secs_f64())
}

fn write(log: &Path, end: &str) {
    let mut rng = fastrand::Rng::with_seed(7);
    let mut file = std::io::BufWriter::new(fs::File::create(log).expect("a file"));
    for _ in 0..LINES {
        let (section, n, bytes) = (rng.u8(..50), rng.u32(..100_000), rng.u32(..200_000));
        writeln!(
            file,
            "203.0.113.{} - - [24/Nov/2026:08:41:53 +0000] \"GET /section-{section}/news/{n}/@@images/image.jpeg?scale=preview HTTP/1.1\" 200 {bytes} \"https://www.example.org/section-{section}\" \"Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\"{end}",
            rng.u8(..)
        )
        .expect("there is room");
    }
    file.flush().expect("there is room");
}

/// Of this process, in ticks of 10 ms.
fn processor_time() -> Duration {
    let stat = fs::read_to_string("/proc/self/stat").expect("Linux says so");
    let fields: Vec<_> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |field: usize| fields[field].parse::<u64>().expect("a number");
    // After the name: utime is field 14 of proc(5), stime 15.
    Duration::from_millis((ticks(11) + ticks(12)) * 10)
}
