//! An explanation in words and figures.

use super::{Explanation, LaneState, Predicted};
use crate::decide::dispatch::explain::{Candidate, Standing};
use crate::decide::dispatch::{Course, InstanceId, Refusal, Wait, Why};
use crate::decide::learn::affinity::Worth;
use crate::decide::predict::Source;

impl Predicted {
    /// Such as `12 ms, 16 KiB (8 requests of its class seen)`.
    pub fn words(&self) -> String {
        let seen = self.held_seen;
        let from = match self.held_from {
            Source::Url => format!("{seen} requests of its URL seen"),
            Source::Class => format!("{seen} requests of its class seen"),
            Source::Extension => "as others of its extension".to_owned(),
            Source::Prior => "as requests in general: nothing like it was seen".to_owned(),
        };
        format!("holds a worker for {} and sends {} ({from})", time(self.held_ms), bytes(self.bytes))
    }
}

impl LaneState {
    /// Why a request is in this lane, given what is predicted.
    pub fn words(&self, held_ms: f64) -> String {
        if self.by_rule {
            return format!("{}, as the operator's rule says", self.name);
        }
        let (from, held) = (time(self.from_ms), time(held_ms));
        match self.to_ms {
            None => format!("{}: {held} is {from} or more", self.name),
            Some(to) if self.from_ms > 0.0 => {
                format!("{}: {held} is between {from} and {}", self.name, time(to))
            }
            Some(to) => format!("{}: {held} is less than {}", self.name, time(to)),
        }
    }
}

impl Worth {
    /// What homes are worth.
    pub fn words(&self) -> String {
        match self {
            Self::Unknown => "not known: a home is preferred where it costs nothing".to_owned(),
            Self::None => "nothing: any instance serves a class as fast".to_owned(),
            Self::Pays { home, away } => format!(
                "a request holds a worker for {} at home and for {} elsewhere",
                time(home.as_secs_f64() * 1e3),
                time(away.as_secs_f64() * 1e3)
            ),
        }
    }
}

impl Explanation {
    /// The decision. `name` gives an instance's name.
    pub fn decision(&self, name: impl Fn(InstanceId) -> String) -> String {
        match self.course {
            Course::Sent { instance, why } => {
                format!("sent to {} at once: {}", name(instance), self.sent(instance, why))
            }
            Course::Waits { why, at } => self.waits(why, at.map(name)),
            Course::Refused { why } => format!("turned away with 503: {}", self.refused(why)),
        }
    }

    fn sent(&self, instance: InstanceId, why: Why) -> String {
        let Some(to) = self.candidates.iter().find(|c| c.id == instance) else {
            return why.as_str().to_owned();
        };
        let (held, workers) = (to.load.working, to.load.limit());
        let share = format!("{held} of {workers} workers held");
        match why {
            Why::Session => format!("it has the request's session, {share}"),
            Why::Trial => "to find out whether it accepts connections again".to_owned(),
            Why::Allowed => format!("the best of those that the rule names, {share}"),
            Why::Ahead => format!(
                "every worker is held and {} wait, so one more short request is sent there",
                self.lane.waiting
            ),
            Why::Home => format!("its class is at home there, {share}"),
            Why::Slow => format!("{:.1} times slower, but no better worker is free in time", to.slowness),
            Why::Dedicated => format!("it is for large requests first, {share}"),
            Why::Large => format!("large requests go where they disturb least, {share}"),
            Why::Beside => {
                format!("every free worker is beside large requests, {} here, {share}", to.load.large)
            }
            Why::Free => format!("the smallest share of its workers is held, {held} of {workers}"),
        }
    }

    fn waits(&self, why: Wait, at: Option<String>) -> String {
        let lane = &self.lane;
        let at = at.unwrap_or_default();
        let wait = match lane.expected_wait_ms {
            0.0 => String::new(),
            ms => format!(", for about {}", time(ms)),
        };
        let why = match why {
            Wait::Session => return format!("waits for {at}, which has its session and no free worker"),
            Wait::Home => {
                return format!("waits for {at}, where its class is at home: {}", self.homes.worth.words());
            }
            Wait::Cap => self.capped(),
            Wait::Allowed => "no instance that the rule names has a free worker".to_owned(),
            Wait::Queue => format!("{} {} requests came before", lane.waiting, lane.name),
            Wait::Slower => "the free workers are so slow that waiting takes less".to_owned(),
            Wait::Kept => "the free workers are kept for small requests".to_owned(),
            Wait::Version => {
                "the free workers are of a version of the application that has had its share".to_owned()
            }
            Wait::Busy => "every worker is held".to_owned(),
            Wait::First => "no instance has been heard of since the start".to_owned(),
        };
        format!("waits{wait}: {why}")
    }

