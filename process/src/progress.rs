//! How far a long action is: for a person at a terminal, and for nobody else.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

/// How often the line is written: often enough to be seen moving, too seldom to cost anything.
const EVERY: Duration = Duration::from_millis(100);

/// A line on standard error that says how far it is, and goes when this is dropped. Silent where standard error is no
/// terminal: logs and scripts get nothing of it.
#[derive(Debug)]
pub struct Progress {
    what: &'static str,
    total: u64,
    done: u64,
    /// `None`: nobody looks.
    next: Option<Instant>,
}

impl Progress {
    /// `what` is done now: "reading". `total`: how much there is of it, in whatever unit.
    pub fn new(what: &'static str, total: u64) -> Self {
        let next = io::stderr().is_terminal().then(|| Instant::now() + EVERY);
        Self { what, total, done: 0, next }
    }

    /// As much more is done.
    pub fn add(&mut self, more: u64) {
        self.done += more;
        if let Some(next) = self.next
            && Instant::now() >= next
        {
            show(&self.line());
            self.next = Some(Instant::now() + EVERY);
        }
    }

    fn line(&self) -> String {
        let percent = u128::from(self.done.min(self.total)) * 100 / u128::from(self.total.max(1));
        format!("{}: {percent} %", self.what)
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.next.is_some() {
            show("");
        }
    }
}

/// Over whatever the line was before. Who can not be shown progress can do without.
fn show(line: &str) {
    let mut out = io::stderr().lock();
    write!(out, "\r\x1b[K{line}").and_then(|()| out.flush()).ok();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_never_says_more_than_everything() {
        for (done, total, line) in [
            (0, 10, "reading: 0 %"),
            (1, 3, "reading: 33 %"),
            (10, 10, "reading: 100 %"),
            (11, 10, "reading: 100 %"),
            (0, 0, "reading: 0 %"),
            (u64::MAX, u64::MAX, "reading: 100 %"),
        ] {
            assert_eq!(Progress { what: "reading", total, done, next: None }.line(), line);
        }
    }
}
