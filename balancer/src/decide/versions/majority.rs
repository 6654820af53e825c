//! The label that most instances carry.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::Label;

/// How long another label must lead before requests go there. 3 s: a rollout passes the half once, while an instance
/// whose check fails now and then is back by then.
pub const SETTLE: Duration = Duration::from_secs(3);

/// Remembers who leads. A tie stays where it is.
#[derive(Clone, Debug, Default)]
pub struct Majority {
    chosen: Option<Chosen>,
}

#[derive(Clone, Debug)]
struct Chosen {
    label: Label,
    /// When a label was chosen for the first time: until things have settled, who leads gets the requests at once.
    first: Instant,
    /// Who leads, and since when, if it is another.
    challenger: Option<(Label, Instant)>,
}

impl Majority {
    /// `ready`: instances by label, none of them zero. `None` if there is no instance.
    pub fn choose(&mut self, ready: &BTreeMap<Label, usize>, now: Instant) -> Option<Label> {
        let leader = leader(ready)?;
        let chosen =
            self.chosen.get_or_insert_with(|| Chosen { label: leader.clone(), first: now, challenger: None });
        let count = |label: &Label| ready.get(label).copied().unwrap_or(0);
        if count(&leader) <= count(&chosen.label) {
            chosen.challenger = None;
            return Some(chosen.label.clone());
        }
        let since = match &chosen.challenger {
            Some((label, since)) if *label == leader => *since,
            _ => now,
        };
        let long = |since: Instant| now.saturating_duration_since(since) >= SETTLE;
        let starting = !long(chosen.first);
        if count(&chosen.label) == 0 || starting || long(since) {
            (chosen.label, chosen.challenger) = (leader, None);
        } else {
            chosen.challenger = Some((leader, since));
        }
        Some(chosen.label.clone())
    }
}

/// The most instances; of equal ones the label that sorts last, which is the newer one where labels are dates or
/// numbers.
fn leader(ready: &BTreeMap<Label, usize>) -> Option<Label> {
    ready.iter().max_by_key(|(label, count)| (**count, *label)).map(|(label, _)| label.clone())
}
