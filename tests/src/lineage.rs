//! Programs that are upgraded: one process after the other.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::process::{Process, program};
use crate::{PATIENCE, admin, eventually, expect};

/// A program under a name of its own, and whatever processes of that name run. All end when this is dropped.
pub struct Lineage {
    /// The first; it may have ended.
    _first: Process,
    name: PathBuf,
    _dir: TempDir,
}

impl Lineage {
    pub fn start(of: &str, arguments: &str) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let name = dir.path().join(of);
        symlink(program(of), &name).expect("a link");
        let first = Process::start(name.to_str().expect("plain text"), arguments);
        Self { _first: first, name, _dir: dir }
    }

    /// Puts another file in the program's place, as an installation does.
    pub fn replace(&self, file: &Path) {
        let new = self.name.with_extension("new");
        symlink(file, &new).expect("a link");
        fs::rename(new, &self.name).expect("replaced");
    }

    /// Processes that run, the oldest first.
    pub fn pids(&self) -> Vec<u32> {
        let all = fs::read_dir("/proc").expect("Linux").filter_map(|entry| {
            let pid = entry.ok()?.file_name().to_str()?.parse::<u32>().ok()?;
            // Of one that has ended there is none.
            let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
            let is_own = line.split(|byte| *byte == 0).next()? == self.name.as_os_str().as_encoded_bytes();
            is_own.then(|| Some((started(pid)?, pid))).flatten()
        });
        let mut all: Vec<_> = all.collect();
        all.sort_unstable();
        all.into_iter().map(|(_, pid)| pid).collect()
    }

    /// The process that was started last.
    pub fn newest(&self) -> u32 {
        *self.pids().last().expect("one runs")
    }

    /// Asks the newest process to be succeeded. Its id.
    pub fn ask(&self) -> u32 {
        let pid = self.newest();
        signal(pid, "USR2");
        pid
    }

    /// Asks the newest to be succeeded, and waits until that has come about. The id of the process that was succeeded.
    pub async fn upgrade(&self, admin: SocketAddr, generation: u32) -> u32 {
        let old = self.ask();
        admin::until_metric(admin, "sluice_generation", &[], generation.into()).await;
        old
    }

    /// Waits until that many processes are left.
    pub async fn until_left(&self, count: usize) {
        eventually(&format!("{count} processes left"), 3 * PATIENCE, async || {
            expect(self.pids(), |pids| pids.len() == count)
        })
        .await;
    }
}

/// Sends a signal to a process that runs.
pub fn signal(pid: u32, name: &str) {
    let sent = Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).status();
    assert!(sent.expect("kill is there").success());
}

/// When a process was started, in ticks since the machine was.
fn started(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.split(' ').nth(19)?.parse().ok()
}

impl Drop for Lineage {
    fn drop(&mut self) {
        // Again until none is left: one that is killed may just have started another.
        loop {
            let pids = self.pids();
            if pids.is_empty() {
                return;
            }
            for pid in pids {
                // It may have ended by now.
                _ = Command::new("kill").args(["-KILL", &pid.to_string()]).status();
            }
        }
    }
}
