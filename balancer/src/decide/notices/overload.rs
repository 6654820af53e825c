//! That requests are turned away is told when it begins and when it is over, not for each of them.

use std::collections::HashMap;

use super::Notice;
use crate::decide::schedule::explain::time;

/// Looks without a request turned away after which it is over: at the edge of overload it comes and goes.
const QUIET: u32 = 10;

/// How much there is to do in one lane.
#[derive(Clone, Debug)]
pub struct LanePressure {
    pub name: &'static str,
    /// Requests turned away since the start.
    pub turned_away: u64,
    pub waiting: usize,
    pub expected_wait_ms: f64,
}

/// What was told of each lane.
#[derive(Clone, Debug, Default)]
pub(super) struct Overload {
    lanes: HashMap<&'static str, Told>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Told {
    /// Turned away when last looked at.
    seen: u64,
    /// Turned away before it began, and looks since the last one; `None`: nothing goes on.
    going_on: Option<(u64, u32)>,
}

impl Overload {
    pub(super) fn look(&mut self, lanes: &[LanePressure]) -> Vec<Notice> {
        lanes.iter().filter_map(|lane| self.lanes.entry(lane.name).or_default().look(lane)).collect()
    }
}

impl Told {
    fn look(&mut self, lane: &LanePressure) -> Option<Notice> {
        let before = std::mem::replace(&mut self.seen, lane.turned_away);
        let notice = |kind, text| Some(Notice { kind, instance: None, text });
        if lane.turned_away > before {
            let began = self.going_on.map_or(before, |(began, _)| began);
            let is_news = self.going_on.replace((began, 0)).is_none();
            let LanePressure { name, waiting, expected_wait_ms, .. } = *lane;
            let text = format!(
                "{name} requests are turned away: {waiting} wait, for about {}",
                time(expected_wait_ms)
            );
            return if is_news { notice("overload", text) } else { None };
        }
        let (began, quiet) = self.going_on?;
        self.going_on = (quiet + 1 < QUIET).then_some((began, quiet + 1));
        let text = format!("no {} requests are turned away any more: {} were", lane.name, before - began);
        if self.going_on.is_none() { notice("overload-over", text) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_overload_is_told_when_it_begins_and_when_it_is_over() {
        let mut overload = Overload::default();
        let mut told = |turned_away| {
            let lane = LanePressure { name: "small", turned_away, waiting: 40, expected_wait_ms: 1500.0 };
            overload.look(&[lane]).pop().map(|notice| (notice.kind, notice.text))
        };
        assert_eq!(told(0), None);
        let begins = "small requests are turned away: 40 wait, for about 1.5 s";
        assert_eq!(told(3), Some(("overload", begins.to_owned())));
        assert_eq!(told(7), None, "it goes on");
        for _ in 0..QUIET - 1 {
            assert_eq!(told(7), None, "it may come back");
        }
        assert_eq!(told(9), None, "it did");
        for _ in 0..QUIET - 1 {
            assert_eq!(told(9), None);
        }
        let over = "no small requests are turned away any more: 9 were";
        assert_eq!(told(9), Some(("overload-over", over.to_owned())));
        assert_eq!(told(9), None);
        assert!(told(10).is_some(), "another one");
    }
}