    fn capped(&self) -> String {
        let LaneState { name, cap, high, patience_ms, running_with_larger: held, .. } = self.lane;
        let cap = cap.unwrap_or_default();
        match high.filter(|high| *high > cap) {
            Some(high) => format!(
                "{name} requests hold {held} workers and may hold {cap}, {high} after a wait of {}",
                time(patience_ms)
            ),
            None => format!("{name} requests hold {held} workers and may hold {cap}"),
        }
    }

    fn refused(&self, why: Refusal) -> String {
        match why {
            Refusal::NoInstance => "no instance that may serve it is up".to_owned(),
            Refusal::QueueFull => "the queue is full".to_owned(),
            Refusal::TooLate => format!(
                "it would wait for about {}, longer than it may: {} requests may wait for {} at present",
                time(self.lane.expected_wait_ms),
                self.lane.name,
                time(self.lane.longest_wait_ms.unwrap_or(f64::INFINITY))
            ),
        }
    }

    /// Why an instance would be picked, or would not.
    pub fn stands(&self, candidate: &Candidate) -> String {
        let load = candidate.load;
        match candidate.standing {
            Standing::Picked => match self.course {
                Course::Sent { instance, why } => format!("picked: {}", self.sent(instance, why)),
                _ => "picked".to_owned(),
            },
            Standing::Awaited => "the request waits for it".to_owned(),
            Standing::Equal => "as good as the one that is picked".to_owned(),
            Standing::Later => self.later(candidate),
            Standing::Slow => {
                format!("{:.1} times slower: used when no better worker is free in time", candidate.slowness)
            }
            Standing::Spare => {
                "no worker is free; one more short request is sent there when many wait".to_owned()
            }
            Standing::Held => held(load.working, load.large, load.foreign),
            Standing::Kept => "its free worker is kept for small requests".to_owned(),
            Standing::Capped => format!("a worker is free, but {}", self.capped()),
            Standing::Queue => "a worker is free, but others wait before this request".to_owned(),
            Standing::Away => "a worker is free, but it pays to wait for the home".to_owned(),
            Standing::Share => {
                "a worker is free, but its version of the application has had its share".to_owned()
            }
            Standing::NotAllowed => "a rule names other instances".to_owned(),
            Standing::OtherSession => "another instance has the request's session".to_owned(),
            Standing::Unreachable => "it does not accept connections".to_owned(),
            Standing::Ejected => {
                "it fails requests that others do not, and is left out for a while".to_owned()
            }
            Standing::OtherVersion => "another version of the application gets the requests".to_owned(),
            Standing::Excluded => "it gets no requests".to_owned(),
        }
    }

    fn later(&self, candidate: &Candidate) -> String {
        let load = candidate.load;
        let large = self.lane.number > 0;
        let home = matches!(self.course, Course::Sent { why: Why::Home, .. });
        let why = if large && !candidate.dedicated && self.candidates.iter().any(|c| c.dedicated) {
            "large requests go to dedicated instances first".to_owned()
        } else if !large && load.large > 0 {
            format!("beside {}, used after those without", plural(load.large, "large request"))
        } else if !large && candidate.dedicated {
            "for large requests first, used when the others are busy".to_owned()
        } else if candidate.fresh {
            "it just came up, used after the others".to_owned()
        } else if home && !candidate.home {
            "its class is at home elsewhere".to_owned()
        } else {
            format!("{} of {} workers held, others come first", load.working, load.limit())
        };
        format!("a worker is free: {why}")
    }
}

fn held(working: u32, large: u32, foreign: u32) -> String {
    let mut words = format!("no worker is free: it works on {}", plural(working, "request"));
    if large > 0 {
        words.push_str(&format!(", {large} of them large"));
    }
    if foreign > 0 {
        words.push_str(&format!(", and on {foreign} of others"));
    }
    words
}

fn plural(n: u32, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}

/// Milliseconds for people.
pub(crate) fn time(ms: f64) -> String {
    match ms {
        ms if ms < 9.95 => format!("{ms:.1} ms"),
        ms if ms < 999.5 => format!("{ms:.0} ms"),
        ms => format!("{:.1} s", ms / 1e3),
    }
}

fn bytes(bytes: u64) -> String {
    const KIB: u64 = 1024;
    match bytes {
        ..10_240 => format!("{bytes} B"),
        10_240..10_485_760 => format!("{} KiB", bytes / KIB),
        _ => format!("{} MiB", bytes / KIB / KIB),
    }
}
