//! What the kernel says of the balancer's process.

use std::collections::BTreeMap;
use std::{fs, io};

use serde::Serialize;

/// `USER_HZ`: 100 on every Linux that one meets.
const TICKS_PER_S: f64 = 100.0;

/// A running process.
#[derive(Clone, Copy)]
pub(crate) struct Watched {
    pid: u32,
}

/// CPU time in seconds by the first word of the threads' names (`control`, `data`), since the start.
pub(crate) type CpuTime = BTreeMap<String, f64>;

/// What a process holds.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Held {
    /// Resident memory, in KiB.
    pub(crate) rss_kib: u64,
    /// Open files and sockets.
    pub(crate) descriptors: usize,
}

impl Watched {
    pub(crate) fn new(pid: u32) -> Self {
        Self { pid }
    }

    /// # Errors
    /// If there is no such process.
    pub(crate) fn cpu_time(self) -> io::Result<CpuTime> {
        let mut by_name = CpuTime::new();
        for thread in fs::read_dir(format!("/proc/{}/task", self.pid))? {
            // A thread that ends while one looks has been none of those that matter.
            let Ok(stat) = fs::read_to_string(thread?.path().join("stat")) else { continue };
            if let Some((name, seconds)) = thread_time(&stat) {
                *by_name.entry(name).or_default() += seconds;
            }
        }
        Ok(by_name)
    }

    /// # Errors
    /// If there is no such process.
    pub(crate) fn held(self) -> io::Result<Held> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid))?;
        let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next());
        let rss_kib = rss.and_then(|rss| rss.parse().ok()).unwrap_or(0);
        Ok(Held { rss_kib, descriptors: fs::read_dir(format!("/proc/{}/fd", self.pid))?.count() })
    }
}

/// Cores that were busy between two readings, by thread's name, and as `all`.
pub(crate) fn cores(before: &CpuTime, after: &CpuTime, secs: f64) -> CpuTime {
    let used = |name: &str, time: f64| (time - before.get(name).unwrap_or(&0.0)) / secs;
    let mut cores: CpuTime = after.iter().map(|(name, time)| (name.clone(), used(name, *time))).collect();
    let all = cores.values().sum();
    cores.insert("all".to_owned(), all);
    cores
}

/// Of one line of `/proc/PID/task/TID/stat`: the name is in brackets, user and system time are fields 14 and 15.
fn thread_time(stat: &str) -> Option<(String, f64)> {
    let (before, after) = stat.rsplit_once(')')?;
    let name = before.split_once('(')?.1.split('-').next()?.to_owned();
    let mut fields = after.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<f64>().ok();
    Some((name, (ticks()? + ticks()?) / TICKS_PER_S))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_are_summed_up_by_the_first_word_of_their_names() {
        let stat = |name: &str| format!("7 ({name}) S 1 1 1 0 -1 4194304 10 0 0 0 150 50 0 0 20 0 3 0 99");
        assert_eq!(thread_time(&stat("data-0")), Some(("data".to_owned(), 2.0)));
        assert_eq!(thread_time(&stat("a) b")), Some(("a) b".to_owned(), 2.0)), "names can hold brackets");
        assert_eq!(thread_time("nonsense"), None);
    }
}
