//! Reads the access log, several times a second, away from the threads that must not wait.

use std::{sync::Arc, time::Duration};

use sluice_proto::Measured;
use tokio::{
    task::{JoinError, spawn_blocking},
    time::{Instant, sleep},
};

use super::{
    FollowMetrics, Format,
    standing::{Judge, Lines, Standing},
    tail::{Tail, Turn},
    tally::{Taken, Tally},
};
use crate::{config::LogConfig, shared::Shared};

/// Between looks at the file: well below the shortest common `--interval`, so that a window has what ended in it.
const POLL: Duration = Duration::from_millis(100);

/// Read in one turn: tens of milliseconds of work, after which the classes may have other names.
const BUDGET: usize = 4 * 1024 * 1024;

/// One access log and what is learned from it.
pub struct LogFollower {
    shared: Arc<Shared>,
    tail: Tail,
    format: Format,
    told: Measured,
    tally: Tally,
    metrics: FollowMetrics,
    judge: Judge,
    standing: Option<Standing>,
}

impl LogFollower {
    pub fn new(shared: Arc<Shared>, config: &LogConfig, metrics: FollowMetrics) -> Self {
        let tally = Tally::new(&config.format, shared.own.clone(), shared.metrics.clone());
        Self {
            tail: Tail::new(config.file.clone()),
            told: config.format.measured(),
            format: config.format.clone(),
            tally,
            metrics,
            judge: Judge::default(),
            standing: None,
            shared,
        }
    }

    /// Follows for ever.
    pub async fn run(mut self) {
        loop {
            let turned = spawn_blocking(move || {
                let more = self.turn(Instant::now());
                (self, more)
            });
            let more;
            (self, more) = returned(turned.await).await;
            if !more {
                sleep(POLL).await;
            }
        }
    }

    /// Reads what is new. Whether there may be more at once.
    pub fn turn(&mut self, now: Instant) -> bool {
        self.tally.classify_by(self.shared.classifier());
        let mut lines = Lines::default();
        let Self { tail, format, tally, metrics, shared, .. } = self;
        let turn = tail.turn(now, BUDGET, &mut |line| {
            let line = String::from_utf8_lossy(line);
            match format.read(&line).map(|entry| tally.take(&entry, &shared.recorder)) {
                Some(taken) => {
                    lines.understood();
                    match taken {
                        Taken::Counted => metrics.taken.inc(),
                        Taken::Own => metrics.own.inc(),
                    }
                }
                None if line.is_empty() => {}
                None => lines.malformed(&line),
            }
        });
        self.count(&turn, &lines);
        let unreadable = turn.error.filter(|_| !self.tail.is_open()).map(|error| error.to_string());
        if let Some(standing) = self.judge.judge(&lines, unreadable) {
            self.stands(standing);
        }
        turn.more
    }

    fn count(&self, turn: &Turn, lines: &Lines) {
        self.metrics.malformed.inc_by(lines.malformed);
        self.metrics.too_long.inc_by(turn.too_long);
        self.metrics.truncated.inc_by(turn.truncated);
        self.metrics.opened.inc_by(u64::from(turn.opened));
        self.metrics.rotated.inc_by(u64::from(turn.rotated));
        if turn.rotated || turn.truncated > 0 {
            tracing::info!(log = %self.tail.path().display(), truncated = turn.truncated > 0, "access log goes on anew");
        }
    }

    /// Tells reports, status and log of a change, once.
    fn stands(&mut self, standing: Standing) {
        if self.standing.as_ref().is_some_and(|before| before.is_like(&standing)) {
            return;
        }
        let log = self.tail.path().display().to_string();
        let words = standing.words(&log, self.format.as_str());
        match standing {
            Standing::Followed => tracing::info!(held = ?self.told.held_us, "learning from {words}"),
            Standing::Unreadable(_) | Standing::Foreign(_) => tracing::warn!("learning from {words}"),
        }
        self.shared.figures.set(standing.measured(&self.told), words);
        self.standing = Some(standing);
    }
}

/// What a thread that may block came to. One that panicked takes the agent with it, which must not look alive without
/// its eyes.
async fn returned<T>(joined: Result<T, JoinError>) -> T {
    match joined {
        Ok(value) => value,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime ends, and this task with it.
            Err(_cancelled) => std::future::pending().await,
        },
    }
}
