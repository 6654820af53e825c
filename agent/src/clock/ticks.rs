//! From due times to what to do now. No clock: the caller says what time it is.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::Schedule;

/// Longest sleep: the wall clock may be set, or the machine suspended, meanwhile.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// Walks through the due times of a schedule.
#[derive(Debug)]
pub(super) struct Ticks {
    schedule: Schedule,
    due: Option<DateTime<Utc>>,
}

impl Ticks {
    pub(super) fn new(schedule: Schedule, now: DateTime<Utc>) -> Self {
        let due = schedule.next(now);
        Self { schedule, due }
    }

    /// `None`: a run is due, and it is told once. Else: how long to sleep before asking again. Due times that went
    /// by unseen are one.
    pub(super) fn advance(&mut self, now: DateTime<Utc>) -> Option<Duration> {
        let next = self.schedule.next(now);
        // The next may be before the one that is waited for if the clock was set back.
        let due = [self.due, next].into_iter().flatten().min();
        self.due = due;
        let Some(due) = due else { return Some(LOOK_AGAIN) };
        match (due - now).to_std() {
            Ok(left) if !left.is_zero() => Some(left.min(LOOK_AGAIN)),
            _ => {
                self.due = next;
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_due_time_is_told_once() {
        let at = |text: &str| format!("2024-05-05T{text}Z").parse::<DateTime<Utc>>().expect(text);
        let wait = |seconds| Some(Duration::from_secs(seconds));
        let mut ticks = Ticks::new(Schedule::Every(Duration::from_secs(60)), at("11:59:01"));
        for (now, told, what) in [
            ("11:59:01", wait(30), "sleeps in short pieces"),
            ("11:59:31", wait(29), "to the due time"),
            ("11:59:59", wait(1), "woken early"),
            ("12:00:00", None, "due"),
            ("12:00:00", wait(30), "told once"),
            ("12:01:05", None, "late"),
            ("12:01:05", wait(30), "the next is at 12:02"),
            ("12:30:10", None, "28 went by while the machine slept: one run"),
            ("12:30:10", wait(30), "the next is at 12:31"),
            ("11:30:50", wait(10), "the clock was set back"),
            ("11:31:00", None, "due again"),
        ] {
            assert_eq!(ticks.advance(at(now)), told, "{now}: {what}");
        }
    }
}
