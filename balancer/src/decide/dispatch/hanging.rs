//! Large requests that hang do not keep others of their kind from being tried.
//!
//! An instance that does not answer, or answers a byte at a time, holds a request until its client gives up. The request
//! is counted as large and its URL remembered as such, though it is the instance that is at fault. If it holds all that
//! large requests may hold, the next ones for that URL wait for it, though they would be quick elsewhere, and nothing can
//! show that they are: a site's front page would be gone. So one such request at a time is left out of the count.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::demand::{RunId, Stage};
use super::rules::Rules;
use super::running::{Run, Running};
use super::{Dispatcher, Lane};

/// A large request that has held its worker for this long is looked at, and again after as long.
const LOOK: Duration = Duration::from_secs(2);
/// It hangs if it has taken so many times as long as those of its lane do on average. Of an exponential distribution, one
/// in 3,000 does.
const TIMES: u32 = 8;

/// Those that may hang.
#[derive(Default)]
pub(super) struct Hanging {
    /// Large requests in the order in which they are looked at again.
    watched: VecDeque<(Instant, RunId)>,
    /// The one that is left out of the count, for as long as it holds its worker.
    excused: Option<RunId>,
}

impl Hanging {
    /// A request that holds a worker is large. `since`: when it was sent, or last looked at.
    pub(super) fn watch(&mut self, id: RunId, since: Instant) {
        self.watched.push_back((since + LOOK, id));
    }

    fn excused<'a>(&self, running: &'a Running) -> Option<&'a Run> {
        running.get(self.excused?).filter(|run| run.stage == Stage::Working && run.lane.is_large())
    }
}

impl<W> Dispatcher<W> {
    /// Requests that hold a worker, by lane, without one that hangs: what caps are about.
    pub(super) fn counted(&self) -> [usize; Lane::MOST] {
        let mut counted = self.held;
        if let Some(run) = self.hanging.excused(&self.running) {
            counted[run.lane.index()] -= 1;
        }
        counted
    }

    pub(super) fn look_at_hanging(&mut self, now: Instant) {
        let Self { hanging, running, rules, .. } = self;
        while let Some((_, id)) = hanging.watched.front().copied().filter(|(due, _)| *due <= now) {
            hanging.watched.pop_front();
            let Some(run) = running.get(id).filter(|run| run.stage == Stage::Working) else { continue };
            let age = now.saturating_duration_since(run.sent);
            if hanging.excused(running).is_none() && age >= patience(rules, run.lane) {
                hanging.excused = Some(id);
            } else {
                hanging.watch(id, now);
            }
        }
    }
}

fn patience(rules: &Rules, lane: Lane) -> Duration {
    rules.held[lane.index()].map_or(LOOK, |held| LOOK.max(held * TIMES))
}
