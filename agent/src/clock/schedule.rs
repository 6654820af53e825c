//! When a clock is due: a pure function of the schedule and the time.

use std::time::Duration;

use chrono::{DateTime, Local, TimeDelta, TimeZone, Utc};
use croner::{
    Cron,
    errors::CronError,
    parser::{CronParser, Seconds, Year},
};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Schedule {
    /// At the whole multiples of an interval of at least a second since 1970: every 10 minutes is at :00, :10, :20,
    /// also after a restart. As in Zope's clock server.
    Every(Duration),
    /// At the minutes that match.
    Cron { cron: Box<Cron>, zone: Zone },
}

/// Whose wall clock a cron expression is read by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Zone {
    #[default]
    Utc,
    /// That of the machine. What falls into an hour that is left out is due at its end; what falls into one that comes
    /// twice is due in the first, unless its hour is `*`, which is both.
    Local,
}

/// Why a cron expression was refused.
#[derive(Debug, thiserror::Error)]
pub enum ScheduleError {
    #[error("{0}")]
    Syntax(#[from] CronError),
    #[error("there is no such day")]
    Never,
}

impl Schedule {
    /// Reads five fields: minute, hour, day of the month, month, day of the week.
    ///
    /// # Errors
    /// If they can not be read, or no time matches.
    pub fn cron(text: &str, zone: Zone) -> Result<Self, ScheduleError> {
        let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
        let cron = Box::new(parser.parse(text)?);
        next_in(&cron, DateTime::UNIX_EPOCH).ok_or(ScheduleError::Never)?;
        Ok(Self::Cron { cron, zone })
    }

    /// The first due time after `now`. `None`: never again.
    pub fn next(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match self {
            Self::Every(interval) => next_multiple(*interval, now),
            Self::Cron { cron, zone: Zone::Utc } => next_in(cron, now),
            Self::Cron { cron, zone: Zone::Local } => next_in(cron, now.with_timezone(&Local)),
        }
    }
}

fn next_multiple(interval: Duration, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let interval = TimeDelta::from_std(interval).ok()?.num_milliseconds();
    let next = now.timestamp_millis().div_euclid(interval) + 1;
    DateTime::from_timestamp_millis(next.checked_mul(interval)?)
}

fn next_in<Z: TimeZone>(cron: &Cron, now: DateTime<Z>) -> Option<DateTime<Utc>> {
    cron.find_next_occurrence(&now, false).ok().map(|due| due.to_utc())
}

#[cfg(test)]
mod tests {
    use chrono::FixedOffset;

    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    fn cron(text: &str) -> Schedule {
        Schedule::cron(text, Zone::Utc).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn intervals_are_due_at_their_multiples() {
        let day = Duration::from_secs(24 * 3600);
        for (interval, now, due) in [
            (Duration::from_secs(600), "2024-05-05T11:59:59.999Z", "2024-05-05T12:00:00Z"),
            (Duration::from_secs(600), "2024-05-05T12:00:00Z", "2024-05-05T12:10:00Z"),
            (Duration::from_secs(600), "2024-05-05T12:00:00.001Z", "2024-05-05T12:10:00Z"),
            (Duration::from_millis(1500), "2024-05-05T12:00:00Z", "2024-05-05T12:00:01.500Z"),
            (day, "2024-02-28T23:59:59Z", "2024-02-29T00:00:00Z"),
            (day, "1969-12-31T12:00:00Z", "1970-01-01T00:00:00Z"),
        ] {
            assert_eq!(Schedule::Every(interval).next(at(now)), Some(at(due)), "{interval:?} after {now}");
        }
    }

    #[test]
    fn cron_expressions_are_read_as_cron_reads_them() {
        for (text, now, due) in [
            ("*/5 2 * * *", "2024-05-05T02:00:00Z", "2024-05-05T02:05:00Z"),
            ("*/5 2 * * *", "2024-05-05T02:04:59.999Z", "2024-05-05T02:05:00Z"),
            ("*/5 2 * * *", "2024-05-05T02:55:00Z", "2024-05-06T02:00:00Z"),
            ("30 4 1 * *", "2024-01-31T12:00:00Z", "2024-02-01T04:30:00Z"),
            ("0 0 29 2 *", "2024-02-29T00:00:00Z", "2028-02-29T00:00:00Z"),
            ("0 0 31 * *", "2024-03-31T00:00:00Z", "2024-05-31T00:00:00Z"),
            ("0 0 L * *", "2024-02-01T00:00:00Z", "2024-02-29T00:00:00Z"),
            ("59 23 31 12 *", "2024-12-31T23:59:00Z", "2025-12-31T23:59:00Z"),
            ("0 9 * * 1-5", "2024-05-03T09:00:00Z", "2024-05-06T09:00:00Z"), // Friday to Monday
            ("0 9 * * SUN", "2024-05-03T09:00:00Z", "2024-05-05T09:00:00Z"),
            ("0 9 * * 0", "2024-05-03T09:00:00Z", "2024-05-05T09:00:00Z"),
            ("0 9 * * 7", "2024-05-03T09:00:00Z", "2024-05-05T09:00:00Z"),
            // Both days given: either.
            ("0 0 13 * 5", "2024-05-04T00:00:00Z", "2024-05-10T00:00:00Z"),
            ("0 0 13 * 5", "2024-05-10T00:00:00Z", "2024-05-13T00:00:00Z"),
            // Summer time begins in many places; UTC has none.
            ("30 2 * * *", "2024-03-31T00:00:00Z", "2024-03-31T02:30:00Z"),
            ("15,45 8-9 * * *", "2024-05-05T08:15:00Z", "2024-05-05T08:45:00Z"),
        ] {
            assert_eq!(cron(text).next(at(now)), Some(at(due)), "{text} after {now}");
        }
    }

    #[test]
    fn another_zone_is_another_hour() {
        let Schedule::Cron { cron, .. } = cron("30 2 * * *") else { panic!("it is one") };
        let east = FixedOffset::east_opt(2 * 3600).expect("two hours");
        let now = at("2024-05-05T00:00:00Z").with_timezone(&east);
        assert_eq!(next_in(&cron, now), Some(at("2024-05-05T00:30:00Z")));
    }

    #[test]
    fn due_times_only_grow_and_are_never_now() {
        let seed = fastrand::u64(..);
        println!("seed {seed}");
        let mut rng = fastrand::Rng::with_seed(seed);
        for _ in 0..300 {
            let schedule = match rng.bool() {
                true => Schedule::Every(Duration::from_secs(rng.u64(1..100_000))),
                false => cron(&format!("{} */{} {} * *", rng.u8(0..60), rng.u8(1..24), rng.u8(1..29))),
            };
            let now = at("2024-01-01T00:00:00Z") + TimeDelta::milliseconds(rng.i64(0..100_000_000_000));
            let due = schedule.next(now).expect("always again");
            assert!(due > now, "{schedule:?} {now}");
            let between = now + (due - now) / rng.i32(2..10);
            assert_eq!(schedule.next(between), Some(due), "{schedule:?} {now}");
            assert!(schedule.next(due).expect("always again") > due, "{schedule:?} {now}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for text in [
            "",
            "* * * *",
            "* * * * * *",
            "60 * * * *",
            "* 24 * * *",
            "* * 0 * *",
            "* * * 13 *",
            "* * * * 8",
            "0 0 30 2 *",
            "a b c d e",
            "*/0 * * * *",
            "5-1 * * * *",
        ] {
            assert!(Schedule::cron(text, Zone::Utc).is_err(), "{text}");
        }
    }
}
