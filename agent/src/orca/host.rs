//! How busy the machine is, from `/proc`: what ORCA's `cpu_utilization` and `mem_utilization` mean.

use std::fs;

/// Processor time since the start of the machine, in ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ticks {
    busy: u64,
    all: u64,
}

impl Ticks {
    /// Of all processors. `None`: not known here.
    pub(super) fn read() -> Option<Self> {
        Self::parse(&fs::read_to_string("/proc/stat").ok()?)
    }

    /// proc_stat(5): user, nice, system, idle, iowait, irq, softirq, steal; guests are counted in the first two.
    fn parse(stat: &str) -> Option<Self> {
        let line = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
        let ticks: Vec<u64> =
            line.split_whitespace().take(8).map(|ticks| ticks.parse().unwrap_or(0)).collect();
        let all = ticks.iter().sum();
        let idle = ticks.get(3)? + ticks.get(4)?;
        Some(Self { busy: all - idle, all })
    }

    /// The busy share of the time since `before`, 0 to 1. `None`: there was none.
    pub(super) fn share_since(self, before: Self) -> Option<f64> {
        let all = self.all.checked_sub(before.all).filter(|all| *all > 0)?;
        // The waits for a disk may be taken back: proc_stat(5) warns of it.
        Some((self.busy.saturating_sub(before.busy) as f64 / all as f64).min(1.0))
    }
}

/// The share of the memory that is not to be had, 0 to 1. `None`: not known here.
pub(super) fn memory() -> Option<f64> {
    memory_of(&fs::read_to_string("/proc/meminfo").ok()?)
}

fn memory_of(meminfo: &str) -> Option<f64> {
    let kib = |name: &str| {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse::<f64>().ok()
    };
    let total = kib("MemTotal:").filter(|total| *total > 0.0)?;
    Some((1.0 - kib("MemAvailable:")? / total).clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_that_of_the_time_between() {
        let at = |stat: &str| Ticks::parse(stat);
        let first = at("cpu  100 0 100 700 100 0 0 0 55 0\ncpu0 1 2 3\n").expect("a line");
        let second = at("cpu  150 0 150 780 120 0 0 0 99 0\n").expect("a line");
        assert_eq!(second.share_since(first), Some(0.5));
        assert_eq!(first.share_since(first), None);
        assert_eq!(first.share_since(second), None, "clocks that run backwards say nothing");
        assert_eq!(at(""), None);
        assert_eq!(at("cpu  1 2\n"), None);
    }

    #[test]
    fn memory_is_what_is_not_available() {
        let meminfo = "MemTotal:       4000 kB\nMemFree:  100 kB\nMemAvailable:   1000 kB\n";
        assert_eq!(memory_of(meminfo), Some(0.75));
        for bad in ["", "MemTotal: 0 kB\nMemAvailable: 0 kB\n", "MemTotal: 5 kB\n"] {
            assert_eq!(memory_of(bad), None, "{bad:?}");
        }
    }
}
